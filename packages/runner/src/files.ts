/**
 * Files that the agent sends: copied into the message's own folder under `outbound/files`, before the row that names
 * them is written, so that no row names a file that is not there.
 */
import { copyFile, mkdir, stat } from 'node:fs/promises';
import { basename, isAbsolute, join, resolve } from 'node:path';
import { ToolInputError } from './tools/tool.js';

/** A file to send with a message: where it is, and under which name people get it. */
export interface OutgoingFile {
  readonly path: string;
  readonly name: string;
}

/** Copies files into `<filesRoot>/<messageId>/` and returns their names there, each once. */
export async function copyOut(files: readonly OutgoingFile[], filesRoot: string, messageId: string): Promise<string[]> {
  const folder = join(filesRoot, messageId);
  const names: string[] = [];
  for (const file of files) {
    if (names.length === 0) await mkdir(folder, { recursive: true });
    await copyFile(file.path, join(folder, file.name));
    names.push(file.name);
  }
  return names;
}

/**
 * The file that a path names, read from `cwd` when it is relative, under `filename` or its own name. Throws
 * `ToolInputError` when there is no such plain file, or the name cannot be one on other systems.
 */
export async function outgoingFile(path: string, filename: string | undefined, cwd: string): Promise<OutgoingFile> {
  const full = isAbsolute(path) ? path : resolve(cwd, path);
  const name = filename ?? basename(full);
  if (!/^[^/\\\p{Cc}]{1,120}$/u.test(name) || name.startsWith('.') || Buffer.byteLength(name) > 200) {
    throw new ToolInputError(
      `${JSON.stringify(name)} cannot be the name of a sent file: 1 to 120 characters without slashes, not beginning ` +
        'with a dot. Give another filename.',
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
