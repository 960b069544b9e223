/**
 * What a pass costs by the length of the history behind it: `pnpm bench`. Nothing of the history is open, so all columns
 * should be the same but for the depth of a b-tree. Figures of one run are comparable with each other only.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { createSession, HostSession, inProcessReader, RunnerSession, runId } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { DELIVERY_POLICY, type DeliveryPorts, deliverSession, Gate, type PassState } from '../src/index.ts';

const HISTORIES = [0, 10_000, 1_000_000];
const ROUNDS = 7;
const NOW = 1_000_000_000_000;
const ADDRESS = { channelType: 'fake', platformId: 'main', threadId: null };

const world: DeliveryPorts = {
  route: () => ({ type: 'deliver', address: ADDRESS, account: 'fake', duplicates: 'key' }),
  send: async () => ({ type: 'sent', platformMessageId: 'p' }),
  cleanUp: async () => undefined,
  notify: async () => undefined,
  gate: new Gate(),
  now: () => NOW,
  setTimer: () => () => undefined,
  random: () => 0,
  policy: DELIVERY_POLICY,
};

interface Figures {
  readonly delivered: number;
  readonly quiet: number[];
  readonly idle: number[];
  readonly one: number[];
}

const root = mkdtempSync(join(tmpdir(), 'nanoclaw-bench-'));
try {
  const figures: Figures[] = [];
  for (const delivered of HISTORIES) figures.push(await measured(delivered));
  print(figures);
} finally {
  rmSync(root, { recursive: true });
}

async function measured(delivered: number): Promise<Figures> {
  const folder = createSession(join(root, `s${delivered}`));
  HostSession.open(folder, openSqlite)[Symbol.dispose]();
  fill(folder.inbound.database, delivered);
  using host = HostSession.open(folder, openSqlite);
  const run = runId('run-1');
  host.beginRun(run, NOW);
  using runner = RunnerSession.open(folder, openSqlite, { runId: run, runnerVersion: '0', provider: 'fake' }, NOW);
  // A runner goes on from the highest number that it has seen in the host's file.
  runner.claim(NOW, { work: 1, control: 1, context: 1 });
  const session = {
    key: 's',
    folder,
    inSession: <T>(use: (one: HostSession) => T) => use(host),
    reader: inProcessReader(folder, openSqlite),
  };
  let last: PassState | undefined;
  let said = 0;
  const figures = { delivered, quiet: [], idle: [], one: [] };
  const pass = async (state?: PassState, attempts = 0) => {
    const report = await deliverSession(session, world, { last: state });
    if (report.attempts.length !== attempts) throw new Error(`${report.attempts.length} attempts, not ${attempts}`);
    last = report.state;
  };
  const say = () => {
    said += 1;
    runner.send({ id: `m${said}`, kind: 'chat', address: ADDRESS, inReplyTo: null, content: { text: 'x' } }, NOW);
  };
  // The first round warms up and is thrown away.
  for (let round = 0; round <= ROUNDS; round += 1) {
    const into = round === 0 ? { quiet: [], idle: [], one: [] } : figures;
    await pass();
    await timed(into.quiet, 2_000, () => pass(last));
    await timed(into.idle, 200, () => pass());
    await timed(into.one, 30, () => pass(undefined, 1), say);
  }
  return figures;
}

/** Rows as delivery leaves them, written at once. */
function fill(path: string, count: number): void {
  const db = openSqlite(path, 'write');
  db.exec('PRAGMA synchronous = OFF');
  db.run(
    `INSERT INTO delivered (seq, part, message_out_id, lane, status, attempts, attempts_before, in_flight, uncertain,
       plain, cleans_up, next_attempt_at, platform_message_id, settled_at)
     WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count)
     SELECT 2 * n - 1, 0, 'run-0/' || n, 'main', 'delivered', 1, 0, 0, 0, 0, 0, :now, 'p' || n, :now
     FROM numbers WHERE :count > 0`,
    { count, now: NOW },
  );
  db.run('UPDATE host_state SET messages_taken = :taken', { taken: 2 * count });
  db.close();
}

/** Appends the microseconds that one call took on average; `prepare` is not timed. */
async function timed(
  into: number[],
  calls: number,
  call: () => Promise<void>,
  prepare: () => void = () => undefined,
): Promise<void> {
  let total = 0;
  for (let i = 0; i < calls; i += 1) {
    prepare();
    const from = performance.now();
    await call();
    total += performance.now() - from;
  }
  into.push((total * 1_000) / calls);
}

function print(all: readonly Figures[]): void {
  const none = all[0];
  if (none === undefined) return;
  console.log(
    'delivered rows | quiet look µs | idle pass µs | pass with one message µs   (median min–max, ratio to none)',
  );
  for (const figures of all) {
    const columns = (['quiet', 'idle', 'one'] as const).map((name) => {
      const ratio = median(figures[name]) / median(none[name]);
      const [min, max] = [Math.min(...figures[name]), Math.max(...figures[name])];
      return `${median(figures[name]).toFixed(1)} ${min.toFixed(1)}–${max.toFixed(1)} ×${ratio.toFixed(2)}`;
    });
    console.log(`${String(figures.delivered).padStart(14)} | ${columns.join(' | ')}`);
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
