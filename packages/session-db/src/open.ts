/**
 * How each side opens each file: the pragmas, and why each. Everything is set here and read back, so that a driver
 * or a build of SQLite that ignores one is found at start and not in a lost message.
 */
import { type OpenSqlite, type Sqlite, SqliteError } from './sqlite/index.ts';

/**
 * The oldest SQLite the host trusts a container's file to: 3.53.4, which has the fixes for malformed schemas and
 * journals that the protocol's threat model relies on (PROTOCOL.md, "Pragmas and opening").
 */
export const SQLITE_VERSION_MIN = '3.53.4';

/**
 * Opens the file this process owns, for writing, creating it where it is missing. It may stay open: the other
 * side only reads it.
 *
 * Throws `SqliteError` when the file cannot be opened or is no database.
 */
export function openOwnFile(openSqlite: OpenSqlite, path: string): Sqlite {
  const db = openSqlite(path, 'create');
  return configured(db, {
    answering: [
      // A wait would hold the whole event loop, for as long as the other side likes: callers try again in a while.
      ['busy_timeout', 0],
      // DELETE and never WAL: shared memory does not cross a VM boundary, and a peer that truncates it kills us.
      ['journal_mode', 'delete'],
      ['mmap_size', 0],
    ],
    silent: [
      // EXTRA syncs the directory after the journal's unlink. With FULL a power cut can bring the journal back and
      // undo a commit that was acknowledged.
      ['synchronous', 3],
      ['trusted_schema', 0],
    ],
  });
}

/**
 * Opens the file of the other side, read-only down to the file's descriptor. To be closed in the same synchronous
 * block: across a VM mount a reader that stays open may freeze on old pages.
 *
 * Throws `SqliteError`: `SQLITE_BUSY` while the writer commits, `SQLITE_READONLY_ROLLBACK` when the writer died in
 * mid-commit, `SQLITE_CANTOPEN` where there is no file.
 */
export function openPeerFile(openSqlite: OpenSqlite, path: string): Sqlite {
  const db = openSqlite(path, 'read');
  return configured(db, {
    answering: [
      ['busy_timeout', 0],
      ['mmap_size', 0],
    ],
    silent: [['trusted_schema', 0]],
  });
}

/**
 * Runs `action` in one write transaction and returns its result; rolls back and rethrows whatever it throws.
 */
export function inTransaction<T>(db: Sqlite, action: () => T): T {
  db.exec('BEGIN IMMEDIATE');
  try {
    const result = action();
    db.exec('COMMIT');
    return result;
  } catch (error) {
    rollBack(db);
    throw error;
  }
}

/** The version of SQLite behind a driver, such as `3.54.1`. */
export function sqliteVersion(db: Sqlite): string {
  return db.all<{ version: string }>('SELECT sqlite_version() AS version')[0]?.version ?? '0.0.0';
}

/** Whether version `actual` is `wanted` or newer, both as three numbers with dots. */
export function isAtLeast(actual: string, wanted: string): boolean {
  const [a, w] = [actual, wanted].map((version) => version.split('.').map(Number));
  for (let i = 0; i < 3; i++) {
    const difference = (a?.[i] ?? 0) - (w?.[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

interface Pragmas {
  /** Setting one of these answers with the value that is now in force. */
  readonly answering: readonly (readonly [string, string | number])[];
  /** Setting one of these answers nothing, so it is asked for afterwards. */
  readonly silent: readonly (readonly [string, string | number])[];
}

// Each statement costs 5 µs of a read that takes 150: none more than are needed.
function configured(db: Sqlite, { answering, silent }: Pragmas): Sqlite {
  try {
    for (const [name, value] of answering) requireValue(db, name, value, `PRAGMA ${name} = ${value}`);
    db.exec(silent.map(([name, value]) => `PRAGMA ${name} = ${value}`).join(';'));
    for (const [name, value] of silent) requireValue(db, name, value, `PRAGMA ${name}`);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

function requireValue(db: Sqlite, name: string, value: string | number, question: string): void {
  const row = db.all<Record<string, string | number>>(question)[0];
  const actual = row === undefined ? undefined : Object.values(row)[0];
  // No row: this build has no such facility (mmap is compiled out of some), so there is nothing to switch off.
  if (actual === undefined || actual === value) return;
  throw new SqliteError('SQLITE_MISUSE', `PRAGMA ${name} is ${actual}, and must be ${value}.`);
}

function rollBack(db: Sqlite): void {
  try {
    db.exec('ROLLBACK');
  } catch (error) {
    // SQLite has already rolled back by itself (a full disk, a failed write): the first error is the one to report.
    if (!(error instanceof SqliteError)) throw error;
  }
}
