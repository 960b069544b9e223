/**
 * Commits to the session's own file while the host may be reading it. The file has no busy time-out, because
 * that would hold the whole event loop; so a commit that finds the file locked is tried again after a nap.
 */
import { type Clock, isBusy, type Millis } from '@nanoclaw/session-db';

/** Runs a synchronous transaction, again and again while a file is locked: the own, or the host's for a read of it. */
export type Commit = <T>(transaction: () => T) => Promise<T>;

/** A reader holds the file for a millisecond; one that holds it this long holds it on purpose. */
const LOCKED_MAX_MS: Millis = 60_000;
const NAP_MIN_MS: Millis = 2;
const NAP_MAX_MS: Millis = 50;

/** The commits of one session. They throw whatever the transaction throws, and its last error after a minute. */
export function committer(clock: Clock): Commit {
  return async (transaction) => {
    const since = clock.now();
    for (let nap = NAP_MIN_MS; ; nap = Math.min(nap * 2, NAP_MAX_MS)) {
      try {
        return transaction();
      } catch (error) {
        if (!isBusy(error) || clock.now() - since > LOCKED_MAX_MS) throw error;
        await new Promise<void>((resolve) => clock.setTimer(nap, resolve));
      }
    }
  };
}
