/**
 * Small files that are written whole or not at all: identities, notes, settings. A disk that is full, a kill or a power cut
 * in the middle leaves what was there before, never an empty file or half of one.
 */
import { closeSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { syncDirectory, writeAll } from './plain-file.ts';

/**
 * Puts `text` in place of what `path` holds, for good when this returns: it is written beside it as `<path>.new`, synced,
 * renamed, and the folder is synced. The file is a new one of this mode. Writers of one path take turns by themselves; only
 * the folder's owner may be able to write there.
 *
 * Throws the file system's error; the file is as it was then, and nothing is left beside it.
 */
export function replaceFile(path: string, text: string, mode: number): void {
  const aside = `${path}.new`;
  // Left by a writer that did not live to rename it. Not written through: it may be a link, or half of something.
  rmSync(aside, { force: true });
  try {
    const descriptor = openSync(aside, 'wx', mode);
    try {
      writeAll(descriptor, Buffer.from(text));
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(aside, path);
  } catch (error) {
    rmSync(aside, { force: true });
    throw error;
  }
  syncDirectory(dirname(path));
}
