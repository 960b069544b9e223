/** Something that the host does again and again, one at a time, until it is disposed of. */
import type { Millis, SetTimer } from '@nanoclaw/session-db';

/** How often, and what becomes of a failure. */
export interface PeriodicOptions {
  /** From the end of one time to the beginning of the next, and before the first, in milliseconds. */
  readonly everyMs: Millis;
  readonly setTimer: SetTimer;
  /** A time that rejected; the next one comes as usual. Must not throw. */
  readonly onTrouble: (error: unknown) => void;
}

/** Does `action` every so often. Disposing of it begins no further time; one under way ends by itself. */
export function periodically(
  action: () => Promise<void>,
  { everyMs, setTimer, onTrouble }: PeriodicOptions,
): Disposable {
  let isOver = false;
  const time = async () => {
    try {
      await action();
    } catch (error) {
      onTrouble(error);
    }
    if (!isOver) cancel = setTimer(everyMs, () => void time());
  };
  let cancel = setTimer(everyMs, () => void time());
  return {
    [Symbol.dispose]: () => {
      isOver = true;
      cancel();
    },
  };
}
