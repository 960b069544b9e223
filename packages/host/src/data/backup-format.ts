/**
 * What is in a backup, and how it is known to be what was saved: `backup.json` names every session and, with size and hash,
 * every file beside the sessions, which have manifests of their own.
 *
 *     backup.json                       the label, written last
 *     host/                             the host's own files
 *     sessions/<agentGroupId>/<id>/     each a snapshot
 *     agents/groups/<folder>.tar        what agents wrote: an archive for each, so that none can spoil another's
 *     agents/state/<agentGroupId>.tar
 */
import { createHash } from 'node:crypto';
import { closeSync, lstatSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { Problem, systemCode } from '../errors/index.ts';

/** The label. */
export const LABEL = 'backup.json';
/** The folder of the host's own files. */
export const HOST = 'host';
/** The folder of the snapshots. */
export const SESSIONS = 'sessions';
/** The folder of the archives. */
export const AGENTS = 'agents';

/** The folders in a data folder that agents may write, and that are archived for each agent. */
export const OF_AGENTS: readonly string[] = ['groups', 'state'];

/** What a backup holds, or what was made from one. */
export interface BackupReport {
  readonly sessions: number;
  /** One sentence for each thing that could not be saved or put back. */
  readonly leftOut: readonly string[];
}

const FORMAT = 2;

const SafeName = z.string().regex(/^[A-Za-z0-9_-]+$/);

const Label = z.object({
  format: z.literal(FORMAT),
  takenAt: z.number(),
  sessions: z.array(z.object({ id: SafeName, agentGroupId: SafeName })).readonly(),
  files: z.array(z.object({ path: z.string(), bytes: z.number(), sha256: z.string() })).readonly(),
});

/** What `backup.json` says. */
export type Label = z.infer<typeof Label>;

/** A file of a backup, by its path in it, with `/`. */
export type SavedFile = Label['files'][number];

/** Whether a name may be that of an agent's or a session's folder in a backup. */
export function isSafeName(name: string): boolean {
  return SafeName.safeParse(name).success;
}

/** The text of a label. */
export function labelText(label: Omit<Label, 'format'>): string {
  return `${JSON.stringify({ format: FORMAT, ...label }, null, 2)}\n`;
}

/** Reads the label of a backup. Throws a `Problem` (exit code 2) when there is none that can be read. */
export function labelOf(from: string): Label {
  try {
    return Label.parse(JSON.parse(readFileSync(join(from, LABEL), 'utf8')));
  } catch (error) {
    if (!(error instanceof z.ZodError) && !(error instanceof SyntaxError) && systemCode(error) === undefined)
      throw error;
    throw new Problem(`${from} is no backup that this program can read; nothing was changed.`, 2, { cause: error });
  }
}

/** Every plain file below a folder of a backup, by its path in it; `undefined` for one that holds anything else. */
export function plainFiles(root: string, folder: string): readonly string[] | undefined {
  const found: string[] = [];
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`;
    const inner = entry.isDirectory() ? plainFiles(root, path) : entry.isFile() ? [path] : undefined;
    if (inner === undefined) return undefined;
    found.push(...inner);
  }
  return found;
}

/** What a file of a backup is now. Throws the file system's error. */
export function savedFile(root: string, path: string): SavedFile {
  const hash = createHash('sha256');
  const piece = Buffer.alloc(2 ** 18);
  const file = openSync(join(root, path), 'r');
  try {
    let bytes = 0;
    for (let read = readSync(file, piece); read > 0; read = readSync(file, piece)) {
      hash.update(piece.subarray(0, read));
      bytes += read;
    }
    return { path, bytes, sha256: hash.digest('hex') };
  } finally {
    closeSync(file);
  }
}

/** Whether a file of a backup is what was saved. */
export function isAsSaved(root: string, { path, bytes, sha256 }: SavedFile): boolean {
  try {
    if (!lstatSync(join(root, path)).isFile()) return false;
    const now = savedFile(root, path);
    return now.bytes === bytes && now.sha256 === sha256;
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return false;
  }
}
