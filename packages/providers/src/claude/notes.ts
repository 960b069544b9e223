/**
 * `CLAUDE.md` in the agent's folder: what the agent keeps for all its conversations, put into its instructions at every
 * turn. It is read here and not by the agent program, because that would read settings, hooks and servers from the same
 * folder with it, which anything in the container can write. As text it can do no more than any other text.
 */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';

export const NOTES_FILE = 'CLAUDE.md';

/** Every turn pays for them. */
export const NOTES_BYTES_MAX = 64 * 1024;

/**
 * The part of the instructions that holds the notes in `folder`, and tells the agent of them. What cannot be read is said
 * there too: the agent is the one who can put it right. Never throws.
 */
export async function notesText(folder: string): Promise<string> {
  const notes = await readNotes(join(folder, NOTES_FILE));
  return [
    `What you want to know in every conversation, write into ${NOTES_FILE} in your folder; it is shown here. What was said`,
    'in conversations that have grown too long stands in conversations/ there.',
    ...(notes === undefined ? [] : [`<notes file="${NOTES_FILE}">`, notes, '</notes>']),
  ].join('\n');
}

async function readNotes(path: string): Promise<string | undefined> {
  try {
    // Without waiting for a writer, should somebody have put a pipe in its place.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    if (!(await file.stat()).isFile()) return `(${NOTES_FILE} is not a plain file, so it was not read.)`;
    const { buffer, bytesRead } = await file.read(Buffer.alloc(NOTES_BYTES_MAX + 1), 0, NOTES_BYTES_MAX + 1, 0);
    const text = buffer.toString('utf8', 0, Math.min(bytesRead, NOTES_BYTES_MAX)).trim();
    if (bytesRead > NOTES_BYTES_MAX)
      return `${text}\n(Cut here: the file has more than ${NOTES_BYTES_MAX / 1024} KiB.)`;
    return text === '' ? undefined : text;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    return `(${NOTES_FILE} could not be read: ${error instanceof Error ? error.message : String(error)})`;
  }
}
