/**
 * Messages for the agent that were given up, for an operator: to be listed, revived or put away. Reached through
 * `HostSession.deadLetters`; those on their way to the world are in `HostSession.deliveries`.
 *
 * They stay until an operator decides or retention forgets them.
 */
import type { Address, InboundKind, JsonObject } from './messages.ts';
import type { Sqlite } from './sqlite/index.ts';
import type { Millis } from './time.ts';

/** A message for the agent that was given up after its last attempt. */
export interface InboundDeadLetter {
  /** Even: the number by which the agent knows it. */
  readonly seq: number;
  /** Unique in the session, and derived from its origin. */
  readonly id: string;
  /** What it is. */
  readonly kind: InboundKind;
  /** Where it came from; `null` for what has no place. */
  readonly address: Address | null;
  /** When it was sent, by the platform's clock. */
  readonly timestamp: Millis;
  /** How many attempts were made. */
  readonly tries: number;
  /** What its last attempt ended with. */
  readonly error: string;
  /** When it was given up. */
  readonly settledAt: Millis;
  /** The series that it is an occurrence of; `null` for any other message. */
  readonly seriesId: string | null;
  /** Its content, by its kind. */
  readonly content: JsonObject;
}

/** The dead letters for the agent; `HostSession.deadLetters`. */
export class InboundDeadLetters {
  readonly #db: Sqlite;
  readonly #ring: (now: Millis) => void;

  /** For `HostSession`, which owns the file and rings its bell. */
  constructor(db: Sqlite, ring: (now: Millis) => void) {
    this.#db = db;
    this.#ring = ring;
  }

  /** Messages given up, oldest first, from the one after number `after`. */
  list(limit: number, after = 0): InboundDeadLetter[] {
    return this.#db
      .all<DeadLetterRow>(`${SELECT} AND seq > :after ORDER BY seq LIMIT :limit`, { limit, after })
      .map(letter);
  }

  /** One of them; `undefined` when there is no such message or it was not given up. */
  get(id: string): InboundDeadLetter | undefined {
    return this.#db.all<DeadLetterRow>(`${SELECT} AND id = :id`, { id }).map(letter)[0];
  }

  /** How many there are. */
  count(): number {
    return this.#db.all<{ letters: number }>(COUNT)[0]?.letters ?? 0;
  }

  /**
   * Revives a message given up: it is due at once, with all attempts of the policy before it, and no notice of it is owed any
   * more. An occurrence comes back as a message of its own, because its series has gone on and has counted it.
   * Returns whether there was one.
   */
  retry(id: string, now: Millis): boolean {
    const isRetried = this.#db.run(RETRY, { id, now }) === 1;
    if (isRetried) this.#ring(now);
    return isRetried;
  }

  /** Ends a message given up for good: no new attempt, and no notice. Returns whether there was one. */
  discard(id: string, now: Millis): boolean {
    return this.#db.run(DISCARD, { id, now }) === 1;
  }
}

interface DeadLetterRow extends Omit<InboundDeadLetter, 'address' | 'content'> {
  readonly channelType: string | null;
  readonly platformId: string | null;
  readonly threadId: string | null;
  readonly content: string;
}

function letter({ channelType, platformId, threadId, content, ...row }: DeadLetterRow): InboundDeadLetter {
  const address = channelType === null || platformId === null ? null : { channelType, platformId, threadId };
  return { ...row, address, content: JSON.parse(content) };
}

const SELECT = `
  SELECT seq, id, kind, channel_type AS channelType, platform_id AS platformId, thread_id AS threadId, timestamp, tries,
    error, settled_at AS settledAt, series_id AS seriesId, content
  FROM messages_in WHERE status = 'failed'`;

const COUNT = "SELECT count(*) AS letters FROM messages_in WHERE status = 'failed'";

// Attempts go on from the last number: the claims of the earlier ones stand in the runner's file.
const RETRY = `
  UPDATE messages_in SET status = 'pending', tries_before = tries, process_after = :now, wait_ms = 0,
    settled_at = NULL, notice_owed_at = NULL, series_id = NULL, slot = NULL, recurrence = NULL, time_zone = NULL,
    deferral = NULL, deferred_since = NULL, deferred_wait_ms = NULL, deferral_notice = NULL
  WHERE id = :id AND status = 'failed'`;

const DISCARD = `
  UPDATE messages_in SET status = 'cancelled', settled_at = :now, notice_owed_at = NULL
  WHERE id = :id AND status = 'failed'`;
