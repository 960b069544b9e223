/**
 * What an agent hears of what it asked for: a message in its session, under an id derived from the row that asked, so that
 * it is written once.
 */
import type { HostSession, JsonObject, Millis, OutboundMessage } from '@nanoclaw/session-db';
import { answered } from './cause.ts';

/** What came of a request, for the agent. */
export type Came =
  | { readonly status: 'ok'; readonly result: JsonObject }
  | { readonly status: 'error'; readonly error: string };

/** What of a row its result refers to. */
export type Asked = Pick<OutboundMessage, 'id' | 'timestamp' | 'inReplyTo'>;

/** With what the ids of results begin. */
export const RESULT = 'result/';

/** The id of the message that tells an agent what came of a row. */
export function resultId(rowId: string): string {
  return `${RESULT}${rowId}`;
}

/** Whether the agent has been told what came of a row. */
export function hasResult(session: HostSession, rowId: string): boolean {
  return session.received(resultId(rowId)) !== undefined;
}

/**
 * Tells the agent what came of a row. Only the first result of a row is written. It belongs where the row was caused, so
 * that what the agent then says goes there.
 */
export function writeResult(session: HostSession, row: Asked, action: string, came: Came, now: Millis): void {
  if (hasResult(session, row.id)) return;
  const cause = answered(session, row);
  session.enqueue(
    {
      id: resultId(row.id),
      kind: 'system',
      timestamp: row.timestamp,
      trigger: 'wakes',
      address: cause?.address ?? null,
      inReplyTo: row.id,
      content: { action, ...came, ...(cause === undefined ? {} : { causedBy: cause.id }) },
    },
    now,
  );
}
