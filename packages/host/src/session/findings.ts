/**
 * What of a session's agent was stopped, by name: kept beside the session's files, where no container sees it, so that
 * `sessions show` tells of it also after the host has ended.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Millis, replaceFile, type SessionFolder } from '@nanoclaw/session-db';
import type { RefusedRow } from '@nanoclaw/session-db/protocol';
import { z } from 'zod';
import { systemCode } from '../errors/index.ts';

/** One kind of thing that was stopped. */
export interface SessionFinding {
  /** Its name: where it was, and what it was there, as in `file-link`. */
  readonly finding: string;
  /** How often, since it was first seen; of many in a row some may not be counted when the host is killed. */
  readonly count: number;
  /** When it was first seen, in wall-clock milliseconds. */
  readonly since: Millis;
  /** When it was last seen. */
  readonly lastAt: Millis;
  /** What was last seen, as a sentence. */
  readonly detail: string;
}

const Findings = z.array(
  z.object({ finding: z.string(), count: z.number(), since: z.number(), lastAt: z.number(), detail: z.string() }),
);

/** The findings of a session, the newest first; none where there is no record, or none that can be read. */
export function findingsOf(folder: SessionFolder): readonly SessionFinding[] {
  let text: string;
  try {
    text = readFileSync(recordOf(folder), 'utf8');
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return [];
  }
  try {
    return Findings.parse(JSON.parse(text));
  } catch (error) {
    // A record that is damaged is no reason to keep anything else of the session from being seen.
    if (error instanceof SyntaxError || error instanceof z.ZodError) return [];
    throw error;
  }
}

/** Notes what was stopped, in memory at once and on disk now and then: an agent can cause any number of them. */
export class FindingRecords {
  readonly #records = new Map<string, { found: SessionFinding[]; writtenAt: Millis }>();

  /**
   * Notes one finding of a session, which lies in `folder`. Gives whether it was written to disk: the first of its name was, and
   * of the others one now and then. Throws the file system's error when it cannot be written.
   */
  note(sessionId: string, folder: SessionFolder, finding: string, detail: string, now: Millis): boolean {
    const record = this.#records.get(sessionId) ?? {
      found: [...findingsOf(folder)],
      writtenAt: Number.NEGATIVE_INFINITY,
    };
    this.#records.set(sessionId, record);
    const before = record.found.find((one) => one.finding === finding);
    const { count, since } = before ?? { count: 0, since: now };
    const noted = { finding, count: count + 1, since, lastAt: now, detail };
    record.found = [noted, ...record.found.filter((one) => one !== before)];
    if (before !== undefined && Math.abs(now - record.writtenAt) < WRITE_EVERY_MS) return false;
    record.writtenAt = now;
    replaceFile(recordOf(folder), JSON.stringify(record.found), 0o600);
    return true;
  }

  /** Drops what is remembered of a session that is gone. */
  forget(sessionId: string): void {
    this.#records.delete(sessionId);
  }
}

const WRITE_EVERY_MS = 5_000;

/** The rows that one look has passed over, as a sentence: how many, and what is wrong with some of them. */
export function refusedRows(refused: readonly RefusedRow[]): string {
  const some = refused.slice(0, REFUSED_NAMED_MAX).map(({ table, row, reason }) => `${table} ${row}: ${reason}`);
  return `Rows that were passed over: ${refused.length}. Among them ${some.join(' ')}`;
}

const REFUSED_NAMED_MAX = 3;

function recordOf(folder: SessionFolder): string {
  return join(folder.host, 'findings.json');
}
