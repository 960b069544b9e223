/**
 * A data folder made from a backup, and one session put back from it. Every file is compared with what was saved: what is
 * damaged is left out and named, and all the rest is put back. What was never in a backup is refused as a whole: somebody made
 * it up.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, rmSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  HostSession,
  type Millis,
  restoreSession,
  SqliteError,
  sessionFolder,
  VersionError,
} from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { messageOf, Problem } from '../errors/index.ts';
import { unpack } from './archive.ts';
import {
  AGENTS,
  type BackupReport,
  HOST,
  isAsSaved,
  type Label,
  labelOf,
  OF_AGENTS,
  plainFiles,
  SESSIONS,
} from './backup-format.ts';
import { type DataFolder, dataFolder } from './data-folder.ts';
import { giveNoNumberAgain } from './database-copy.ts';

/**
 * Makes the data folder `root` from a backup. Throws a `Problem`: exit code 7 when there is something in `root`, 2 when
 * `from` is no backup of this program or its registry is damaged, 4 when `root` cannot be written. Nothing is left behind then.
 */
export async function restore(from: string, root: string, now: Millis): Promise<BackupReport> {
  const label = labelOf(from);
  if (existsSync(root) && readdirSync(root).length > 0) {
    throw new Problem(
      `There is something in ${root}; nothing was changed. Name a folder that is empty or not there.`,
      7,
    );
  }
  refuseForeign(from, label);
  const partial = `${root}.partial`;
  try {
    rmSync(partial, { recursive: true, force: true });
    mkdirSync(dirname(partial), { recursive: true });
    // Not recursive: what somebody else has put there meanwhile, a link for example, is not to be written through.
    mkdirSync(partial, { mode: 0o700 });
    const leftOut = [...(await restoreHostFiles(from, label, partial, now))];
    const places = dataFolder(partial);
    for (const { id, agentGroupId } of label.sessions) {
      const problem = restoreOne(join(from, SESSIONS, agentGroupId, id), places.session(agentGroupId, id), now);
      if (problem !== undefined) leftOut.push(`Session ${id} was left out: ${problem.message}`);
    }
    leftOut.push(...(await restoreArchives(from, label, partial)));
    if (existsSync(root)) rmdirSync(root);
    renameSync(partial, root);
    return { sessions: label.sessions.length, leftOut };
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    if (error instanceof Problem) throw error;
    throw new Problem(`${root} could not be made from the backup (${messageOf(error)}); nothing was left there.`, 4, {
      cause: error,
    });
  }
}

/**
 * Puts one session back as it was in the backup, into a data folder whose host does not run. What is there now is moved
 * aside, to the path that is returned; `undefined` when there was nothing. Throws a `Problem`: exit code 2 when `from` is no
 * backup or the session is damaged in it, 6 when the backup does not have the session, 7 while the session may have a run;
 * nothing is changed then.
 */
export function restoreSessionFrom(from: string, data: DataFolder, sessionId: string, now: Millis): string | undefined {
  const place = labelOf(from).sessions.find(({ id }) => id === sessionId);
  const saved = place && join(from, SESSIONS, place.agentGroupId, sessionId);
  if (place === undefined || saved === undefined || !existsSync(saved)) {
    throw new Problem(`The backup ${from} does not have the session ${sessionId}; nothing was changed.`, 6);
  }
  const root = data.session(place.agentGroupId, sessionId);
  refuseLiveRun(root, sessionId);
  const aside = existsSync(root) ? `${root}.replaced-${now}` : undefined;
  if (aside !== undefined) renameSync(root, aside);
  try {
    const problem = restoreOne(saved, root, now);
    if (problem !== undefined) throw problem;
  } catch (error) {
    if (aside !== undefined) renameSync(aside, root);
    throw error;
  }
  return aside;
}

/** Throws a `Problem` while the session may have a run, which would go on in the files that are moved aside. */
function refuseLiveRun(root: string, sessionId: string): void {
  if (!existsSync(sessionFolder(root).inbound.database)) return;
  let run: string | undefined;
  try {
    // For writing, as the host that there is none of: one that died in mid-commit has left its journal.
    using session = HostSession.open(sessionFolder(root), openSqlite);
    run = session.liveRun();
  } catch (error) {
    // What cannot be read is what a backup is put in the place of.
    if (error instanceof SqliteError || error instanceof VersionError) return;
    throw error;
  }
  if (run === undefined) return;
  throw new Problem(
    `The session ${sessionId} may have a run that is alive (${run}); nothing was changed. Start the host, which finds it, ` +
      `stop it with "nanoclaw sessions stop ${sessionId}", stop the host, and restore the session then.`,
    7,
  );
}

/** Throws a `Problem` when something is among the files that no backup puts there. */
function refuseForeign(from: string, { files }: Label): void {
  const saved = new Set(files.map(({ path }) => path));
  for (const folder of [HOST, AGENTS].filter((each) => existsSync(join(from, each)))) {
    const foreign = plainFiles(from, folder)?.find((path) => !saved.has(path));
    if (plainFiles(from, folder) === undefined || foreign !== undefined) {
      const what = foreign ?? `something in ${folder}, a link or a pipe perhaps,`;
      throw new Problem(`${join(from, '')} has ${what} which no backup has; nothing was restored.`, 2);
    }
  }
}

async function restoreHostFiles(from: string, { files }: Label, into: string, now: Millis): Promise<readonly string[]> {
  const leftOut: string[] = [];
  for (const file of files.filter(({ path }) => path.startsWith(`${HOST}/`))) {
    const name = file.path.slice(HOST.length + 1);
    if (name.split('/').includes('..')) throw new Problem(`${from} names ${file.path}; nothing was restored.`, 2);
    if (isAsSaved(from, file)) {
      const to = join(into, name);
      mkdirSync(dirname(to), { recursive: true, mode: 0o700 });
      await copyFile(join(from, file.path), to);
      if (name.endsWith('.db')) giveNoNumberAgain(to, now);
    } else if (name === 'registry.db') {
      // Without it the host would know none of the sessions.
      throw new Problem(`The registry in ${from} is not what was saved; nothing was restored. Use another backup.`, 2);
    } else leftOut.push(`${name} was left out: it is not what was saved.`);
  }
  return leftOut;
}

/** What kept the session from being put back; `undefined`: nothing. */
function restoreOne(from: string, to: string, now: Millis): Problem | undefined {
  // Named in the label, and without files: it had none when the backup was taken, or was left out then.
  if (!existsSync(from)) return undefined;
  mkdirSync(dirname(to), { recursive: true });
  const result = restoreSession(from, to, openSqlite, now);
  if (result.type !== 'not-restored') return undefined;
  return new Problem(result.detail, result.why === 'exists' ? 7 : 2);
}

/** Unpacks what the agents wrote, each its own, and nothing else: an archive must not bring files of the host. */
async function restoreArchives(from: string, { files }: Label, into: string): Promise<readonly string[]> {
  const leftOut: string[] = [];
  for (const file of files) {
    const [, kind, name] = /^agents\/([a-z]+)\/([A-Za-z0-9_-]+)\.tar$/.exec(file.path) ?? [];
    if (kind === undefined || name === undefined || !OF_AGENTS.includes(kind)) continue;
    if (isAsSaved(from, file)) leftOut.push(...(await unpack(join(from, file.path), `${kind}/${name}`, into)));
    else leftOut.push(`${kind}/${name} was left out: its archive is not what was saved.`);
  }
  return leftOut;
}
