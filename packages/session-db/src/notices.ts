/**
 * What the host has still to say in a chat: that a message was given up, or a series paused by its failures. Reached
 * through `HostSession.notices`.
 *
 * A notice is owed from the very transaction that makes it necessary until it is marked as sent: a crash in between sends it
 * again, and loses none.
 */
import type { Address, InboundKind } from './messages.ts';
import type { Sqlite } from './sqlite/index.ts';
import type { Millis } from './time.ts';

/** A notice that has not been sent yet. What it is about and `at` name it for good: together they make a key. */
export type OwedNotice = {
  /** Where it belongs; `null`: where the session answers. */
  readonly address: Address | null;
  /** What went wrong. */
  readonly reason: string;
  /** Since when it is owed. */
  readonly at: Millis;
} & (
  | {
      readonly type: 'given-up';
      /** The message that was given up. */
      readonly messageId: string;
      /** Its number in the session. */
      readonly seq: number;
      /** What kind of message it was: a task is spoken of otherwise than a chat message. */
      readonly kind: InboundKind;
      /** The series that the message is an occurrence of; `null` for any other message. */
      readonly seriesId: string | null;
    }
  | {
      readonly type: 'paused';
      /** The series that was paused. */
      readonly seriesId: string;
    }
);

/** What the host has still to say; `HostSession.notices`. */
export class OwedNotices {
  readonly #db: Sqlite;

  /** For `HostSession`, which owns the file. */
  constructor(db: Sqlite) {
    this.#db = db;
  }

  /** The oldest notices owed, at most `limit`; none costs two looks into empty indexes. */
  owed(limit: number): OwedNotice[] {
    const givenUp = this.#db.all<GivenUpRow>(GIVEN_UP, { limit }).map(
      ({ messageId, seq, kind, seriesId, ...row }): OwedNotice => ({
        type: 'given-up',
        messageId,
        seq,
        kind,
        seriesId,
        ...common(row),
      }),
    );
    const paused = this.#db
      .all<PausedRow>(PAUSED, { limit: limit - givenUp.length })
      .map(({ seriesId, ...row }): OwedNotice => ({ type: 'paused', seriesId, ...common(row) }));
    return [...givenUp, ...paused];
  }

  /**
   * Records that a notice has been sent, or never will be. One that has become owed anew meanwhile, for a later failure,
   * stays owed.
   */
  markSent(notice: OwedNotice): void {
    const { at } = notice;
    if (notice.type === 'given-up') this.#db.run(SENT_GIVEN_UP, { messageId: notice.messageId, at });
    else this.#db.run(SENT_PAUSED, { seriesId: notice.seriesId, at });
  }
}

interface CommonRow {
  readonly channelType: string | null;
  readonly platformId: string | null;
  readonly threadId: string | null;
  readonly reason: string;
  readonly at: Millis;
}

interface GivenUpRow extends CommonRow {
  readonly messageId: string;
  readonly seq: number;
  readonly kind: InboundKind;
  readonly seriesId: string | null;
}

interface PausedRow extends CommonRow {
  readonly seriesId: string;
}

function common({ channelType, platformId, threadId, reason, at }: CommonRow) {
  const address = channelType === null || platformId === null ? null : { channelType, platformId, threadId };
  return { address, reason, at };
}

const GIVEN_UP = `
  SELECT id AS messageId, seq, kind, series_id AS seriesId, channel_type AS channelType, platform_id AS platformId,
    thread_id AS threadId, error AS reason, notice_owed_at AS at
  FROM messages_in WHERE notice_owed_at IS NOT NULL ORDER BY seq LIMIT :limit`;

const PAUSED = `
  SELECT id AS seriesId, channel_type AS channelType, platform_id AS platformId, thread_id AS threadId,
    coalesce(reason, 'It failed too often.') AS reason, notice_owed_at AS at
  FROM series WHERE notice_owed_at IS NOT NULL ORDER BY id LIMIT :limit`;

const SENT_GIVEN_UP = 'UPDATE messages_in SET notice_owed_at = NULL WHERE id = :messageId AND notice_owed_at = :at';

const SENT_PAUSED = 'UPDATE series SET notice_owed_at = NULL WHERE id = :seriesId AND notice_owed_at = :at';
