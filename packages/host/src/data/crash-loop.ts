/**
 * A daemon that crashes at once whenever it is started must not hammer platforms, models and disks, whoever restarts it.
 * Each start is noted in the data folder, and the note is removed by an orderly end, or once the host has lived for a while:
 * what is left counts the starts that came to nothing.
 */
import { readFileSync, rmSync } from 'node:fs';
import { type Millis, replaceFile } from '@nanoclaw/session-db';
import { backoffMs } from '@nanoclaw/session-db/protocol';
import { z } from 'zod';
import { systemCode } from '../errors/index.ts';

/** Only crashes of the last hour count: an old one says nothing of this start. */
const MEMORY_MS = 3_600_000;

/** So many crashes cost no wait: a machine that was switched off looks like one. */
const FREE = 2;

/** 1 s after the third crash, doubling up to a minute. */
const WAIT = { triesMax: 1, backoffBaseMs: 1_000, backoffMaxMs: 60_000 } as const;

/** Bounds the note. */
const REMEMBERED_MAX = 100;

const Starts = z.array(z.number());

/**
 * Notes a start in `file` and gives how long to wait before anything is done, in milliseconds, and after how many
 * crashes. Throws the file system's error when the note cannot be written.
 */
export function noteStart(file: string, now: Millis): { readonly waitMs: Millis; readonly crashes: number } {
  const recent = startsIn(file).filter((at) => at <= now && now - at < MEMORY_MS);
  replaceFile(file, JSON.stringify([...recent, now].slice(-REMEMBERED_MAX)), 0o600);
  return { waitMs: crashWaitMs(recent.length), crashes: recent.length };
}

/** Notes that the host ended in order or does well: the next start waits for nothing. */
export function noteEnd(file: string): void {
  rmSync(file, { force: true });
}

/** How long the start after so many crashes waits, in milliseconds. Pure. */
export function crashWaitMs(crashes: number): Millis {
  return crashes <= FREE ? 0 : backoffMs(crashes - FREE, WAIT);
}

function startsIn(file: string): readonly number[] {
  try {
    return Starts.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch (error) {
    // No note, or half of one: nothing is known of crashes, and that is no reason not to start.
    if (systemCode(error) !== undefined || error instanceof SyntaxError || error instanceof z.ZodError) return [];
    throw error;
  }
}
