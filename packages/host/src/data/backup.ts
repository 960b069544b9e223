/**
 * A backup of a data folder, taken while the host works, and a data folder made from it again.
 *
 * The registry comes first: a session that it does not know yet is not in the backup, and one that it knows is there.
 * Each session is one cut through its two files (`snapshotSession`). What the agents wrote themselves goes into an
 * archive by `tar`, which follows no link and opens nothing but plain files; the host reads none of it.
 *
 * What was sent after a backup was taken is sent again after it was restored: nothing in it says otherwise.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { type Millis, restoreSession, SqliteError, sessionFolder, snapshotSession } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { execa } from 'execa';
import { z } from 'zod';
import { messageOf, Problem, systemCode } from '../errors/index.ts';
import { type DataFolder, dataFolder } from './data-folder.ts';
import { copyAsOfOneMoment } from './database-copy.ts';

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
  /** Asked once the registry has been copied. */
  readonly sessions: () => Promise<readonly SavedSession[]>;
  readonly now: () => Millis;
  readonly sleep: (ms: number) => Promise<void>;
  /** A line for whoever waits. Must not throw. */
  readonly onProgress: (line: string) => void;
}

/** What a backup holds, or what was made from one. */
export interface BackupReport {
  readonly sessions: number;
  /** One sentence for each thing that could not be saved, because of what an agent has made of it. */
  readonly leftOut: readonly string[];
}

/**
 * Takes a backup. Throws a `Problem`: exit code 7 when `into` exists, 4 when it cannot be written. Nothing is left behind
 * then, and the data folder is never changed. A session whose agent lets nobody copy its files is left out, and named.
 */
export async function backup(options: BackupOptions): Promise<BackupReport> {
  const { data, into, now, onProgress } = options;
  if (existsSync(into)) {
    throw new Problem(`${into} is there already; nothing was saved. Name a folder that does not exist yet.`, 7);
  }
  const partial = `${into}.partial`;
  try {
    rmSync(partial, { recursive: true, force: true });
    mkdirSync(partial, { recursive: true, mode: 0o700 });
    onProgress("saving the host's own files");
    await copyHostFiles(data, join(partial, HOST));
    const sessions = await options.sessions();
    const leftOut: string[] = [];
    for (const [index, session] of sessions.entries()) {
      onProgress(`saving session ${session.id} (${index + 1} of ${sessions.length})`);
      leftOut.push(...(await saveSession(session, join(partial, SESSIONS), options)));
    }
    onProgress('saving what the agents have written');
    leftOut.push(...(await archive(data.root, join(partial, ARCHIVE))));
    const label: Label = { format: FORMAT, takenAt: now(), sessions: sessions.map(placeOf) };
    writeFileSync(join(partial, LABEL), `${JSON.stringify(label, null, 2)}\n`, { flush: true });
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

/**
 * Makes the data folder `root` from a backup. Throws a `Problem`: exit code 7 when there is something in `root`, 2 when
 * `from` is no backup of this program or is damaged, 4 when `root` cannot be written. Nothing is left behind then.
 */
export async function restore(from: string, root: string): Promise<BackupReport> {
  const label = labelOf(from);
  if (existsSync(root) && readdirSync(root).length > 0) {
    throw new Problem(
      `There is something in ${root}; nothing was changed. Name a folder that is empty or not there.`,
      7,
    );
  }
  const partial = `${root}.partial`;
  try {
    rmSync(partial, { recursive: true, force: true });
    mkdirSync(dirname(partial), { recursive: true });
    // Not recursive: what somebody else has put there meanwhile, a link for example, is not to be written through.
    mkdirSync(partial, { mode: 0o700 });
    await copyTree(join(from, HOST), partial);
    const places = dataFolder(partial);
    for (const { id, agentGroupId } of label.sessions) {
      restoreOne(join(from, SESSIONS, agentGroupId, id), places.session(agentGroupId, id));
    }
    if (existsSync(join(from, ARCHIVE))) await unpack(join(from, ARCHIVE), partial);
    if (existsSync(root)) rmdirSync(root);
    renameSync(partial, root);
    return { sessions: label.sessions.length, leftOut: [] };
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
 * aside, to the path that is returned; `undefined` when there was nothing. Throws as {@link restore} does, and with exit
 * code 6 when the backup does not have the session.
 */
export function restoreSessionFrom(from: string, data: DataFolder, sessionId: string, now: Millis): string | undefined {
  const place = labelOf(from).sessions.find(({ id }) => id === sessionId);
  if (place === undefined) {
    throw new Problem(`The backup ${from} does not have the session ${sessionId}; nothing was changed.`, 6);
  }
  const root = data.session(place.agentGroupId, sessionId);
  const aside = existsSync(root) ? `${root}.replaced-${now}` : undefined;
  if (aside !== undefined) renameSync(root, aside);
  try {
    restoreOne(join(from, SESSIONS, place.agentGroupId, sessionId), root);
  } catch (error) {
    if (aside !== undefined) renameSync(aside, root);
    throw error;
  }
  return aside;
}

/** In a backup: its label, what is the host's own, each session, and what the agents wrote. */
const LABEL = 'backup.json';
const HOST = 'host';
const SESSIONS = 'sessions';
const ARCHIVE = 'agents.tar';
const FORMAT = 1;

const Label = z.object({
  format: z.literal(FORMAT),
  takenAt: z.number(),
  sessions: z.array(
    z.object({ id: z.string().regex(/^[a-z0-9_-]+$/), agentGroupId: z.string().regex(/^[a-z0-9_-]+$/) }),
  ),
});
type Label = z.infer<typeof Label>;

function labelOf(from: string): Label {
  try {
    return Label.parse(JSON.parse(readFileSync(join(from, LABEL), 'utf8')));
  } catch (error) {
    if (!(error instanceof z.ZodError) && !(error instanceof SyntaxError) && systemCode(error) === undefined)
      throw error;
    throw new Problem(`${from} is no backup that this program can read; nothing was changed.`, 2, { cause: error });
  }
}

function placeOf({ id, agentGroupId }: SavedSession): Label['sessions'][number] {
  return { id, agentGroupId };
}

/** How often a session whose writers are at work is tried, and how long is waited in between, in milliseconds. */
const SNAPSHOT_TRIES = 100;
const SNAPSHOT_WAIT_MS = 100;

/** Gives one sentence for each thing that was left out. */
async function saveSession(
  session: SavedSession,
  into: string,
  { data, now, sleep }: BackupOptions,
): Promise<string[]> {
  const folder = sessionFolder(data.session(session.agentGroupId, session.id));
  // Made with the first message: one that was only just named has nothing to lose.
  if (!existsSync(folder.inbound.database)) return [`Session ${session.id} has no files yet.`];
  const place = join(into, session.agentGroupId, session.id);
  mkdirSync(dirname(place), { recursive: true });
  try {
    for (let tries = 0; tries < SNAPSHOT_TRIES; tries += 1) {
      const result = snapshotSession(folder, place, openSqlite, { takenAt: now(), runEnded: session.runEnded });
      if (result.type === 'taken') {
        return result.leftOut.map(({ path, reason }) => `${path} of session ${session.id} was left out: ${reason}`);
      }
      await sleep(SNAPSHOT_WAIT_MS);
    }
  } catch (error) {
    if (!(error instanceof SqliteError)) throw error;
    // One damaged session must not keep all the others from being saved.
    return [`Session ${session.id} was left out, because its file is damaged: ${error.message}`];
  }
  // A container can hold its file for as long as it lives, and must not keep all the others from being saved.
  const triedS = (SNAPSHOT_TRIES * SNAPSHOT_WAIT_MS) / 1_000;
  return [
    `Session ${session.id} was left out, because its agent gave no moment for a copy in ${triedS} s. Stop its run ` +
      'and take another backup.',
  ];
}

function restoreOne(from: string, to: string): void {
  // Named in the label, and without files: it had none when the backup was taken.
  if (!existsSync(from)) return;
  mkdirSync(dirname(to), { recursive: true });
  const result = restoreSession(from, to, openSqlite);
  if (result.type === 'not-restored') throw new Problem(result.detail, result.why === 'exists' ? 7 : 2);
}

/** The host's own files, databases as of one moment each. Not: the lease, logs, sockets, and what is made anew anyway. */
async function copyHostFiles(data: DataFolder, into: string): Promise<void> {
  const folders = [data.root, data.terminal, data.webhook];
  for (const folder of folders.filter((each) => existsSync(each))) {
    const to = join(into, relative(data.root, folder));
    mkdirSync(to, { recursive: true, mode: 0o700 });
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const source = join(folder, entry.name);
      if (entry.name.endsWith('.db')) copyDatabase(source, join(to, entry.name));
      else if (entry.name.endsWith('.json') || entry.name === 'install-id')
        await copyFile(source, join(to, entry.name));
    }
  }
}

/** The host holds some of them to itself as long as it runs, so the bytes are copied, with what is in the log beside them. */
function copyDatabase(from: string, to: string): void {
  const sides = ['', '-wal'];
  copyAsOfOneMoment(
    sides.map((side) => `${from}${side}`),
    sides.map((side) => `${to}${side}`),
  );
  const db = openSqlite(to, 'write');
  try {
    const check = db.all<{ quick_check: string }>('PRAGMA quick_check(1)')[0]?.quick_check;
    if (check !== 'ok') throw new Problem(`${from} is damaged (${check}); nothing was saved.`, 1);
    // One file is easier to keep than two.
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  } finally {
    db.close();
  }
}

async function copyTree(from: string, to: string): Promise<void> {
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    if (entry.isDirectory()) {
      mkdirSync(join(to, entry.name), { recursive: true, mode: 0o700 });
      await copyTree(join(from, entry.name), join(to, entry.name));
    } else if (entry.isFile()) await copyFile(join(from, entry.name), join(to, entry.name));
    else
      throw new Problem(`${join(from, entry.name)} is no plain file, so this is no backup; nothing was restored.`, 2);
  }
}

/** The folders that agents may write. */
const OF_AGENTS: readonly string[] = ['groups', 'state'];

/** Unpacks what the agents wrote, and nothing else: an archive must not bring files of the host. */
async function unpack(archived: string, into: string): Promise<void> {
  const { stdout: names } = await execa('tar', ['-tf', archived]);
  const foreign = names.split('\n').find((name) => name !== '' && !OF_AGENTS.includes(name.split('/')[0] ?? ''));
  if (foreign !== undefined) {
    throw new Problem(`${archived} has ${JSON.stringify(foreign)}, which no backup has; nothing was restored.`, 2);
  }
  await execa('tar', ['-xf', archived, '-C', into]);
}

/** Archives what the agents may write, links as links. Gives what `tar` had to say of files that changed meanwhile. */
async function archive(root: string, into: string): Promise<string[]> {
  const folders = OF_AGENTS.filter((name) => existsSync(join(root, name)));
  if (folders.length === 0) return [];
  // A file of holes is as small in the archive as on the disk. GNU's has to be told; others look for holes by themselves.
  const { stdout: version } = await execa('tar', ['--version']);
  const sparse = version.includes('GNU tar') ? ['--sparse'] : [];
  const { exitCode, stderr } = await execa('tar', ['-c', ...sparse, '-f', into, '-C', root, ...folders], {
    reject: false,
  });
  // 1: some files differ, because an agent wrote meanwhile. 2: something could not be read or written at all.
  if (exitCode === 0) return [];
  if (exitCode === 1) return stderr.split('\n').filter(Boolean);
  throw new Error(`tar ended with ${exitCode}: ${stderr.split('\n')[0] ?? ''}`);
}
