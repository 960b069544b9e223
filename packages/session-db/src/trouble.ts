/**
 * What keeps a session from running, written down so that a restart of the host neither forgets nor repeats it: the
 * table `trouble` of `inbound.db`. Reached through `HostSession.trouble`.
 *
 * A failure is counted under a name (the run that failed), so looking at it again counts nothing. The notice for the chat
 * stays owed until it is marked as sent.
 */
import { backoffMs, type RetryPolicy } from './lifecycle.ts';
import type { Sqlite } from './sqlite/index.ts';
import type { Millis } from './time.ts';

/** `wake`: no run can be started. `outbound`: what the container wrote cannot be read. */
export type TroubleKind = 'wake' | 'outbound';

/** What keeps a session from running, as it stands now. */
export interface TroubleRecord {
  /** What cannot be done. */
  readonly kind: TroubleKind;
  /** How often in a row; 0 when it is over and the notice of that is still owed. */
  readonly failures: number;
  /** What the last failure ended with. */
  readonly error: string;
  /** When the first failure in this row was. */
  readonly since: Millis;
  /** Not tried again before this time. */
  readonly retryAt: Millis;
  /** The notice that has not been sent to the chat yet: that the trouble began, or that it ended. */
  readonly noticeOwed: 'began' | 'ended' | null;
}

/** How long is waited after failures, and after how many in a row the chat gets a notice. */
export interface TroublePolicy extends Pick<RetryPolicy, 'backoffBaseMs' | 'backoffMaxMs'> {
  /** From this many failures in a row on, only the longest wait: one trial at a time shows whether it is over. */
  readonly breakAfter: number;
  /** From this many failures in a row on the chat gets a notice. */
  readonly noticeAfter: number;
}

/** What keeps the session from running; `HostSession.trouble`. */
export class Trouble {
  readonly #db: Sqlite;

  /** For `HostSession`, which owns the file. */
  constructor(db: Sqlite) {
    this.#db = db;
  }

  /** The trouble of this kind; `undefined` when there is none. */
  get(kind: TroubleKind): TroubleRecord | undefined {
    return this.#db.all<TroubleRecord>(
      `SELECT kind, failures, error, since, retry_at AS retryAt, notice_owed AS noticeOwed FROM trouble
       WHERE kind = :kind`,
      { kind },
    )[0];
  }

  /**
   * Counts a failure under `name`, sets when it is tried again, and owes the chat a notice after the policy's number in
   * a row. The same name twice in a row counts once. Returns the record as it then stands.
   */
  recordFailure(
    kind: TroubleKind,
    name: string,
    error: string,
    now: Millis,
    policy: TroublePolicy,
  ): TroubleRecord | undefined {
    const before = this.#db.all<{ failures: number; counted: string }>(
      'SELECT failures, counted FROM trouble WHERE kind = :kind',
      { kind },
    )[0];
    if (before?.counted === name && before.failures > 0) return this.get(kind);
    const failures = (before?.failures ?? 0) + 1;
    this.#db.run(COUNT_FAILURE, {
      kind,
      name,
      error,
      failures,
      now,
      retryAt: now + troubleWaitMs(failures, policy),
      tell: failures >= policy.noticeAfter ? 1 : 0,
    });
    return this.get(kind);
  }

  /** Ends the wait and nothing else: the next try is due at `now`, and its failure counts as before. */
  retryNow(kind: TroubleKind, now: Millis): void {
    this.#db.run('UPDATE trouble SET retry_at = :now WHERE kind = :kind AND retry_at > :now', { kind, now });
  }

  /** Records that it is over. Owes the chat a notice of that if it got one of the trouble. No write when there is none. */
  resolve(kind: TroubleKind, now: Millis): void {
    const before = this.get(kind);
    if (before === undefined || before.failures === 0) return;
    this.#db.run('DELETE FROM trouble WHERE kind = :kind AND told = 0', { kind });
    this.#db.run(
      `UPDATE trouble SET failures = 0, counted = '', notice_owed = 'ended', retry_at = :now WHERE kind = :kind`,
      { kind, now },
    );
  }

  /** Records that the owed notice has been sent to the chat. */
  markNoticeSent(kind: TroubleKind, notice: 'began' | 'ended'): void {
    this.#db.run(
      `UPDATE trouble SET notice_owed = NULL, told = CASE WHEN notice_owed = 'began' THEN 1 ELSE 0 END
       WHERE kind = :kind AND notice_owed = :notice`,
      { kind, notice },
    );
    this.#db.run('DELETE FROM trouble WHERE kind = :kind AND failures = 0 AND notice_owed IS NULL', { kind });
  }
}

/** How long to wait after the n-th failure in a row, in milliseconds: the backoff, or its maximum once broken. */
export function troubleWaitMs(failures: number, policy: TroublePolicy): number {
  if (failures >= policy.breakAfter) return policy.backoffMaxMs;
  return backoffMs(failures, { ...policy, triesMax: policy.breakAfter });
}

// A trouble that comes back before the notice of its end was sent is the same one for the chat: that notice is taken back.
const COUNT_FAILURE = `
  INSERT INTO trouble (kind, failures, counted, error, since, retry_at, notice_owed, told)
  VALUES (:kind, :failures, :name, :error, :now, :retryAt, CASE WHEN :tell = 1 THEN 'began' END, 0)
  ON CONFLICT (kind) DO UPDATE SET failures = excluded.failures, counted = excluded.counted, error = excluded.error,
    retry_at = excluded.retry_at,
    since = CASE WHEN trouble.failures = 0 AND trouble.told = 0 THEN excluded.since ELSE trouble.since END,
    notice_owed = CASE
      WHEN trouble.told = 1 THEN NULL
      WHEN trouble.notice_owed = 'began' THEN 'began'
      ELSE excluded.notice_owed END`;
