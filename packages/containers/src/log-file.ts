/**
 * Captured output. A run writes straight into its log file, so that output goes on while no host is there; the host
 * can therefore not hold the pen, and bounds the file afterwards: what is over the limit is cut by `trimLog`, the last
 * part is kept beside it as `<file>.1`. Between two calls the file can grow by whatever the run writes.
 */
import { constants } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { errorCode } from './process-table.ts';

/** A run's log file over this many bytes is cut when it is next looked at. */
export const LOG_BYTES_MAX = 8 * 1024 * 1024;
/** What `Driver.logs` gives at most, in bytes. */
export const LOGS_BYTES_MAX = 64 * 1024;
/** How much of a run's output an error repeats at most, in bytes. */
export const ERROR_OUTPUT_BYTES_MAX = 4 * 1024;

/**
 * The last part of a run's output, at most `maxBytes` bytes of UTF-8, beginning at the beginning of a line where it is
 * cut; `undefined` if there is no such file.
 */
export async function logTail(file: string, maxBytes: number): Promise<string | undefined> {
  const recent = await lastBytes(file, maxBytes);
  if (recent === undefined) return undefined;
  const older = await lastBytes(`${file}.1`, maxBytes - recent.length);
  const bytes = older === undefined ? recent : Buffer.concat([older, recent]);
  const text = bytes.toString('utf8');
  return bytes.length < maxBytes ? text : text.slice(text.indexOf('\n') + 1);
}

/**
 * Cuts a log file that is larger than `maxBytes`, keeping its last half of `maxBytes` in `<file>.1`. Lines written in
 * the moment of the cut are lost. A missing file is nothing to trim.
 */
export async function trimLog(file: string, maxBytes: number): Promise<void> {
  const log = await openIfThere(file, constants.O_RDWR);
  if (log === undefined) return;
  try {
    const { size } = await log.stat();
    if (size <= maxBytes) return;
    const kept = await lastBytesOf(log, Math.floor(maxBytes / 2));
    await rm(`${file}.1`, { force: true });
    const older = await open(`${file}.1`, 'wx', 0o600);
    try {
      await older.writeFile(kept);
    } finally {
      await older.close();
    }
    // The run has the file open for appending, so that it goes on at the new end.
    await log.truncate(0);
  } finally {
    await log.close();
  }
}

/** Opens a log file for a run to append to; the caller closes it. */
export function openLog(file: string): Promise<FileHandle> {
  const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW;
  return open(file, flags, 0o600);
}

async function lastBytes(file: string, maxBytes: number): Promise<Buffer | undefined> {
  const log = await openIfThere(file, constants.O_RDONLY);
  if (log === undefined) return undefined;
  try {
    return await lastBytesOf(log, maxBytes);
  } finally {
    await log.close();
  }
}

async function lastBytesOf(log: FileHandle, maxBytes: number): Promise<Buffer> {
  const { size } = await log.stat();
  const length = Math.min(size, maxBytes);
  const { buffer, bytesRead } = await log.read(Buffer.alloc(length), 0, length, size - length);
  return buffer.subarray(0, bytesRead);
}

async function openIfThere(file: string, flags: number): Promise<FileHandle | undefined> {
  try {
    return await open(file, flags | constants.O_NOFOLLOW);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
