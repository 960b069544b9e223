/**
 * Opening a file that a container may have put there: a plain file with one name and of bounded size, or an answer that
 * says what lies there instead. No link is followed and no pipe waited for. Its bytes are copied in bounded pieces.
 */
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  lstatSync,
  openSync,
  readdirSync,
  readSync,
  type Stats,
  writeSync,
} from 'node:fs';

/** What can lie where a plain file should: something else, a file that has a second name, or one that this user may not read. */
export const OTHER_KINDS = ['link', 'directory', 'pipe', 'socket', 'device', 'second-name', 'unreadable'] as const;

/** One of `OTHER_KINDS`. */
export type OtherKind = (typeof OTHER_KINDS)[number];

/** Why a file was not opened. */
export type FileProblem =
  | { readonly type: 'absent' }
  /** A link, a directory, a pipe or a device lies in its place, or it has a second name, or may not be read. */
  | { readonly type: 'not-a-file'; readonly kind: OtherKind; readonly detail: string }
  | { readonly type: 'too-big'; readonly bytes: number; readonly bytesMax: number };

/** A plain file, held open for reading. What is read through `descriptor` is this file, whatever its name then means. */
export interface OpenedFile extends Disposable {
  readonly type: 'opened';
  readonly descriptor: number;
  /** Its size when it was opened. */
  readonly bytes: number;
}

/**
 * Opens `path` for reading. Only its last component is guarded against links: the caller must know that the
 * directories above are not (`Directory` sees to it where a container may write).
 *
 * Closing it drops every lock that this process holds on the file, SQLite's too: only after SQLite has closed it.
 * Throws the file system's error for what no container can cause (`EMFILE`, `EIO`).
 */
export function openPlainFile(path: string, bytesMax: number): OpenedFile | FileProblem {
  const named = statsNoFollow(path);
  if ('type' in named) return named;
  // Before it is opened: the mere opening of a device may do something.
  const problem = fileProblem(path, named, bytesMax);
  if (problem) return problem;
  const descriptor = openNoFollow(path);
  if (typeof descriptor !== 'number') return descriptor;
  try {
    const stats = fstatSync(descriptor);
    const exchanged = fileProblem(path, stats, bytesMax);
    if (!exchanged) {
      return { type: 'opened', descriptor, bytes: stats.size, [Symbol.dispose]: () => closeSync(descriptor) };
    }
    closeSync(descriptor);
    return exchanged;
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

/** What is wrong with what lies at `path`, without opening it; `undefined` where it is a plain file, or nothing. Throws as `openPlainFile` does. */
export function impostor(
  path: string,
  bytesMax: number,
): Exclude<FileProblem, { readonly type: 'absent' }> | undefined {
  const stats = statsNoFollow(path);
  const problem = 'type' in stats ? stats : fileProblem(path, stats, bytesMax);
  return problem?.type === 'absent' ? undefined : problem;
}

function fileProblem(path: string, stats: Stats, bytesMax: number): FileProblem | undefined {
  if (!stats.isFile()) {
    const kind = otherKindOf(stats);
    return { type: 'not-a-file', kind, detail: `${path} is a ${kind} and not a plain file.` };
  }
  if (stats.nlink !== 1)
    return { type: 'not-a-file', kind: 'second-name', detail: `${path} has ${stats.nlink} names.` };
  if (stats.size > bytesMax) return { type: 'too-big', bytes: stats.size, bytesMax };
  return undefined;
}

function otherKindOf(stats: Stats): OtherKind {
  if (stats.isSymbolicLink()) return 'link';
  if (stats.isDirectory()) return 'directory';
  if (stats.isFIFO()) return 'pipe';
  return stats.isSocket() ? 'socket' : 'device';
}

function statsNoFollow(path: string): Stats | FileProblem {
  try {
    return lstatSync(path);
  } catch (error) {
    return problemOf(path, error);
  }
}

function openNoFollow(path: string): number | FileProblem {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    return problemOf(path, error);
  }
}

/** What a container can make of a path; anything else is thrown. */
function problemOf(path: string, error: unknown): FileProblem {
  switch (errorCode(error)) {
    case 'ENOENT':
      return { type: 'absent' };
    case 'ELOOP':
    case 'ENOTDIR':
    case 'ENXIO':
      return { type: 'not-a-file', kind: 'link', detail: `${path} is a link or a socket.` };
    case 'EACCES':
    case 'EPERM':
      return { type: 'not-a-file', kind: 'unreadable', detail: `${path} may not be read by this user.` };
    default:
      throw error;
  }
}

/** The code of a file system's error, such as `ENOENT`; `undefined` for any other error. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/**
 * Whether another descriptor of this process is open on the same file: so a library that was given a name has opened
 * what was checked, and not what lay under that name a moment before or after. `undefined` where the system does not
 * say (it needs Linux's `/proc`).
 */
export function isOpenElsewhere(file: OpenedFile): boolean | undefined {
  const checked = fstatSync(file.descriptor);
  const descriptors = openDescriptors();
  return descriptors?.some((other) => {
    if (other === file.descriptor) return false;
    const stats = statsOf(other);
    return stats !== undefined && stats.ino === checked.ino && stats.dev === checked.dev;
  });
}

function openDescriptors(): number[] | undefined {
  try {
    return readdirSync('/proc/self/fd').map(Number);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function statsOf(descriptor: number): Stats | undefined {
  try {
    return fstatSync(descriptor);
  } catch (error) {
    // The one with which the list itself was read is closed by now.
    if (errorCode(error) === 'EBADF') return undefined;
    throw error;
  }
}

/** Reads up to `length` bytes from `position`; fewer at the file's end. */
export function readBytes(file: OpenedFile, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const read = readSync(file.descriptor, bytes, filled, length - filled, position + filled);
    if (read === 0) break;
    filled += read;
  }
  return bytes.subarray(0, filled);
}

/**
 * Copies what the file held when it was opened to a new file `to` of this mode, synced to disk, handing each piece to
 * `piece` on the way. Bytes appended meanwhile are left out. Returns the number of bytes copied, fewer than `file.bytes` when it has
 * shrunk. Throws the file system's error when `to` exists or cannot be written.
 */
export function copyFile(
  file: OpenedFile,
  to: string,
  mode: number,
  piece: (bytes: Buffer) => void = () => undefined,
): number {
  const target = openSync(to, 'wx', mode);
  try {
    let copied = 0;
    while (copied < file.bytes) {
      const bytes = readBytes(file, copied, Math.min(PIECE_BYTES, file.bytes - copied));
      if (bytes.length === 0) break;
      writeAll(target, bytes);
      piece(bytes);
      copied += bytes.length;
    }
    fsyncSync(target);
    return copied;
  } finally {
    closeSync(target);
  }
}

const PIECE_BYTES = 2 ** 18;

/** Writes all of `bytes`, where one call may write less. */
export function writeAll(descriptor: number, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.length; ) written += writeSync(descriptor, bytes, written);
}

/** Syncs the entries of a directory to disk. */
export function syncDirectory(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
