/**
 * The sign of life of a run: the modification time of one file. It says that the process is there, not that the
 * model makes progress, and it is the container's claim.
 */
import { lstatSync } from 'node:fs';
import { touch } from './doorbell.ts';
import { errorCode } from './plain-file.ts';
import type { Millis } from './time.ts';

/** Says "alive at `now`". Throws the file system's error when the folder cannot be written. */
export function beat(path: string, now: Millis): void {
  touch(path, now);
}

/**
 * When the run last gave a sign of life; `undefined` when it has not, or when what lies there is not a plain file, or
 * cannot be looked at. A time in the future counts as `now`, so that a false date cannot make a run immortal: only an
 * advance counts.
 */
export function lastBeat(path: string, now: Millis): Millis | undefined {
  try {
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats === undefined || !stats.isFile()) return undefined;
    // A time set to a millisecond is stored as the nearest fraction of a second, which may lie just below it.
    return Math.min(Math.round(stats.mtimeMs), now);
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return undefined;
  }
}
