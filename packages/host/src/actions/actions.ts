/**
 * What an agent asks of the host: its `system` rows. Each action is in a file of its own under `actions/`; here is the table
 * of them by name, and what holds for all: a row is done at most once, what came of it goes back to the session under an id
 * derived from the row, and what only a person may allow waits for an approval.
 */
import type { Approval } from '@nanoclaw/registry';
import type { JsonObject, OutboundMessage } from '@nanoclaw/session-db';
import { isSchedulingAction } from '@nanoclaw/sweep';
import { type ActionResult, hasResult, type RequestRow, type SessionHandle, writeResult } from '../session/index.ts';
import type { Action, ActionContext, Approved, EffectContext } from './action.ts';
import { addMcpServer, mcpServerApproved } from './add-mcp-server.ts';
import { cliRequest } from './cli-request.ts';
import { agentApproved, createAgent } from './create-agent.ts';
import { installPackages, packagesApproved } from './install-packages.ts';
import { schedule } from './schedule.ts';

const ACTIONS: ReadonlyMap<string, Action> = new Map([
  ['create_agent', createAgent],
  ['install_packages', installPackages],
  ['add_mcp_server', addMcpServer],
  ['cli_request', cliRequest],
]);

/** What is done once somebody has approved. */
const APPROVED: ReadonlyMap<string, Approved> = new Map([
  ['create_agent', agentApproved],
  ['install_packages', packagesApproved],
  ['add_mcp_server', mcpServerApproved],
]);

/**
 * Does what a row asks for, or asks somebody whether it may be done. Doing it again changes nothing. Rejects when it cannot
 * be done now.
 *
 * `isRepeated`: an earlier attempt was made, and nobody knows how far it came.
 */
export async function act(
  session: SessionHandle,
  row: OutboundMessage,
  isRepeated: boolean,
  context: ActionContext,
): Promise<void> {
  if (hasResult(session.files, row.id)) return;
  const came = await actionFor(row.content)({ session, row, isRepeated }, context);
  if (came === 'waits') return;
  writeResult(session.files, row, actionName(row.content), came, context.now());
  context.wake(session.id);
}

/**
 * Does what follows from an approval of kind `action` that was decided or has expired, and tells the agent. Doing it again
 * changes nothing; an approval is to be marked as applied when this resolves. Rejects when it cannot be done now.
 */
export async function applyAction(approval: Approval, context: EffectContext): Promise<void> {
  const { sessionId, outcome, payload } = approval;
  const session = sessionId === null ? undefined : context.sessions.known(sessionId);
  const asked = askedOf(payload);
  if (session === undefined || outcome === null || asked === undefined) return;
  if (hasResult(session.files, asked.id)) return;
  const action = actionName(payload);
  const came = await cameOf(action, session, approval, context);
  writeResult(session.files, asked, action, came, context.now());
  context.wake(session.id);
}

async function cameOf(
  action: string,
  session: SessionHandle,
  { outcome, payload, id }: Approval,
  context: EffectContext,
): Promise<ActionResult> {
  if (outcome?.type === 'denied') return { status: 'error', error: 'Somebody who may decide it said no.' };
  const apply = APPROVED.get(action);
  if (outcome?.type !== 'approved' || apply === undefined) {
    return { status: 'error', error: 'Nobody decided it in time, so nothing was changed. You may ask again.' };
  }
  const came = await apply({ session, payload, by: outcome.by }, context);
  await context.registry.audit.add({
    at: context.now(),
    actor: outcome.by,
    action,
    target: session.agentGroupId,
    outcome: came.status === 'ok' ? 'done' : came.error,
    detail: { approval: id, session: session.id },
  });
  return came;
}

function actionFor(content: JsonObject): Action {
  if (isSchedulingAction(content)) return schedule;
  return ACTIONS.get(actionName(content)) ?? unknown;
}

const unknown: Action = async ({ row }) => ({
  status: 'error',
  error: `This host cannot do ${actionName(row.content)}; nothing was changed.`,
});

/** The row that an approval is about, as `askApproval` has written it down. */
function askedOf({ rowId, timestamp, inReplyTo }: JsonObject): RequestRow | undefined {
  if (typeof rowId !== 'string' || typeof timestamp !== 'number') return undefined;
  return { id: rowId, timestamp, inReplyTo: typeof inReplyTo === 'string' ? inReplyTo : null };
}

function actionName({ action }: JsonObject): string {
  return typeof action === 'string' && action !== '' ? action.slice(0, 100) : 'an action without a name';
}
