/** Asking an admin to approve what an agent requests. */
import { agentActor } from '@nanoclaw/registry';
import type { JsonObject } from '@nanoclaw/session-db';
import { oneLine } from '@nanoclaw/session-db/text';
import type { ActionResult } from '../session/index.ts';
import { type ActionPorts, type ActionRequest, failed } from './action.ts';

/** What the registry takes as a summary, in characters. */
const SUMMARY_LENGTH_MAX = 500;

/** What of it is kept for the reason, in characters. */
const REASON_LENGTH_MIN = 60;

/**
 * Asks an admin, once per row. `payload` is what will be done, checked. `what` tells all of it, and is
 * never cut: what does not fit is not asked. `why` is the agent's own word and may be cut.
 */
export async function askApproval(
  { session, row }: ActionRequest,
  { what, why }: { readonly what: string; readonly why: string },
  payload: JsonObject & { readonly action: string },
  ports: ActionPorts,
): Promise<ActionResult | 'waits'> {
  const room = SUMMARY_LENGTH_MAX - what.length - ABOUT.length;
  if (room < REASON_LENGTH_MIN) {
    return failed('The request is too long to be shown to an admin, so no admin was asked. Ask for less at once.');
  }
  const subject = `${session.id}/${row.id}`;
  // Decided while the host was away from this row: the result is written when the decision is applied.
  const latest = await ports.registry.approvals.latest('action', subject);
  if (latest !== undefined && latest.outcome !== null) return 'waits';
  const outcome = await ports.requestApproval({
    kind: 'action',
    subject,
    agentGroupId: session.agentGroupId,
    sessionId: session.id,
    requestedBy: agentActor(session.agentGroupId),
    summary: why === '' ? what : `${what} ${quoted(why, room)}`,
    payload: { ...payload, rowId: row.id, timestamp: row.timestamp, inReplyTo: row.inReplyTo },
  });
  return outcome.type === 'asked' ? 'waits' : failed(`${outcome.reason} Nothing was changed.`);
}

/** What stands around a reason: a blank and its quotation marks. */
const ABOUT = ' “”';

/** Why an agent requests something, in its own words. */
export function reasonOf({ reason }: JsonObject): string {
  return typeof reason === 'string' && reason.trim() !== '' ? reason : 'none given';
}

/** A text of an agent for people to read: on one line, bounded, and in quotation marks that show where it ends. */
export function quoted(text: string, lengthMax = 200): string {
  return `“${oneLine(text.replaceAll(/[“”]/gu, '"'), lengthMax)}”`;
}
