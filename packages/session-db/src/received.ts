/**
 * What the host itself has written of messages for the agent: the message and sender behind an agent's request. Reached
 * through `HostSession.received` and `HostSession.inHand`.
 */
import type { InboundStatus } from './lifecycle.ts';
import type { Address, InboundKind, JsonObject, Trigger } from './messages.ts';
import type { Sqlite } from './sqlite/index.ts';
import type { Millis } from './time.ts';

/** A message for the agent as the host has it. */
export interface ReceivedRow {
  /** Unique in the session, and derived from its origin. */
  readonly id: string;
  /** Even: the number by which the agent knows it. */
  readonly seq: number;
  /** What it is. */
  readonly kind: InboundKind;
  /** How far it has come. */
  readonly status: InboundStatus;
  /** Whether it wakes the agent or is context only. */
  readonly trigger: Trigger;
  /** Where it came from; `null` for what has no place. */
  readonly address: Address | null;
  /** The session that wrote it, for mail between agents. */
  readonly sourceSessionId: string | null;
  /** The outbound message that this one answers. */
  readonly inReplyTo: string | null;
  /** The series that it is an occurrence of. */
  readonly seriesId: string | null;
  /** Its content, by its kind. */
  readonly content: JsonObject;
  /** When it ended; `null` while it has not. */
  readonly settledAt: Millis | null;
}

/** One message by its id; `undefined` when there is none, or it is forgotten. */
export function readReceived(db: Sqlite, id: string): ReceivedRow | undefined {
  return db.all<StoredRow>(`${SELECT} WHERE id = :id`, { id }).map(received)[0];
}

/** The messages that a run may be at work on: those that are due and have not ended, context too. At most `limit`. */
export function readInHand(db: Sqlite, now: Millis, limit: number): ReceivedRow[] {
  return db.all<StoredRow>(IN_HAND, { now, limit }).map(received);
}

type StoredRow = Omit<ReceivedRow, 'trigger' | 'address' | 'content'> & {
  readonly trigger: number;
  readonly channelType: string | null;
  readonly platformId: string | null;
  readonly threadId: string | null;
  readonly content: string;
};

function received({ trigger, channelType, platformId, threadId, content, ...row }: StoredRow): ReceivedRow {
  return {
    ...row,
    trigger: trigger === 1 ? 'wakes' : 'context',
    address: channelType === null || platformId === null ? null : { channelType, platformId, threadId },
    content: JSON.parse(content),
  };
}

const SELECT = `
  SELECT id, seq, kind, status, trigger, channel_type AS channelType, platform_id AS platformId, thread_id AS threadId,
    source_session_id AS sourceSessionId, in_reply_to AS inReplyTo, series_id AS seriesId, content,
    settled_at AS settledAt
  FROM messages_in`;

const IN_HAND = `${SELECT}
  WHERE status = 'pending' AND lane IN ('work', 'control', 'context') AND process_after <= :now LIMIT :limit`;
