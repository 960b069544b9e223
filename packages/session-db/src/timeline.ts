/**
 * A session as a person reads it: the messages of both files in the order of their numbers, each with what became of it.
 * The numbers are one order, because each side counts on from the highest that it sees of the other.
 */
import type { DeliveredPart, Deliveries } from './deliveries.ts';
import type { InboundStatus } from './lifecycle.ts';
import type { Ack, Address, DeferralKind, InboundKind, JsonObject, OutboundMessage, Trigger } from './messages.ts';
import type { Sqlite } from './sqlite/index.ts';
import type { Millis } from './time.ts';
import type { OutboundCursor, OutboundFinding, OutboundReader } from './untrusted.ts';

/** Which part of a history: the newest `limit` messages, or those before the number `before`. */
export interface HistoryPage {
  readonly limit: number;
  readonly before?: number;
}

/** A message for the agent and what became of it. */
export interface InboundEntry {
  /** For the agent. */
  readonly type: 'in';
  /** Even: the number by which the agent knows it. */
  readonly seq: number;
  /** Unique in the session, and derived from its origin. */
  readonly id: string;
  /** What it is. */
  readonly kind: InboundKind;
  /** When it was sent, by the platform's clock. */
  readonly timestamp: Millis;
  /** Whether it wakes the agent or is context only. */
  readonly trigger: Trigger;
  /** How far it has come. */
  readonly status: InboundStatus;
  /** How many attempts have been settled. */
  readonly tries: number;
  /** What stood in the way of its model at the last attempt; `null`: nothing, or that is over. */
  readonly deferral: DeferralKind | null;
  /** Not claimed before this time. */
  readonly processAfter: Millis;
  /** Where it came from; `null` for what has no place. */
  readonly address: Address | null;
  /** The outbound message that this one answers. */
  readonly inReplyTo: string | null;
  /** The series that it is an occurrence of. */
  readonly seriesId: string | null;
  /** Its content, by its kind. */
  readonly content: JsonObject;
  /** What its last failed attempt ended with; `null` when none has. */
  readonly error: string | null;
  /** When it ended; `null` while it has not. */
  readonly settledAt: Millis | null;
}

/** A message of the agent and what became of its parts. */
export interface OutboundEntry {
  /** From the agent. */
  readonly type: 'out';
  /** Odd: the number by which the agent knows it. */
  readonly seq: number;
  /** Unique in the session. */
  readonly id: string;
  /** What the agent wrote, all of it its claim; `undefined` when neither side has it any more. */
  readonly message: OutboundMessage | undefined;
  /** Empty for one that the host has not accepted yet. */
  readonly parts: readonly DeliveredPart[];
}

/** A message of either direction. */
export type TimelineEntry = InboundEntry | OutboundEntry;

/** What the host's file has of a session's messages, oldest first. */
export interface History {
  readonly entries: readonly TimelineEntry[];
}

/** What of the host's side a timeline is made of; a `HostSession` and a view of one have it. */
export interface HostSide {
  /** The newest messages of both directions as the host's file has them. */
  history(page: HistoryPage): History;
  /** Up to which numbers of the runner's file the host has read. */
  cursor(): OutboundCursor;
  /** The run that the host's file names; `undefined`: none. */
  liveRun(): string | undefined;
}

/** A page of both files as one history. */
export interface Timeline extends History {
  /** Attempts that have not ended, as the runner says. */
  readonly openClaims: readonly Ack[];
  /** Why the runner's file was not read: its own words are missing then, except where the host kept them. */
  readonly finding: OutboundFinding | undefined;
}

/**
 * The newest messages of both files, oldest first: the host's record with the agent's words, those that the host has
 * not accepted yet included. At most `page.limit`; of the agent's words as much as one read gives.
 */
export async function timeline(session: HostSide, reader: OutboundReader, page: HistoryPage): Promise<Timeline> {
  const { entries } = session.history(page);
  const cursor = session.cursor();
  const again = entries.filter((entry) => entry.type === 'out').map((entry) => entry.seq);
  const read = await reader.read({ ...cursor, again, runEnded: session.liveRun() === undefined });
  if (read.type !== 'read') return { entries, openClaims: [], finding: read };
  const words = new Map(read.again.map((message) => [message.seq, message]));
  const before = page.before ?? Number.POSITIVE_INFINITY;
  const fresh = read.messages
    .filter((message) => message.seq < before)
    .map((message): OutboundEntry => ({ type: 'out', seq: message.seq, id: message.id, message, parts: [] }));
  const known = entries.map((entry) =>
    entry.type === 'in' ? entry : { ...entry, message: words.get(entry.seq) ?? entry.message },
  );
  return { entries: newest([...known, ...fresh], page.limit), openClaims: read.openClaims, finding: undefined };
}

/** What `inbound.db` has of a page of the history. */
export function readHistory(db: Sqlite, deliveries: Deliveries, { limit, before }: HistoryPage): History {
  const page = { limit, before: before ?? Number.MAX_SAFE_INTEGER };
  const inbound = db.all<InboundRow>(NEWEST_IN, page).map(inboundEntry);
  const outbound = db.all<OutboundRow>(NEWEST_OUT, page).map(
    ({ seq, id }): OutboundEntry => ({
      type: 'out',
      seq,
      id,
      message: deliveries.stored(seq, 0),
      parts: deliveries.parts(seq),
    }),
  );
  return { entries: newest([...inbound, ...outbound], limit) };
}

function newest(entries: readonly TimelineEntry[], limit: number): TimelineEntry[] {
  return entries
    .toSorted((a, b) => b.seq - a.seq)
    .slice(0, limit)
    .toReversed();
}

interface InboundRow extends Omit<InboundEntry, 'type' | 'trigger' | 'address' | 'content'> {
  readonly trigger: number;
  readonly channelType: string | null;
  readonly platformId: string | null;
  readonly threadId: string | null;
  readonly content: string;
}

interface OutboundRow {
  readonly seq: number;
  readonly id: string;
}

function inboundEntry({ channelType, platformId, threadId, trigger, content, ...row }: InboundRow): InboundEntry {
  return {
    type: 'in',
    ...row,
    trigger: trigger === 1 ? 'wakes' : 'context',
    address: channelType === null || platformId === null ? null : { channelType, platformId, threadId },
    content: JSON.parse(content),
  };
}

const NEWEST_IN = `
  SELECT seq, id, kind, timestamp, trigger, status, tries,
    CASE WHEN status IN ('pending', 'paused') THEN deferral END AS deferral, process_after AS processAfter, channel_type AS channelType,
    platform_id AS platformId, thread_id AS threadId, in_reply_to AS inReplyTo, series_id AS seriesId, content, error,
    settled_at AS settledAt
  FROM messages_in WHERE seq < :before ORDER BY seq DESC LIMIT :limit`;

// A refused message has one row, too, and its part is 0.
const NEWEST_OUT = `
  SELECT seq, message_out_id AS id FROM delivered WHERE seq < :before AND part = 0 ORDER BY seq DESC LIMIT :limit`;
