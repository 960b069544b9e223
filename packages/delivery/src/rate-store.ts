/**
 * Token buckets in a SQLite file of their own. They span sessions, so they are in no session's files. The file may be thrown
 * away at any time at the price of one burst a bucket, so nothing depends on it: one that is damaged is made anew, and what
 * cannot be kept is known to this process alone. A power cut may take the last ones back, so no commit waits for the disk.
 */
import { rmSync } from 'node:fs';
import { type Millis, type OpenSqlite, type Sqlite, SqliteError } from '@nanoclaw/session-db';
import type { RateStore } from './rates.ts';

const SCHEMA = `
CREATE TABLE IF NOT EXISTS rates (
  key     TEXT    PRIMARY KEY,
  -- Epoch milliseconds, UTC: when the bucket will be full again.
  full_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID`;

/** What a store went on without. */
export interface RateStoreTrouble {
  /**
   * `made-anew`: the file was damaged, or another program's. `not-kept`: it cannot be read or written just now, which is told
   * once, until it can again.
   */
  readonly type: 'made-anew' | 'not-kept';
  /** The file. */
  readonly path: string;
  /** Why. */
  readonly error: SqliteError;
}

/** A store of token buckets in a SQLite file of its own. What it cannot keep it tells of, and goes on. */
export class SqliteRateStore implements RateStore, Disposable {
  readonly #db: Sqlite;
  readonly #path: string;
  readonly #onTrouble: (trouble: RateStoreTrouble) => void;
  #isInTrouble = false;

  /**
   * Opens the file, making it where it is missing or damaged, and forgets buckets that are full again at `now`. `onTrouble`
   * must not throw. Throws `SqliteError` when there can be no file in that place.
   */
  constructor(openSqlite: OpenSqlite, path: string, now: Millis, onTrouble: (trouble: RateStoreTrouble) => void) {
    this.#path = path;
    this.#onTrouble = onTrouble;
    this.#db = openedOrMadeAnew(openSqlite, path, now, onTrouble);
  }

  /** When the bucket `key` will be full again; `undefined` also where the file cannot be read just now. */
  load(key: string): Millis | undefined {
    const sql = 'SELECT full_at AS fullAt FROM rates WHERE key = :key';
    return this.#kept(() => this.#db.all<{ fullAt: Millis }>(sql, { key })[0]?.fullAt);
  }

  /** Notes when the bucket `key` will be full again. A power cut may take the last notes back. */
  save(key: string, fullAt: Millis): void {
    this.#kept(() => {
      this.#db.run(
        `INSERT INTO rates (key, full_at) VALUES (:key, :fullAt) ON CONFLICT (key) DO UPDATE SET full_at = :fullAt`,
        { key, fullAt },
      );
    });
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#db.close();
  }

  /** What `action` gives; `undefined` where the file cannot be used: a send must not fail because of it. */
  #kept<T>(action: () => T): T | undefined {
    try {
      const result = action();
      this.#isInTrouble = false;
      return result;
    } catch (error) {
      if (!(error instanceof SqliteError)) throw error;
      if (!this.#isInTrouble) this.#onTrouble({ type: 'not-kept', path: this.#path, error });
      this.#isInTrouble = true;
      return undefined;
    }
  }
}

function openedOrMadeAnew(
  openSqlite: OpenSqlite,
  path: string,
  now: Millis,
  onTrouble: (trouble: RateStoreTrouble) => void,
): Sqlite {
  try {
    return opened(openSqlite, path, now);
  } catch (error) {
    if (!(error instanceof SqliteError) || !isDamage(error)) throw error;
    for (const side of ['', '-wal', '-shm', '-journal']) rmSync(`${path}${side}`, { force: true });
    onTrouble({ type: 'made-anew', path, error });
    return opened(openSqlite, path, now);
  }
}

function opened(openSqlite: OpenSqlite, path: string, now: Millis): Sqlite {
  const db = openSqlite(path, 'create');
  try {
    // Nothing is synced but at a checkpoint, before the file proper is written to. DELETE with OFF would tear it.
    db.exec('PRAGMA busy_timeout = 50; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL');
    db.exec(SCHEMA);
    // Reads the whole table, and so finds out now whether it can be read.
    db.run('DELETE FROM rates WHERE full_at <= :now', { now });
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** A plain SQLITE_ERROR comes of a table that is not ours. */
function isDamage({ code }: SqliteError): boolean {
  return code === 'SQLITE_ERROR' || /^SQLITE_(NOTADB|CORRUPT|IOERR_SHORT_READ)/.test(code);
}
