// Reading the files that a host hands over with a message. They are the host's own copies; whatever is in their place
// all the same, reading it never hangs and never takes more than the limit.
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { OutgoingFile } from './channel.ts';

/** An outgoing file that can never be sent as it is. The message is one sentence for an operator. */
export class UnsendableFile extends Error {
  override readonly name = 'UnsendableFile';
}

/** The whole file. Throws `UnsendableFile`, or what the file system says when that may pass. */
export async function readOutgoing(file: OutgoingFile, bytesMax: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of outgoingBytes(file, bytesMax)) parts.push(part);
  return Buffer.concat(parts);
}

/** The content of the file, piece by piece. Throws as `readOutgoing` does; what came before that is not the whole. */
export async function* outgoingBytes(file: OutgoingFile, bytesMax: number): AsyncGenerator<Buffer, void> {
  const handle = await opened(file);
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw new UnsendableFile(`The file ${JSON.stringify(file.name)} is no regular file.`);
    let left = bytesMax;
    // To the end and not to the size: it is a limit on what is read that holds, whatever the file does meanwhile.
    for (;;) {
      const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(PIECE_BYTES), 0, PIECE_BYTES);
      if (bytesRead === 0) return;
      left -= bytesRead;
      if (left < 0) throw new UnsendableFile(tooLarge(file, bytesMax));
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await handle.close();
  }
}

const PIECE_BYTES = 64 * 1024;

function tooLarge(file: OutgoingFile, bytesMax: number): string {
  return `The file ${JSON.stringify(file.name)} is larger than the ${bytesMax} bytes that its channel takes.`;
}

/** Does not follow a link, and does not wait for the other end of a pipe. */
async function opened(file: OutgoingFile): Promise<FileHandle> {
  try {
    return await open(file.path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code !== 'ENOENT' && code !== 'ELOOP' && code !== 'ENXIO') throw error;
    throw new UnsendableFile(`The file ${JSON.stringify(file.name)} is not there any more, or is no regular file.`);
  }
}
