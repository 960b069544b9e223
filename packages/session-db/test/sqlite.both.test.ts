/** The conformance suite of the SQLite interface: every driver passes all of it, under its own runtime. */

import { copyFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSqlite } from '#driver';
import { isBusy, type Sqlite, SqliteError } from '../src/index.ts';
import { temporaryFolder } from './support.ts';

let stack: DisposableStack;
let root: string;
let path: string;
let db: Sqlite;

beforeEach(() => {
  stack = new DisposableStack();
  root = stack.use(temporaryFolder()).path;
  path = join(root, 'a.db');
  db = opened('create');
  db.exec("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT UNIQUE CHECK (b <> 'bad'), c REAL) STRICT");
});
afterEach(() => stack.dispose());

function opened(mode: 'read' | 'write' | 'create', at = path): Sqlite {
  return stack.adopt(openSqlite(at, mode), (each) => each.close());
}

/** The code of the `SqliteError` that an action throws. */
function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof SqliteError) return error.code;
    throw error;
  }
  throw new Error('Nothing was thrown.');
}

const INSERT = 'INSERT INTO t (a, b) VALUES (:a, :b)';

describe('values and rows', () => {
  it('come back as they went in: whole numbers, fractions, any text, and null', () => {
    const rows = [
      { a: 1, b: '', c: 1.5 },
      { a: 2, b: "NUL \0, quote ', emoji 😀, line\n", c: -0.25 },
      { a: Number.MAX_SAFE_INTEGER, b: 'x'.repeat(1_000_000), c: null },
      { a: Number.MIN_SAFE_INTEGER, b: null, c: 1e300 },
    ];
    for (const row of rows) db.run('INSERT INTO t VALUES (:a, :b, :c)', row);
    expect(db.all('SELECT * FROM t ORDER BY rowid > 2, abs(a)')).toEqual(
      rows.toSorted((x, y) => Number(x.a > 2) - Number(y.a > 2) || Math.abs(x.a) - Math.abs(y.a)),
    );
  });

  it('are integers in SQL where they are whole, also where no column says so', () => {
    expect(db.all('SELECT typeof(:n) AS n, typeof(:f) AS f, :n / 2 AS half', { n: 7, f: 0.5 })).toEqual([
      { n: 'integer', f: 'real', half: 3 },
    ]);
  });

  it('are an empty list where there are none', () => {
    expect(db.all('SELECT * FROM t')).toEqual([]);
  });

  it('come from an insertion or an update that returns them', () => {
    expect(db.all(`${INSERT} RETURNING a`, { a: 4, b: 'x' })).toEqual([{ a: 4 }]);
    expect(db.all('UPDATE t SET b = :b RETURNING a, b', { b: 'y' })).toEqual([{ a: 4, b: 'y' }]);
  });
});

describe('run', () => {
  it('counts the rows that were inserted, changed or deleted', () => {
    expect(db.run(INSERT, { a: 1, b: 'x' })).toBe(1);
    expect(db.run(INSERT, { a: 2, b: 'y' })).toBe(1);
    expect(db.run('INSERT OR IGNORE INTO t (a, b) VALUES (:a, :b)', { a: 1, b: 'x' })).toBe(0);
    expect(db.run(`${INSERT} ON CONFLICT (a) DO NOTHING`, { a: 1, b: 'z' })).toBe(0);
    expect(db.run('UPDATE t SET c = 1')).toBe(2);
    expect(db.run('UPDATE t SET c = 1 WHERE a = :a', { a: 99 })).toBe(0);
    expect(db.run('DELETE FROM t WHERE a = :a', { a: 1 })).toBe(1);
  });

  it('throws for a parameter that is missing, and lets one pass that the statement does not name', () => {
    expect(() => db.run(INSERT, { a: 1 })).toThrow(/"b"/);
    expect(db.run(INSERT, { a: 1, b: 'x', c: 'y' })).toBe(1);
  });
});

describe('exec', () => {
  it('runs several statements, a transaction among them', () => {
    db.exec('BEGIN; INSERT INTO t (a) VALUES (1); INSERT INTO t (a) VALUES (2); COMMIT');
    db.exec('BEGIN; DELETE FROM t; ROLLBACK');
    expect(db.all('SELECT count(*) AS n FROM t')).toEqual([{ n: 2 }]);
  });
});

describe('a statement that is used again', () => {
  it('works after it has failed', () => {
    db.run(INSERT, { a: 1, b: 'x' });
    expect(codeOf(() => db.run(INSERT, { a: 2, b: 'x' }))).toBe('SQLITE_CONSTRAINT_UNIQUE');
    expect(db.run(INSERT, { a: 2, b: 'y' })).toBe(1);
  });

  it('sees a table as it has become', () => {
    expect(db.all('SELECT * FROM t')).toEqual([]);
    db.exec("ALTER TABLE t ADD COLUMN d TEXT DEFAULT 'new'; INSERT INTO t (a) VALUES (1)");
    expect(db.all('SELECT * FROM t')).toEqual([{ a: 1, b: null, c: null, d: 'new' }]);
  });

  it("takes each call's own parameters, and keeps none of the last", () => {
    db.run(INSERT, { a: 1, b: 'x' });
    expect(() => db.run(INSERT, { a: 2 })).toThrow(/"b"/);
  });
});

describe('an error of SQLite', () => {
  it('is a SqliteError with the extended code', () => {
    db.run(INSERT, { a: 1, b: 'x' });
    expect(codeOf(() => db.run(INSERT, { a: 1, b: 'y' }))).toBe('SQLITE_CONSTRAINT_PRIMARYKEY');
    expect(codeOf(() => db.run(INSERT, { a: 2, b: 'x' }))).toBe('SQLITE_CONSTRAINT_UNIQUE');
    expect(codeOf(() => db.run(INSERT, { a: 2, b: 'bad' }))).toBe('SQLITE_CONSTRAINT_CHECK');
    expect(codeOf(() => db.all('SELEC'))).toBe('SQLITE_ERROR');
    expect(codeOf(() => db.exec('INSERT INTO nowhere VALUES (1)'))).toBe('SQLITE_ERROR');
  });

  it('says that a file is not a database, or is not there to be opened', () => {
    writeFileSync(join(root, 'text'), 'not a database, '.repeat(512));
    mkdirSync(join(root, 'folder'));
    expect(codeOf(() => opened('read', join(root, 'text')).all('SELECT * FROM sqlite_schema'))).toBe('SQLITE_NOTADB');
    expect(codeOf(() => opened('create', join(root, 'folder')))).toBe('SQLITE_CANTOPEN');
    expect(codeOf(() => opened('read', join(root, 'none.db')))).toBe('SQLITE_CANTOPEN');
    expect(codeOf(() => opened('create', join(root, 'no-such-folder', 'x.db')))).toBe('SQLITE_CANTOPEN');
    expect(codeOf(() => opened('write', join(root, 'none.db')))).toBe('SQLITE_CANTOPEN');
    expect(existsSync(join(root, 'none.db'))).toBe(false);
  });

  it('takes a name for a name, whatever it looks like', () => {
    const odd = join(root, 'file:a?mode=memory#%20.db');
    opened('create', odd).exec('CREATE TABLE t (a)');
    expect(existsSync(odd)).toBe(true);
  });
});

describe('a file opened for reading', () => {
  it('cannot be written (failure 16)', () => {
    const reader = opened('read');
    expect(codeOf(() => reader.run(INSERT, { a: 1, b: 'x' }))).toBe('SQLITE_READONLY');
    expect(codeOf(() => reader.exec('DROP TABLE t'))).toBe('SQLITE_READONLY');
    expect(codeOf(() => reader.exec('PRAGMA user_version = 7'))).toBe('SQLITE_READONLY');
  });

  it('leaves nothing beside it', () => {
    opened('read').all('SELECT * FROM t');
    expect(readdirSync(root)).toEqual(['a.db']);
  });

  it('is not read, and not mended either, while it has a hot journal (failure 12)', () => {
    db.exec('PRAGMA cache_size = 1; BEGIN IMMEDIATE');
    db.exec(`INSERT INTO t (b) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             SELECT hex(zeroblob(100)) || i FROM n`);
    mkdirSync(join(root, 'copy'));
    for (const name of ['a.db', 'a.db-journal']) copyFileSync(join(root, name), join(root, 'copy', name));
    const reader = opened('read', join(root, 'copy', 'a.db'));
    expect(codeOf(() => reader.all('SELECT * FROM t'))).toBe('SQLITE_READONLY_ROLLBACK');
    expect(readdirSync(join(root, 'copy')).toSorted()).toEqual(['a.db', 'a.db-journal']);
  });
});

describe('a lock', () => {
  it('is reported at once, as busy', () => {
    const other = opened('write');
    expect(other.all('PRAGMA busy_timeout')).toEqual([{ timeout: 0 }]);
    db.exec('BEGIN IMMEDIATE');
    expect(codeOf(() => other.exec('BEGIN IMMEDIATE'))).toBe('SQLITE_BUSY');
    expect(isBusy(new SqliteError('SQLITE_BUSY_SNAPSHOT', ''))).toBe(true);
    expect(isBusy(new SqliteError('SQLITE_FULL', ''))).toBe(false);
  });

  it('is let go by closing, and what was not committed with it', () => {
    const other = opened('write');
    other.exec('BEGIN IMMEDIATE; INSERT INTO t (a) VALUES (1)');
    other.close();
    db.exec('BEGIN EXCLUSIVE');
    expect(db.all('SELECT * FROM t')).toEqual([]);
  });
});

describe('close', () => {
  it('may be called twice, and nothing works after it', () => {
    db.all('SELECT * FROM t');
    db.close();
    db.close();
    expect(() => db.all('SELECT * FROM t')).toThrow();
    expect(() => db.exec('DELETE FROM t')).toThrow();
  });
});
