/**
 * Files that travel with messages, in and out: `files/<messageId>/<name>` in the folder of the side that wrote them. What a
 * container has written is untrusted: the host names no path from it, follows no link in it, and hands on a copy of
 * its own, from the spool.
 *
 * Files are written before the row that names them and removed after it has ended, so that no row names a file that is
 * not there yet.
 */
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Directory } from './beneath.ts';
import type { SessionFolder } from './folder.ts';
import { copyFile, OTHER_KINDS } from './plain-file.ts';

/** How many files one message may bring, and how big. */
export interface AttachmentLimits {
  readonly countMax: number;
  readonly bytesMax: number;
  /** Of all files of one message. */
  readonly bytesTotalMax: number;
}

/** 32 files of 64 MiB, 128 MiB together. */
export const ATTACHMENT_LIMITS: AttachmentLimits = { countMax: 32, bytesMax: 2 ** 26, bytesTotalMax: 2 ** 27 };

/** A file for the agent, as it comes from a channel. */
export interface NewAttachment {
  /** As the sender calls it: any text. */
  readonly name: string;
  readonly bytes: Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

/** A file in its place, or why it is not there. */
export type Attachment =
  | {
      readonly type: 'stored';
      /** The file's name in its folder. */
      readonly name: string;
      /** Where it lies, on the side of the caller. */
      readonly path: string;
      /** Its size, in bytes. */
      readonly bytes: number;
    }
  | {
      readonly type: 'refused';
      /** The name that it came with. */
      readonly name: string;
      /** Why it is not there, as a clause. */
      readonly reason: string;
      /** What of an agent was stopped, where it is more than a mistake. */
      readonly finding?: AttachmentFinding;
    };

/** What an agent may have tried with a file that it sends; `overran`: its reader had to be ended. */
export const ATTACHMENT_FINDINGS = [...OTHER_KINDS, 'bad-name', 'too-big', 'too-many', 'overran'] as const;

/** One of `ATTACHMENT_FINDINGS`. */
export type AttachmentFinding = (typeof ATTACHMENT_FINDINGS)[number];

/**
 * Writes a message's files for the agent to `inbound/files/<messageId>/`, each synced to disk, before the message is
 * enqueued. Each gets a safe name near its own (`safeFileName`), which the result has. Writing the same files again
 * writes the same again. What is too much is refused, one by one, and leaves nothing behind. Nothing of it is done on the
 * event loop, which has other things to do than to wait for somebody's hundred megabytes.
 *
 * Rejects with what `bytes` rejects with, and with the file system's error (`ENOSPC`).
 */
export async function storeAttachments(
  folder: SessionFolder,
  messageId: string,
  files: readonly NewAttachment[],
  limits: AttachmentLimits = ATTACHMENT_LIMITS,
): Promise<Attachment[]> {
  const results: Attachment[] = [];
  const names: string[] = [];
  let left = limits.bytesTotalMax;
  for (const file of files) {
    if (names.length === limits.countMax) {
      results.push(refused(file.name, `A message brings at most ${limits.countMax} files.`));
      continue;
    }
    const name = safeFileName(file.name, names);
    const path = join(messageFiles(folder.inbound.files, messageId), name);
    const bytes = await store(file.bytes, path, Math.min(left, limits.bytesMax));
    if (bytes === undefined) {
      results.push(refused(file.name, tooMuch(limits)));
      continue;
    }
    left -= bytes;
    names.push(name);
    results.push({ type: 'stored', name, path, bytes });
  }
  return results;
}

/** Writes `bytes` to `path`, whole or not at all; `undefined` when they are more than `bytesMax`. */
async function store(bytes: NewAttachment['bytes'], path: string, bytesMax: number): Promise<number | undefined> {
  await mkdir(dirname(path), { recursive: true });
  // No safe name begins with a dot, so this can be no other file's.
  const partial = join(dirname(path), '.partial');
  let written = 0;
  try {
    await using file = await open(partial, 'w', 0o644);
    for await (const piece of bytes) {
      written += piece.length;
      if (written > bytesMax) return undefined;
      await file.writeFile(piece);
    }
    await file.sync();
    await rename(partial, path);
  } finally {
    await rm(partial, { force: true });
  }
  await syncDirectory(dirname(path));
  await syncDirectory(dirname(dirname(path)));
  return written;
}

/** Syncs the entries of a directory to disk. */
async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, 'r');
  await directory.sync();
}

/**
 * Copies the files that the agent sends with a message from `outbound/files/<messageId>/` into the host's spool, and
 * gives each one's place there. A file that the spool has already is not copied again, whatever the container has made
 * of its own meanwhile. Never throws for what a container can cause.
 *
 * Synchronous, for as long as the copying of `bytesTotalMax` takes: for the process in which the host reads what
 * containers wrote. Throws the file system's error when the spool cannot be written.
 */
export function spoolAttachments(
  folder: SessionFolder,
  messageId: string,
  names: readonly string[],
  limits: AttachmentLimits = ATTACHMENT_LIMITS,
): Attachment[] {
  using outbound = Directory.open(folder.outbound.root);
  using files = outbound?.directory('files');
  using from = files?.directory(filesFolderName(messageId));
  const spool = messageFiles(spoolOf(folder), messageId);
  let left = limits.bytesTotalMax;
  return names.map((name, index): Attachment => {
    if (index >= limits.countMax)
      return refused(name, `A message brings at most ${limits.countMax} files.`, 'too-many');
    if (!isFileName(name)) return refused(name, 'It is not a plain file name.', 'bad-name');
    const path = join(spool, name);
    const bytes = lstatSync(path, { throwIfNoEntry: false })?.size ?? spoolOne(from, name, path, left, limits);
    if (typeof bytes !== 'number') return { type: 'refused', name, ...bytes };
    left -= bytes;
    return { type: 'stored', name, path, bytes };
  });
}

function spoolOne(
  from: Directory | undefined,
  name: string,
  to: string,
  left: number,
  limits: AttachmentLimits,
): number | Pick<Extract<Attachment, { type: 'refused' }>, 'reason' | 'finding'> {
  const file = from?.file(name, Math.min(left, limits.bytesMax)) ?? { type: 'absent' };
  if (file.type === 'absent') return { reason: 'There is no such file.' };
  if (file.type === 'too-big') return { reason: tooMuch(limits), finding: 'too-big' };
  if (file.type !== 'opened') return { reason: file.detail, finding: file.kind };
  using source = file;
  mkdirSync(dirname(to), { recursive: true, mode: 0o700 });
  const partial = join(dirname(to), '.partial');
  rmSync(partial, { force: true });
  try {
    if (copyFile(source, partial, 0o600) < source.bytes) return { reason: 'It was cut short while it was copied.' };
    renameSync(partial, to);
    return source.bytes;
  } finally {
    rmSync(partial, { force: true });
  }
}

/**
 * Removes a message's files from `outbound/files` and from the spool, once it has been delivered or discarded: links
 * and not what they point to, nothing outside, and never through a link. Repeatable. `unfinished`: there is more than
 * one call removes; call it again in a while.
 */
export function removeAttachments(folder: SessionFolder, messageId: string): 'removed' | 'unfinished' {
  const name = filesFolderName(messageId);
  rmSync(join(spoolOf(folder), name), { recursive: true, force: true });
  using outbound = Directory.open(folder.outbound.root);
  using files = outbound?.directory('files');
  if (files === undefined) return 'removed';
  remove(files, name, { files, name, entriesLeft: 10_000 }, LEVELS_MAX);
  return files.kind(name) === 'absent' ? 'removed' : 'unfinished';
}

/** Of directories that are held open at once. */
const LEVELS_MAX = 32;

interface Removal {
  readonly files: Directory;
  /** Of the message's directory in `files`. */
  readonly name: string;
  entriesLeft: number;
}

function remove(within: Directory, name: string, removal: Removal, levelsLeft: number): void {
  removal.entriesLeft -= 1;
  if (removal.entriesLeft < 0) return;
  if (within.kind(name) !== 'directory') {
    within.unlink(name);
    return;
  }
  if (levelsLeft === 0) {
    // Too deep to go on from here: what is left of it becomes the first level of what the next call removes.
    using top = removal.files.directory(removal.name);
    top?.takeOver(within, name, freeName(top));
    return;
  }
  {
    using directory = within.directory(name);
    for (const entry of directory?.names(removal.entriesLeft) ?? []) {
      if (directory) remove(directory, entry, removal, levelsLeft - 1);
    }
  }
  within.removeDirectory(name);
}

function freeName(directory: Directory): string {
  let number = 0;
  while (directory.kind(`deep-${number}`) !== 'absent') number += 1;
  return `deep-${number}`;
}

/** Removes a message's files for the agent from `inbound/files`, when its row is to be forgotten. Repeatable. */
export async function removeStoredAttachments(folder: SessionFolder, messageId: string): Promise<void> {
  await rm(messageFiles(folder.inbound.files, messageId), { recursive: true, force: true });
}

/** Where the files of a message lie beneath `filesRoot`, on either side. Pure. */
export function messageFiles(filesRoot: string, messageId: string): string {
  return join(filesRoot, filesFolderName(messageId));
}

/**
 * The directory's name for a message id, which may be any text: the id itself where it is plain ASCII, else written with
 * `%`, and a hash where that is too long. Two ids never share a name, on no file system, and every name stands in a prompt as
 * it is.
 */
function filesFolderName(messageId: string): string {
  if (/^[\w:#@+=,~-][\w.:#@+=,~-]*$/.test(messageId) && messageId.length <= NAME_LENGTH_MAX) return messageId;
  const escaped = Buffer.from(messageId)
    .toString('latin1')
    .replace(/[^A-Za-z0-9_-]/g, (char) => `%${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
  if (escaped === '') return '%';
  // As long as any file's name at most: a backup takes no directory with a longer one.
  if (escaped.length <= NAME_LENGTH_MAX) return escaped;
  return `%sha256-${createHash('sha256').update(messageId).digest('hex')}`;
}

const NAME_LENGTH_MAX = 120;
const NAME_BYTES_MAX = 200;

/** What no file name has: separators, control characters, and marks that change the direction or the line of a text. */
const UNSAFE = /[/\\\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu;

/** What the markup of a prompt writes otherwise: a name that we give has none, so that its path can be used as it is read. */
const UNPLAIN = /[<>&"]/g;

/**
 * Whether a text can be a file's name on every system of ours: one component of 1 to 120 characters (200 bytes), without
 * control characters, and not beginning with a dot.
 */
export function isFileName(text: string): boolean {
  return (
    text.length > 0 &&
    text.length <= NAME_LENGTH_MAX &&
    Buffer.byteLength(text) <= NAME_BYTES_MAX &&
    text.isWellFormed() &&
    !text.startsWith('.') &&
    text.search(UNSAFE) === -1
  );
}

/**
 * A safe file name as near to `wanted` as can be, which none of `taken` is: its last component, what is unsafe replaced
 * by `_`, shortened before its extension, numbered where it is taken. Capitals make no difference to `taken`. Pure.
 */
export function safeFileName(wanted: string, taken: readonly string[] = []): string {
  const last = wanted.toWellFormed().split(/[/\\]/).at(-1) ?? '';
  const clean =
    last
      .normalize('NFC')
      .replace(UNSAFE, '_')
      .replace(UNPLAIN, '_')
      .trim()
      .replace(/^[.-]+/, '') || 'file';
  const [, stem = clean, extension = ''] = /^(.+?)(\.[^.]{1,16})?$/su.exec(clean) ?? [];
  for (let number = 1; ; number++) {
    const ending = `${number === 1 ? '' : ` (${number})`}${extension}`;
    const name = `${shortened(stem, ending)}${ending}`;
    if (!taken.some((other) => other.toLowerCase() === name.toLowerCase())) return name;
  }
}

/** The stem, character by character from its end, until it and the ending are short enough together. */
function shortened(stem: string, ending: string): string {
  const characters = [...stem];
  while (!isFileName(`${characters.join('')}${ending}`) && characters.length > 1) characters.pop();
  return characters.join('');
}

function spoolOf(folder: SessionFolder): string {
  return join(folder.host, 'spool');
}

function refused(name: string, reason: string, finding?: AttachmentFinding): Attachment {
  return { type: 'refused', name, reason, ...(finding === undefined ? {} : { finding }) };
}

function tooMuch({ bytesMax, bytesTotalMax }: AttachmentLimits): string {
  const MiB = 2 ** 20;
  return `It is too big: a file has at most ${bytesMax / MiB} MiB, and a message's files ${bytesTotalMax / MiB} MiB together.`;
}
