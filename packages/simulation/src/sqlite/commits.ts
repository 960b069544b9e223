/**
 * The states in which a kill may leave a database and its journal in the middle of a commit, from the real bytes of the
 * real commit: SQLite writes the old pages into the journal, marks it valid, writes the new pages in the order of their
 * numbers, and removes the journal (SQLite, "Atomic Commit In SQLite", 3.4–3.11). One state after each of its writes.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import Database from 'better-sqlite3';

/** What a death in mid-commit may leave, and how to leave it. */
export interface CommitStates {
  readonly count: number;
  leave(state: number): void;
}

interface Image {
  readonly database: Buffer;
  readonly journal: Buffer | undefined;
}

/**
 * Commits the open transaction of `db` on the file `path`, a DELETE-journal database, keeping what every step of it
 * left on disk. `leave` puts one of the states there; everybody must have closed the file by then.
 */
export function commitStates(db: Database.Database, path: string): CommitStates {
  const before = readFileSync(path);
  const journal = journalOf(db, path);
  db.exec('COMMIT');
  const images = journal === undefined ? [{ database: before, journal }] : steps(before, readFileSync(path), journal);
  return {
    count: images.length,
    leave: (state) => {
      const image = images[state];
      if (image !== undefined) write(image, path);
    },
  };
}

/** The journal as it stands when all of it is written and not yet marked valid; `undefined` when nothing is to commit. */
function journalOf(db: Database.Database, path: string): Buffer | undefined {
  // Somebody who reads makes the commit stop there, with the transaction still open.
  const reader = new Database(path, { readonly: true, timeout: 0 });
  try {
    reader.exec('BEGIN');
    reader.pragma('schema_version');
    db.pragma('busy_timeout = 0');
    db.exec('COMMIT');
    throw new Error(`The commit of ${path} did not wait for its reader.`);
  } catch (error) {
    if (!(error instanceof Database.SqliteError) || error.code !== 'SQLITE_BUSY') throw error;
    const file = `${path}-journal`;
    return existsSync(file) ? readFileSync(file) : undefined;
  } finally {
    reader.close();
  }
}

function steps(before: Buffer, after: Buffer, written: Buffer): Image[] {
  const sector = written.readUInt32BE(20);
  const page = written.readUInt32BE(24);
  const records = (written.length - sector) / (page + 8);
  const valid = Buffer.from(written);
  valid.write(JOURNAL_MAGIC, 0, 'hex');
  valid.writeUInt32BE(records, 8);

  const images: Image[] = [{ database: before, journal: undefined }];
  images.push({ database: before, journal: written.subarray(0, sector + Math.floor(records / 2) * (page + 8) + 4) });
  images.push({ database: before, journal: written });
  images.push({ database: before, journal: valid });
  let database = before;
  for (let at = 0; at < after.length; at += page) {
    if (before.subarray(at, at + page).equals(after.subarray(at, at + page))) continue;
    const next = Buffer.alloc(Math.max(database.length, at + page));
    database.copy(next);
    after.copy(next, at, at, at + page);
    database = next;
    images.push({ database, journal: valid });
  }
  images.push({ database: after, journal: undefined });
  return images;
}

/** The first eight bytes of a journal that is to be rolled back (SQLite, "Database File Format", 3). */
const JOURNAL_MAGIC = 'd9d505f920a163d7';

function write({ database, journal }: Image, path: string): void {
  writeFileSync(path, database);
  if (journal === undefined) rmSync(`${path}-journal`, { force: true });
  else writeFileSync(`${path}-journal`, journal);
}
