// SQLite files that belong to one process: private to their owner, held for as long as they are open, and brought from
// the version that wrote them to this one.
import { closeSync, openSync } from 'node:fs';
import Database from 'better-sqlite3';

/** What a file holds, for the program and for people. */
export interface StoreDescription {
  /** What the file is, for people: `terminal history`. */
  name: string;
  /** What a process does that has it open, for people: it serves `the terminal with the history`, and then the path. */
  servant: string;
  /** The SQL that brings the file from each version to the next; the first one makes it. Only ever added to. */
  steps: readonly string[];
}

/**
 * Opens the file at `path`, or creates it, readable by its owner only. SQLite holds it exclusively until it is closed or
 * the process dies. Throws when another process has it open, when a newer version wrote it, and when it is no such file;
 * the error says what to do, and nothing was changed.
 */
export function openStore(path: string, description: StoreDescription): Database.Database {
  createPrivate(path);
  const db = new Database(path, { timeout: 0 });
  try {
    prepare(db, path, description);
    return db;
  } catch (error) {
    db.close();
    if (!(error instanceof Database.SqliteError)) throw error;
    const { name, servant } = description;
    throw new Error(
      error.code.startsWith('SQLITE_BUSY')
        ? `Another process is serving ${servant} ${path}. It keeps running; stop it first.`
        : `The ${name} ${path} cannot be opened (${error.message}). Nothing was changed; ` +
            'restore it from a backup, or move it away to begin with an empty one.',
      { cause: error },
    );
  }
}

/**
 * Makes an empty file that only its owner can read; SQLite gives its side files the same mode. A file that is there is
 * not touched: opening and closing it would drop the locks that another store in this process holds on it.
 */
function createPrivate(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
}

function prepare(db: Database.Database, path: string, { name, steps }: StoreDescription): void {
  // Before anything is read, so that the write-ahead log needs no shared memory and the lock is held from the start.
  db.pragma('locking_mode = EXCLUSIVE');
  db.pragma('journal_mode = WAL');
  // With a write-ahead log FULL syncs every commit; NORMAL would lose acknowledged messages in a power cut.
  db.pragma('synchronous = FULL');
  const version = Number(db.pragma('user_version', { simple: true }));
  if (version > steps.length) {
    throw new Error(
      `The ${name} ${path} has version ${version}, and this program knows version ${steps.length}. ` +
        'Nothing was changed; start the version of the program that wrote it.',
    );
  }
  if (version === steps.length) return;
  db.transaction(() => {
    for (const step of steps.slice(version)) db.exec(step);
    db.pragma(`user_version = ${steps.length}`);
  })();
}
