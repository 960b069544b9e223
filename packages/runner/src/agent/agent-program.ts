/**
 * The agent's program as a function: it takes the arguments that the host starts a run with, reads `container.json`,
 * opens the session, runs the runner, and gives the exit code that says why it has ended. `container/README.md` is its
 * contract.
 *
 * It has no process of its own: signals, environment and log come in with each call, so that one process may have
 * several agents at work at once.
 */
import { inspect, parseArgs } from 'node:util';
import {
  type Clock,
  inboundFolder,
  type OpenSqlite,
  outboundFolder,
  RunnerSession,
  runId,
  SqliteError,
  VersionError,
} from '@nanoclaw/session-db';
import packageJson from '../../package.json' with { type: 'json' };
import { committer } from '../commit.ts';
import type { Provider } from '../provider.ts';
import { type RunEnd, Runner } from '../runner.ts';
import { bashScripts } from './bash-scripts.ts';
import { ConfigError, ProtocolMismatchError, type ProviderChoice, readConfig } from './config.ts';
import { EXIT_CODES } from './exit-codes.ts';
import { hostBell } from './host-bell.ts';
import { findSkills } from './skills.ts';

/** What the agents of one program have in common. */
export interface AgentProgramOptions {
  /**
   * Who answers. A provider answers in every run, whatever `container.json` names; a function is asked once in each run
   * for the provider that `container.json` names.
   */
  readonly provider: Provider | MakeProvider;
  /** The SQLite of this runtime: `openSqlite` of `@nanoclaw/session-db/node` or `@nanoclaw/session-db/bun`. */
  readonly openSqlite: OpenSqlite;
  /** The time and timers of the process. */
  readonly clock: Clock;
}

/**
 * Makes the provider of one run. `env` is the run's environment with the agent's time zone as `TZ`; `report` writes a
 * sentence into the run's log. `loadProvider` does this
 * for modules. Throws `ConfigError`, with one sentence for the operator, when there is no such provider.
 */
export type MakeProvider = (
  choice: ProviderChoice,
  run: { readonly env: Readonly<Record<string, string>>; readonly report: (sentence: string) => void },
) => Provider | Promise<Provider>;

/** What one run is given by the process that it is in. */
export interface AgentRun {
  /** Aborted to ask the run to leave, as SIGTERM does: a running turn gets its grace, every claim is acknowledged. */
  readonly signal: AbortSignal;
  /** Aborted to end that grace at once, as a second SIGTERM does. Never, when left out. */
  readonly atOnce?: AbortSignal;
  /** The run's environment: the provider gets all of it, task scripts only what is no credential. */
  readonly env: Readonly<Record<string, string>>;
  /** Takes the run's log: sentences for the operator, each with its end of line. */
  readonly write: (text: string) => void;
}

/**
 * One run of an agent, started with the arguments
 * `--run ID --config FILE --inbound DIR --outbound DIR --agent DIR [--skills DIR]`. Resolves with one of `EXIT_CODES` and
 * never rejects; the last sentence in the log says why.
 */
export type AgentProgram = (args: readonly string[], run: AgentRun) => Promise<number>;

/** The program of an agent that answers with this provider. */
export function agentProgram(options: AgentProgramOptions): AgentProgram {
  return async (args, run) => {
    const report = (sentence: string): void => run.write(`${sentence}\n`);
    try {
      const end = await runAgent(options, args, run, report);
      report(endSentence(end));
      return endCode(end);
    } catch (error) {
      const { code, sentence } = failure(error);
      report(sentence);
      return code;
    }
  };
}

async function runAgent(
  { provider: given, openSqlite, clock }: AgentProgramOptions,
  args: readonly string[],
  { env, signal, atOnce }: AgentRun,
  report: (sentence: string) => void,
): Promise<RunEnd> {
  const places = readArguments(args);
  const config = readConfig(places.config);
  const { assistantName, timeZone, model, effort, mcpServers, idleExitMs, messagesPerPrompt } = config;
  const skills = findSkills(places.skills, config.skills);
  const provider =
    typeof given === 'function' ? await given(config.provider, { env: { ...env, TZ: timeZone }, report }) : given;
  const folders = { inbound: inboundFolder(places.inbound), outbound: outboundFolder(places.outbound) };
  const handshake = { runId: places.run, runnerVersion: packageJson.version, provider: provider.name };
  // The host may be reading the file that an earlier run has left.
  using session = await committer(clock)(() => RunnerSession.open(folders, openSqlite, handshake, clock.now()));
  const runner = new Runner({
    session,
    provider,
    agent: { assistantName, timeZone, cwd: places.agent, model, effort, mcpServers, skills },
    clock,
    bell: hostBell(folders.inbound, clock.setTimer),
    runScript: bashScripts(places.agent, scriptEnvironment(env, timeZone), clock.setTimer),
    policy: {
      ...(idleExitMs === undefined ? {} : { idleExitMs }),
      ...(messagesPerPrompt === undefined ? {} : { messagesPerPrompt }),
    },
  });
  const unlisten = [whenAborted(signal, () => runner.stop()), whenAborted(atOnce, () => runner.stop())];
  try {
    return await runner.run();
  } finally {
    for (const each of unlisten) each();
  }
}

/** The arguments of a run are wrong: a mistake of the caller. */
class UsageError extends Error {
  override readonly name = 'UsageError';
}

function readArguments(args: readonly string[]): {
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
    const { run, config, inbound, outbound, agent, skills } = parseArgs({ args: [...args], options }).values;
    if (!run || !config || !inbound || !outbound || !agent) throw new TypeError('an argument is missing');
    return { run: runId(run), config, inbound, outbound, agent, skills };
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
    throw new UsageError(
      `Wrong arguments (${error.message}). Usage: main.js --run ID --config FILE --inbound DIR --outbound DIR --agent DIR [--skills DIR]`,
    );
  }
}

/** No credentials: a task's script is the agent's, and the agent is not trusted with them. */
function scriptEnvironment(env: AgentRun['env'], timeZone: string): Record<string, string> {
  const harmless = Object.entries(env).filter(([name]) => ['PATH', 'HOME', 'LANG', 'TMPDIR'].includes(name));
  return { TZ: timeZone, ...Object.fromEntries(harmless) };
}

/** Calls back once the signal is aborted, at once when it is already; the result ends it. */
function whenAborted(signal: AbortSignal | undefined, action: () => void): () => void {
  if (signal?.aborted) action();
  else signal?.addEventListener('abort', action, { once: true });
  return () => signal?.removeEventListener('abort', action);
}

function endSentence(end: RunEnd): string {
  switch (end.type) {
    case 'idle':
      return 'Nothing to do for a while: leaving.';
    case 'stopped':
      return 'Asked to stop: everything claimed is acknowledged, leaving.';
    case 'fenced':
      return `Another run is live (${end.liveRunId ?? 'none is named'}): leaving without another word.`;
    case 'abort-timeout':
      return 'The provider went on after it was told to stop: leaving, so that it ends too.';
  }
}

function endCode(end: RunEnd): number {
  switch (end.type) {
    case 'idle':
    case 'stopped':
      return EXIT_CODES.done;
    case 'fenced':
      return EXIT_CODES.fenced;
    case 'abort-timeout':
      return EXIT_CODES.abortTimeout;
  }
}

function failure(error: unknown): { code: number; sentence: string } {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof UsageError) return { code: EXIT_CODES.usage, sentence: message };
  if (error instanceof ConfigError) return { code: EXIT_CODES.configuration, sentence: message };
  if (error instanceof ProtocolMismatchError || error instanceof VersionError) {
    return { code: EXIT_CODES.version, sentence: message };
  }
  if (error instanceof SqliteError || (error instanceof Error && 'code' in error)) {
    const sentence = `The session's files cannot be used: ${message}. What was committed is kept.`;
    return { code: EXIT_CODES.session, sentence };
  }
  return { code: EXIT_CODES.bug, sentence: inspect(error) };
}
