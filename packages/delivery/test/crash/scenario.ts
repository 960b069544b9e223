// One session with a message of each sort, delivered to a platform whose ledger is a file. Every touch of inbound.db and
// of the platform is a step, at which the process may be made to die.
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  createSession,
  HostSession,
  inProcessReader,
  type JsonObject,
  type OpenSqlite,
  type OutboundMessage,
  RunnerSession,
  runId,
  type SendResult,
  type Sqlite,
  sessionFolder,
} from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import {
  type Attempt,
  DELIVERY_POLICY,
  type DeliveryPorts,
  deliverSession,
  Gate,
  type PassState,
  type Route,
} from '../../src/index.ts';
import { type Duplicates } from '../../src/send.ts';

const START = 1_000_000_000_000;
const CHAT = { channelType: 'fake', platformId: 'main', threadId: null };
const SIDE = { channelType: 'fake', platformId: 'side', threadId: null };

const MESSAGES: readonly { readonly content: JsonObject; readonly address: typeof CHAT }[] = [
  { content: { text: 'plain' }, address: CHAT },
  { content: { text: 'two parts', parts: ['two', 'parts'] }, address: CHAT },
  { content: { text: 'fails once' }, address: CHAT },
  { content: { text: 'refused' }, address: SIDE },
  { content: { text: 'with a file', hasFile: true }, address: CHAT },
  { content: { text: 'last' }, address: SIDE },
];

/** What people must see in the end, in the order of each address. */
export const EXPECTED = { main: ['plain', 'two', 'parts', 'fails once', 'with a file'], side: ['last'] };

/** One line of the platform's ledger: a message that people can see. */
export interface Shown {
  readonly key: string;
  readonly place: string;
  readonly text: string;
  readonly isMarked: boolean;
}

/** Makes a session with everything said and nothing delivered. */
export function prepare(root: string): void {
  const folder = createSession(join(root, 'session'));
  mkdirSync(join(root, 'platform'));
  using host = HostSession.open(folder, openSqlite);
  const run = runId('run-1');
  host.beginRun(run, START);
  using runner = RunnerSession.open(folder, openSqlite, { runId: run, runnerVersion: '0', provider: 'fake' }, START);
  MESSAGES.forEach(({ content, address }, i) => {
    if (content['hasFile'] === true) {
      mkdirSync(join(folder.outbound.files, `out-${i}`), { recursive: true });
      writeFileSync(join(folder.outbound.files, `out-${i}`, 'report.txt'), 'all well');
    }
    runner.send({ id: `out-${i}`, kind: 'chat', address, inReplyTo: null, content }, START);
  });
}

/** Delivers all of it, on a clock that jumps to when there is next something to do. `step` may not return. */
export async function deliverAll(root: string, duplicates: Duplicates, step: () => void): Promise<void> {
  const folder = sessionFolder(join(root, 'session'));
  using host = HostSession.open(folder, stepping(openSqlite, step));
  let now = START;
  const world: DeliveryPorts = {
    route: (_session, message) => route(message, duplicates),
    send: async (message, attempt) => {
      step();
      const result = show(root, message, attempt, duplicates);
      step();
      return result;
    },
    cleanUp: async (_session, messageOutId) => {
      step();
      rmSync(join(folder.outbound.files, messageOutId), { recursive: true, force: true });
      step();
    },
    notify: async (_session, notice) => {
      step();
      appendFileSync(join(root, 'platform', 'notices'), `${notice.reason}\n`);
      step();
    },
    gate: new Gate(),
    now: () => now,
    // Nothing hangs here, so the only timers are time-outs that do not happen.
    setTimer: () => () => undefined,
    random: () => 0,
    policy: DELIVERY_POLICY,
  };
  const session = {
    key: 's',
    folder,
    inSession: <T>(use: (one: HostSession) => T) => use(host),
    reader: inProcessReader(folder, openSqlite),
  };
  let last: PassState | undefined;
  do {
    if (last?.nextAt !== undefined) now = Math.max(now, last.nextAt);
    last = (await deliverSession(session, world, { last })).state;
  } while (last.nextAt !== undefined);
}

/** What people see, in the order in which it appeared. */
export function ledger(root: string): Shown[] {
  const path = join(root, 'platform', 'ledger');
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line): Shown => JSON.parse(line));
}

function route({ address, content }: OutboundMessage, duplicates: Duplicates): Route {
  const { parts } = content;
  return {
    type: 'deliver',
    address: address ?? CHAT,
    account: 'fake',
    duplicates,
    ...(content['hasFile'] === true && { cleansUp: true }),
    ...(Array.isArray(parts) && { parts: parts.map((text) => ({ text })) }),
  };
}

function show(root: string, message: OutboundMessage, attempt: Attempt, duplicates: Duplicates): SendResult {
  const text = String(message.content['text']);
  if (text === 'refused') return { type: 'failed', permanent: true, reason: 'Forbidden.' };
  const failedOnce = join(root, 'platform', 'failed-once');
  if (text === 'fails once' && !existsSync(failedOnce)) {
    writeFileSync(failedOnce, '');
    return { type: 'failed', permanent: false, reason: '503' };
  }
  const { key, isPossibleDuplicate: isMarked } = attempt;
  const isKnown = duplicates === 'key' && ledger(root).some((shown) => shown.key === key);
  const shown: Shown = { key, place: message.address?.platformId ?? '', text, isMarked };
  if (!isKnown) appendFileSync(join(root, 'platform', 'ledger'), `${JSON.stringify(shown)}\n`);
  return { type: 'sent', platformMessageId: key };
}

function stepping(open: OpenSqlite, step: () => void): OpenSqlite {
  const around = <T>(call: () => T): T => {
    step();
    const result = call();
    step();
    return result;
  };
  return (path, mode) => {
    const db = open(path, mode);
    const stepped: Sqlite = {
      exec: (sql) => around(() => db.exec(sql)),
      run: (sql, params) => around(() => db.run(sql, params)),
      all: (sql, params) => around(() => db.all(sql, params)),
      close: () => db.close(),
    };
    return stepped;
  };
}
