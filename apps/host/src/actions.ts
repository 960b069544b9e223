/**
 * What an agent asks of the host: its `system` rows. An action is done at most once per row, and its result goes back
 * into the session under an id derived from the row, so that a crash at any point leaves neither a second deed nor a
 * missing answer.
 */
import type { HostSession, JsonObject, Millis, OutboundMessage } from '@nanoclaw/session-db';
import { applyScheduling, isSchedulingAction, type SchedulingResult } from '@nanoclaw/sweep';

/** What came of a request, for the agent. */
type ActionResult =
  | { readonly status: 'ok'; readonly result: JsonObject }
  | { readonly status: 'error'; readonly error: string };

/** Does what the row asks for and writes the result into the session. Doing it again changes nothing. */
export function act(session: HostSession, message: OutboundMessage, timeZone: string, now: Millis): void {
  const result = actionResult(session, message, timeZone, now);
  session.enqueue(
    {
      id: `result/${message.id}`,
      kind: 'system',
      // The row's time, so that the same result is the same message.
      timestamp: message.timestamp,
      trigger: 'wakes',
      address: null,
      inReplyTo: message.id,
      content: { action: nameOf(message.content), ...result },
    },
    now,
  );
}

function actionResult(session: HostSession, message: OutboundMessage, timeZone: string, now: Millis): ActionResult {
  if (!isSchedulingAction(message.content)) {
    return { status: 'error', error: `This host cannot do ${nameOf(message.content)}; nothing was changed.` };
  }
  const { replyTo } = session.routing();
  const result = applyScheduling(session, message.content, { actionId: message.id, address: replyTo, timeZone }, now);
  if (result.type === 'refused') return { status: 'error', error: result.message };
  return { status: 'ok', result: told(result) };
}

function told(result: Exclude<SchedulingResult, { type: 'refused' }>): JsonObject {
  return 'nextAt' in result
    ? { type: result.type, taskId: result.taskId, nextAt: result.nextAt === null ? null : isoTime(result.nextAt) }
    : { type: result.type, taskId: result.taskId };
}

function nameOf(content: JsonObject): string {
  const { action } = content;
  return typeof action === 'string' && action !== '' ? action.slice(0, 100) : 'an action without a name';
}

function isoTime(at: Millis): string {
  return new Date(at).toISOString();
}
