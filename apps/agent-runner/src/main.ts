/**
 * The program inside the container: reads its arguments and `container.json`, opens the session, runs the runner, and
 * says by its exit code why it left. The only file here that reads the environment.
 *
 *   bun main.js --run ID --config container.json --inbound DIR --outbound DIR --agent DIR [--skills DIR]
 */
import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';
import { offlineProvider } from '@nanoclaw/providers/offline';
import { type Provider, type RunEnd, Runner } from '@nanoclaw/runner';
import { inboundFolder, outboundFolder, RunnerSession, runId, SqliteError, VersionError } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/bun';
import packageJson from '../package.json' with { type: 'json' };
import { type Config, ConfigError, ProtocolMismatchError, readConfig } from './config.ts';
import { EXIT_CODES } from './exit-codes.ts';
import { findSkills } from './skills.ts';
import { bashScripts, clock, hostBell, sleep } from './surroundings.ts';

async function main(): Promise<number> {
  try {
    const places = readArguments(process.argv.slice(2));
    const config = readConfig(places.config);
    const provider = await makeProvider(config);
    const folders = { inbound: inboundFolder(places.inbound), outbound: outboundFolder(places.outbound) };
    const handshake = { runId: places.run, runnerVersion: packageJson.version, provider: provider.name };
    using session = RunnerSession.open(folders, openSqlite, handshake, clock.now());
    const runner = new Runner({
      session,
      provider,
      agent: {
        assistantName: config.assistantName,
        timeZone: config.timeZone,
        cwd: places.agent,
        model: config.model,
        effort: config.effort,
        mcpServers: config.mcpServers,
        skills: findSkills(places.skills, config.skills),
      },
      clock,
      bell: hostBell(folders.inbound),
      runScript: bashScripts(places.agent, scriptEnvironment(config), clock.setTimer),
      policy: {
        ...(config.idleExitMs === undefined ? {} : { idleExitMs: config.idleExitMs }),
        ...(config.messagesPerPrompt === undefined ? {} : { messagesPerPrompt: config.messagesPerPrompt }),
      },
    });
    // As process 1 a program without a handler ignores both.
    process.on('SIGTERM', () => runner.stop());
    process.on('SIGINT', () => runner.stop());
    return leave(await runner.run());
  } catch (error) {
    return trouble(error);
  }
}

class UsageError extends Error {
  override readonly name = 'UsageError';
}

function readArguments(args: string[]): {
  run: ReturnType<typeof runId>;
  config: string;
  inbound: string;
  outbound: string;
  agent: string;
  skills: string | undefined;
} {
  try {
    const text = { type: 'string' } as const;
    const options = { run: text, config: text, inbound: text, outbound: text, agent: text, skills: text };
    const { run, config, inbound, outbound, agent, skills } = parseArgs({ args, options }).values;
    if (!run || !config || !inbound || !outbound || !agent) throw new TypeError('an argument is missing');
    return { run: runId(run), config, inbound, outbound, agent, skills };
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
    throw new UsageError(
      `Wrong arguments (${error.message}). Usage: main.js --run ID --config FILE --inbound DIR --outbound DIR --agent DIR [--skills DIR]`,
    );
  }
}

/** The SDK of a real model is loaded only where it is used: it costs more start-up time than all the rest. */
async function makeProvider(config: Config): Promise<Provider> {
  switch (config.provider.name) {
    case 'offline':
      return offlineProvider({ now: () => clock.now(), sleep });
    case 'claude': {
      const { claudeProvider } = await import('@nanoclaw/providers/claude');
      const { executable } = config.provider;
      return claudeProvider({
        executable,
        env: claudeEnvironment(config),
        uid: process.getuid?.() ?? 0,
        report: (sentence) => console.error(sentence),
        newId: () => randomUUID(),
        setTimer: clock.setTimer,
      });
    }
  }
}

/** What the model's program needs: where it keeps its state, and how it reaches the API. */
function claudeEnvironment(config: Config): Record<string, string> {
  return {
    ...scriptEnvironment(config),
    ...environment((name) => name.startsWith('ANTHROPIC_') || name === 'CLAUDE_CONFIG_DIR'),
  };
}

/** No credentials: a task's script is the agent's, and the agent is not trusted with them. */
function scriptEnvironment(config: Config): Record<string, string> {
  return { TZ: config.timeZone, ...environment((name) => ['PATH', 'HOME', 'LANG', 'TMPDIR'].includes(name)) };
}

function environment(isWanted: (name: string) => boolean): Record<string, string> {
  const wanted: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && isWanted(name)) wanted[name] = value;
  }
  return wanted;
}

function leave(end: RunEnd): number {
  switch (end.type) {
    case 'idle':
      console.error('Nothing to do for a while: leaving.');
      return EXIT_CODES.done;
    case 'stopped':
      console.error('Asked to stop: everything claimed is acknowledged, leaving.');
      return EXIT_CODES.done;
    case 'fenced':
      console.error(`Another run is live (${end.liveRunId ?? 'none is named'}): leaving without another word.`);
      return EXIT_CODES.fenced;
    case 'disobeyed':
      console.error('The provider went on after it was told to stop: leaving, so that it ends too.');
      return EXIT_CODES.disobeyed;
  }
}

function trouble(error: unknown): number {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof UsageError) return said(message, EXIT_CODES.usage);
  if (error instanceof ConfigError) return said(message, EXIT_CODES.configuration);
  if (error instanceof ProtocolMismatchError || error instanceof VersionError) return said(message, EXIT_CODES.version);
  if (error instanceof SqliteError || (error instanceof Error && 'code' in error)) {
    return said(`The session's files cannot be used: ${message}. What was committed is kept.`, EXIT_CODES.session);
  }
  console.error(error);
  return EXIT_CODES.bug;
}

function said(sentence: string, code: number): number {
  console.error(sentence);
  return code;
}

// Last, because the class above has to be there.
process.exit(await main());
