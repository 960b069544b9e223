/**
 * What the host forgets, and when: ended messages with their files, the output of runs that are over, and what is settled
 * in the registry. In small batches, now and then, so that no pass is long and no history grows for ever.
 */
import { readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Registry } from '@nanoclaw/registry';
import type { HostSession, Millis, SessionFolder } from '@nanoclaw/session-db';
import { systemCode } from '../errors/index.ts';

/** How long what has ended is kept. */
export interface RetentionPolicy {
  /** What ended longer ago than this is forgotten, in milliseconds: longer than any platform sends a message again. */
  readonly keepMs: Millis;
}

/** How often the host looks for what is to be forgotten. */
export const FORGET_EVERY_MS = 3_600_000;

/** At most so many rows of each table at once. */
const BATCH = 500;

/** The output of the last so many runs of a session is kept, whatever its age. */
const RUN_LOGS_KEPT = 20;

/** Who did what is kept for a year. */
const AUDIT_KEEP_MS = 365 * 24 * 3_600_000;

/** Forgets what ended long ago in one session. Throws `SqliteError` and the file system's error; nothing is half done. */
export function forgetInSession(
  files: HostSession,
  folder: SessionFolder,
  { keepMs }: RetentionPolicy,
  now: Millis,
): void {
  files.prune(now, { keepMs, batch: BATCH });
  files.series.prune(now - keepMs);
  pruneRunLogs(join(folder.host, 'logs'), keepMs, now);
}

/** Forgets what is settled in the registry. Resolves with how many rows went. */
export async function forgetInRegistry(registry: Registry, { keepMs }: RetentionPolicy, now: Millis): Promise<number> {
  return (await registry.prune(now - keepMs, BATCH)) + (await registry.audit.prune(now - AUDIT_KEEP_MS, BATCH));
}

/** Removes the logs of runs that are neither among the newest nor younger than `keepMs`. */
function pruneRunLogs(folder: string, keepMs: Millis, now: Millis): void {
  const logs = logsIn(folder).toSorted((a, b) => b.writtenAt - a.writtenAt);
  for (const { path, writtenAt } of logs.slice(RUN_LOGS_KEPT)) {
    if (now - writtenAt > keepMs) rmSync(path, { force: true });
  }
}

function logsIn(folder: string): { path: string; writtenAt: Millis }[] {
  try {
    return readdirSync(folder).map((name) => {
      const path = join(folder, name);
      return { path, writtenAt: statSync(path).mtimeMs };
    });
  } catch (error) {
    // The session has not had a run yet.
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}
