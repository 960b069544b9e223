/** What the process that runs this gives: its signals, its waits, and the files that it came with. */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { processPorts } from '@nanoclaw/host';
import type { DataFolder } from '@nanoclaw/host/data';
import { messageOf, type UncaughtErrors } from '@nanoclaw/host/errors';
import { stripControls } from '@nanoclaw/host/operator';

/** The clock, ids and machine of this process, as hosts take them. */
export const ports = processPorts();

/** The folder of the whole program, with all the code that it came with. */
export const PROGRAM_FOLDER = fileURLToPath(new URL('../../..', import.meta.url)).replace(/\/$/, '');
/** The folder with the bundled agent-runner. */
export const RUNNER_FOLDER = fileURLToPath(new URL('../../agent-runner/dist', import.meta.url));
/** The folder with the skills of this version. */
export const SKILLS_FOLDER = fileURLToPath(new URL('../../../container/skills', import.meta.url));

/** Resolves after `ms` milliseconds, or at once when the signal aborts. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    if (signal.aborted) end();
    else signal.addEventListener('abort', end);
  });
}

/** Resolves when the signal aborts. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Aborted when what is printed reaches nobody any more: the reader of a pipe is content, or the terminal has gone. */
const output = new AbortController();

/**
 * Keeps output that cannot be written from ending the process in a stack trace. A reader that has gone is no error: a command
 * does what it was told to and ends as it would have.
 */
export function watchOutput(): void {
  process.stdout.on('error', (error) => {
    output.abort();
    if (isGone(error)) return;
    process.exitCode = 1;
    process.stderr.write(`nanoclaw: The output could not be written (${error.message}); what was done stays done.\n`);
  });
  // Where that cannot be written there is no one to tell.
  process.stderr.on('error', () => undefined);
}

function isGone(error: Error): boolean {
  return 'code' in error && (error.code === 'EPIPE' || error.code === 'EIO' || error.code === 'ECONNRESET');
}

/** Aborts at the first signal to end, and when nobody reads any more, as long as it is not disposed of. */
export function stopSignal(): { readonly signal: AbortSignal; readonly abort: () => void } & Disposable {
  const stopping = new AbortController();
  const onSignal = () => stopping.abort();
  // Any number of them: a signal to the whole group arrives twice under npm, and every stop has a deadline anyway.
  for (const signal of STOP_SIGNALS) process.on(signal, onSignal);
  output.signal.addEventListener('abort', onSignal);
  if (output.signal.aborted) onSignal();
  return {
    signal: stopping.signal,
    abort: onSignal,
    [Symbol.dispose]: () => {
      for (const signal of STOP_SIGNALS) process.off(signal, onSignal);
      output.signal.removeEventListener('abort', onSignal);
    },
  };
}

/**
 * Has what nothing caught in this process noted. After an error of the host's own code `stop` is called, once, and the process
 * ends with exit code 1: at the latest after `stopMaxMs` milliseconds, and at once where a second one comes. To be disposed of when
 * the host has stopped: what a module has left running then keeps the process from ending for a moment at most.
 */
export function watchUncaught(uncaught: UncaughtErrors, stop: () => void, stopMaxMs: number): Disposable {
  let isStopping = false;
  // A rejection that nothing handles comes here as well.
  process.on('uncaughtException', (error: unknown) => {
    if (uncaught.note(error) === 'go-on') return;
    if (isStopping) process.exit(1);
    isStopping = true;
    const what = stripControls(messageOf(error));
    process.stderr.write(
      `nanoclaw: the host met an error of its own and ends: ${what} Nothing accepted was lost; start it again.\n`,
    );
    process.exitCode = 1;
    setTimeout(() => process.exit(1), stopMaxMs).unref();
    stop();
  });
  // It goes on listening: a module's timer throws after the host's end as it did before.
  return { [Symbol.dispose]: () => void setTimeout(() => process.exit(), LEFT_RUNNING_MAX_MS).unref() };
}

const LEFT_RUNNING_MAX_MS = 500;

/** A folder beneath `parent` that is removed with all that is in it when it is disposed of. */
export function temporaryFolder(parent: string): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(parent, 'nanoclaw-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** Ctrl-C, a service manager, and the end of the terminal or the connection that the host was started on. */
const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** What a conversation at this terminal needs, with the host of a data folder. */
export function conversation(data: DataFolder, socket: string, newId: () => string) {
  const memory = join(data.root, 'chat');
  // A terminal that has hung up cannot be read either.
  process.stdin.on('error', () => output.abort());
  return { socket, newId, memory, input: process.stdin, output: process.stdout };
}
