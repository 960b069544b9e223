/** The host's own files in a backup: all that is in a data folder but what agents write and what is made anew anyway. */
import { closeSync, mkdirSync, openSync, readdirSync, readSync, rmSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, Problem, systemCode } from '../errors/index.ts';
import { copyAsOfOneMoment, databaseDamage } from './database-copy.ts';

/** In the data folder itself: what is saved otherwise, belongs to a live host or this machine, or says what was read. */
const NOT_SAVED: ReadonlySet<string> = new Set(
  'groups state sessions generated runs guard chat starts.json host.json host.lock host.log host.log.1'.split(' '),
);

/** Anywhere: parts of a database, what was never finished, and packages, which are installed again. */
const NEVER_SAVED = /^(node_modules|doctor-.*|.*\.partial|.*\.new|.*-(wal|shm|journal))$/;

/**
 * Copies the files into the folder `into`, databases as of one moment each. Gives one sentence for each that could not be
 * taken, or was taken although it is damaged. Throws the file system's error when `into` cannot be written.
 */
export function copyHostFiles(root: string, into: string): Promise<readonly string[]> {
  return copyFolder(root, into, NOT_SAVED);
}

async function copyFolder(root: string, into: string, but: ReadonlySet<string>): Promise<readonly string[]> {
  mkdirSync(into, { recursive: true, mode: 0o700 });
  const leftOut: string[] = [];
  for (const entry of readdirSync(root, { withFileTypes: true })) {
    if (but.has(entry.name) || NEVER_SAVED.test(entry.name)) continue;
    const [from, to] = [join(root, entry.name), join(into, entry.name)];
    try {
      if (entry.isDirectory()) leftOut.push(...(await copyFolder(from, to, NOTHING)));
      else if (entry.isFile()) leftOut.push(...(await copyOne(from, to)));
      else if (entry.isSymbolicLink()) leftOut.push(`${from} was left out, because it is a link.`);
    } catch (error) {
      if (!isOfTheSource(error)) throw error;
      rmSync(to, { recursive: true, force: true });
      leftOut.push(`${from} was left out: ${messageOf(error)}`);
    }
  }
  return leftOut;
}

const NOTHING: ReadonlySet<string> = new Set();

/** What can be wrong with the place of the backup, and then with all of it. */
const OF_THE_TARGET: ReadonlySet<string | undefined> = new Set([
  'ENOSPC',
  'EDQUOT',
  'EROFS',
  'EFBIG',
  'EMFILE',
  'ENFILE',
]);

function isOfTheSource(error: unknown): boolean {
  const code = systemCode(error instanceof Problem ? error.cause : error);
  return !OF_THE_TARGET.has(code) && (error instanceof Problem || code !== undefined);
}

async function copyOne(from: string, to: string): Promise<readonly string[]> {
  if (isDatabase(from)) return copyDatabase(from, to);
  await copyFile(from, to);
  return [];
}

/** How every file of SQLite begins. */
const SQLITE = 'SQLite format 3\0';

function isDatabase(file: string): boolean {
  const begin = Buffer.alloc(SQLITE.length);
  const descriptor = openSync(file, 'r');
  try {
    readSync(descriptor, begin, 0, begin.length, 0);
  } finally {
    closeSync(descriptor);
  }
  // By its name as well: one whose beginning is damaged is to be told of.
  return begin.toString('latin1') === SQLITE || file.endsWith('.db');
}

/**
 * The host holds some of them to itself as long as it runs, so the bytes are copied, with what is in the logs beside them. One
 * that is damaged is copied as it is: something may be got out of it.
 */
function copyDatabase(from: string, to: string): readonly string[] {
  const sides = ['', '-wal', '-journal'];
  copyAsOfOneMoment(
    sides.map((side) => `${from}${side}`),
    sides.map((side) => `${to}${side}`),
  );
  const damage = databaseDamage(to);
  if (damage === undefined) return [];
  return [`${from} is damaged (${damage}); it was saved as it is. \`nanoclaw doctor\` says what to do.`];
}
