/**
 * Token buckets in a SQLite file of their own. They span sessions, so they are in no session's files; a power cut may
 * take the last ones back, which costs a burst and no message, so no commit waits for the disk. The file itself stays
 * sound: a host that could not open it would not start.
 */
import type { Millis, OpenSqlite, Sqlite } from '@nanoclaw/session-db';
import type { RateStore } from './rates.ts';

const SCHEMA = `
CREATE TABLE IF NOT EXISTS rates (
  key     TEXT    PRIMARY KEY,
  -- Epoch milliseconds, UTC: when the bucket will be full again.
  full_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID`;

/** A store of token buckets in a SQLite file of its own. Its methods throw `SqliteError` when the file cannot be used. */
export class SqliteRateStore implements RateStore, Disposable {
  readonly #db: Sqlite;

  /**
   * Opens the file, making it where it is missing, and forgets buckets that are full again at `now`.
   *
   * Throws `SqliteError` when the file cannot be opened or is no database; it may be deleted then, at the price of one
   * burst a bucket.
   */
  constructor(openSqlite: OpenSqlite, path: string, now: Millis) {
    this.#db = openSqlite(path, 'create');
    try {
      // Nothing is synced but at a checkpoint, before the file proper is written to. DELETE with OFF would tear it.
      this.#db.exec('PRAGMA busy_timeout = 50; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL');
      this.#db.exec(SCHEMA);
      this.#db.run('DELETE FROM rates WHERE full_at <= :now', { now });
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  load(key: string): Millis | undefined {
    return this.#db.all<{ fullAt: Millis }>('SELECT full_at AS fullAt FROM rates WHERE key = :key', { key })[0]?.fullAt;
  }

  /** Notes when the bucket `key` will be full again. A power cut may take the last notes back. */
  save(key: string, fullAt: Millis): void {
    this.#db.run(
      `INSERT INTO rates (key, full_at) VALUES (:key, :fullAt) ON CONFLICT (key) DO UPDATE SET full_at = :fullAt`,
      { key, fullAt },
    );
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#db.close();
  }
}
