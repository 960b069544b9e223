/**
 * Reading the file of a run that died in mid-commit. Its journal is hot: opening the pair for writing rolls the
 * half commit back, and a reader alone cannot read at all. The host never opens a container's file for writing, so
 * it recovers a private copy.
 *
 * Only after the run's confirmed exit: while the run lives, the journal is its own business.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { openOwnFile } from './open.ts';
import { copyFile, type FileProblem, openPlainFile, readBytes } from './plain-file.ts';
import type { OpenSqlite } from './sqlite/index.ts';

/** Why there is no recovered copy: the same kinds as the findings of a read. */
export type CopyProblem = FileProblem | { readonly type: 'corrupt'; readonly detail: string };

/**
 * Copies `database` and its journal into `into` (made, and emptied first), rolls the half commit back there and gives the
 * path of the copy, or says why it cannot be. `database` and its journal stay as they are.
 *
 * Throws `SqliteError` when the copy is no database, and the file system's error when `into` cannot be written.
 */
export function recoveredCopy(
  database: string,
  into: string,
  openSqlite: OpenSqlite,
  bytesMax: number,
): { readonly type: 'recovered'; readonly path: string } | CopyProblem {
  rmSync(into, { recursive: true, force: true });
  mkdirSync(into, { recursive: true, mode: 0o700 });
  const path = join(into, 'copy.db');
  const problem = copied(database, path, bytesMax) ?? copiedJournal(`${database}-journal`, `${path}-journal`, bytesMax);
  if (problem) return problem;
  openOwnFile(openSqlite, path).close();
  return { type: 'recovered', path };
}

function copied(from: string, to: string, bytesMax: number): FileProblem | undefined {
  const file = openPlainFile(from, bytesMax);
  if (file.type !== 'opened') return file;
  using source = file;
  copyFile(source, to, 0o600);
  return undefined;
}

function copiedJournal(from: string, to: string, bytesMax: number): CopyProblem | undefined {
  const file = openPlainFile(from, bytesMax);
  // It was removed meanwhile: there is nothing to roll back.
  if (file.type === 'absent') return undefined;
  if (file.type !== 'opened') return file;
  using journal = file;
  copyFile(journal, to, 0o600);
  // Looked for in the copy: what is checked is what SQLite then reads.
  return namesSuperJournal(to, bytesMax)
    ? { type: 'corrupt', detail: 'Its journal names a super-journal.' }
    : undefined;
}

/**
 * A journal may end with the name of a super-journal, which SQLite then looks for and may delete: a name chosen by a
 * container. No transaction of ours spans two databases, so an honest journal has none.
 */
function namesSuperJournal(path: string, bytesMax: number): boolean {
  const file = openPlainFile(path, bytesMax);
  if (file.type !== 'opened') return false;
  using journal = file;
  const { length } = SUPER_JOURNAL_MAGIC;
  return readBytes(journal, Math.max(0, journal.bytes - length), length).equals(SUPER_JOURNAL_MAGIC);
}

/** The last eight bytes of a journal with a super-journal (SQLite, "Database File Format", 5.4 and `aJournalMagic`). */
const SUPER_JOURNAL_MAGIC = Buffer.from([0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]);
