/** What the tests of drivers share: waiting, and real time behind the `Clock` port. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '@nanoclaw/session-db';
import type { Exit } from '../src/index.ts';

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

/** The two ways to say that a run was killed: by the signal itself, or as the code 128 + 9 of an engine. */
export function wasKilled(exit: Exit): boolean {
  return exit.type === 'signal' ? exit.signal === 'SIGKILL' : exit.type === 'code' && exit.code === 137;
}

function isSomething<T>(value: T): value is Exclude<T, undefined | false> {
  return value !== undefined && value !== false;
}
