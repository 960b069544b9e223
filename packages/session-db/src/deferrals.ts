/**
 * What waits for its model: messages whose last attempt was deferred, because the model refused or was away. Reached through
 * `HostSession.deferrals`; a settlement writes them.
 */
import type { DeferralKind } from './messages.ts';
import type { Sqlite } from './sqlite/index.ts';
import type { Millis } from './time.ts';

/** What the messages of a session that wait for their model have together. */
export interface DeferredWork {
  /** How many there are. */
  readonly messages: number;
  /** What stands in the way: a refusal, where there is one. */
  readonly kind: DeferralKind;
  /** What the model said the last time, as one sentence. */
  readonly reason: string;
  /** Since when the first of them waits. */
  readonly since: Millis;
  /** When the model is asked next. */
  readonly retryAt: Millis;
}

/** The messages that wait for their model; `HostSession.deferrals`. */
export class Deferrals {
  readonly #db: Sqlite;
  readonly #ring: (now: Millis) => void;

  /** For `HostSession`, which owns the file and rings its bell. */
  constructor(db: Sqlite, ring: (now: Millis) => void) {
    this.#db = db;
    this.#ring = ring;
  }

  /** What waits; `undefined` when nothing does. A look into an empty index then. */
  get(): DeferredWork | undefined {
    const row = this.#db.all<DeferredRow>(SELECT_WORK)[0];
    if (row === undefined || row.messages === 0) return undefined;
    const { messages, refused, since, retryAt } = row;
    const kind = refused > 0 ? 'refused' : 'unavailable';
    const reason = this.#db.all<{ error: string | null }>(SELECT_REASON, { kind })[0]?.error ?? '';
    return { messages, kind, reason, since, retryAt };
  }

  /** Ends their wait and nothing else: the model is asked at `now`. No write when nothing waits. */
  retryNow(now: Millis): void {
    if (this.#db.all(`SELECT 1 FROM messages_in WHERE ${WAITS} LIMIT 1`).length === 0) return;
    if (this.#db.run(RETRY, { now }) > 0) this.#ring(now);
  }
}

interface DeferredRow {
  readonly messages: number;
  readonly refused: number;
  readonly since: Millis;
  readonly retryAt: Millis;
}

/** The condition of their index. */
const WAITS = "deferral IS NOT NULL AND status IN ('pending', 'paused')";

const SELECT_WORK = `
  SELECT count(*) AS messages, coalesce(sum(deferral = 'refused'), 0) AS refused, min(deferred_since) AS since,
    min(process_after) AS retryAt
  FROM messages_in WHERE ${WAITS}`;

const SELECT_REASON = `SELECT error FROM messages_in WHERE ${WAITS} AND deferral = :kind ORDER BY seq DESC LIMIT 1`;

const RETRY = `UPDATE messages_in SET process_after = :now, wait_ms = 0 WHERE ${WAITS} AND process_after > :now`;
