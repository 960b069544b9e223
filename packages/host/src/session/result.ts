/**
 * The result of an agent's request: a message in its session, under an id derived from the row that requested it, so that
 * it is written once.
 */
import type { HostSession, JsonObject, Millis, OutboundMessage } from '@nanoclaw/session-db';
import { answeredMessage } from './cause.ts';

/** The result of an action, for the agent. `error` is one sentence. */
export type ActionResult =
  | { readonly status: 'ok'; readonly result: JsonObject }
  | { readonly status: 'error'; readonly error: string };

/** What of a requesting row its result refers to. */
export type RequestRow = Pick<OutboundMessage, 'id' | 'timestamp' | 'inReplyTo'>;

/** How the ids of results begin. */
export const RESULT_ID_PREFIX = 'result/';

/** The id of the message that has the result of a row. */
export function resultId(rowId: string): string {
  return `${RESULT_ID_PREFIX}${rowId}`;
}

/** Whether the result of a row is in its session already. */
export function hasResult(session: Pick<HostSession, 'received'>, rowId: string): boolean {
  return session.received(resultId(rowId)) !== undefined;
}

/**
 * Writes the result of a row into its session. Only the first result of a row is written. It has the address of the row's
 * cause, so that what the agent then says goes there.
 */
export function writeResult(
  session: HostSession,
  row: RequestRow,
  action: string,
  result: ActionResult,
  now: Millis,
): void {
  if (hasResult(session, row.id)) return;
  const cause = answeredMessage(session, row);
  session.enqueue(
    {
      id: resultId(row.id),
      kind: 'system',
      timestamp: row.timestamp,
      trigger: 'wakes',
      address: cause?.address ?? null,
      inReplyTo: row.id,
      content: { action, ...result, ...(cause === undefined ? {} : { causedBy: cause.id }) },
    },
    now,
  );
}
