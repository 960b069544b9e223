/**
 * The process driver's memory across lives of the host: one file per run that may be alive.
 *
 * A run's command begins only after its record is on disk (see `process.ts`). So a record that is cut short, by a crash
 * in the middle of writing it, is the record of a command that never began, and may be thrown away.
 */
import { mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from './process-table.ts';

/** What must be known of a process to adopt it, and to tell it from a later one with the same number. */
export interface RunRecord {
  readonly version: 1;
  readonly runId: string;
  readonly sessionId: string;
  /** Number of the process, and of the process group that it leads. */
  readonly pid: number;
  /** See `process-table.ts`. */
  readonly identity: string;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly specHash: string;
  readonly logFile: string;
}

/** What stands under a run id. */
export type Found =
  | { readonly type: 'none' }
  | { readonly type: 'record'; readonly record: RunRecord }
  /** The command of this run never began. */
  | { readonly type: 'cut-short' }
  /** Written by another version, or damaged: its run may be alive. */
  | { readonly type: 'not-understood'; readonly file: string };

/**
 * Writes a record that is on disk for good when this resolves. Throws `EEXIST` if there is one of this run already; after
 * any other error, what it left is cut short or complete, and removing it is up to the caller.
 */
export async function writeRecord(folder: string, record: RunRecord): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const file = await open(recordFile(folder, record.runId), 'wx', 0o600);
  try {
    await file.writeFile(`${JSON.stringify(record)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  const directory = await open(folder);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Reads the record of a run. */
export async function readRecord(folder: string, runId: string): Promise<Found> {
  const file = recordFile(folder, runId);
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return { type: 'none' };
    throw error;
  }
  if (!text.endsWith('\n')) return { type: 'cut-short' };
  const value = parsed(text);
  return isRunRecord(value) && value.runId === runId
    ? { type: 'record', record: value }
    : { type: 'not-understood', file };
}

/** Forgets a run. Nothing to forget is fine. */
export async function removeRecord(folder: string, runId: string): Promise<void> {
  await rm(recordFile(folder, runId), { force: true });
}

/** The run ids that have a record, in no particular order. */
export async function recordedRuns(folder: string): Promise<string[]> {
  try {
    const names = await readdir(folder);
    return names.filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -'.json'.length));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

function recordFile(folder: string, runId: string): string {
  return join(folder, `${runId}.json`);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // not understood, like any other text that is no record
  }
}

function isRunRecord(value: unknown): value is RunRecord {
  return (
    isObject(value) &&
    value['version'] === 1 &&
    typeof value['runId'] === 'string' &&
    typeof value['sessionId'] === 'string' &&
    // A number of 1 or less would address everybody when a group is signalled.
    Number.isInteger(value['pid']) &&
    Number(value['pid']) > 1 &&
    typeof value['identity'] === 'string' &&
    typeof value['startedAt'] === 'number' &&
    isObject(value['labels']) &&
    Object.values(value['labels']).every((label) => typeof label === 'string') &&
    typeof value['specHash'] === 'string' &&
    typeof value['logFile'] === 'string'
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
