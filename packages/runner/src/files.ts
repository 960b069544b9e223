/**
 * Files that the agent sends: copied into the message's own folder under `outbound/files` and synced to disk, before the
 * row that names them is written, so that no row names a file that is not there, after a power cut neither.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { copyFile, mkdir, open, rm, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { isFileName, messageFiles } from '@nanoclaw/session-db/protocol';
import { ToolInputError } from './tools/tool.ts';

/** A file to send with a message: where it is, and under which name people get it. */
export interface OutgoingFile {
  readonly path: string;
  readonly name: string;
}

/** A file that has been copied: its name, and a digest of what is in it. */
export interface CopiedFile {
  readonly name: string;
  readonly digest: string;
}

/** Copies files into the message's directory (`messageFiles`), each once. */
export async function copyOut(
  files: readonly OutgoingFile[],
  filesRoot: string,
  messageId: string,
): Promise<CopiedFile[]> {
  const folder = messageFiles(filesRoot, messageId);
  const copied: CopiedFile[] = [];
  for (const file of files) {
    if (copied.length === 0) await mkdir(folder, { recursive: true });
    const copy = join(folder, file.name);
    await copyFile(file.path, copy);
    await sync(copy);
    copied.push({ name: file.name, digest: await digestOf(copy) });
  }
  if (copied.length > 0) for (const directory of [folder, filesRoot, dirname(filesRoot)]) await sync(directory);
  return copied;
}

/** Takes back what `copyOut` has copied for a message. */
export function removeCopies(filesRoot: string, messageId: string): Promise<void> {
  return rm(messageFiles(filesRoot, messageId), { recursive: true, force: true });
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path)) hash.update(piece);
  return hash.digest('hex');
}

/** Waits until a file's contents, or a directory's entries, are on disk. */
async function sync(path: string): Promise<void> {
  await using handle = await open(path, 'r');
  await handle.sync();
}

/**
 * The file that a path names, read from `cwd` when it is relative, under `filename` or its own name. Throws
 * `ToolInputError` when there is no such plain file, or the name cannot be one on other systems.
 */
export async function outgoingFile(path: string, filename: string | undefined, cwd: string): Promise<OutgoingFile> {
  const full = isAbsolute(path) ? path : resolve(cwd, path);
  const name = filename ?? basename(full);
  if (!isFileName(name)) {
    throw new ToolInputError(
      `${JSON.stringify(name)} cannot be the name of a sent file: 1 to 120 characters (200 bytes) without slashes and ` +
        'invisible marks, not beginning with a dot. Nothing was sent; give another filename.',
    );
  }
  const stats = await stat(full).catch((error: unknown) => {
    throw new ToolInputError(
      `The file ${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  });
  if (!stats.isFile()) throw new ToolInputError(`${path} is not a plain file, and only files can be sent.`);
  return { path: full, name };
}
