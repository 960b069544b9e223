/**
 * The whole of SQLite that the protocol needs: four methods. Two drivers implement it, `./node` on better-sqlite3
 * and `./bun` on bun:sqlite, and pass one conformance suite (`test/sqlite.both.test.ts`, run under both).
 *
 * A driver keeps each statement it has prepared, by its text, until `close`: texts are constants, so they are few.
 */

/** What a column holds, and what a parameter may be. */
export type SqliteValue = string | number | null;

/** Parameters by name, without the colon that the SQL text has: `{ id: 'm1' }` for `:id`. */
export type Params = Readonly<Record<string, SqliteValue>>;

/** An open database. Synchronous: nothing else in the process runs until it returns. */
export interface Sqlite {
  /** Runs one or several statements without parameters and without results. */
  exec(sql: string): void;
  /** Runs one statement and returns how many rows it inserted, changed or deleted. */
  run(sql: string, params?: Params): number;
  /** All rows of one statement that gives rows. `Row` is the caller's claim about its own SELECT list. */
  all<Row>(sql: string, params?: Params): Row[];
  /** Closes the file and lets go of its locks. A second call does nothing. */
  close(): void;
}

/**
 * How a file is opened. `read` never writes, not even to recover a journal; `write` expects the file; `create`
 * makes it where it is missing.
 */
export type OpenMode = 'read' | 'write' | 'create';

/**
 * Opens a database file, or throws a `SqliteError`. No pragma is set: `open.ts` does that for both drivers.
 */
export type OpenSqlite = (path: string, mode: OpenMode) => Sqlite;

/**
 * What both drivers throw. `code` is SQLite's own extended code name, such as `SQLITE_BUSY` or
 * `SQLITE_READONLY_ROLLBACK`.
 */
export class SqliteError extends Error {
  /** Names the class, whatever a bundler makes of it. */
  override readonly name = 'SqliteError';
  /** SQLite's extended code name. */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Whether another connection holds a lock just now, so that the same call may succeed a little later. */
export function isBusy(error: unknown): boolean {
  return error instanceof SqliteError && /^SQLITE_(BUSY|LOCKED)/.test(error.code);
}

/**
 * Turns what a driver threw into a `SqliteError` where it came from SQLite, and leaves anything else (a wrong
 * parameter, a bug) as it is.
 */
export function asSqliteError(error: unknown): unknown {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('SQLITE_')) {
    return new SqliteError(error.code, error.message, { cause: error });
  }
  return error;
}
