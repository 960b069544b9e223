/**
 * What a container has put in place of those of its files that the host only looks at: its bell, its heartbeat, its folder of
 * files. Nothing there is opened or followed, so that it does no harm; it is for the operator to know.
 */
import { lstatSync } from 'node:fs';
import type { OutboundFolder } from './folder.ts';
import { errorCode, impostor } from './plain-file.ts';

/** Something that no honest runner makes. */
export interface Impostor {
  /** Where it lies, and what it is, as in `heartbeat-link`: one of a few. */
  readonly name: string;
  /** What it is, in one sentence. */
  readonly detail: string;
}

/** What lies in a runner's folder in place of its files; nothing where all is as an honest runner leaves it. Some lookups of a name. */
export function impostors(folder: OutboundFolder): Impostor[] {
  return [
    ...inPlaceOf('bell', folder.bell),
    ...inPlaceOf('heartbeat', folder.heartbeat),
    ...inPlaceOfFiles(folder.files),
  ];
}

/** A file that is only touched holds nothing; one that holds a word or two is no matter. */
const TOUCHED_BYTES_MAX = 4_096;

function inPlaceOf(what: string, path: string): Impostor[] {
  const problem = impostor(path, TOUCHED_BYTES_MAX);
  if (problem === undefined) return [];
  if (problem.type === 'not-a-file') return [{ name: `${what}-${problem.kind}`, detail: problem.detail }];
  return [{ name: `${what}-too-big`, detail: `${path} has ${problem.bytes} bytes, and should have none.` }];
}

function inPlaceOfFiles(path: string): Impostor[] {
  try {
    if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory() !== false) return [];
  } catch (error) {
    // The folder around it cannot be looked into: the bell's name says so.
    if (errorCode(error) === undefined) throw error;
    return [];
  }
  const kind = impostor(path, Number.POSITIVE_INFINITY);
  return [{ name: `files-${kind?.type === 'not-a-file' ? kind.kind : 'file'}`, detail: `${path} is not a directory.` }];
}
