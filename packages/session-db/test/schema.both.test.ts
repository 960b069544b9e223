import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSqlite } from '#driver';
import {
  type Destination,
  HostSession,
  type Outcome,
  RunnerSession,
  type Sqlite,
  type TroubleRecord,
  VersionError,
} from '../src/index.ts';
import { DELIVERY_STATUSES, INBOUND_STATUSES } from '../src/lifecycle.ts';
import { INBOUND_KINDS } from '../src/messages.ts';
import {
  ACK_STATUSES,
  type CatchUp,
  DEFERRAL_KINDS,
  OUTBOUND_KINDS,
  OVERLAPS,
  PROTOCOL_VERSION,
  type TroubleKind,
} from '../src/protocol.ts';
import {
  INBOUND_MIGRATIONS,
  INBOUND_VERSION,
  migrate,
  OUTBOUND_MIGRATIONS,
  OUTBOUND_VERSION,
  READER_VERSION_MIN,
  schemaText,
  userVersion,
} from '../src/schema.ts';
import { SERIES_STATUSES } from '../src/series.ts';
import { chat, handshake, LIMITS, RUN, TestSession, temporaryFolder } from './support.ts';

let stack: DisposableStack;
beforeEach(() => {
  stack = new DisposableStack();
});
afterEach(() => stack.dispose());

function memory(migrations: readonly string[]): Sqlite {
  const db = stack.adopt(openSqlite(':memory:', 'create'), (each) => each.close());
  migrate(db, migrations);
  return db;
}

function edited(path: string, sql: string): void {
  const db = openSqlite(path, 'write');
  db.exec(sql);
  db.close();
}

/** Of the error that names a newer file's version, 7, and this program's. */
function writesVersion(version: number): RegExp {
  return new RegExp(`version 7 and this program writes version ${version}`);
}

/** The members of a union that the code has no list of. Leaving one out, or one too many, does not compile. */
function members<Union extends string>(all: Record<Union, true>): string[] {
  return Object.keys(all);
}

/** Every column whose CHECK names the texts it may have, with those texts. */
function textsByColumn(db: Sqlite): Record<string, string[]> {
  const texts: Record<string, string[]> = {};
  for (const { name, sql } of db.all<{ name: string; sql: string }>(
    "SELECT name, sql FROM sqlite_schema WHERE type = 'table'",
  )) {
    // A column that came later stands behind a comma, and its CHECK below a comment.
    const columns = /(?:^\s+|, )(\w+)\s+TEXT\b.*(?:\n\s+--.*\n\s+)?CHECK \(\1 IN \(([^)]*)\)\)/gm;
    for (const [, column, list] of sql.matchAll(columns)) {
      texts[`${name}.${column}`] = [...(list ?? '').matchAll(/'([^']*)'/g)].map(([, text]) => text ?? '');
    }
  }
  return texts;
}

describe("the tables' CHECKs", () => {
  it('allow in inbound.db exactly what the unions of the code have', () => {
    expect(textsByColumn(memory(INBOUND_MIGRATIONS))).toEqual({
      'messages_in.kind': [...INBOUND_KINDS],
      'messages_in.status': [...INBOUND_STATUSES],
      'messages_in.deferral': [...DEFERRAL_KINDS],
      'messages_in.deferral_notice': ['owed', 'sent'],
      'delivered.status': [...DELIVERY_STATUSES],
      'delivered.todo': ['clean-up', 'tell'],
      'series.status': [...SERIES_STATUSES],
      'series.catch_up': members<CatchUp['type']>({ skip: true, latest: true, all: true }),
      'series.overlap': [...OVERLAPS],
      'trouble.kind': members<TroubleKind>({ wake: true, outbound: true }),
      'trouble.notice_owed': members<NonNullable<TroubleRecord['noticeOwed']>>({ began: true, ended: true }),
      'destinations.type': members<Destination['type']>({ channel: true, agent: true }),
    });
  });

  it('allow in outbound.db exactly what the unions of the code have', () => {
    expect(textsByColumn(memory(OUTBOUND_MIGRATIONS))).toEqual({
      'messages_out.kind': [...OUTBOUND_KINDS],
      'processing_ack.status': [...ACK_STATUSES],
      'processing_ack.deferral': [...DEFERRAL_KINDS],
      'turns.outcome': members<Exclude<Outcome['type'], 'deferred'>>({ completed: true, failed: true }),
    });
  });

  it("keep the parities apart: the host's numbers are even and the runner's odd (failure 15)", () => {
    using session = new TestSession(openSqlite);
    session.host.enqueue(chat('m1'), 1_000);
    using runner = session.startRun();
    runner.send({ id: 'o1', kind: 'chat', address: null, inReplyTo: null, content: {} }, 1_000);
    expect(() => edited(session.folder.inbound.database, 'UPDATE messages_in SET seq = 3')).toThrow(/CHECK/);
    expect(() => edited(session.folder.outbound.database, 'UPDATE messages_out SET seq = 4')).toThrow(/CHECK/);
  });

  it('are in STRICT tables all, with every time an integer (failure 21)', () => {
    for (const db of [memory(INBOUND_MIGRATIONS), memory(OUTBOUND_MIGRATIONS)]) {
      const tables = db.all<{ name: string; strict: number }>(
        "SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite_%'",
      );
      expect(tables.filter((table) => table.strict === 0)).toEqual([]);
      const times = tables.flatMap(({ name }) =>
        db.all<{ name: string; type: string }>(
          `SELECT name, type FROM pragma_table_xinfo('${name}')
           WHERE name GLOB '*_at' OR name IN ('timestamp', 'process_after', 'deliver_after', 'status_changed', 'slot')`,
        ),
      );
      expect(times.length).toBeGreaterThan(5);
      expect(times.filter((column) => column.type !== 'INTEGER')).toEqual([]);
    }
  });
});

describe('a file that its owner opens', () => {
  it('has the schema of this code, whole (failure 18)', () => {
    using session = new TestSession(openSqlite);
    session.startRun()[Symbol.dispose]();
    for (const [path, migrations] of [
      [session.folder.inbound.database, INBOUND_MIGRATIONS],
      [session.folder.outbound.database, OUTBOUND_MIGRATIONS],
    ] as const) {
      const db = stack.adopt(openSqlite(path, 'read'), (each) => each.close());
      expect(schemaText(db)).toBe(schemaText(memory(migrations)));
      expect(userVersion(db)).toBe(migrations.length);
    }
  });

  it('names its version and the oldest reader, in both files', () => {
    using session = new TestSession(openSqlite);
    session.startRun()[Symbol.dispose]();
    for (const [path, table] of [
      [session.folder.inbound.database, 'host_state'],
      [session.folder.outbound.database, 'container_state'],
    ] as const) {
      const db = stack.adopt(openSqlite(path, 'read'), (each) => each.close());
      expect(db.all(`SELECT protocol_version, reader_version_min FROM ${table}`)).toEqual([
        { protocol_version: PROTOCOL_VERSION, reader_version_min: READER_VERSION_MIN },
      ]);
    }
  });

  it('is brought to a later version step by step, with what it holds', () => {
    const steps = [...INBOUND_MIGRATIONS, 'ALTER TABLE messages_in ADD COLUMN later TEXT', 'CREATE TABLE more (a)'];
    using session = new TestSession(openSqlite);
    session.host.enqueue(chat('m1'), 1_000);
    const db = stack.adopt(openSqlite(session.folder.inbound.database, 'write'), (each) => each.close());
    migrate(db, steps);
    expect(db.all('SELECT id, later FROM messages_in')).toEqual([{ id: 'm1', later: null }]);
    expect(userVersion(db)).toBe(INBOUND_VERSION + 2);
    expect(schemaText(db)).toBe(schemaText(memory(steps)));
  });

  it('stays at its version, whole, when a step fails', () => {
    using session = new TestSession(openSqlite);
    const db = stack.adopt(openSqlite(session.folder.inbound.database, 'write'), (each) => each.close());
    const before = schemaText(db);
    const steps = [...INBOUND_MIGRATIONS, 'CREATE TABLE more (a)', 'CREATE TABLE messages_in (a)'];
    expect(() => migrate(db, steps)).toThrow(/already exists/);
    expect([userVersion(db), schemaText(db)]).toEqual([INBOUND_VERSION, before]);
  });

  it('is refused, and left as it is, when newer code wrote it: the error names both versions (failure 17)', () => {
    using session = new TestSession(openSqlite);
    session.startRun()[Symbol.dispose]();
    for (const path of [session.folder.inbound.database, session.folder.outbound.database]) {
      edited(path, 'PRAGMA user_version = 7');
    }
    const bytes = () => [readFileSync(session.folder.inbound.database), readFileSync(session.folder.outbound.database)];
    session.host[Symbol.dispose]();
    const before = bytes();
    expect(() => HostSession.open(session.folder, openSqlite)).toThrow(writesVersion(INBOUND_VERSION));
    expect(() => RunnerSession.open(session.folder, openSqlite, handshake(RUN), 2_000)).toThrow(
      writesVersion(OUTBOUND_VERSION),
    );
    expect(() => HostSession.open(session.folder, openSqlite)).toThrow(VersionError);
    expect(bytes()).toEqual(before);
  });

  it('is brought from version 1 to this one with the address of each delivery, and nothing where there is none', () => {
    const db = memory(INBOUND_MIGRATIONS.slice(0, 1));
    const lanes = [
      'host',
      '',
      '["terminal","main",null]',
      '["terminal","main","7"]',
      '["terminal"]',
      '[1,2]',
      '7',
      '[',
    ];
    lanes.forEach((lane, index) => {
      db.run(
        `INSERT INTO delivered
           (seq, part, message_out_id, lane, status, attempts, attempts_before, in_flight, uncertain, plain, cleans_up,
            next_attempt_at)
         VALUES (:seq, 0, 'o', :lane, 'pending', 0, 0, 0, 0, 0, 0, 1000)`,
        { seq: 2 * index + 1, lane },
      );
    });
    migrate(db, INBOUND_MIGRATIONS);
    expect(
      db.all('SELECT lane, channel_type AS c, platform_id AS p, thread_id AS t FROM delivered ORDER BY seq'),
    ).toEqual(
      lanes.map((lane) => {
        if (!lane.startsWith('["terminal","main"')) return { lane, c: null, p: null, t: null };
        return { lane, c: 'terminal', p: 'main', t: lane.includes('"7"') ? '7' : null };
      }),
    );
    for (const wrong of ["channel_type = 'x'", "platform_id = 'x'", "thread_id = 'x'"]) {
      expect(() => db.exec(`UPDATE delivered SET ${wrong} WHERE lane = 'host'`)).toThrow(/CHECK/);
    }
  });

  it('is brought from version 2 to this one with a wait for what waits, and none for what is due at a time', () => {
    const db = memory(INBOUND_MIGRATIONS.slice(0, 2));
    const message = `INSERT INTO messages_in
      (seq, id, kind, timestamp, status, tries, process_after, series_id, slot, trigger, on_wake, content) VALUES`;
    db.exec(`${message} (2, 'new', 'chat', 0, 'pending', 0, 9, NULL, NULL, 1, 0, '{}')`);
    db.exec(`${message} (4, 'retried', 'chat', 0, 'pending', 1, 9, NULL, NULL, 1, 0, '{}')`);
    db.exec(`${message} (6, 's@9', 'task', 0, 'pending', 0, 9, 's', 9, 1, 0, '{}')`);
    migrate(db, INBOUND_MIGRATIONS);
    expect(db.all('SELECT id, wait_ms AS waitMs FROM messages_in')).toEqual([
      { id: 'new', waitMs: 0 },
      { id: 'retried', waitMs: 300_000 },
      { id: 's@9', waitMs: null },
    ]);
    expect(db.all('SELECT generation, protocol_version AS protocol FROM host_state')).toEqual([
      { generation: 0, protocol: PROTOCOL_VERSION },
    ]);
  });

  it("is refused when it has another program's tables", () => {
    const root = stack.use(temporaryFolder()).path;
    const db = stack.adopt(openSqlite(join(root, 'a.db'), 'create'), (each) => each.close());
    db.exec('CREATE TABLE messages_in (id TEXT)');
    expect(() => migrate(db, INBOUND_MIGRATIONS)).toThrow(VersionError);
    expect(schemaText(db)).toBe('table messages_in messages_in CREATE TABLE messages_in (id TEXT)');
  });

  it('gets its schema when a crash had left it empty', () => {
    using session = new TestSession(openSqlite);
    writeFileSync(session.folder.outbound.database, '');
    expect(session.read()).toEqual({ type: 'absent' });
    session.startRun()[Symbol.dispose]();
    expect(session.read()).toMatchObject({ type: 'read' });
  });
});

describe('a reader', () => {
  it('refuses a newer inbound.db that it is too old for, naming both versions, and reads one that it may (17)', () => {
    using session = new TestSession(openSqlite);
    session.host.enqueue(chat('m1'), 1_000);
    using runner = session.startRun();
    edited(session.folder.inbound.database, 'PRAGMA user_version = 7');
    expect(runner.claim(1_000, LIMITS)).toMatchObject({ type: 'claimed', claimed: [{ claim: { messageId: 'm1' } }] });
    edited(session.folder.inbound.database, 'UPDATE host_state SET reader_version_min = 6');
    expect(() => runner.claim(2_000, LIMITS)).toThrow(VersionError);
    expect(() => runner.claim(2_000, LIMITS)).toThrow(
      new RegExp(`version 7 \\(readable from version 6\\).*this runner reads version ${INBOUND_VERSION}`),
    );
  });

  it('waits while inbound.db has no schema yet', () => {
    using session = new TestSession(openSqlite);
    using runner = session.startRun();
    session.host[Symbol.dispose]();
    writeFileSync(session.folder.inbound.database, '');
    expect(runner.claim(1_000, LIMITS)).toMatchObject({ type: 'unreadable' });
  });

  it('reads an outbound.db of every older version, and none whose schema is not that of its version', () => {
    for (let version = 1; version <= OUTBOUND_VERSION; version++) {
      using session = new TestSession(openSqlite);
      const db = openSqlite(session.folder.outbound.database, 'create');
      for (const step of OUTBOUND_MIGRATIONS.slice(0, version)) db.exec(step);
      db.exec(`PRAGMA user_version = ${version}`);
      db.close();
      expect(session.read()).toMatchObject({ type: 'read' });
      edited(session.folder.outbound.database, 'CREATE TABLE more (a)');
      expect(session.read()).toMatchObject({ type: 'foreign-schema' });
    }
  });

  it("reports a newer outbound.db as a finding that names both versions, and the host's own file goes on (17)", () => {
    using session = new TestSession(openSqlite);
    session.startRun()[Symbol.dispose]();
    edited(session.folder.outbound.database, 'PRAGMA user_version = 7');
    expect(session.read()).toEqual({
      type: 'foreign-schema',
      detail: `outbound.db has schema version 7 and this host reads versions up to ${OUTBOUND_VERSION}.`,
    });
    expect(session.host.enqueue(chat('m1'), 1_000)).toBe('inserted');
  });
});
