/** What the process that runs this gives: its clock, timers, signals, user, environment and the files it came with. */
import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Driver } from '@nanoclaw/containers';
import type { DataFolder } from '@nanoclaw/host/data';
import { driverFor, type Isolation } from '@nanoclaw/host/runs';
import type { Config } from './config.ts';

/** The folder with the bundled agent-runner. */
export const RUNNER_FOLDER = fileURLToPath(new URL('../../agent-runner/dist', import.meta.url));
/** The folder with the skills of this version. */
export const SKILLS_FOLDER = fileURLToPath(new URL('../../../container/skills', import.meta.url));

/** Epoch milliseconds. */
export function now(): number {
  return Date.now();
}

/** Runs `action` after so many milliseconds, unless the function that it gives is called before. */
export function setTimer(delayMs: number, action: () => void): () => void {
  const timer = setTimeout(action, delayMs);
  return () => clearTimeout(timer);
}

/** What the client of the model gets: the variables that begin with `ANTHROPIC_`. */
export function modelEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) =>
      name.startsWith('ANTHROPIC_') && value !== undefined && value !== '' ? [[name, value]] : [],
    ),
  );
}

/** The user that the host runs as; `undefined` where the system knows none by number. */
export function ownUser() {
  const uid = process.getuid?.();
  const gid = process.getgid?.();
  return uid === undefined || gid === undefined ? undefined : { uid, gid };
}

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

/** A new id that nobody has. */
export function newId(): string {
  return randomUUID();
}

/** A new secret that nobody can guess. */
export function newSecret(): string {
  return randomBytes(32).toString('base64url');
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

/** Makes the driver of an isolation, by a configuration. */
export function driverMaker(config: Config): (isolation: Isolation, installId: string, stateFolder: string) => Driver {
  return (isolation, installId, stateFolder) =>
    driverFor(isolation, { installId, config, stateFolder, env: process.env, process, clock: { now, setTimer } });
}

/** What a conversation at this terminal needs, with the host of a data folder. */
export function conversation(data: DataFolder, socket: string) {
  const memory = join(data.root, 'chat');
  return { socket, newId, memory, input: process.stdin, output: process.stdout };
}
