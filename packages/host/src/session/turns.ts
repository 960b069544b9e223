/**
 * When the files of sessions are written: at most one commit in a turn of the event loop, so that everything else gets its own
 * however much there is to write, and the sessions by rotation, so that one with a thousand rows holds up none with one.
 *
 * A commit waits for the disk, some milliseconds where it is slow; looks without one are cheap, and several go together.
 */
import { type SetTimer, SqliteError } from '@nanoclaw/session-db';

/** What one use of a file came to. */
export interface TurnUse<T> {
  readonly value: T;
  /** Whether it has written something. */
  readonly hasWritten: boolean;
}

/** So many uses that write nothing are as much as a commit. */
const LOOKS_PER_TURN = 10;

/** The uses of all session files of a host. */
export class Turns implements Disposable {
  readonly #setTimer: SetTimer;
  /** By session, in the order in which they came; the session whose turn is next stands first. */
  readonly #waiting = new Map<string, (() => void)[]>();
  /** What may still be done in this turn, in looks. */
  #left = LOOKS_PER_TURN;
  #cancelTimer: (() => void) | undefined;
  #isOver = false;

  constructor(setTimer: SetTimer) {
    this.#setTimer = setTimer;
  }

  /** Does `use` when its session has its turn, at once if that is free. Rejects with what `use` throws; with `SqliteError` after the end. */
  run<T>(session: string, use: () => TurnUse<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const job = () => {
      try {
        if (this.#isOver) throw new SqliteError('SQLITE_ABORT', 'The host has stopped; nothing was written.');
        const { value, hasWritten } = use();
        this.#left -= hasWritten ? LOOKS_PER_TURN : 1;
        resolve(value);
      } catch (error) {
        // One that failed may have waited for the disk as well.
        this.#left = 0;
        reject(error);
      }
    };
    if (this.#isOver || (this.#waiting.size === 0 && this.#left > 0)) job();
    else this.#waiting.set(session, [...(this.#waiting.get(session) ?? []), job]);
    if (!this.#isOver) this.#cancelTimer ??= this.#setTimer(0, () => this.#nextTurn());
    return promise;
  }

  /** Does nothing more: what waits is rejected. */
  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#cancelTimer?.();
    for (const jobs of this.#waiting.values()) for (const job of jobs) job();
    this.#waiting.clear();
  }

  #nextTurn(): void {
    this.#cancelTimer = undefined;
    this.#left = LOOKS_PER_TURN;
    for (const [session, [job, ...rest]] of this.#waiting) {
      this.#waiting.delete(session);
      // Behind the others; a map goes on to what is put in on the way.
      if (rest.length > 0) this.#waiting.set(session, rest);
      job?.();
      if (this.#left <= 0) break;
    }
    if (this.#waiting.size > 0 || this.#left < LOOKS_PER_TURN)
      this.#cancelTimer ??= this.#setTimer(0, () => this.#nextTurn());
  }
}
