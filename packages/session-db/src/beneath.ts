/**
 * A directory held open, and what lies beneath it: each step by the descriptor of the one before and without following
 * links, so that a container that may write there cannot lead it elsewhere, whatever it exchanges and when.
 *
 * Node has no `openat`; on Linux `/proc/self/fd/<descriptor>/<name>` is one. Where there is no such thing, a step goes
 * by the path and compares before and after: a directory that is exchanged for a link and put back between two calls of
 * ours, some microseconds, is then not noticed. On such systems the container writes from within a virtual machine.
 */
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  opendirSync,
  openSync,
  renameSync,
  rmdirSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { errorCode, type FileProblem, type OpenedFile, openPlainFile } from './plain-file.ts';

/** What lies under a name beneath a directory. */
export type EntryKind = 'absent' | 'file' | 'directory' | 'other';

export class Directory implements Disposable {
  readonly #descriptor: number;
  readonly #path: string;
  readonly #isByDescriptor: boolean;

  private constructor(descriptor: number, path: string, isByDescriptor: boolean) {
    this.#descriptor = descriptor;
    this.#path = path;
    this.#isByDescriptor = isByDescriptor;
  }

  /**
   * Opens a directory whose path, up to its last component, the caller knows to be its own. `undefined` when there is none or
   * something else lies there, a link too.
   */
  static open(path: string): Directory | undefined {
    const descriptor = openDirectory(path);
    if (descriptor === undefined) return undefined;
    return new Directory(descriptor, path, isSame(statsAt(`/proc/self/fd/${descriptor}`), fstatSync(descriptor)));
  }

  [Symbol.dispose](): void {
    closeSync(this.#descriptor);
  }

  /** Opens a directory beneath; `undefined` as in `open`. */
  directory(name: string): Directory | undefined {
    const descriptor = openDirectory(this.#at(name));
    if (descriptor === undefined) return undefined;
    if (this.#isInPlace()) return new Directory(descriptor, join(this.#path, name), this.#isByDescriptor);
    closeSync(descriptor);
    return undefined;
  }

  /** Opens a plain file beneath, or says what lies there instead. */
  file(name: string, bytesMax: number): OpenedFile | FileProblem {
    const file = openPlainFile(this.#at(name), bytesMax);
    if (file.type === 'opened') {
      if (this.#isInPlace()) return file;
      file[Symbol.dispose]();
      return { type: 'absent' };
    }
    // The path by descriptor means nothing to a reader.
    return file.type === 'not-a-file'
      ? { ...file, detail: file.detail.replace(this.#at(name), () => join(this.#path, name)) }
      : file;
  }

  kind(name: string): EntryKind {
    const stats = lstatSync(this.#at(name), { throwIfNoEntry: false });
    if (stats === undefined) return 'absent';
    return stats.isFile() ? 'file' : stats.isDirectory() ? 'directory' : 'other';
  }

  /** The first names in it, at most `max`, sorted. */
  names(max: number): string[] {
    const names: string[] = [];
    const listing = opendirSync(this.#isByDescriptor ? `/proc/self/fd/${this.#descriptor}` : this.#path);
    try {
      for (let entry = listing.readSync(); entry !== null && names.length < max; entry = listing.readSync()) {
        names.push(entry.name);
      }
    } finally {
      listing.closeSync();
    }
    return names.toSorted();
  }

  /** Removes a name that is no directory: a link and not what it points to. Does nothing when there is none. */
  unlink(name: string): void {
    if (this.#isInPlace()) tolerant(['ENOENT', 'EISDIR', 'EPERM'], () => unlinkSync(this.#at(name)));
  }

  /** Removes an empty directory. Does nothing when there is none, or when it has been filled meanwhile. */
  removeDirectory(name: string): void {
    if (this.#isInPlace()) tolerant(['ENOENT', 'ENOTDIR', 'ENOTEMPTY', 'EEXIST'], () => rmdirSync(this.#at(name)));
  }

  /** Moves what lies under a name in another directory here, under a new name. Does nothing when that is taken. */
  takeOver(from: Directory, name: string, as: string): void {
    if (!this.#isInPlace() || !from.#isInPlace()) return;
    tolerant(['ENOENT', 'ENOTDIR', 'ENOTEMPTY', 'EEXIST'], () => renameSync(from.#at(name), this.#at(as)));
  }

  #at(name: string): string {
    if (/[/\0]/.test(name) || ['', '.', '..'].includes(name))
      throw new RangeError(`${JSON.stringify(name)} is no name.`);
    return this.#isByDescriptor ? `/proc/self/fd/${this.#descriptor}/${name}` : join(this.#path, name);
  }

  /** Whether the path still leads to the directory that is held; by descriptor it cannot lead elsewhere. */
  #isInPlace(): boolean {
    if (this.#isByDescriptor) return true;
    return isSame(lstatSync(this.#path, { throwIfNoEntry: false }), fstatSync(this.#descriptor));
  }
}

function openDirectory(path: string): number | undefined {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    // ENOTDIR: a file, a pipe or, with O_NOFOLLOW, a link.
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES', 'ENAMETOOLONG'].includes(errorCode(error) ?? '')) return undefined;
    throw error;
  }
}

function statsAt(path: string) {
  return statSync(path, { throwIfNoEntry: false });
}

function isSame(
  a: { readonly dev: number; readonly ino: number } | undefined,
  b: { readonly dev: number; readonly ino: number },
): boolean {
  return a?.dev === b.dev && a.ino === b.ino;
}

function tolerant(codes: readonly string[], action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!codes.includes(errorCode(error) ?? '')) throw error;
  }
}
