/** What the process that runs this gives: its signals, its waits, and the files that it came with. */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { processPorts } from '@nanoclaw/host';
import type { DataFolder } from '@nanoclaw/host/data';

/** The clock, ids and machine of this process, as hosts take them. */
export const ports = processPorts();

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

/** Aborts at the first signal to end, as long as it is not disposed of. */
export function stopSignal(): { readonly signal: AbortSignal; readonly abort: () => void } & Disposable {
  const stopping = new AbortController();
  const onSignal = () => stopping.abort();
  // Any number of them: a signal to the whole group arrives twice under npm, and every stop has a deadline anyway.
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  return {
    signal: stopping.signal,
    abort: onSignal,
    [Symbol.dispose]: () => void process.off('SIGINT', onSignal).off('SIGTERM', onSignal),
  };
}

/** A folder beneath `parent` that is removed with all that is in it when it is disposed of. */
export function temporaryFolder(parent: string): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(parent, 'nanoclaw-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** What a conversation at this terminal needs, with the host of a data folder. */
export function conversation(data: DataFolder, socket: string, newId: () => string) {
  const memory = join(data.root, 'chat');
  return { socket, newId, memory, input: process.stdin, output: process.stdout };
}
