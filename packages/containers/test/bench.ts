/** What the tests of drivers share: a machine, waiting, and real time behind the `Clock` port. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '@nanoclaw/session-db';
import type { Driver, RunSpec } from '../src/index.ts';

/** A machine with an empty data folder. */
export interface Bench {
  /** A new life of the host of `install` on this machine: remembers nothing but what is on disk or in the runtime. */
  host(install: string): Driver;
  /** A run of `install` that executes `script` with `/bin/sh` in `/workspace/outbound`. */
  spec(install: string, runId: string, script: string): RunSpec;
  /** Host path of `/workspace/outbound`. */
  readonly outbound: string;
  /** Ends every run that is left and removes the folder. */
  dispose(): Promise<void>;
}

export const clock: Clock = {
  now: () => Date.now(),
  setTimer: (delayMs, action) => {
    const timer = setTimeout(action, delayMs);
    return () => clearTimeout(timer);
  },
};

/** Waits until `see` finds something other than `undefined` or `false`, and fails after ten seconds. */
export async function until<T>(what: string, see: () => Promise<T> | T): Promise<Exclude<T, undefined | false>> {
  for (let look = 0; look < 500; look += 1) {
    const seen = await see();
    if (isSomething(seen)) return seen;
    await delay(20);
  }
  throw new Error(`waited in vain: ${what}`);
}

/** A while in which something that must not happen would have happened. */
export function aWhile(): Promise<void> {
  return delay(250);
}

function isSomething<T>(value: T): value is Exclude<T, undefined | false> {
  return value !== undefined && value !== false;
}
