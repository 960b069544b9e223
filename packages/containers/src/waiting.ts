/** Waiting, on the clock that the caller gives. */
import type { Clock, Millis } from '@nanoclaw/session-db';

/** Resolves after `delayMs` milliseconds, or at once when `signal` aborts; never rejects. */
export function sleep(clock: Clock, delayMs: Millis, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const end = () => {
      cancel();
      signal.removeEventListener('abort', end);
      resolve();
    };
    const cancel = clock.setTimer(delayMs, end);
    signal.addEventListener('abort', end);
  });
}

/** Whether `done` resolves within `delayMs` milliseconds. Rejects if `done` does within them. */
export async function resolvesWithin(clock: Clock, delayMs: Millis, done: Promise<unknown>): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<boolean>();
  const cancel = clock.setTimer(delayMs, () => resolve(false));
  try {
    return await Promise.race([done.then(() => true), late]);
  } finally {
    cancel();
  }
}
