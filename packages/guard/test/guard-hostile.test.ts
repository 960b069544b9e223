/**
 * What a container may put in place of its files, read through the real guard: a finding about its own session each time,
 * with another session read before and after, and the host's loop going on.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { OutboundRead, SessionFolder } from '@nanoclaw/session-db';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Guard } from '../src/guard.ts';
import { ALL, GuardWorld, makeEndless, tampered } from './guard-support.ts';

let world: GuardWorld;
let guard: Guard;
let honest: SessionFolder;
// One guard for all: the processes that have read one hostile file read the next one.
beforeAll(() => {
  world = new GuardWorld();
  guard = world.guard({ readMaxMs: 3_000, slowMs: 100 });
  honest = world.session('honest');
});
beforeEach(() => void world.troubles.splice(0));
afterAll(() => world[Symbol.dispose]());

/** Reads a hostile session while another one is read over and over. */
async function readBesideAnother(folder: SessionFolder, runEnded = false, by = guard): Promise<OutboundRead> {
  const reading = by.reader(folder).read({ ...ALL, runEnded });
  const other = Symbol('another session was read');
  for (;;) {
    const first = await Promise.race([
      by
        .reader(honest)
        .read(ALL)
        .then((read) => {
          expect(read).toMatchObject({ type: 'read', messages: [{ content: { text: 'honest' } }] });
          return other;
        }),
      reading,
    ]);
    if (first !== other) break;
  }
  expect((await by.reader(honest).read(ALL)).type).toBe('read');
  return reading;
}

const MESSAGE = 'INSERT INTO messages_out (seq, id, run_id, timestamp, kind, content)';
const COUNT = 'WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i <';

function nested(levels: number): string {
  return `{"a":${'['.repeat(levels)}${']'.repeat(levels)}}`;
}

describe('in place of the database or its journal lies (failures 45, 48)', () => {
  const impostors: Record<string, (path: string) => void> = {
    'a pipe': (path) => execFileSync('mkfifo', [path]),
    'a directory': (path) => mkdirSync(path),
    'a link to the database of another session': (path) => symlinkSync(honest.outbound.database, path),
    'a link to nothing': (path) => symlinkSync('nowhere', path),
    'a link to a device that never ends': (path) => symlinkSync('/dev/zero', path),
    'a link to itself': (path) => symlinkSync(path, path),
    'a second name of another file': (path) => {
      const other = join(world.root, 'host-file');
      copyFileSync(honest.outbound.database, other);
      linkSync(other, path);
    },
    'a device': (path) => execFileSync('mknod', [path, 'c', '1', '5'], { stdio: 'ignore' }),
    'a socket': (path) =>
      void spawnSync(process.execPath, ['-e', SOCKET_MAKER, path], { cwd: join(path, '..'), stdio: 'ignore' }),
  };
  const isRoot = process.getuid?.() === 0;
  for (const [name, put] of Object.entries(impostors)) {
    it.skipIf(name === 'a device' && !isRoot).each(['', '-journal'])(`${name} (outbound.db%s)`, async (suffix) => {
      const folder = world.session();
      const path = `${folder.outbound.database}${suffix}`;
      if (suffix === '') renameSync(path, `${path}.away`);
      put(path);
      for (const runEnded of [false, true]) {
        expect((await readBesideAnother(folder, runEnded)).type).toBe('not-a-file');
      }
      expect(world.troubles).toEqual([]);
    });
  }

  it('a sparse giant', async () => {
    const folder = world.session();
    truncateSync(folder.outbound.database, 2 ** 42);
    expect((await readBesideAnother(folder)).type).toBe('too-big');
    const journal = world.session();
    writeFileSync(`${journal.outbound.database}-journal`, '');
    truncateSync(`${journal.outbound.database}-journal`, 2 ** 42);
    expect((await readBesideAnother(journal, true)).type).toBe('too-big');
  });

  it('a journal that promises a database of 64 GiB', async () => {
    const folder = world.session();
    const header = Buffer.alloc(512);
    Buffer.from('d9d505f920a163d7', 'hex').copy(header);
    header.writeUInt32BE(0xffffffff, 8);
    header.writeUInt32BE(0xffffff, 16);
    header.writeUInt32BE(512, 20);
    header.writeUInt32BE(4_096, 24);
    writeFileSync(`${folder.outbound.database}-journal`, header);
    const before = readFileSync(folder.outbound.database);
    expect((await readBesideAnother(folder)).type).toBe('hot-journal');
    // The recovery would write it all into its private copy: it ends at the limit of a file's size, with the process or without.
    expect(['read', 'corrupt', 'too-big', 'overran']).toContain((await readBesideAnother(folder, true)).type);
    expect(readFileSync(folder.outbound.database)).toEqual(before);
    expect((await guard.reader(honest).read(ALL)).type).toBe('read');
  });

  it('a journal that names a file of the host to be deleted', async () => {
    const folder = world.session();
    const victim = join(folder.host, 'victim');
    writeFileSync(victim, 'kept');
    const name = Buffer.from(victim);
    const tail = Buffer.alloc(16);
    tail.writeUInt32BE(name.length, 0);
    tail.writeUInt32BE(
      name.reduce((sum, byte) => sum + byte, 0),
      4,
    );
    Buffer.from('d9d505f920a163d7', 'hex').copy(tail, 8);
    const header = Buffer.alloc(512);
    Buffer.from('d9d505f920a163d7', 'hex').copy(header);
    header.writeUInt32BE(1, 16);
    header.writeUInt32BE(512, 20);
    header.writeUInt32BE(4_096, 24);
    writeFileSync(`${folder.outbound.database}-journal`, Buffer.concat([header, name, tail]));
    expect(['corrupt', 'hot-journal', 'read']).toContain((await readBesideAnother(folder, true)).type);
    expect(readFileSync(victim, 'utf8')).toBe('kept');
  });
});

/** Leaves a socket, because it is killed before it can remove it. By a name beneath its folder: a socket's path is short. */
const SOCKET_MAKER = `
  const { basename } = require('node:path');
  const leave = () => process.kill(process.pid, 'SIGKILL');
  require('node:net').createServer().listen(basename(process.argv[1]), leave)`;

describe('the database has (failure 46)', () => {
  const schemas: Record<string, string> = {
    'a view': 'CREATE VIEW v AS SELECT 1',
    'a trigger': 'CREATE TRIGGER t AFTER INSERT ON turns BEGIN DELETE FROM turns; END',
    'a view in place of a table, which never ends': `DROP TABLE messages_out; CREATE VIEW messages_out AS
      WITH RECURSIVE n (seq) AS (VALUES (1) UNION ALL SELECT seq FROM n) SELECT * FROM n`,
    'a view in place of a table, which eats memory': `DROP TABLE container_state; CREATE VIEW container_state AS
      SELECT group_concat(hex(zeroblob(100000000))) AS run_id FROM messages_out`,
    'a generated column that never ends':
      'ALTER TABLE turns ADD COLUMN x INTEGER AS (length(hex(zeroblob(900000000))))',
    'a CHECK that never ends': `DROP TABLE turns;
      CREATE TABLE turns (turn INTEGER PRIMARY KEY, CHECK (length(hex(randomblob(1000000000))) > 0))`,
    'an index on an expression': 'CREATE INDEX i ON turns (abs(turn))',
    'a virtual table': 'CREATE VIRTUAL TABLE f USING fts5 (x)',
    'no tables': 'DROP TABLE turns; DROP TABLE messages_out; DROP TABLE processing_ack; DROP TABLE container_state',
    'a version of its own': 'PRAGMA user_version = 7',
    'a write-ahead log': 'PRAGMA journal_mode = wal',
  };
  for (const [name, sql] of Object.entries(schemas)) {
    it(`${name}: it is not read`, async () => {
      const folder = world.session();
      tampered(folder, (db) => db.exec(sql));
      expect((await readBesideAnother(folder)).type).toBe('foreign-schema');
      expect(existsSync(`${folder.outbound.database}-wal`)).toBe(false);
      expect(world.troubles).toEqual([]);
    });
  }

  it('a tree of pages that never ends: its reader is killed, the others do not notice', async () => {
    const folder = world.session();
    makeEndless(folder);
    const hasty = world.guard({ readMaxMs: 500, slowMs: 100, verySlowMs: 200 });
    expect((await readBesideAnother(folder, false, hasty)).type).toBe('overran');
    expect(world.troubles).toMatchObject([{ root: folder.root }]);
  });

  it('pages that point at each other', async () => {
    for (let seed = 1; seed <= 30; seed++) {
      const folder = world.session();
      const bytes = readFileSync(folder.outbound.database);
      // A generator of its own, so that a failure can be had again.
      let state = seed;
      const next = (below: number) => {
        state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
        return (state >>> 8) % below;
      };
      for (let i = 0; i < 40; i++) bytes[100 + next(bytes.length - 100)] = next(256);
      writeFileSync(folder.outbound.database, bytes);
      const { type } = await guard.reader(folder).read(ALL);
      expect(['read', 'corrupt', 'foreign-schema', 'absent', 'overran']).toContain(type);
    }
    expect((await guard.reader(honest).read(ALL)).type).toBe('read');
  });
});

describe('the rows are (failures 47, 49, 52)', () => {
  it('a million: they come in bounded pieces, and the host counts on meanwhile', async () => {
    const folder = world.session();
    tampered(folder, (db) =>
      db.exec(`PRAGMA synchronous = 0; ${COUNT} 1000000)
        ${MESSAGE} SELECT 3 + 2 * i, 'flood-' || i, 'run-1', 1, 'chat', '{"text":"x"}' FROM n`),
    );
    let ticks = 0;
    const timer = setInterval(() => {
      ticks += 1;
    }, 1);
    const reader = guard.reader(folder);
    for (let messagesAfter = 0, i = 0; i < 100; i++) {
      const read = await reader.read({ ...ALL, messagesAfter });
      if (read.type !== 'read') throw new Error(read.type);
      expect(read.messages.length).toBeLessThanOrEqual(250);
      expect(read.more).toBe(true);
      messagesAfter = read.messagesThrough;
    }
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(20);
  });

  const poison: Record<string, string> = {
    'an id with a way out': `${MESSAGE} VALUES (5, char(0) || '../../../inbound/inbound.db', 'run-1', 1, 'chat', '{}')`,
    'an id of a million characters': `${MESSAGE} VALUES (5, hex(zeroblob(500000)), 'run-1', 1, 'chat', '{}')`,
    'control characters': `${MESSAGE} VALUES (5, 'a' || char(27) || '[2J', 'run-1', 1, 'chat', '{}')`,
    'JSON of 100 000 levels': `${MESSAGE} VALUES (5, 'p', 'run-1', 1, 'chat', '${nested(100_000)}')`,
    'JSON of 33 levels': `${MESSAGE} VALUES (5, 'p', 'run-1', 1, 'chat', '${nested(33)}')`,
    'JSON of 40 MiB': `${MESSAGE} VALUES (5, 'p', 'run-1', 1, 'chat', json_object('t', hex(zeroblob(20000000))))`,
    'content that is a list': `${MESSAGE} VALUES (5, 'p', 'run-1', 1, 'chat', '[]')`,
    'an even number': `${MESSAGE} VALUES (6, 'p', 'run-1', 1, 'chat', '{}')`,
  };
  for (const [name, sql] of Object.entries(poison)) {
    it(`${name}: refused alone, what comes after it is read`, async () => {
      const folder = world.session();
      tampered(folder, (db) =>
        db.exec(
          `PRAGMA ignore_check_constraints = 1; ${sql}; ${MESSAGE} VALUES (7, 'after', 'run-1', 1, 'chat', '{}')`,
        ),
      );
      const read = await readBesideAnother(folder);
      if (read.type !== 'read') throw new Error(JSON.stringify([read, world.troubles]));
      expect(read.messages.map(({ id }) => id)).toEqual(['r1', 'after']);
      expect(read.refused).toMatchObject([{ table: 'messages_out' }]);
    });
  }

  it('as big as they may be, each of them: the answer stays within what the host listens to', async () => {
    const folder = world.session();
    tampered(folder, (db) =>
      db.exec(`PRAGMA synchronous = 0; PRAGMA ignore_check_constraints = 1; ${COUNT} 300)
        ${MESSAGE} SELECT 3 + 2 * i, 'big-' || i, hex(zeroblob(150)), 1, 'chat',
          '{"t":' || '[' || rtrim(replace(hex(zeroblob(150000)), '00', '1e20,'), ',') || ']}' FROM n;
        ${COUNT} 300) INSERT INTO processing_ack (message_id, attempt, run_id, status, status_changed, error)
        SELECT hex(zeroblob(150)), i, hex(zeroblob(150)), 'failed', 1, replace(hex(zeroblob(1000)), '0', char(1)) FROM n`),
    );
    for (const request of [ALL, { ...ALL, again: Array.from({ length: 100 }, (_, i) => 5 + 2 * i) }]) {
      expect((await readBesideAnother(folder)).type).toBe('read');
      expect((await guard.reader(folder).read(request)).type).toBe('read');
    }
    expect(world.troubles).toEqual([]);
  });

  it('an error of 60 MB: it is left out, and costs no memory', async () => {
    const folder = world.session();
    tampered(folder, (db) =>
      db.exec(`INSERT INTO processing_ack (message_id, attempt, run_id, status, status_changed, error)
        VALUES ('m9', 1, 'run-1', 'failed', 1, hex(zeroblob(30000000)))`),
    );
    const read = await readBesideAnother(folder);
    if (read.type !== 'read') throw new Error(read.type);
    expect(read.acks.at(-1)).toMatchObject({ messageId: 'm9', error: null });
  });

  it('a hundred thousand states of one container: the first one counts', async () => {
    const folder = world.session();
    tampered(folder, (db) =>
      db.exec(`PRAGMA ignore_check_constraints = 1; PRAGMA synchronous = 0; ${COUNT} 100000)
        INSERT INTO container_state SELECT 1 + i, run_id, protocol_version, reader_version_min, runner_version, provider,
          started_at, progress_at, tools, updated_at FROM container_state, n WHERE one = 1`),
    );
    const read = await readBesideAnother(folder);
    expect(read).toMatchObject({ type: 'read', container: { runId: 'run-1' } });
  });
});

describe('files that are exchanged while they are read (failures 45, 48)', () => {
  it('never show what lies elsewhere, never hold the host, and never come to a wrong end', async () => {
    const hasty = world.guard({ readMaxMs: 1_000, slowMs: 50, holdBaseMs: 10, holdMaxMs: 10 });
    const [folder, victim] = [world.session('mine'), world.session('the secret of another session')];
    const swapper = spawn(
      process.execPath,
      ['--input-type=module', '-e', SWAPPER, folder.outbound.database, victim.outbound.database],
      { stdio: 'ignore' },
    );
    try {
      const seen = new Set<string>();
      // Until it has been met in more than one form, and often enough.
      for (let i = 0; i < 300 || seen.size < 2; i++) {
        const read = await hasty.reader(folder).read({ ...ALL, runEnded: i % 2 === 0 });
        seen.add(read.type);
        expect(JSON.stringify(read)).not.toContain('secret');
        expect((await hasty.reader(honest).read(ALL)).type).toBe('read');
      }
      expect([...seen].filter((type) => !TYPES.includes(type))).toEqual([]);
    } finally {
      swapper.kill('SIGKILL');
    }
  });

  const TYPES = ['read', 'absent', 'busy', 'hot-journal', 'not-a-file', 'corrupt', 'overran', 'foreign-schema'];
});

/** Puts one thing after another in place of the first file, as fast as it can: itself, and links to the second. */
const SWAPPER = `
  import { copyFileSync, linkSync, renameSync, rmSync, symlinkSync } from 'node:fs';
  import { execFileSync } from 'node:child_process';
  const [path, victim] = process.argv.slice(1);
  copyFileSync(path, path + '.mine');
  execFileSync('mkfifo', [path + '.fifo']);
  const put = [
    () => copyFileSync(path + '.mine', path + '.new'),
    () => symlinkSync(victim, path + '.new'),
    () => linkSync(path + '.fifo', path + '.new'),
    () => copyFileSync(path + '.mine', path + '.new'),
    () => symlinkSync('/dev/zero', path + '.new'),
  ];
  for (let i = 0; ; i++) {
    rmSync(path + '.new', { force: true });
    put[i % put.length]();
    renameSync(path + '.new', path);
    rmSync(path + '-journal', { force: true });
    if (i % 14 === 0) symlinkSync(victim, path + '-journal');
    if (i % 14 === 7) linkSync(path + '.fifo', path + '-journal');
  }`;

it('leaves nothing behind in the folder of the host', async () => {
  const folder = world.session();
  makeEndless(folder);
  const read = await world
    .guard({ readMaxMs: 300 })
    .reader(folder)
    .read({ ...ALL, runEnded: true });
  expect(read.type).toBe('overran');
  rmSync(join(folder.host, 'spool'), { recursive: true, force: true });
  expect(existsSync(join(folder.host, 'recovery'))).toBe(false);
});
