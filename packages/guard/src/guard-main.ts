/**
 * The guard: the process in which the host reads what containers wrote. A program of its own, which the host can kill
 * when a file holds it for ever. It takes one job at a time from its standard input and waits for the next one in a
 * blocking read, which answers sooner than an event loop.
 *
 * It has no environment, opens no connection, leaves with its host, and writes only beneath the folder in its first argument.
 */
import fs, { readSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { constants, setPriority } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { type OutboundRead, removeAttachments, sessionFolder, spoolAttachments } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { type OutboundRequest, outboundReading } from '@nanoclaw/session-db/protocol';
import { cut } from '@nanoclaw/session-db/text';
import { tried } from './trial.ts';
// Types alone: what checks answers is the host's, and takes its time to be loaded.
import type { Answer, CopyResult, Job } from './wire.ts';

/** Of so many sessions it remembers what it has checked of their files. */
const READINGS_MAX = 1_000;

const NEWLINE = 10;

const [, , scratch = ''] = process.argv;

await main();

async function main(): Promise<void> {
  leaveWithTheHost();
  askForFilesAsTheyAreOpened();
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
  const done = worker();
  say({ result: 'ready' });
  for (let line = nextLine(); line !== undefined; line = nextLine()) say(await done(JSON.parse(line)));
}

function worker(): (job: Job) => Answer | Promise<Answer> {
  const readings = new Map<string, (request: OutboundRequest) => OutboundRead>();

  function read({ root, request, limits }: Extract<Job, { type: 'read' }>): OutboundRead {
    const reading = readings.get(root) ?? outboundReading(ownFolder(root), openSqlite, limits);
    // The one read last stands last, so that the first is the one to forget.
    readings.delete(root);
    readings.set(root, reading);
    const [oldest] = readings.keys();
    if (readings.size > READINGS_MAX && oldest !== undefined) readings.delete(oldest);
    return reading(request);
  }

  function result(job: Job): unknown {
    switch (job.type) {
      case 'read':
        return read(job);
      case 'copy':
        return copy(job);
      case 'remove':
        return removeAttachments(sessionFolder(job.root), job.messageId);
      case 'trial':
        return tried(job.targets);
    }
  }

  return (job) => {
    try {
      const value = result(job);
      return value instanceof Promise ? value.then(toAnswer, toFailure) : toAnswer(value);
    } catch (error) {
      return toFailure(error);
    }
  };
}

function toAnswer(result: unknown): Answer {
  return { result };
}

function toFailure(error: unknown): Answer {
  return { failed: cut(error instanceof Error ? error.message : String(error), 4_000) };
}

/** A session whose private copies are made here: its own folder can only be read. */
function ownFolder(root: string) {
  return { ...sessionFolder(root), host: scratch };
}

/** Copies one file that an agent sends, to a name that the host takes it from. */
function copy({ root, messageId, name, to }: Extract<Job, { type: 'copy' }>): CopyResult {
  const spool = join(scratch, 'spool');
  rmSync(spool, { recursive: true, force: true });
  const [file] = spoolAttachments(ownFolder(root), messageId, [name]);
  if (file === undefined) throw new RangeError('Nothing was said of the file.');
  if (file.type === 'refused') {
    const { reason, finding } = file;
    return { type: 'refused', reason, ...(finding === undefined ? {} : { finding }) };
  }
  renameSync(file.path, join(scratch, to));
  return { type: 'copied' };
}
/**
 * As a user of its own this process may read what others wrote by a capability, which the kernel leaves out of account when a
 * program asks whether a file is there (`access`): better-sqlite3 does so and would find no folder. Asked in another way.
 */
function askForFilesAsTheyAreOpened(): void {
  fs.existsSync = (path) => statSync(path, { throwIfNoEntry: false }) !== undefined;
  syncBuiltinESMExports();
}

/**
 * Ends this process when the host ends, in the middle of a call that never returns, too: its own thread listens at a
 * pipe that the host holds and never writes to.
 */
function leaveWithTheHost(): void {
  const listen = `
    const { Socket } = require('node:net');
    new Socket({ fd: 3 }).resume().on('error', () => undefined).on('close', () => process.kill(process.pid, 'SIGKILL'));
  `;
  new Worker(listen, {
    eval: true,
    env: {},
    // Streams of its own: as a rule they are joined to this process's, which are then no longer blocking.
    stdout: true,
    stderr: true,
    // Little of what the limits of this process leave (V8 sets aside for code what a process may need at most).
    resourceLimits: { maxOldGenerationSizeMb: 16, codeRangeSizeMb: 16 },
  }).unref();
}

/** The next line of the standard input, which comes alone; `undefined` at the input's end. */
function nextLine(): string | undefined {
  const pieces: Buffer[] = [];
  for (;;) {
    const piece = Buffer.alloc(2 ** 16);
    const bytes = readSync(0, piece);
    if (bytes === 0) return undefined;
    pieces.push(piece.subarray(0, bytes));
    if (piece[bytes - 1] === NEWLINE) return Buffer.concat(pieces).toString();
  }
}

function say(answer: Answer): void {
  const bytes = Buffer.from(`${JSON.stringify(answer)}\n`);
  for (let written = 0; written < bytes.length; ) written += writeSync(1, bytes, written);
}
