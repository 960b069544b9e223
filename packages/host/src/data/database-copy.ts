/** A private copy of a database, for whoever wants to read it without leaving a trace where it lies. */
import { copyFileSync, existsSync, rmSync, statSync } from 'node:fs';
import { SqliteError } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { messageOf, Problem, systemCode } from '../errors/index.ts';

/** How often a file that is being written is copied again. */
const COPY_TRIES = 20;

/**
 * Copies a database with its side files, those that are there, as of one moment. Throws a `Problem`: exit code 4 when it
 * cannot be read, 7 when it is being written all the time.
 */
export function copyAsOfOneMoment(from: readonly string[], to: readonly string[]): void {
  try {
    for (let tries = 0; tries < COPY_TRIES; tries += 1) {
      const before = from.map(stamp);
      from.forEach((source, at) => {
        const target = to[at];
        if (target === undefined) return;
        rmSync(target, { force: true });
        if (existsSync(source)) copyFileSync(source, target);
      });
      if (from.map(stamp).every((now, at) => now === before[at])) return;
    }
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    throw new Problem(
      `${from[0]} cannot be read (${messageOf(error)}); nothing was changed. Use the account that the host runs under.`,
      4,
      { cause: error },
    );
  }
  throw new Problem(`${from[0]} is being written all the time; nothing was changed. Try again in a moment.`, 7);
}

function stamp(path: string): string {
  const of = statSync(path, { throwIfNoEntry: false, bigint: true });
  return of === undefined ? '' : `${of.ino}:${of.size}:${of.mtimeNs}`;
}

/**
 * What is wrong with a private copy of a database; `undefined`: nothing, and what was in the logs beside it is in the file
 * itself now, because one file is easier to keep than two.
 */
export function databaseDamage(copy: string): string | undefined {
  try {
    const db = openSqlite(copy, 'write');
    try {
      const found = db.all<{ quick_check: string }>('PRAGMA quick_check(1)')[0]?.quick_check;
      if (found !== 'ok') return found ?? 'It cannot be checked.';
      db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
      return undefined;
    } finally {
      db.close();
    }
  } catch (error) {
    if (!(error instanceof SqliteError)) throw error;
    return error.message;
  }
}
