/** Databases that no honest runner writes. */
import { readFileSync, writeFileSync } from 'node:fs';
import type { OpenSqlite } from '@nanoclaw/session-db';
import type { Attack, Place } from '../attack.ts';

const MESSAGE = 'INSERT INTO messages_out (seq, id, run_id, timestamp, kind, content)';
const NEXT = '(SELECT coalesce(max(seq), -1) + 2 FROM messages_out)';
const COUNT = 'WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i <';
/** What an agent that can write its own file does with it. */
function asOwner({ outbound }: Place, openSqlite: OpenSqlite, sql: string): void {
  const db = openSqlite(outbound.database, 'write');
  try {
    db.exec('PRAGMA busy_timeout = 5000; PRAGMA ignore_check_constraints = 1; PRAGMA synchronous = 0');
    db.exec(sql);
  } finally {
    db.close();
  }
}

const SCHEMAS: Record<string, string> = {
  'a view': 'CREATE VIEW v AS SELECT 1',
  'a trigger': 'CREATE TRIGGER t AFTER INSERT ON turns BEGIN DELETE FROM turns; END',
  'a view in place of a table, which never ends': `DROP TABLE messages_out; CREATE VIEW messages_out AS
    WITH RECURSIVE n (seq) AS (VALUES (1) UNION ALL SELECT seq FROM n) SELECT * FROM n`,
  'a view in place of a table, which eats memory': `DROP TABLE container_state; CREATE VIEW container_state AS
    SELECT group_concat(hex(zeroblob(100000000))) AS run_id FROM messages_out`,
  'a generated column that never ends': 'ALTER TABLE turns ADD COLUMN x INTEGER AS (length(hex(zeroblob(900000000))))',
  'an index on an expression': 'CREATE INDEX i ON turns (abs(turn))',
  'a virtual table': 'CREATE VIRTUAL TABLE f USING fts5 (x)',
  'a table of its own': 'CREATE TABLE mine (x)',
  'no tables': 'DROP TABLE turns; DROP TABLE messages_out; DROP TABLE processing_ack; DROP TABLE container_state',
  'a version of its own': 'PRAGMA user_version = 7000',
  'a write-ahead log': 'PRAGMA journal_mode = wal',
  'another page size': 'PRAGMA page_size = 65536; VACUUM',
};

const ROWS: Record<string, string> = {
  'an id with a way out': `${MESSAGE} VALUES (${NEXT}, char(0) || '../../../inbound/inbound.db', 'r', 1, 'chat', '{}')`,
  'an id of a million characters': `${MESSAGE} VALUES (${NEXT}, hex(zeroblob(500000)), 'r', 1, 'chat', '{}')`,
  'an id with control characters': `${MESSAGE} VALUES (${NEXT}, 'a' || char(27) || '[2J', 'r', 1, 'chat', '{}')`,
  'JSON of 100 000 levels': `${MESSAGE} VALUES (${NEXT}, 'p', 'r', 1, 'chat', '{"a":' || replace(hex(zeroblob(50000)), '0', '[') || replace(hex(zeroblob(50000)), '0', ']') || '}')`,
  'JSON of 40 megabytes': `${MESSAGE} VALUES (${NEXT}, 'p', 'r', 1, 'chat', json_object('t', hex(zeroblob(20000000))))`,
  'JSON with 200 000 keys': `${MESSAGE} SELECT ${NEXT}, 'p', 'r', 1, 'chat', json_group_object('k' || i, i) FROM (${COUNT} 200000) SELECT i FROM n)`,
  'JSON that is a list': `${MESSAGE} VALUES (${NEXT}, 'p', 'r', 1, 'chat', '[]')`,
  'an even number': `${MESSAGE} VALUES (${NEXT} + 1, 'p', 'r', 1, 'chat', '{}')`,
  'a kind of its own': `${MESSAGE} VALUES (${NEXT}, 'p', 'r', 1, 'evil', '{}')`,
  'the largest number there is': `${MESSAGE} VALUES (9223372036854775807, 'p', 'r', 1, 'chat', '{}')`,
  'the numbers backwards': `${MESSAGE} VALUES (1, 'p', 'r', 1, 'chat', '{"text":"backwards"}')`,
};

const FLOODS: Record<string, string> = {
  'a million rows': `${COUNT} 1000000) ${MESSAGE} SELECT 10001 + 2 * i, 'flood-' || i, 'r', 1, 'chat', '{"text":"x"}' FROM n`,
  'five thousand rows that no honest runner writes': `${COUNT} 5000) ${MESSAGE} SELECT 10001 + 2 * i, 'f-' || i, 'r', 1, 'evil', '{}' FROM n`,
  'three hundred rows as big as may be': `${COUNT} 300) ${MESSAGE} SELECT 10001 + 2 * i, 'big-' || i, 'r', 1, 'chat',
    json_object('text', hex(zeroblob(400000))) FROM n`,
  'a hundred thousand claims': `${COUNT} 100000) INSERT INTO processing_ack (message_id, attempt, run_id, status, status_changed)
    SELECT 'made-up-' || i, 1, 'r', 'completed', 1 FROM n`,
  'an error of 60 megabytes': `INSERT INTO processing_ack (message_id, attempt, run_id, status, status_changed, error)
    VALUES ('made-up', 1, 'r', 'failed', 1, hex(zeroblob(30000000)))`,
  'a hundred thousand states of the container': `${COUNT} 100000) INSERT INTO container_state
    SELECT 1 + i, run_id, protocol_version, reader_version_min, runner_version, provider, started_at, progress_at, tools,
      updated_at FROM container_state, n WHERE one = 1`,
};

/** Pages that are not what they were; the seed says which. */
function spoiled({ outbound }: Place, seed: number): void {
  const bytes = readFileSync(outbound.database);
  let state = seed;
  const next = (below: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
  for (let i = 0; i < 40; i += 1) bytes[100 + next(bytes.length - 100)] = next(256);
  writeFileSync(outbound.database, bytes);
}

const of = (kind: string, statements: Record<string, string>, named: RegExp): Attack[] =>
  Object.entries(statements).map(([name, sql]) => ({
    name,
    kind,
    act: (place, openSqlite) => asOwner(place, openSqlite, sql),
    named,
  }));

/** Schemas, rows, masses and spoiled pages. */
export const DATABASES: readonly Attack[] = [
  ...of('the schema has', SCHEMAS, /foreign-schema|not ours|quarantined/),
  ...of('a row has', ROWS, /refused|passed over|messages_out|backwards|corrupt/),
  ...of('in masses', FLOODS, /held|refused|passed over|overran|too-big|processing_ack|limit|backlog|slow/),
  ...[1, 2, 3, 4].map(
    (seed): Attack => ({
      name: `pages spoiled with seed ${seed}`,
      kind: 'the schema has',
      act: (place) => spoiled(place, seed),
      named: /corrupt|foreign-schema|overran|not ours|refused|quarantined|unreadable/,
    }),
  ),
];
