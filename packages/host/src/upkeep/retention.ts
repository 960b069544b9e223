/**
 * What the host forgets, and when: ended messages with their files, the output of runs that are over, and what is settled
 * in the registry. In small batches, now and then, so that no pass is long and no history grows for ever.
 */
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Registry } from '@nanoclaw/registry';
import { type Millis, removeStoredAttachments } from '@nanoclaw/session-db';
import { systemCode } from '../errors/index.ts';
import type { SessionHandle } from '../session/index.ts';

/** How long what has ended is kept. */
export interface RetentionPolicy {
  /** What ended longer ago than this is forgotten, in milliseconds: longer than any platform sends a message again. */
  readonly keepMs: Millis;
}

/** How often the host looks for what is to be forgotten. */
export const FORGET_EVERY_MS = 3_600_000;

/** At most so many rows of each table at once, and so often in a row. */
const BATCH = 50;
const BATCHES_MAX = 10;

/** The output of the last so many runs of a session is kept, whatever its age. */
const RUN_LOGS_KEPT = 20;

/** Who did what is kept for a year. */
const AUDIT_KEEP_MS = 365 * 24 * 3_600_000;

/** Forgets what ended long ago in one session. Rejects with `SqliteError` and the file system's error; nothing is half done. */
export async function forgetInSession(
  session: Pick<SessionHandle, 'folder' | 'files' | 'write'>,
  { keepMs }: RetentionPolicy,
  now: Millis,
): Promise<void> {
  const retention = { keepMs, batch: BATCH };
  for (let left = BATCHES_MAX; left > 0; left -= 1) {
    // Beforehand and not on the event loop: how many files there are, and how big, was for others to decide.
    for (const id of session.files.forgettable(now, retention)) await removeStoredAttachments(session.folder, id);
    if ((await session.write((files) => files.prune(now, retention))) < BATCH) break;
  }
  await session.write((files) => files.series.prune(now - keepMs));
  await pruneRunLogs(join(session.folder.host, 'logs'), keepMs, now);
}

/** Forgets what is settled in the registry. Resolves with how many rows went. */
export async function forgetInRegistry(registry: Registry, { keepMs }: RetentionPolicy, now: Millis): Promise<number> {
  const batch = BATCH * BATCHES_MAX;
  return (await registry.prune(now - keepMs, batch)) + (await registry.audit.prune(now - AUDIT_KEEP_MS, batch));
}

/** Removes the logs of runs that are neither among the newest nor younger than `keepMs`. */
async function pruneRunLogs(folder: string, keepMs: Millis, now: Millis): Promise<void> {
  const logs = (await logsIn(folder)).toSorted((a, b) => b.writtenAt - a.writtenAt);
  for (const { path, writtenAt } of logs.slice(RUN_LOGS_KEPT)) {
    if (now - writtenAt > keepMs) await rm(path, { force: true });
  }
}

async function logsIn(folder: string): Promise<{ path: string; writtenAt: Millis }[]> {
  try {
    const logs = [];
    for (const name of await readdir(folder)) {
      const path = join(folder, name);
      logs.push({ path, writtenAt: (await stat(path)).mtimeMs });
    }
    return logs;
  } catch (error) {
    // The session has not had a run yet.
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}
