/** What waits and what is idle, as of the last visit to each session: what the sweep saw, for whoever decides about runs. */
import type { Millis } from '@nanoclaw/session-db';

/** What is due over all sessions. */
export interface Queue {
  readonly dueMessages: number;
  /** Since when the oldest of them has been due; `undefined` when none is. */
  readonly oldestDueAt: Millis | undefined;
}

/** The activity of a host's sessions. Empty until they are visited. */
export class Activity {
  /** Only sessions in which something is due. */
  readonly #due = new Map<string, { readonly count: number; readonly since: Millis }>();
  /** Sessions whose run was seen to work on nothing. */
  readonly #idle = new Set<string>();
  /** When an attempt at a message of a session last ended. */
  readonly #finishedAt = new Map<string, Millis>();

  /** Notes how many messages of a session are due, and since when; none with `undefined`. */
  noteDue(sessionId: string, due: { readonly count: number; readonly since: Millis } | undefined): void {
    if (due === undefined) this.#due.delete(sessionId);
    else this.#due.set(sessionId, due);
  }

  /** Notes whether the session's run works on something: it has claims that it has not acknowledged. */
  noteClaims(sessionId: string, hasOpenClaims: boolean): void {
    if (hasOpenClaims) this.#idle.delete(sessionId);
    else this.#idle.add(sessionId);
  }

  /** Notes that the session's run has ended an attempt at a message. */
  noteFinished(sessionId: string, at: Millis): void {
    this.#finishedAt.set(sessionId, at);
  }

  /** When an attempt at a message of the session last ended; `undefined` when none has since the host started. */
  finishedAt(sessionId: string): Millis | undefined {
    return this.#finishedAt.get(sessionId);
  }

  /** Whether the session's run is working on something, as far as is known: one that was never visited counts as busy. */
  isBusy(sessionId: string): boolean {
    return !this.#idle.has(sessionId) || this.#due.has(sessionId);
  }

  /** What waits in all sessions. */
  queue(): Queue {
    const due = [...this.#due.values()];
    return {
      dueMessages: due.reduce((sum, { count }) => sum + count, 0),
      oldestDueAt: due.length === 0 ? undefined : Math.min(...due.map(({ since }) => since)),
    };
  }

  /** Drops what is remembered of a session that is gone. */
  forget(sessionId: string): void {
    this.#due.delete(sessionId);
    this.#idle.delete(sessionId);
    this.#finishedAt.delete(sessionId);
  }
}
