/**
 * One host per data folder. The lease is a lock that the operating system takes back when the process ends, however it
 * ends, so there is no stale lease to clear and no time-out to wait for.
 */
import { readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { isBusy, replaceFile, type Sqlite, SqliteError } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { z } from 'zod';
import { cannotBeWritten, Problem, systemCode } from '../errors/index.ts';

const Holder = z.object({ pid: z.number(), since: z.string() });

/**
 * Takes the lease on an existing data folder, for as long as the result is not disposed of.
 *
 * Throws a `Problem`: exit code 3 when another host holds it (named by its process), 4 when the folder cannot be written.
 */
export function takeLease(dataFolder: string, holder: { readonly pid: number; readonly since: Date }): Disposable {
  const note = join(dataFolder, 'host.json');
  const lock = lockedFile(join(dataFolder, 'host.lock'), dataFolder, note);
  try {
    replaceFile(note, `${JSON.stringify({ pid: holder.pid, since: holder.since.toISOString() })}\n`, 0o600);
  } catch (error) {
    lock.close();
    throw cannotBeWritten(`The data folder ${dataFolder}`, error);
  }
  return { [Symbol.dispose]: () => lock.close() };
}

function lockedFile(file: string, dataFolder: string, note: string): { close(): void } {
  try {
    return locked(file);
  } catch (error) {
    if (isBusy(error)) {
      throw new Problem(
        `Another host already runs on ${dataFolder}${describedHolder(note)}; it was left alone. ` +
          'Stop it first, or give this one a data folder of its own.',
        3,
      );
    }
    throw cannotBeWritten(`The data folder ${dataFolder}`, error);
  }
}

/**
 * SQLite's own file lock: advisory, per process, and right for two hosts in one process too, which a bare fcntl lock is not.
 * Nothing is ever written into the file.
 */
function locked(file: string): Sqlite {
  try {
    return lockedOnce(file);
  } catch (error) {
    if (!(error instanceof SqliteError) || error.code !== 'SQLITE_NOTADB') throw error;
    // Nobody holds it, or it would have been busy. Emptied and not removed: two hosts must not lock two files of one name.
    truncateSync(file);
    return lockedOnce(file);
  }
}

function lockedOnce(file: string): Sqlite {
  const db = openSqlite(file, 'create');
  try {
    db.exec('BEGIN EXCLUSIVE');
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

function describedHolder(note: string): string {
  try {
    const { pid, since } = Holder.parse(JSON.parse(readFileSync(note, 'utf8')));
    return ` (process ${pid}, since ${since})`;
  } catch (error) {
    // It is only a courtesy: the holder has the lock and has not written its note yet, or somebody removed it.
    if (systemCode(error) !== undefined || error instanceof SyntaxError || error instanceof z.ZodError) return '';
    throw error;
  }
}
