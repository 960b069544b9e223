/**
 * The program inside the container: an agent, with the providers that come with NanoClaw, as a process of its own. Its
 * exit code says why it left.
 *
 *   bun main.js --run ID --config container.json --inbound DIR --outbound DIR --agent DIR [--skills DIR]
 */
import { randomUUID } from 'node:crypto';
import { offlineProvider } from '@nanoclaw/providers/offline';
import { agentProgram, type MakeProvider } from '@nanoclaw/runner';
import { openSqlite } from '@nanoclaw/session-db/bun';
import { clock, processRun } from './process.ts';

/** The SDK of a real model is loaded only where it is used: it costs more start-up time than all the rest. */
const makeProvider: MakeProvider = async (choice, { env, report }) => {
  switch (choice.name) {
    case 'offline':
      return offlineProvider({ now: () => clock.now(), sleep });
    case 'claude': {
      const { claudeProvider } = await import('@nanoclaw/providers/claude');
      return claudeProvider({
        executable: choice.executable,
        env: claudeEnvironment(env),
        uid: process.getuid?.() ?? 0,
        report,
        newId: () => randomUUID(),
        setTimer: clock.setTimer,
      });
    }
  }
};

/** What the model's program needs: where it keeps its state, and how it reaches the API. */
function claudeEnvironment(env: Readonly<Record<string, string>>): Record<string, string> {
  const wanted = ['PATH', 'HOME', 'LANG', 'TMPDIR', 'TZ', 'CLAUDE_CONFIG_DIR'];
  const needed = Object.entries(env).filter(([name]) => wanted.includes(name) || name.startsWith('ANTHROPIC_'));
  return Object.fromEntries(needed);
}

/** Resolves after `ms`, or as soon as the signal is aborted. */
function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const done = (): void => {
      cancel();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const cancel = clock.setTimer(ms, done);
    signal.addEventListener('abort', done);
  });
}

const program = agentProgram({ provider: makeProvider, openSqlite, clock });
process.exit(await program(process.argv.slice(2), processRun()));
