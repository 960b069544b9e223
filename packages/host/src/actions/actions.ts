/**
 * The actions that agents request with `system` rows. Each is in a file of its own beside this one; here is the table of
 * them by name, and what holds for all: a row is done at most once, its result goes back to the session under an id derived
 * from the row, and what only an admin may allow waits for an approval.
 */
import type { Approval } from '@nanoclaw/registry';
import type { JsonObject, OutboundMessage } from '@nanoclaw/session-db';
import { oneLine } from '@nanoclaw/session-db/text';
import { isSchedulingAction } from '@nanoclaw/sweep';
import { type ActionResult, hasResult, type RequestRow, type SessionHandle, writeResult } from '../session/index.ts';
import type { Action, ActionPorts, ApprovedAction, EffectContext } from './action.ts';
import { addApprovedMcpServer, addMcpServer } from './add-mcp-server.ts';
import { cliRequest } from './cli-request.ts';
import { createAgent, createApprovedAgent } from './create-agent.ts';
import { installApprovedPackages, installPackages } from './install-packages.ts';
import { schedule } from './schedule.ts';

const ACTIONS: ReadonlyMap<string, Action> = new Map([
  ['create_agent', createAgent],
  ['install_packages', installPackages],
  ['add_mcp_server', addMcpServer],
  ['cli_request', cliRequest],
]);

/** What is done once an admin has approved. */
const APPROVED: ReadonlyMap<string, ApprovedAction> = new Map([
  ['create_agent', createApprovedAgent],
  ['install_packages', installApprovedPackages],
  ['add_mcp_server', addApprovedMcpServer],
]);

/**
 * Performs the action of a row, or asks an admin whether it may be done. Doing it again changes nothing. Rejects when it cannot
 * be done now.
 *
 * `isRepeated`: an earlier attempt was made, of which it is not known how far it came.
 */
export async function performAction(
  session: SessionHandle,
  row: OutboundMessage,
  isRepeated: boolean,
  ports: ActionPorts,
): Promise<void> {
  if (hasResult(session.files, row.id)) return;
  const result = await actionFor(row.content)({ session, row, isRepeated }, ports);
  if (result === 'waits') return;
  await session.write((files) => writeResult(files, row, actionName(row.content), result, ports.now()));
  ports.wake(session.id);
}

/**
 * Does what follows from an approval of kind `action` that was decided or has expired, and writes the result. Doing it again
 * changes nothing; an approval is to be marked as applied when this resolves. Rejects when it cannot be done now.
 */
export async function applyActionOutcome(approval: Approval, ports: EffectContext): Promise<void> {
  const { sessionId, outcome, payload } = approval;
  const session = sessionId === null ? undefined : ports.sessions.known(sessionId);
  const row = requestRowOf(payload);
  if (session === undefined || outcome === null || row === undefined) return;
  if (hasResult(session.files, row.id)) return;
  const action = actionName(payload);
  const result = await resultOf(action, session, approval, ports);
  await session.write((files) => writeResult(files, row, action, result, ports.now()));
  ports.wake(session.id);
}

async function resultOf(
  action: string,
  session: SessionHandle,
  { outcome, payload, id }: Approval,
  ports: EffectContext,
): Promise<ActionResult> {
  if (outcome?.type === 'denied')
    return { status: 'error', error: 'An admin denied the request, so nothing was changed.' };
  const apply = APPROVED.get(action);
  if (outcome?.type !== 'approved' || apply === undefined) {
    return {
      status: 'error',
      error: 'No admin decided on the request in time, so nothing was changed. You may ask again.',
    };
  }
  const result = await apply({ session, payload, by: outcome.by }, ports);
  await ports.registry.audit.add({
    at: ports.now(),
    actor: outcome.by,
    action,
    target: session.agentGroupId,
    outcome: result.status === 'ok' ? 'done' : result.error,
    detail: { approval: id, session: session.id },
  });
  return result;
}

function actionFor(content: JsonObject): Action {
  if (isSchedulingAction(content)) return schedule;
  return ACTIONS.get(actionName(content)) ?? unknown;
}

const unknown: Action = async ({ row }) => ({
  status: 'error',
  error: `This host cannot do ${actionName(row.content)}; nothing was changed.`,
});

/** The row that an approval is about, as `askApproval` has written it into the payload. */
function requestRowOf({ rowId, timestamp, inReplyTo }: JsonObject): RequestRow | undefined {
  if (typeof rowId !== 'string' || typeof timestamp !== 'number') return undefined;
  return { id: rowId, timestamp, inReplyTo: typeof inReplyTo === 'string' ? inReplyTo : null };
}

function actionName({ action }: JsonObject): string {
  return typeof action === 'string' && action !== '' ? oneLine(action, 100) : 'an action without a name';
}
