/** What drivers check of a start, whatever the runtime: what must be on the disk before it, and that it lasts. */

import type { FileHandle } from 'node:fs/promises';
import { stat } from 'node:fs/promises';
import type { Clock, Millis } from '@nanoclaw/session-db';
import { type Run, type RunSpec, SpawnError } from './driver.ts';
import { ERROR_OUTPUT_BYTES_MAX, logTail, openLog } from './log-file.ts';
import { errorCode } from './process-table.ts';
import { resolvesWithin } from './waiting.ts';

/** Rejects with a `SpawnError` (`bad-mount`) for the first mount whose source does not exist. */
export async function requireMountSources({ mounts }: RunSpec): Promise<void> {
  for (const mount of mounts) {
    if ((await statOf(mount.source)) === undefined) {
      throw new SpawnError({ type: 'bad-mount', mount, reason: 'the source does not exist' });
    }
  }
}

/** Opens the log file of a run to append to; the caller closes it. Rejects with a `SpawnError` (`bad-log`). */
export async function openRunLog(logFile: string): Promise<FileHandle> {
  try {
    return await openLog(logFile);
  } catch (error) {
    throw new SpawnError({ type: 'bad-log', logFile, reason: errorCode(error) ?? String(error) }, { cause: error });
  }
}

/** Rejects with a `SpawnError` (`exit-at-once`) if the run ends, and not well, within `settleMs` milliseconds. */
export async function requireSettled(run: Run, settleMs: Millis, clock: Clock): Promise<void> {
  if (!(await resolvesWithin(clock, settleMs, run.exited()))) return;
  const exit = await run.exited();
  if (exit.type === 'code' && exit.code === 0) return;
  const output = (await logTail(run.logFile, ERROR_OUTPUT_BYTES_MAX)) ?? '';
  throw new SpawnError({ type: 'exit-at-once', exit, output, logFile: run.logFile });
}

/** What the disk says of a path; `undefined` for one that is not there, or that may not be seen. */
export async function statOf(path: string) {
  try {
    return await stat(path);
  } catch (error) {
    const code = errorCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EACCES') return undefined;
    throw error;
  }
}
