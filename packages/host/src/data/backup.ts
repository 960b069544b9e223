/**
 * A backup of a data folder, taken while the host works. What is in one: `backup-format.ts`.
 *
 * The registry comes first: a session that it does not know yet is not in the backup, and one that it knows is there.
 * Each session is one cut through its two files (`snapshotSession`). What the agents wrote themselves goes into archives.
 * Nothing of everybody's depends on one file: what cannot be taken is left out and named, and what was made is looked at again.
 *
 * What was sent after a backup was taken is sent again after it was restored: nothing in it says otherwise.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Millis, replaceFile, restoreSession, sessionFolder, snapshotSession } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { isSessionTrouble, messageOf, Problem } from '../errors/index.ts';
import { archive } from './archive.ts';
import {
  AGENTS,
  type BackupReport,
  HOST,
  isAsSaved,
  isSafeName,
  LABEL,
  labelText,
  OF_AGENTS,
  plainFiles,
  type SavedFile,
  SESSIONS,
  savedFile,
} from './backup-format.ts';
import type { DataFolder } from './data-folder.ts';
import { copyHostFiles } from './host-files.ts';

/** A session to be saved. */
export interface SavedSession {
  /** The session's id. */
  readonly id: string;
  /** The agent group that it belongs to; together they name its folder. */
  readonly agentGroupId: string;
  /** No run of it is live: what one left half written is rolled back in the copy. */
  readonly runEnded: boolean;
}

/** What a backup is taken of, and with. */
export interface BackupOptions {
  readonly data: DataFolder;
  /** A folder that does not exist yet. It appears whole or not at all. */
  readonly into: string;
  /** Asked once the registry has been copied. Where it rejects, every session that has a folder is saved. */
  readonly sessions: () => Promise<readonly SavedSession[]>;
  readonly now: () => Millis;
  readonly sleep: (ms: number) => Promise<void>;
  /** A line for whoever waits. Must not throw. */
  readonly onProgress: (line: string) => void;
}

/**
 * Takes a backup. Throws a `Problem`: exit code 7 when `into` exists, 6 when there is no data folder, 4 when `into` cannot be
 * written. Nothing is left behind then, and the data folder is never changed.
 */
export async function backup(options: BackupOptions): Promise<BackupReport> {
  const { data, into, now, onProgress } = options;
  if (existsSync(into)) {
    throw new Problem(`${into} is there already; nothing was saved. Name a folder that does not exist yet.`, 7);
  }
  if (!existsSync(data.root)) throw new Problem(`There is no data folder ${data.root}; nothing was saved.`, 6);
  const partial = `${into}.partial`;
  try {
    rmSync(partial, { recursive: true, force: true });
    mkdirSync(partial, { recursive: true, mode: 0o700 });
    onProgress("saving the host's own files");
    const leftOut = [...(await copyHostFiles(data.root, join(partial, HOST)))];
    const sessions = await sessionsOf(options, leftOut);
    for (const [index, session] of sessions.entries()) {
      onProgress(`saving session ${session.id} (${index + 1} of ${sessions.length})`);
      leftOut.push(...(await saveSession(session, partial, options)));
    }
    for (const path of foldersOfAgents(data.root)) {
      onProgress(`saving what is in ${path}`);
      leftOut.push(...(await saveFolder(data.root, path, partial)));
    }
    const files = keptFiles(partial, leftOut);
    const label = { takenAt: now(), sessions: sessions.map(({ id, agentGroupId }) => ({ id, agentGroupId })), files };
    replaceFile(join(partial, LABEL), labelText(label), 0o600);
    renameSync(partial, into);
    return { sessions: sessions.length, leftOut };
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    if (error instanceof Problem) throw error;
    throw new Problem(`The backup could not be written (${messageOf(error)}); nothing was left in ${into}.`, 4, {
      cause: error,
    });
  }
}

/** The sessions that the registry knows; where it cannot be asked, those that have a folder. */
async function sessionsOf({ data, sessions }: BackupOptions, leftOut: string[]): Promise<readonly SavedSession[]> {
  try {
    return await sessions();
  } catch (error) {
    const why = messageOf(error);
    leftOut.push(`The registry cannot be asked (${why}); every session that has a folder was saved.`);
    const agents = foldersIn(join(data.root, SESSIONS));
    return agents.flatMap((agentGroupId) =>
      foldersIn(join(data.root, SESSIONS, agentGroupId)).map((id) => ({ id, agentGroupId, runEnded: false })),
    );
  }
}

/** The folders in a folder that is there, by names that a backup takes. */
function foldersIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && isSafeName(entry.name))
    .map((entry) => entry.name);
}

/** How often a session whose writers are at work is tried, and how long is waited in between, in milliseconds. */
const SNAPSHOT_TRIES = 100;
const SNAPSHOT_WAIT_MS = 100;

/** Gives one sentence for each thing that was left out. */
async function saveSession(
  session: SavedSession,
  partial: string,
  { data, now, sleep }: BackupOptions,
): Promise<readonly string[]> {
  const folder = sessionFolder(data.session(session.agentGroupId, session.id));
  // Made with the first message: one that was only just named has nothing to lose.
  if (!existsSync(folder.inbound.database)) return [`Session ${session.id} has no files yet.`];
  const place = join(partial, SESSIONS, session.agentGroupId, session.id);
  try {
    mkdirSync(dirname(place), { recursive: true });
    for (let tries = 0; tries < SNAPSHOT_TRIES; tries += 1) {
      const result = snapshotSession(folder, place, openSqlite, { takenAt: now(), runEnded: session.runEnded });
      if (result.type === 'taken') {
        const damage = damageOf(place);
        if (damage !== undefined) return leave(session, place, damage);
        return result.leftOut.map(({ path, reason }) => `${path} of session ${session.id} was left out: ${reason}`);
      }
      await sleep(SNAPSHOT_WAIT_MS);
    }
  } catch (error) {
    // One damaged session must not keep all the others from being saved.
    if (!isSessionTrouble(error) || isFull(error)) throw error;
    return leave(session, place, `its file is damaged: ${messageOf(error)}`);
  }
  // A container can hold its file for as long as it lives, and must not keep all the others from being saved.
  const triedS = (SNAPSHOT_TRIES * SNAPSHOT_WAIT_MS) / 1_000;
  return [
    `Session ${session.id} was left out, because its agent gave no moment for a copy in ${triedS} s. Stop its run ` +
      'and take another backup.',
  ];
}

function leave({ id }: SavedSession, place: string, why: string): readonly string[] {
  rmSync(place, { recursive: true, force: true });
  return [`Session ${id} was left out, because ${why}`];
}

/** What keeps a snapshot from being restored, found out by doing it; `undefined`: nothing. */
function damageOf(place: string): string | undefined {
  const trial = `${place}.trial`;
  try {
    const result = restoreSession(place, trial, openSqlite, 0);
    return result.type === 'restored' ? undefined : `it could not be put back: ${result.detail}`;
  } finally {
    rmSync(trial, { recursive: true, force: true });
  }
}

/** Whether it is the disk of the backup that takes no more. */
function isFull(error: unknown): boolean {
  return (
    error instanceof Error && 'code' in error && /^(ENOSPC|EDQUOT|EROFS|EFBIG|SQLITE_FULL)$/.test(String(error.code))
  );
}

/** The folders that agents may write, from the data folder. */
function foldersOfAgents(root: string): string[] {
  return OF_AGENTS.flatMap((kind) => foldersIn(join(root, kind)).map((name) => `${kind}/${name}`));
}

async function saveFolder(root: string, path: string, partial: string): Promise<readonly string[]> {
  const into = join(partial, AGENTS, `${path}.tar`);
  mkdirSync(dirname(into), { recursive: true, mode: 0o700 });
  try {
    return await archive(root, path, into);
  } catch (error) {
    rmSync(into, { force: true });
    return [`${path} was left out: ${messageOf(error)}`];
  }
}

/** The files beside the sessions, each read a second time: what a disk does not keep is named now and not at the restore. */
function keptFiles(partial: string, leftOut: string[]): readonly SavedFile[] {
  const paths = [HOST, AGENTS].filter((folder) => existsSync(join(partial, folder)));
  return paths
    .flatMap((folder) => plainFiles(partial, folder) ?? [])
    .map((path) => savedFile(partial, path))
    .filter((file) => {
      if (isAsSaved(partial, file)) return true;
      leftOut.push(
        `${file.path} of the backup cannot be read twice alike; it was left out. Look at the disk of the backup.`,
      );
      rmSync(join(partial, file.path), { force: true });
      return false;
    });
}
