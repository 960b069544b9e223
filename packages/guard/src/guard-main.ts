/**
 * The guard: the process in which the host reads what containers wrote. A program of its own, which the host can kill
 * when a file holds it for ever. It takes one job at a time from its standard input and waits for the next one in a
 * blocking read, which answers sooner than an event loop.
 *
 * It has no environment, opens no connection, and leaves with its host.
 */
import { readSync, writeSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { Worker } from 'node:worker_threads';
import { type OutboundRead, removeAttachments, sessionFolder, spoolAttachments } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { type OutboundRequest, outboundReading } from '@nanoclaw/session-db/protocol';
// Types alone: run from its sources, this file has no bundler to find others of ours.
import type { Answer, Job } from './wire.ts';

/** Of so many sessions it remembers what it has checked of their files. */
const READINGS_MAX = 1_000;

const NEWLINE = 10;

main();

function main(): void {
  leaveWithTheHost();
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
  const done = worker();
  say({ result: 'ready' });
  for (let line = nextLine(); line !== undefined; line = nextLine()) say(done(JSON.parse(line)));
}

function worker(): (job: Job) => Answer {
  const readings = new Map<string, (request: OutboundRequest) => OutboundRead>();

  function read({ root, request, limits }: Extract<Job, { type: 'read' }>): OutboundRead {
    const reading = readings.get(root) ?? outboundReading(sessionFolder(root), openSqlite, limits);
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
      case 'spool':
        return spoolAttachments(sessionFolder(job.root), job.messageId, job.names);
      case 'remove':
        return removeAttachments(sessionFolder(job.root), job.messageId);
    }
  }

  return (job) => {
    try {
      return { result: result(job) };
    } catch (error) {
      return { failed: (error instanceof Error ? error.message : String(error)).slice(0, 4_000) };
    }
  };
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
