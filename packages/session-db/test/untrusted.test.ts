import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  INBOUND_RETRY,
  impostors,
  type OpenSqlite,
  type OutboundRead,
  outboundFolder,
  readOutbound,
  type Sqlite,
} from '../src/index.ts';
import { OUTBOUND_LIMITS, type OutboundLimits, outboundReading } from '../src/protocol.ts';
import type { OpenMode } from '../src/sqlite/index.ts';
import { openSqlite } from '../src/sqlite/node.ts';
import { Child } from './processes.ts';
import { chat, claim, RUN, reply, TestSession } from './support.ts';

let session: TestSession;
beforeEach(() => {
  session = new TestSession(openSqlite);
});
afterEach(() => session[Symbol.dispose]());

/** A runner has answered m1 and left. */
function answered(): string {
  session.host.enqueue(chat('m1'), 1_000);
  using runner = session.startRun();
  const claims = claim(runner, 1_000).map((one) => one.claim);
  runner.finish(claims, { type: 'completed' }, [reply('r1', 'm1')], 1_100);
  return session.folder.outbound.database;
}

/** Does with the runner's file what only its owner can. */
function tampered(action: (db: Sqlite) => void): void {
  const db = openSqlite(session.folder.outbound.database, 'write');
  try {
    action(db);
  } finally {
    db.close();
  }
}

function nested(levels: number): string {
  return `{"a":${'['.repeat(levels)}${']'.repeat(levels)}}`;
}

/** Does with its bytes what not even SQLite would do. */
function edited(database: string, action: (bytes: Buffer) => void): void {
  const bytes = readFileSync(database);
  action(bytes);
  writeFileSync(database, bytes);
}

function read(limits: Partial<OutboundLimits> = {}, runEnded = false, open: OpenSqlite = openSqlite): OutboundRead {
  const request = { ...session.host.cursor(), again: [], runEnded };
  return readOutbound(session.folder, open, request, { ...OUTBOUND_LIMITS, ...limits });
}

describe('findings of the reader (FAILURES 13, 45, 46, 48)', () => {
  it('says absent before a run has made the file, and while the file has no schema yet', () => {
    expect(read()).toEqual({ type: 'absent' });
    writeFileSync(session.folder.outbound.database, '');
    expect(read()).toEqual({ type: 'absent' });
    openSqlite(session.folder.outbound.database, 'create').close();
    expect(read()).toEqual({ type: 'absent' });
  });

  it('says busy while the runner commits', () => {
    answered();
    tampered((db) => {
      db.exec('BEGIN EXCLUSIVE');
      expect(read()).toEqual({ type: 'busy' });
      db.exec('ROLLBACK');
      expect(read().type).toBe('read');
    });
  });

  it('reads what is committed while the runner is in a transaction that has not reached its commit', () => {
    answered();
    tampered((db) => {
      db.exec("BEGIN IMMEDIATE; UPDATE messages_out SET content = '{}'");
      expect(read()).toMatchObject({ type: 'read', messages: [{ content: { text: 'answer to m1' } }] });
    });
  });

  const foreign: Record<string, string> = {
    'a view': 'CREATE VIEW v AS SELECT 1',
    'a trigger': 'CREATE TRIGGER t AFTER INSERT ON turns BEGIN DELETE FROM turns; END',
    'an extra index': 'CREATE INDEX extra ON turns (run_id)',
    'an extra table': 'CREATE TABLE extra (x)',
    'an extra column': 'ALTER TABLE turns ADD COLUMN x INTEGER DEFAULT 1',
    'a generated column': 'ALTER TABLE turns ADD COLUMN x INTEGER AS (turn + 1)',
    'a missing table': 'DROP TABLE turns',
    'a newer version': 'PRAGMA user_version = 99',
    'a view in place of a table': `DROP TABLE messages_out;
      CREATE VIEW messages_out AS WITH RECURSIVE n (seq) AS (VALUES (1) UNION ALL SELECT seq FROM n) SELECT * FROM n`,
    'a constraint that never ends': `DROP TABLE turns;
      CREATE TABLE turns (turn INTEGER PRIMARY KEY, CHECK (length(hex(randomblob(1000000000))) > 0))`,
  };
  for (const [name, sql] of Object.entries(foreign)) {
    it(`does not read a file with ${name}`, () => {
      answered();
      tampered((db) => db.exec(sql));
      expect(read().type).toBe('foreign-schema');
    });
  }

  it('does not read a file with a changed default, which no statement can make and a hand on its bytes can', () => {
    const database = answered();
    const ours = 'reason            TEXT,';
    edited(database, (bytes) => bytes.write('reason TEXT DEFAULT 7,'.padEnd(ours.length), bytes.indexOf(ours)));
    expect(read().type).toBe('foreign-schema');
  });

  it('does not read a file with a write-ahead log, and makes no file beside it', () => {
    answered();
    tampered((db) => void db.all('PRAGMA journal_mode = wal'));
    expect(read().type).toBe('foreign-schema');
    expect(existsSync(`${session.folder.outbound.database}-wal`)).toBe(false);
    expect(existsSync(`${session.folder.outbound.database}-shm`)).toBe(false);
  });

  it('says too-big by the size alone, for a sparse giant too', () => {
    const database = answered();
    expect(read({ fileBytesMax: 1_000 })).toMatchObject({ type: 'too-big', bytesMax: 1_000 });
    truncateSync(database, 2 ** 40);
    expect(read()).toEqual({ type: 'too-big', bytes: 2 ** 40, bytesMax: OUTBOUND_LIMITS.fileBytesMax });
  });

  it('says corrupt of what is no database, of a file cut short and of one with damaged pages', () => {
    const database = answered();
    const whole = readFileSync(database);
    writeFileSync(database, Buffer.alloc(8_192, 'x'));
    expect(read().type).toBe('corrupt');
    writeFileSync(database, whole.subarray(0, 50));
    expect(read().type).toBe('corrupt');
    writeFileSync(database, whole.subarray(0, whole.length - 4_096));
    expect(read().type).toBe('corrupt');
    // Two tables on one page, which no look at the rows would show.
    writeFileSync(database, whole);
    edited(database, (bytes) => {
      const rootOf = (table: string): number => bytes.indexOf(`table${table}${table}`) + 5 + 2 * table.length;
      bytes[rootOf('turns')] = bytes[rootOf('messages_out')] ?? 0;
    });
    expect(read().type).toBe('corrupt');
  });

  it('checks the structure again when it has changed, whatever the file itself says of that', () => {
    const database = answered();
    const reading = outboundReading(session.folder, openSqlite);
    const request = { ...session.host.cursor(), again: [] };
    expect(reading(request).type).toBe('read');
    // The change counter in its header stays as it is.
    edited(database, (bytes) => {
      const at = bytes.indexOf('tableturnsturns') + 'tableturnsturns'.length;
      bytes[at] = bytes[bytes.indexOf('tablemessages_outmessages_out') + 'tablemessages_outmessages_out'.length] ?? 0;
    });
    expect(reading(request).type).toBe('corrupt');
  });

  const inItsPlace: Record<string, (database: string) => void> = {
    'a pipe': (database) => execFileSync('mkfifo', [database]),
    'a directory': (database) => mkdirSync(database),
    'a link to another session': (database) => symlinkSync(`${database}.other`, database),
    'a dangling link': (database) => symlinkSync('nowhere', database),
    'a link to a device': (database) => symlinkSync('/dev/zero', database),
    'a file with a second name': (database) => linkSync(`${database}.other`, database),
  };
  for (const [name, put] of Object.entries(inItsPlace)) {
    it(`does not open ${name} in place of the database`, () => {
      const database = answered();
      renameSync(database, `${database}.other`);
      put(database);
      expect(read().type).toBe('not-a-file');
      expect(read({}, true).type).toBe('not-a-file');
    });
    it(`does not open ${name} in place of the journal`, () => {
      const database = answered();
      copyFileSync(database, `${database}-journal.other`);
      put(`${database}-journal`);
      expect(read().type).toBe('not-a-file');
      expect(read({}, true).type).toBe('not-a-file');
    });
  }

  it('does not open a device in place of the database', (context) => {
    const { database } = session.folder.outbound;
    try {
      execFileSync('mknod', [database, 'c', '1', '5'], { stdio: 'ignore' });
    } catch {
      context.skip('only root may make devices');
    }
    expect(read().type).toBe('not-a-file');
  });

  it('believes nothing that SQLite opened under a name that was exchanged in that moment', () => {
    const database = answered();
    const other = `${database}.other`;
    copyFileSync(database, other);
    renameSync(database, `${database}.checked`);
    copyFileSync(other, database);
    // Exchanged after the check and put back before the next look at the name.
    const exchanging: OpenSqlite = (path, mode) => {
      if (path !== database) return openSqlite(path, mode);
      renameSync(database, `${database}.away`);
      symlinkSync(other, database);
      const db = openSqlite(path, mode);
      const all: Sqlite['all'] = (sql, params) => db.all(sql, params);
      rmSync(database);
      renameSync(`${database}.away`, database);
      return { ...db, all };
    };
    expect(read({}, false, exchanging)).toEqual({ type: 'busy' });
    expect(read().type).toBe('read');
  });
});

describe('rows that no honest runner writes (FAILURES 27, 46, 47, 49)', () => {
  const MESSAGE = `INSERT INTO messages_out (seq, id, run_id, timestamp, kind, content) VALUES`;
  const poison: Record<string, string> = {
    'an id with control characters': `${MESSAGE} (5, 'a' || char(10) || 'b', 'run-1', 1, 'chat', '{}')`,
    'an id of 300 000 characters': `${MESSAGE} (5, hex(zeroblob(150000)), 'run-1', 1, 'chat', '{}')`,
    'an even number': `${MESSAGE} (6, 'p', 'run-1', 1, 'chat', '{}')`,
    'an unknown kind': `${MESSAGE} (5, 'p', 'run-1', 1, 'command', '{}')`,
    'content that is no JSON': `${MESSAGE} (5, 'p', 'run-1', 1, 'chat', '{')`,
    'content that is null': `${MESSAGE} (5, 'p', 'run-1', 1, 'chat', 'null')`,
    'content that is a list': `${MESSAGE} (5, 'p', 'run-1', 1, 'chat', '[]')`,
    'content of 40 levels': `${MESSAGE} (5, 'p', 'run-1', 1, 'chat', '${nested(40)}')`,
    'content of 100 000 levels': `${MESSAGE} (5, 'p', 'run-1', 1, 'chat', '${nested(100_000)}')`,
    'content above the limit': `${MESSAGE} (5, 'p', 'run-1', 1, 'chat', json_object('t', hex(zeroblob(600000))))`,
    'half an address': `INSERT INTO messages_out (seq, id, run_id, timestamp, kind, content, channel_type)
      VALUES (5, 'p', 'run-1', 1, 'chat', '{}', 'x')`,
  };
  for (const [name, sql] of Object.entries(poison)) {
    it(`refuses ${name} alone, and passes it over`, () => {
      answered();
      tampered((db) =>
        db.exec(`PRAGMA ignore_check_constraints = 1; ${sql};
        ${MESSAGE} (7, 'after', 'run-1', 1, 'chat', '{}')`),
      );
      const result = read();
      if (result.type !== 'read') throw new Error(JSON.stringify(result));
      expect(result.messages.map((message) => message.id)).toEqual(['r1', 'after']);
      expect(result.refused).toMatchObject([{ table: 'messages_out' }]);
      expect(result.messagesThrough).toBe(7);
    });
  }

  it('refuses numbers exceeds 2^52, and does not let them move its cursor', () => {
    answered();
    tampered((db) => {
      db.exec(`${MESSAGE} (9223372036854775807, 'p', 'run-1', 1, 'chat', '{}')`);
      db.exec(`INSERT INTO processing_ack (change, message_id, attempt, run_id, status, status_changed)
        VALUES (9223372036854775807, 'm1', 2, 'run-1', 'completed', 1)`);
    });
    const result = read();
    expect(result).toMatchObject({ messagesThrough: 3, changesThrough: 2, messages: [{ id: 'r1' }] });
    expect(result).toMatchObject({ refused: [{ table: 'messages_out' }, { table: 'processing_ack' }] });
  });

  it('refuses poisoned acks alone', () => {
    answered();
    tampered((db) =>
      db.exec(`PRAGMA ignore_check_constraints = 1;
        INSERT INTO processing_ack (change, message_id, attempt, run_id, status, status_changed) VALUES
          (3, '', 1, 'run-1', 'completed', 1), (4, 'm1', 0, 'run-1', 'completed', 1), (5, 'm1', 2, 'run-1', 'done', 1)`),
    );
    expect(read()).toMatchObject({ acks: [{ messageId: 'm1', attempt: 1 }], changesThrough: 5 });
    expect(read()).toMatchObject({ refused: [{ row: 3 }, { row: 4 }, { row: 5 }] });
  });

  it('refuses acks that are deferred for nothing, and believes no wait that is none', () => {
    answered();
    tampered((db) =>
      db.exec(`PRAGMA ignore_check_constraints = 1;
        INSERT INTO processing_ack
          (change, message_id, attempt, run_id, status, status_changed, error, deferral, retry_after_ms) VALUES
          (3, 'm1', 2, 'run-1', 'deferred', 1, 'no', NULL, NULL), (4, 'm1', 3, 'run-1', 'deferred', 1, 'no', 'for fun', 1),
          (5, 'm1', 4, 'run-1', 'deferred', 1, 'no', 'refused', -1),
          (6, 'm1', 5, 'run-1', 'deferred', 1, 'no', 'unavailable', 9223372036854775807)`),
    );
    const result = read();
    expect(result).toMatchObject({ refused: [{ row: 3 }, { row: 4 }] });
    const deferred = { status: 'deferred', retryAfterMs: null };
    expect(result).toMatchObject({
      acks: [{ attempt: 1 }, { ...deferred, kind: 'refused' }, { ...deferred, kind: 'unavailable' }],
    });
  });

  it('gives a flood in bounded pieces, by rows and by bytes, none of it lost', () => {
    answered();
    tampered((db) =>
      db.exec(`WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 20)
        ${MESSAGE.replace('VALUES', '')}
        SELECT 3 + 2 * i, 'flood-' || i, 'run-1', 1, 'chat', json_object('t', hex(zeroblob(500))) FROM n`),
    );
    const seen: string[] = [];
    const sizes: number[] = [];
    for (let after = 0; ; ) {
      const request = { acksAfter: 0, messagesAfter: after, again: [] };
      const result = readOutbound(session.folder, openSqlite, request, {
        ...OUTBOUND_LIMITS,
        rowsMax: 8,
        readBytesMax: 5_000,
      });
      if (result.type !== 'read') throw new Error(result.type);
      seen.push(...result.messages.map((message) => message.id));
      sizes.push(result.messages.length);
      after = result.messagesThrough;
      if (!result.more) break;
    }
    expect(seen).toHaveLength(21);
    expect(new Set(seen).size).toBe(21);
    expect(Math.max(...sizes)).toBeLessThan(8);
  });

  it('shows the newest open claims first when dead ones are more than a read gives', () => {
    session.host.enqueue(chat('m1'), 1_000);
    using runner = session.startRun();
    claim(runner, 1_000);
    tampered((db) =>
      db.exec(`INSERT INTO processing_ack (change, message_id, attempt, run_id, status, status_changed)
        WITH RECURSIVE n (i) AS (VALUES (-20) UNION ALL SELECT i + 1 FROM n WHERE i < -1)
        SELECT i, 'old', 100 - i, 'dead', 'processing', 1 FROM n`),
    );
    const result = read({ rowsMax: 5 });
    if (result.type !== 'read') throw new Error(result.type);
    expect(result.openClaims).toHaveLength(5);
    expect(result.openClaims.at(-1)).toMatchObject({ messageId: 'm1' });
  });
});

/** A runner answers m1, and is killed while it commits something else. Gives its file. */
async function died(): Promise<string> {
  session.host.enqueue(chat('m1'), 1_000);
  session.host.beginRun(RUN, 1_000);
  await using child = new Child('node', 'half-commit.ts', [session.folder.root]);
  await child.line(1);
  await child.kill();
  return session.folder.outbound.database;
}

describe('a run that died in mid-commit (FAILURES 12, 48)', () => {
  it('leaves a hot journal, and what it had committed is read from a private copy after its confirmed exit', async () => {
    const database = await died();
    const before = [readFileSync(database), readFileSync(`${database}-journal`)];
    // Half of it has reached the file: without the journal it would be read as committed.
    expect(before[0]?.includes('never committed')).toBe(true);

    expect(read()).toEqual({ type: 'hot-journal' });
    const recovered = read({}, true);
    expect(recovered).toMatchObject({
      type: 'read',
      acks: [{ messageId: 'm1', status: 'completed' }],
      messages: [{ id: 'r1', content: { text: 'answer to m1' } }],
    });
    expect([readFileSync(database), readFileSync(`${database}-journal`)]).toEqual(before);
    expect(existsSync(join(session.folder.host, 'recovery'))).toBe(false);

    if (recovered.type !== 'read') throw new Error(recovered.type);
    session.host.endRun(RUN);
    expect(session.host.settle(recovered, 2_000, INBOUND_RETRY)).toMatchObject([{ to: 'completed' }]);
  });

  it('is recovered as well when a power cut left its very first page in part', () => {
    const database = answered();
    const whole = readFileSync(database);
    // The first sector of the first page is not on disk; the journal says that there was nothing before.
    writeFileSync(database, Buffer.concat([Buffer.alloc(512), whole.subarray(512)]));
    const journal = Buffer.alloc(512);
    Buffer.from('d9d505f920a163d7', 'hex').copy(journal);
    journal.writeUInt32BE(512, 20);
    journal.writeUInt32BE(4_096, 24);
    writeFileSync(`${database}-journal`, journal);
    expect(read()).toEqual({ type: 'hot-journal' });
    expect(read({}, true)).toEqual({ type: 'absent' });
    rmSync(`${database}-journal`);
    expect(read({}, true).type).toBe('corrupt');
  });

  it('does not follow a super-journal that its journal names', async () => {
    const database = await died();
    const victim = join(session.folder.host, 'victim');
    writeFileSync(victim, 'kept');
    const name = Buffer.from(victim);
    const tail = Buffer.alloc(16);
    tail.writeUInt32BE(name.length, 0);
    tail.writeUInt32BE(
      name.reduce((sum, byte) => sum + byte, 0),
      4,
    );
    Buffer.from('d9d505f920a163d7', 'hex').copy(tail, 8);
    writeFileSync(`${database}-journal`, Buffer.concat([readFileSync(`${database}-journal`), name, tail]));
    expect(read({}, true).type).toBe('corrupt');
    expect(readFileSync(victim, 'utf8')).toBe('kept');
  });

  it('reads a file with a forged journal as what is wrong with it, and writes nothing outside its private copy', () => {
    const database = answered();
    const header = Buffer.alloc(512);
    Buffer.from('d9d505f920a163d7', 'hex').copy(header);
    header.writeUInt32BE(0xffffffff, 8);
    header.writeUInt32BE(0xffffff, 16); // a database of 64 GiB before the commit
    header.writeUInt32BE(512, 20);
    header.writeUInt32BE(4_096, 24);
    writeFileSync(`${database}-journal`, header);
    const before = readFileSync(database);
    expect(read().type).toBe('hot-journal');
    expect(['read', 'corrupt', 'too-big', 'foreign-schema']).toContain(read({}, true).type);
    expect(readFileSync(database)).toEqual(before);
  });
});

describe('the host never writes what the container owns', () => {
  it('opens outbound.db for reading only, and leaves its bytes, times and neighbours as they are', () => {
    const database = answered();
    const before = { bytes: readFileSync(database), stats: lstatSync(database, { bigint: true }) };
    const opened: [string, OpenMode][] = [];
    const recording: OpenSqlite = (path, mode) => {
      opened.push([path, mode]);
      return openSqlite(path, mode);
    };
    chmodSync(database, 0o444);
    session.restartHost();
    const result = read({}, true, recording);
    if (result.type !== 'read') throw new Error(result.type);
    session.host.settle(result, 2_000, INBOUND_RETRY);
    session.host.prune(3_000, { keepMs: 0, batch: 10 });

    expect(opened.filter(([path]) => path.startsWith(session.folder.outbound.root))).toEqual([[database, 'read']]);
    const after = lstatSync(database, { bigint: true });
    expect(readFileSync(database)).toEqual(before.bytes);
    expect([after.ino, after.mtimeNs, after.size]).toEqual([before.stats.ino, before.stats.mtimeNs, before.stats.size]);
    expect(existsSync(`${database}-journal`)).toBe(false);
  });
});

describe('what lies in place of the files that the host only looks at', () => {
  it('is nothing where a runner has been', () => {
    answered();
    mkdirSync(session.folder.outbound.files, { recursive: true });
    expect(impostors(session.folder.outbound)).toEqual([]);
    expect(impostors(outboundFolder(join(session.folder.root, 'nothing-yet')))).toEqual([]);
  });

  const PUT: readonly (readonly [string, (path: string) => void])[] = [
    ['link', (path) => symlinkSync('/etc/passwd', path)],
    ['link', (path) => symlinkSync('nowhere', path)],
    ['link', (path) => symlinkSync(path, path)],
    ['pipe', (path) => execFileSync('mkfifo', [path])],
    ['directory', (path) => mkdirSync(path)],
    ['second-name', (path) => linkSync(session.folder.outbound.database, path)],
    [
      'too-big',
      (path) => {
        writeFileSync(path, '');
        truncateSync(path, 2 ** 40);
      },
    ],
  ];
  it.each(PUT)('is named: a %s in place of bell or heartbeat', (kind, put) => {
    answered();
    const { bell, heartbeat } = session.folder.outbound;
    for (const [what, path] of Object.entries({ bell, heartbeat })) {
      rmSync(path, { force: true });
      put(path);
      expect(impostors(session.folder.outbound).map(({ name }) => name)).toEqual([`${what}-${kind}`]);
      rmSync(path, { recursive: true });
    }
  });

  it.each([
    ['file', (path: string) => writeFileSync(path, '')],
    ['link', (path: string) => symlinkSync('..', path)],
    ['pipe', (path: string) => execFileSync('mkfifo', [path])],
  ])('is named: a %s in place of the folder of files', (kind, put) => {
    answered();
    const { files } = session.folder.outbound;
    rmSync(files, { recursive: true, force: true });
    put(files);
    expect(impostors(session.folder.outbound).map(({ name }) => name)).toEqual([`files-${kind}`]);
  });
});
