/** Copies of databases: private ones, to read without leaving a trace where the file lies, and those that are put back. */
import { copyFileSync, existsSync, rmSync, statSync } from 'node:fs';
import { type Millis, SqliteError } from '@nanoclaw/session-db';
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

/**
 * Lets a database that was put back give none of the numbers again that it promised never to give twice: those given after the
 * backup are not in it, and clients and programs remember the last one they have seen. It goes on from `now`, which is higher
 * than any: none of them counts a thousand a second. One that is damaged is left as it is. Throws `SqliteError` when the disk is
 * full.
 */
export function giveNoNumberAgain(file: string, now: Millis): void {
  if (databaseDamage(file) !== undefined) return;
  const db = openSqlite(file, 'write');
  try {
    const counting = db.all<{ name: string }>(
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%'",
    );
    for (const { name } of counting) {
      const next = { name, now };
      if (db.run('UPDATE sqlite_sequence SET seq = max(seq + 1, :now) WHERE name = :name', next) > 0) continue;
      db.run('INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :now)', next);
    }
  } finally {
    db.close();
  }
}
