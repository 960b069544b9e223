/**
 * A runner that dies in mid-commit: `half-commit.ts ROOT`. It answers m1 properly, then changes so much in one
 * transaction, with so small a cache, that pages reach the file while the journal is hot, says so, and waits to be killed.
 */

import { writeSync } from 'node:fs';
import { openSqlite } from '#driver';
import { RunnerSession, sessionFolder } from '../src/index.ts';
import { handshake, LIMITS, RUN, reply } from './support.ts';

const folder = sessionFolder(process.argv[2] ?? '');
{
  using runner = RunnerSession.open(folder, openSqlite, handshake(RUN), 1_000);
  const result = runner.claim(1_000, LIMITS);
  if (result.type !== 'claimed') throw new Error(result.type);
  runner.finish(
    result.claimed.map((one) => one.claim),
    { type: 'completed' },
    [reply('r1', 'm1')],
    1_100,
  );
}
const db = openSqlite(folder.outbound.database, 'write');
db.exec('PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN IMMEDIATE');
db.run("UPDATE messages_out SET content = json_object('text', 'never committed')");
for (let i = 1; i <= 300; i++) {
  db.run(
    `INSERT INTO messages_out (seq, id, run_id, timestamp, kind, content)
     VALUES (:seq, :id, 'run-1', 1, 'chat', json_object('text', hex(zeroblob(1000))))`,
    { seq: 1_001 + 2 * i, id: `half-${i}` },
  );
}
writeSync(1, 'half\n');
// The database stays open, and its transaction with it.
setInterval(() => db.all('SELECT 1'), 60_000);
