/** The driver for Bun, on bun:sqlite: `import { openSqlite } from '@nanoclaw/session-db/bun'`. */
import { Database, type Statement } from 'bun:sqlite';
import { asSqliteError, type OpenMode, type Params, type Sqlite, type SqliteValue } from './index.ts';

type Bindings = Record<string, SqliteValue>;

/** Opens a database file with bun:sqlite. Throws `SqliteError`, for a missing file in `read` and `write` too. */
export function openSqlite(path: string, mode: OpenMode): Sqlite {
  const db = translated(
    () =>
      new Database(path, {
        strict: true, // names without a colon, and an error where one is missing
        readonly: mode === 'read',
        readwrite: mode !== 'read',
        create: mode === 'create',
      }),
  );
  const statements = new Map<string, Statement<unknown, [Bindings]>>();

  function statement(sql: string) {
    const known = statements.get(sql);
    if (known) return known;
    const prepared = db.prepare<unknown, [Bindings]>(sql);
    statements.set(sql, prepared);
    return prepared;
  }

  return {
    exec: (sql) => translated(() => void db.exec(sql)),
    run: (sql, params) => translated(() => statement(sql).run({ ...params }).changes),
    all: <Row>(sql: string, params?: Params) => translated(() => statement(sql).all({ ...params }) as Row[]),
    close: () => {
      for (const prepared of statements.values()) prepared.finalize();
      statements.clear();
      db.close();
    },
  };
}

function translated<T>(action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw asSqliteError(error);
  }
}
