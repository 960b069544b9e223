/**
 * What the host has still to say in a chat: that a message was given up or waits for its model, or a series paused by its
 * failures. Reached through `HostSession.notices`.
 *
 * A notice is owed from the very transaction that makes it necessary until it is marked as sent: a crash in between sends it
 * again, and loses none.
 */
import type { Address, DeferralKind, InboundKind } from './messages.ts';
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
  | {
      /** It waits for its model. */
      readonly type: 'deferred';
      /** What stands in the way. */
      readonly kind: DeferralKind;
      /** The message that waits. */
      readonly messageId: string;
    }
);

/** What the host has still to say; `HostSession.notices`. */
export class OwedNotices {
  readonly #db: Sqlite;

  /** For `HostSession`, which owns the file. */
  constructor(db: Sqlite) {
    this.#db = db;
  }

  /** The oldest notices owed, at most `limit`; none costs three looks into empty indexes. */
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
    const deferred = this.#db
      .all<DeferredRow>(DEFERRED, { limit: limit - givenUp.length - paused.length })
      .map(({ messageId, kind, ...row }): OwedNotice => ({ type: 'deferred', messageId, kind, ...common(row) }));
    return [...givenUp, ...paused, ...deferred];
  }

  /**
   * Records that a notice has been sent, or never will be. One that has become owed anew meanwhile, for a later failure,
   * stays owed.
   */
  markSent(notice: OwedNotice): void {
    const { at } = notice;
    switch (notice.type) {
      case 'given-up':
        this.#db.run(SENT_GIVEN_UP, { messageId: notice.messageId, at });
        return;
      case 'paused':
        this.#db.run(SENT_PAUSED, { seriesId: notice.seriesId, at });
        return;
      case 'deferred':
        this.#db.run(SENT_DEFERRED, { messageId: notice.messageId, kind: notice.kind, at });
    }
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

interface DeferredRow extends CommonRow {
  readonly messageId: string;
  readonly kind: DeferralKind;
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

const DEFERRED = `
  SELECT id AS messageId, deferral AS kind, channel_type AS channelType, platform_id AS platformId, thread_id AS threadId,
    coalesce(error, '') AS reason, deferred_since AS at
  FROM messages_in
  WHERE deferral IS NOT NULL AND status IN ('pending', 'paused') AND deferral_notice = 'owed' ORDER BY seq LIMIT :limit`;

const SENT_DEFERRED = `
  UPDATE messages_in SET deferral_notice = 'sent'
  WHERE id = :messageId AND deferral = :kind AND deferred_since = :at AND deferral_notice = 'owed'`;

const SENT_GIVEN_UP = 'UPDATE messages_in SET notice_owed_at = NULL WHERE id = :messageId AND notice_owed_at = :at';

const SENT_PAUSED = 'UPDATE series SET notice_owed_at = NULL WHERE id = :seriesId AND notice_owed_at = :at';
