/**
 * The skills of an agent, as a folder that the host makes and the agent may only read: exactly those that were chosen.
 *
 * A folder is named after what is in it and never changed: a run goes on with what it was started with, and a choice or a
 * version that differs is another folder, hence another spec.
 */
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';

/** A choice of skills, as it is shown to a run. */
export interface SkillSelection {
  /** The folder to show; `undefined` when nothing is chosen, or nothing of it is there. */
  readonly folder: string | undefined;
  /** Names that were chosen and are none of this version's skills. */
  readonly missing: readonly string[];
}

/**
 * Makes a folder in `into` that holds the chosen skills of `from`, unless it is there already; of the earlier ones the
 * last few are kept. Throws the file system's error.
 */
export function generateSkills(from: string, into: string, chosen: 'all' | readonly string[]): SkillSelection {
  const known = skillsIn(from);
  const names = chosen === 'all' ? known : known.filter((name) => chosen.includes(name));
  const missing = chosen === 'all' ? [] : chosen.filter((name) => !known.includes(name));
  if (names.length === 0) return { folder: undefined, missing };
  const folder = join(into, fingerprint(from, names));
  if (!existsSync(folder)) {
    make(folder, from, names);
    removeOldest(into);
  }
  return { folder, missing };
}

/** The names of the skills in a folder, in order. */
export function skillsIn(folder: string): readonly string[] {
  if (!existsSync(folder)) return [];
  const entries = readdirSync(folder, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .toSorted();
}

/** How many choices are there at once: the one in force, and those that runs were started with before. */
const KEPT = 5;

/** Whole or not at all: a host that dies meanwhile leaves a folder with a name that nobody shows. */
function make(folder: string, from: string, names: readonly string[]): void {
  const unfinished = `${folder}.new`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  for (const name of names) cpSync(join(from, name), join(unfinished, name), { recursive: true });
  renameSync(unfinished, folder);
}

function removeOldest(into: string): void {
  const folders = readdirSync(into).map((name) => ({ path: join(into, name), at: statSync(join(into, name)).mtimeMs }));
  const old = folders.toSorted((a, b) => b.at - a.at).slice(KEPT);
  for (const { path } of old) rmSync(path, { recursive: true, force: true });
}

function fingerprint(from: string, names: readonly string[]): string {
  const hash = createHash('sha256');
  for (const file of names.flatMap((name) => filesIn(join(from, name)))) {
    const bytes = readFileSync(file);
    hash.update(`${relative(from, file)}\0${bytes.length}\0`).update(bytes);
  }
  return hash.digest('hex').slice(0, 32);
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
}
