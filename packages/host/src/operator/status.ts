/** `nanoclaw status`, `config` and `drain`: the host as a whole. */
import type { AgentGroup, Session } from '@nanoclaw/registry';
import type { Millis, SessionView } from '@nanoclaw/session-db';
import { z } from 'zod';
import { isSessionTrouble, type UncaughtRecord } from '../errors/index.ts';
import { DEFAULT_PROVIDER } from '../runs/index.ts';
import { liveOnly, type OperatorCommand, reads } from './command.ts';
import type { LiveChannel, LiveModelTrouble, LiveProvider, ReadContext } from './contexts.ts';
import { withFiles } from './sessions.ts';
import { column } from './view.ts';

/** What `nanoclaw status --json` prints. Fields are added, never renamed or taken away. */
export interface Status {
  /** Whether a host runs on the data folder. */
  readonly host: 'running' | 'down';
  /** The version of the program that answers. */
  readonly version: string;
  /** The path of the data folder. */
  readonly data: string;
  /** `null` while the host is down, as are `since`, `isolation` and `guard`. */
  readonly pid: number | null;
  /** When the host was started, in wall-clock milliseconds. */
  readonly since: Millis | null;
  /** What isolates the agents. */
  readonly isolation: string | null;
  /** What closes in the guard, which reads what agents wrote, as a sentence; `null` while that is being tried, too. */
  readonly guard: string | null;
  /** How many sessions there are. */
  readonly sessions: number;
  /** How many of them have a live run. */
  readonly running: number;
  /** Messages that would wake an agent now. */
  readonly due: number;
  /** For how long the oldest of them has been due, in milliseconds. */
  readonly oldestDueMs: number | null;
  /** Messages given up, in both directions. */
  readonly deadLetters: number;
  /** Messages that wait for a model that refused or was away. */
  readonly deferred: number;
  /** Sessions that are kept from running. */
  readonly troubled: number;
  /** Requests that wait for a decision, at most 1000. */
  readonly approvals: number;
  /** Questions that wait for an answer, at most 1000. */
  readonly questions: number;
  /** Sessions whose file could not be read for this. */
  readonly unreadable: number;
  /** Each channel with its state, and why it is offline; none while the host is down. */
  readonly channels: readonly LiveChannel[];
  /** Each provider with the folders of the agents for whom it answers; none while the host is down. */
  readonly providers: readonly UsedProvider[];
  /** Models that refuse, are away or give no sign; none while the host is down. */
  readonly modelTroubles: readonly LiveModelTrouble[];
  /** What of the configuration cannot be used. */
  readonly problems: readonly string[];
  /** Errors that nothing caught since the start, by whose they are; none while the host is down. */
  readonly uncaught: readonly UncaughtRecord[];
}

/** A provider that agents can be given. */
export interface UsedProvider {
  /** As agents and the configuration name it. */
  readonly name: string;
  /** The module that it comes from; `null`: it came with the program. */
  readonly module: string | null;
  /** The folders of the agents for whom it answers. */
  readonly agents: readonly string[];
}

/** The commands about the host as a whole. */
export const hostCommands: readonly OperatorCommand[] = [
  reads({
    path: ['status'],
    summary: 'show the state of the host and what waits in it',
    parameters: z.object({}),
    agents: 'all',
    view: {
      type: 'record',
      tables: {
        channels: [
          column('NAME', 'instance'),
          column('TYPE', 'type'),
          column('STATE', 'state'),
          column('REASON', 'reason'),
        ],
        providers: [column('NAME', 'name'), column('MODULE', 'module'), column('AGENTS', 'agents')],
        modelTroubles: [
          column('PROVIDER', 'provider'),
          column('STATE', 'kind'),
          column('SINCE', 'since', 'time'),
          column('NEXT TRY', 'retryAt', 'time'),
          column('SESSIONS', 'sessions'),
          column('MESSAGES', 'messages'),
          column('REASON', 'reason'),
        ],
        uncaught: [
          column('ERRORS FROM', 'origin'),
          column('TIMES', 'times'),
          column('LAST', 'lastAt'),
          column('ERROR', 'error'),
        ],
      },
    },
    run: status,
  }),
  reads({
    path: ['config'],
    summary: 'show every key of the configuration, its value and its source; --help explains each',
    parameters: z.object({}),
    agents: 'never',
    view: {
      type: 'table',
      columns: [
        column('KEY', 'key'),
        column('VALUE', 'value'),
        column('SOURCE', 'source'),
        column('VARIABLE', 'variable'),
      ],
      empty: 'There are no keys.',
    },
    run: async ({ config }) => config,
  }),
  liveOnly({
    path: ['drain'],
    summary: 'finish what is under way and stop the host; runs that go on are adopted at the next start',
    parameters: z.object({}),
    agents: 'never',
    view: { type: 'message' },
    run: async ({ live, onProgress }) => {
      const { unfinished, running } = await live.drain(onProgress);
      const deliveries =
        unfinished.length === 0
          ? 'No delivery is under way.'
          : `Sessions with a delivery that has no outcome yet: ${unfinished.length}; it is tried again at the next start.`;
      const runs =
        running.length === 0
          ? 'No agent runs.'
          : `Agents that still run: ${running.length}; the next start adopts them, or takes up their work again.`;
      return { unfinished, running, message: `The host stops. ${deliveries} ${runs}` };
    },
  }),
];

/** How many questions and approvals are counted at most. */
const COUNT_MAX = 1_000;

async function status(context: ReadContext): Promise<Status> {
  const { registry, live, now, version, data } = context;
  const of = live?.status();
  const sessions = await registry.sessions();
  const counts = await counted(context, sessions);
  const at = now();
  const waiting = { state: 'open', now: at, limit: COUNT_MAX } as const;
  return {
    host: live === undefined ? 'down' : 'running',
    version,
    data: data.root,
    pid: of?.pid ?? null,
    since: of?.since ?? null,
    isolation: of?.isolation ?? null,
    guard: of?.guard ?? null,
    sessions: sessions.length,
    running: of?.running.length ?? counts.runs,
    due: counts.due,
    oldestDueMs: counts.oldestDueAt === undefined ? null : Math.max(0, at - counts.oldestDueAt),
    deadLetters: counts.deadLetters,
    deferred: counts.deferred,
    troubled: counts.troubled,
    approvals: (await registry.approvals.list(waiting)).length,
    questions: (await registry.questions.list(waiting)).length,
    unreadable: counts.unreadable,
    channels: of?.channels ?? [],
    providers: usedProviders(of?.providers ?? [], await registry.agentGroups()),
    modelTroubles: of?.modelTroubles ?? [],
    problems: of?.problems ?? [],
    uncaught: of?.uncaught ?? [],
  };
}

/** Pure. */
function usedProviders(providers: readonly LiveProvider[], agents: readonly AgentGroup[]): UsedProvider[] {
  return providers.map(({ name, module, isDefault }) => ({
    name,
    module,
    agents: agents
      .filter(({ provider }) => provider === name || (isDefault && provider === DEFAULT_PROVIDER))
      .map(({ folder }) => folder),
  }));
}

/** What all sessions have together. */
interface Counts {
  runs: number;
  due: number;
  oldestDueAt: Millis | undefined;
  deadLetters: number;
  deferred: number;
  troubled: number;
  unreadable: number;
}

/** One whose file cannot be read is counted, and does not keep the others from it: `sessions get` says what it is. */
async function counted(context: ReadContext, sessions: readonly Session[]): Promise<Counts> {
  const none = { runs: 0, due: 0, deadLetters: 0, deferred: 0, troubled: 0, unreadable: 0 };
  const sum: Counts = { ...none, oldestDueAt: undefined };
  for (const session of sessions) {
    try {
      await withFiles(context, session, ({ files }) => add(sum, files, context.now()));
    } catch (error) {
      if (!isSessionTrouble(error)) throw error;
      sum.unreadable += 1;
    }
  }
  return sum;
}

function add(sum: Counts, files: SessionView, now: Millis): void {
  const due = files.dueCount(now);
  const oldest = due === 0 ? undefined : files.nextDueAt();
  sum.due += due;
  if (oldest !== undefined) sum.oldestDueAt = Math.min(oldest, sum.oldestDueAt ?? oldest);
  if (files.liveRun() !== undefined) sum.runs += 1;
  sum.deadLetters += files.deadLetters.count() + files.deliveries.deadLetterCount();
  sum.deferred += files.deferrals.get()?.messages ?? 0;
  if (files.trouble.get('wake') ?? files.trouble.get('outbound')) sum.troubled += 1;
}
