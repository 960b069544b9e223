/** The driver for Node, on better-sqlite3: `import { openSqlite } from '@nanoclaw/session-db/node'`. */
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import { asSqliteError, type OpenMode, type Params, type Sqlite, SqliteError, type SqliteValue } from './index.ts';

/** Opens a database file with better-sqlite3. Throws `SqliteError`, for a missing file in `read` and `write` too. */
export function openSqlite(path: string, mode: OpenMode): Sqlite {
  // better-sqlite3 has a TypeError of its own for this, where SQLite and Bun's driver cannot open the file.
  if (path !== ':memory:' && !existsSync(dirname(path))) {
    throw new SqliteError('SQLITE_CANTOPEN', `There is no directory ${dirname(path)}.`);
  }
  const db = translated(
    () => new Database(path, { readonly: mode === 'read', fileMustExist: mode !== 'create', timeout: 0 }),
  );
  const statements = new Map<string, Database.Statement>();

  function statement(sql: string): Database.Statement {
    const known = statements.get(sql);
    if (known) return known;
    const prepared = db.prepare(sql);
    statements.set(sql, prepared);
    return prepared;
  }

  return {
    exec: (sql) => translated(() => void db.exec(sql)),
    run: (sql, params) => translated(() => statement(sql).run(bindings(params)).changes),
    all: <Row>(sql: string, params?: Params) => translated(() => statement(sql).all(bindings(params)) as Row[]),
    close: () => void db.close(),
  };
}

/** better-sqlite3 binds every number as a float, bun:sqlite whole ones as integers: as integers they go to both. */
function bindings(params: Params | undefined): Record<string, SqliteValue | bigint> {
  const bound: Record<string, SqliteValue | bigint> = {};
  for (const name in params) {
    const value = params[name] ?? null;
    bound[name] = Number.isSafeInteger(value) ? BigInt(Number(value)) : value;
  }
  return bound;
}

function translated<T>(action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw asSqliteError(error);
  }
}
