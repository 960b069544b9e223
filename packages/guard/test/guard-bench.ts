/**
 * `pnpm bench:guard`: a warm read of a session's outbound.db in this process and through the guard, in turns, and how long
 * the first read waits for its process. Figures of one run compare with each other alone.
 */
import { inProcessReader, type OutboundReader } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import type { OutboundRequest } from '@nanoclaw/session-db/protocol';
import { ALL, GuardWorld, tampered } from './guard-support.ts';

const ROUNDS = 7;
const TIMES = 300;
const MESSAGES = 50;

using world = new GuardWorld();
const folder = world.session();
tampered(folder, (db) =>
  db.exec(`WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ${MESSAGES - 1})
    INSERT INTO messages_out (seq, id, run_id, timestamp, kind, content)
    SELECT 3 + 2 * i, 'm' || i, 'run-1', 1, 'chat', json_object('text', 'A sentence of the usual length, and another.') FROM n`),
);
const REQUESTS: Record<string, OutboundRequest> = {
  'nothing new': { acksAfter: 9, messagesAfter: 999, again: [] },
  'one message': { acksAfter: 9, messagesAfter: 1 + 2 * (MESSAGES - 1), again: [] },
  [`${MESSAGES} messages`]: ALL,
};

const guard = world.guard();
const direct = inProcessReader(folder, openSqlite);
const guarded = guard.reader(folder);
const cold = performance.now();
await guarded.read(ALL);
process.stdout.write(`first read, with its process: ${(performance.now() - cold).toFixed(0)} ms\n`);
for (const [name, request] of Object.entries(REQUESTS)) {
  const rounds: { readonly direct: number; readonly guarded: number }[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const medians = { direct: await medianOf(direct, request), guarded: await medianOf(guarded, request) };
    // The first is the warm-up.
    if (round > 0) rounds.push(medians);
  }
  const ours = median(rounds.map((round) => round.direct));
  const theirs = median(rounds.map((round) => round.guarded));
  process.stdout.write(
    `${name}: in process ${ours.toFixed(0)} µs, through the guard ${theirs.toFixed(0)} µs ` +
      `(+${(theirs - ours).toFixed(0)} µs, ratio ${(theirs / ours).toFixed(2)})\n`,
  );
}

async function medianOf(reader: OutboundReader, request: OutboundRequest): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < TIMES; i++) {
    const begun = performance.now();
    await reader.read(request);
    times.push((performance.now() - begun) * 1_000);
  }
  return median(times);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
