/**
 * The states in which a commit may be cut off, from the real bytes of the real commit: SQLite writes the old pages into
 * the journal, marks it valid, writes the new pages in the order of their numbers, and removes the journal (SQLite,
 * "Atomic Commit In SQLite", 3.4–3.11). A kill leaves the state after one of its writes; a power cut may also take back
 * or tear whatever was not synced, and what was is decided by the connection's own `PRAGMA synchronous`.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import Database from 'better-sqlite3';

/** A database file and the journal beside it. */
export interface Image {
  readonly database: Buffer;
  readonly journal: Buffer | undefined;
}

/** What `PRAGMA synchronous` says: OFF, NORMAL, FULL or EXTRA. */
export type Synchronous = 0 | 1 | 2 | 3;

/** A commit that was made, and how it went on disk. The first image is of before it, the last of after it. */
export interface Committed {
  readonly path: string;
  /** After each write. */
  readonly images: readonly Image[];
  readonly synchronous: Synchronous;
}

/** Commits the open transaction of `db` on the file `path`, a DELETE-journal database. */
export function committed(db: Database.Database, path: string): Committed {
  const synchronous = synchronousOf(db);
  const before = readFileSync(path);
  const journal = journalOf(db, path);
  db.exec('COMMIT');
  const images = journal === undefined ? [{ database: before, journal }] : steps(before, readFileSync(path), journal);
  return { path, images, synchronous };
}

/** What a connection syncs. */
export function synchronousOf(db: Database.Database): Synchronous {
  const level: unknown = db.pragma('synchronous', { simple: true });
  return level === 0 || level === 1 || level === 2 ? level : 3;
}

/** Leaves a state on disk. Everybody must have closed the file. */
export function leave({ database, journal }: Image, path: string): void {
  writeFileSync(path, database);
  if (journal === undefined) rmSync(`${path}-journal`, { force: true });
  else writeFileSync(`${path}-journal`, journal);
}

/** The journal as it stands when all of it is written and not yet marked valid; `undefined` when nothing is to commit. */
function journalOf(db: Database.Database, path: string): Buffer | undefined {
  // A connection that reads makes the commit stop there, with the transaction still open.
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
  const { sector, page, records } = layoutOf(written);
  const images: Image[] = [{ database: before, journal: undefined }];
  images.push({ database: before, journal: written.subarray(0, sector + Math.floor(records / 2) * (page + 8) + 4) });
  images.push({ database: before, journal: written });
  const valid = markedValid(written);
  images.push({ database: before, journal: valid });
  let database = before;
  for (const at of changedPages(before, after, page)) {
    database = withPage(database, after, at, page);
    images.push({ database, journal: valid });
  }
  images.push({ database: after, journal: undefined });
  return images;
}

/** What a power cut in the middle of a commit may leave besides what a kill does. `share` draws from 0 up to 1. */
export function cutOff({ images, synchronous }: Committed, share: () => number): Image[] {
  const [first, last] = [images[0], images.at(-1)];
  const written = images[2]?.journal;
  if (first === undefined || last === undefined || written === undefined) return [];
  const { page } = layoutOf(written);
  const valid = markedValid(written);
  const torn = (): Buffer => tornBetween(first.database, last.database, page, share);
  // The journal's length is on disk and its contents are not; and with all its pages synced before the database's.
  const cut: Image[] = [
    { database: first.database, journal: Buffer.alloc(written.length) },
    { database: torn(), journal: valid },
    { database: torn(), journal: valid },
    // The removal is not on disk yet.
    { database: last.database, journal: valid },
  ];
  // One sync for records and header together: the header may be there without them.
  if (synchronous === 1) cut.push({ database: first.database, journal: halfLost(valid) });
  if (synchronous === 0) cut.push({ database: torn(), journal: undefined }, { database: torn(), journal: written });
  return cut;
}

/** Pages of `after` over `before`, each of them there, not there, or there in part. */
export function tornBetween(before: Buffer, after: Buffer, page: number, share: () => number): Buffer {
  const torn = Buffer.alloc(Math.max(before.length, after.length));
  before.copy(torn);
  for (const at of changedPages(before, after, page)) {
    const sectors = Math.floor(share() * (page / SECTOR + 1));
    after.copy(torn, at, at, at + sectors * SECTOR);
  }
  return torn;
}

/** What a disk writes whole. */
const SECTOR = 512;

function halfLost(journal: Buffer): Buffer {
  const lost = Buffer.alloc(journal.length);
  journal.copy(lost, 0, 0, Math.floor(journal.length / 2));
  return lost;
}

function changedPages(before: Buffer, after: Buffer, page: number): number[] {
  const changed: number[] = [];
  for (let at = 0; at < after.length; at += page) {
    if (!before.subarray(at, at + page).equals(after.subarray(at, at + page))) changed.push(at);
  }
  return changed;
}

function withPage(database: Buffer, after: Buffer, at: number, page: number): Buffer {
  const next = Buffer.alloc(Math.max(database.length, at + page));
  database.copy(next);
  after.copy(next, at, at, at + page);
  return next;
}

function layoutOf(journal: Buffer): { readonly sector: number; readonly page: number; readonly records: number } {
  const sector = journal.readUInt32BE(20);
  const page = journal.readUInt32BE(24);
  return { sector, page, records: (journal.length - sector) / (page + 8) };
}

/** The journal with the header that says that it is to be rolled back. */
function markedValid(written: Buffer): Buffer {
  const valid = Buffer.from(written);
  valid.write(JOURNAL_MAGIC, 0, 'hex');
  valid.writeUInt32BE(layoutOf(written).records, 8);
  return valid;
}

/** The first eight bytes of a journal that is to be rolled back (SQLite, "Database File Format", 3). */
const JOURNAL_MAGIC = 'd9d505f920a163d7';
