// The files of the terminal channel: what clients upload until the host has it, and copies of what the host sends.
//
//   files/upload-<chance>   being uploaded
//   files/in-<digest>       of a message that came in, until the host has it
//   files/out-<digest>      of a message that went out, as long as the history keeps it
//
// A folder is complete, and on disk, before a row of the history names it. So a crash leaves at worst a folder that no
// row names, and those are removed at the next start.
import { createHash, type Hash } from 'node:crypto';
import { createReadStream, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { type FileHandle, mkdtemp, open, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { OutgoingFile } from '../channel.ts';
import { diskName } from '../file-name.ts';
import { outgoingBytes } from '../outgoing-files.ts';
import type { DeclaredFile } from './protocol.ts';

/** A file that is kept. */
export interface KeptFile extends DeclaredFile {
  /** Hexadecimal SHA-256. */
  sha256: string;
}

/** The files of a terminal channel. */
export class TerminalFiles {
  readonly #folder: string;

  /** `inUse` are the folders that the history names; what else there is was left by a host that died. */
  constructor(folder: string, inUse: ReadonlySet<string>) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(folder)) {
      if (!inUse.has(name)) rmSync(join(folder, name), { recursive: true, force: true });
    }
  }

  /** Begins to take the files of one message. */
  async upload(declared: readonly DeclaredFile[]): Promise<Upload> {
    // A name of its own also against an earlier start of the channel, which may still be ending.
    const name = basename(await mkdtemp(join(this.#folder, 'upload-')));
    return new Upload(this.#folder, name, declared);
  }

  /** Gives a finished upload its place. */
  async keepUpload(upload: Upload, message: string): Promise<string> {
    return this.#move(upload.name, `in-${digest(message)}`);
  }

  /**
   * Copies the files of a message that goes out, and says where they are and how large. Throws `UnsendableFile` for one
   * that can never be copied, and what the file system says.
   */
  async copy(
    files: readonly OutgoingFile[],
    message: string,
    bytesMax: number,
  ): Promise<{ folder: string; files: DeclaredFile[] }> {
    const upload = await this.upload([]);
    const copied: DeclaredFile[] = [];
    try {
      for (const [position, file] of files.entries()) {
        const handle = await createFile(join(this.#folder, upload.name, diskName(file.name, position)));
        let bytes = 0;
        try {
          for await (const piece of outgoingBytes(file, bytesMax)) {
            await handle.writeFile(piece);
            bytes += piece.length;
          }
          await handle.sync();
        } finally {
          await handle.close();
        }
        copied.push({ name: file.name, bytes });
      }
      return { folder: await this.#move(upload.name, `out-${digest(message)}`), files: copied };
    } catch (error) {
      await upload.discard();
      throw error;
    }
  }

  path(folder: string, fileName: string, position: number): string {
    return join(this.#folder, folder, diskName(fileName, position));
  }

  /** The content, from the beginning at each call. */
  read(folder: string, fileName: string, position: number): AsyncIterable<Uint8Array> {
    return createReadStream(this.path(folder, fileName, position));
  }

  async remove(folder: string): Promise<void> {
    await rm(join(this.#folder, folder), { recursive: true, force: true });
  }

  async #move(from: string, to: string): Promise<string> {
    await syncFolder(join(this.#folder, from));
    await this.remove(to); // of an attempt whose row was never written
    await rename(join(this.#folder, from), join(this.#folder, to));
    await syncFolder(this.#folder);
    return to;
  }
}

/** The files of one message, while they come in piece by piece and one after the other. */
export class Upload {
  readonly name: string;
  readonly #folder: string;
  readonly #declared: readonly DeclaredFile[];
  readonly #kept: KeptFile[] = [];
  #current: { handle: FileHandle; hash: Hash; left: number } | undefined;

  constructor(folder: string, name: string, declared: readonly DeclaredFile[]) {
    this.#folder = folder;
    this.name = name;
    this.#declared = declared;
  }

  /** All files, once the last byte of the last one is there and on disk. */
  get kept(): readonly KeptFile[] | undefined {
    return this.#kept.length === this.#declared.length ? this.#kept : undefined;
  }

  /** Takes empty files that are next, for which no piece comes. To be called once before the first piece. */
  async begin(): Promise<void> {
    await this.#next();
  }

  /** Takes the next piece. `false` when it is more than was declared, or nothing is left to come. */
  async add(piece: Buffer): Promise<boolean> {
    const current = this.#current;
    if (current === undefined || piece.length > current.left || piece.length === 0) return false;
    await current.handle.writeFile(piece);
    current.hash.update(piece);
    current.left -= piece.length;
    if (current.left === 0) await this.#next();
    return true;
  }

  /** Removes what there is. For an upload that was given its place it does nothing. */
  async discard(): Promise<void> {
    await this.#current?.handle.close();
    this.#current = undefined;
    await rm(join(this.#folder, this.name), { recursive: true, force: true });
  }

  /** Ends the current file, and opens the next one that is not empty. */
  async #next(): Promise<void> {
    for (;;) {
      if (this.#current !== undefined) await this.#end(this.#current);
      const position = this.#kept.length;
      const file = this.#declared[position];
      if (file === undefined) return;
      const handle = await createFile(join(this.#folder, this.name, diskName(file.name, position)));
      this.#current = { handle, hash: createHash('sha256'), left: file.bytes };
      if (file.bytes > 0) return;
    }
  }

  async #end({ handle, hash }: { handle: FileHandle; hash: Hash }): Promise<void> {
    const file = this.#declared[this.#kept.length];
    this.#current = undefined;
    await handle.sync().finally(() => handle.close());
    if (file !== undefined) this.#kept.push({ ...file, sha256: hash.digest('hex') });
  }
}

function createFile(path: string): Promise<FileHandle> {
  return open(path, 'wx', 0o600);
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  await handle.sync().finally(() => handle.close());
}

/** A name on disk that is the same for the same message. */
function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}
