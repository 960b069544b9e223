/**
 * Opens the registry's SQLite file.
 *
 * The registry is the host's alone: no container ever sees it, so unlike the session files it may use WAL, and the
 * command line can read while the daemon writes.
 */
import Database from 'better-sqlite3';
import { Kysely, SqliteDialect } from 'kysely';
import { RegistryError } from './errors.ts';
import { migrate } from './schema.ts';
import type { Tables } from './tables.ts';

/**
 * The registry in a file, brought to this program's schema. The file is created; its folder must exist.
 *
 * Throws `unavailable` when the file cannot be opened, read or written, and `newer-schema`; the file is closed then.
 */
export async function openSqliteRegistry(file: string): Promise<Kysely<Tables>> {
  const database = connect(file);
  try {
    return await prepared(database);
  } catch (error) {
    database.close();
    throw isSqliteError(error) ? cannotOpen(file, error) : error;
  }
}

/** Bounds how long a statement may block the event loop; only programs of the same host ever hold the lock. */
const BUSY_TIMEOUT_MS = 1_000;

function connect(file: string): Database.Database {
  try {
    return new Database(file, { timeout: BUSY_TIMEOUT_MS });
  } catch (error) {
    // The driver throws a TypeError of its own for a missing folder, and SQLite's error otherwise.
    throw cannotOpen(file, error);
  }
}

async function prepared(database: Database.Database): Promise<Kysely<Tables>> {
  const db = new Kysely<Tables>({ dialect: new SqliteDialect({ database }) });
  setPragma(database, 'foreign_keys', 1);
  // Two programs that open a new file at once must not both create its tables, and a crash must not leave half of them.
  database.exec('BEGIN IMMEDIATE');
  try {
    await migrate(db, 'sqlite');
    // SQLite quietly opens for reading what it may not write: a write of no effect finds out now, not at a message.
    database.pragma('user_version = 0');
    database.exec('COMMIT');
  } catch (error) {
    if (database.inTransaction) database.exec('ROLLBACK');
    throw error;
  }
  // After the migration, so that the file of a newer program has not been touched when it is refused.
  setPragma(database, 'journal_mode', 'wal');
  // FULL: what a caller was answered is on disk. NORMAL would lose the last commits at a power cut in WAL mode.
  setPragma(database, 'synchronous', 2);
  return db;
}

/** Sets a pragma and reads it back: SQLite ignores what it cannot do. */
function setPragma(database: Database.Database, name: string, value: string | number): void {
  database.pragma(`${name} = ${value}`);
  const actual: unknown = database.pragma(name, { simple: true });
  if (actual === value) return;
  throw new RegistryError(
    'unavailable',
    `The registry cannot run on this file system: ${name} is ${String(actual)} instead of ${value}. ` +
      'Nothing was lost. Keep the data folder on a local disk.',
  );
}

function cannotOpen(file: string, error: unknown): RegistryError {
  return new RegistryError('unavailable', `Cannot open the registry ${file}: ${reason(error)}`, { cause: error });
}

/** What is wrong with the file, that nothing happened to it, and what to do, by SQLite's error code. */
function reason(error: unknown): string {
  const code = isSqliteError(error) ? error.code : '';
  if (code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED')) {
    return 'another program is writing to it. Nothing was changed. Try again, or end the other program.';
  }
  if (code.startsWith('SQLITE_READONLY') || code.startsWith('SQLITE_PERM')) {
    return 'it, or its folder, may not be written by this user. Nothing was changed. Give this user write access.';
  }
  // A plain SQLITE_ERROR comes from a migration that met tables it did not make.
  if (code.startsWith('SQLITE_NOTADB') || code.startsWith('SQLITE_CORRUPT') || code === 'SQLITE_ERROR') {
    return 'it is damaged, or not a registry. It was left as it is. Move it away and restore a backup.';
  }
  if (code.startsWith('SQLITE_CANTOPEN') || error instanceof TypeError) {
    return 'its folder is missing, or may not be written by this user. Nothing was changed. Create the folder, or give this user write access.';
  }
  return `${String(error)}. Nothing was changed. Check the disk and try again.`;
}

function isSqliteError(error: unknown): error is InstanceType<typeof Database.SqliteError> {
  return error instanceof Database.SqliteError;
}
