/** What an action is: its request, what it needs, and its result. */
import type { Actor, AgentGroupId, CommandScope, Registry } from '@nanoclaw/registry';
import type { Json, JsonObject, Millis, OutboundMessage } from '@nanoclaw/session-db';
import type { DataFolder } from '../data/index.ts';
import type { ImageRebuilt } from '../runs/index.ts';
import type { ActionResult, SessionHandle, Sessions } from '../session/index.ts';

/** Performs what a row requests. `waits`: an admin was asked, and the result is written once that is decided. */
export type Action = (request: ActionRequest, ports: ActionPorts) => Promise<ActionResult | 'waits'>;

/** A request of an agent, and the session that it comes from. */
export interface ActionRequest {
  /** The session whose agent requests it. */
  readonly session: SessionHandle;
  /** A request of a container: nothing in it is known to be true. */
  readonly row: OutboundMessage;
  /** Whether an earlier attempt was made, of which it is not known how far it came. */
  readonly isRepeated: boolean;
}

/** Performs what was approved. Idempotent. */
export type ApprovedAction = (approved: ApprovedRequest, ports: EffectContext) => Promise<ActionResult>;

/** What was requested, and who approved it. */
export interface ApprovedRequest {
  /** The session whose agent requested it. */
  readonly session: SessionHandle;
  /** The request as it was when the approval was asked for. */
  readonly payload: JsonObject;
  /** Who approved it. */
  readonly by: Actor;
}

/** What actions need. */
export interface ActionPorts extends EffectContext {
  /** Asks an admin. The same subject again is the same request. */
  readonly requestApproval: (request: ActionApprovalRequest) => Promise<ApprovalRequestOutcome>;
  /** Runs one of the operator's commands for an agent. */
  readonly runAgentCommand: RunAgentCommand;
}

/** What is needed to do what has been approved. */
export interface EffectContext {
  readonly registry: Registry;
  readonly sessions: Pick<Sessions, 'known'>;
  readonly data: Pick<DataFolder, 'agent'>;
  /** The zone of times that name none; IANA. */
  readonly timeZone: string;
  /** Wall-clock milliseconds. */
  readonly now: () => Millis;
  /** Called for a session that has something new to do. Must not throw. */
  readonly wake: (sessionId: string) => void;
  /** Builds the image with the agent group's packages and puts it in force; the old one stays when that fails. */
  readonly rebuildImage: (agentGroupId: AgentGroupId) => Promise<ImageRebuilt>;
  /** Ends the runs that would be started differently by now, those between turns at once, so that the next ones are. */
  readonly replaceOutdatedRuns: () => Promise<void>;
}

/** A request of an agent that only an admin may approve. */
export interface ActionApprovalRequest {
  /** As approvals distinguish it from requests about strangers. */
  readonly kind: 'action';
  /** Identifies the row for good. */
  readonly subject: string;
  /** The agent that requests it. */
  readonly agentGroupId: AgentGroupId;
  /** The session that gets the result. */
  readonly sessionId: SessionHandle['id'];
  /** The agent, for the audit log. */
  readonly requestedBy: Actor;
  /** One line for the admin who decides. */
  readonly summary: string;
  /** What will be done, checked. */
  readonly payload: JsonObject;
}

/** Whether an admin was asked. */
export type ApprovalRequestOutcome =
  | { readonly type: 'asked' }
  /** Too many requests wait already. One sentence. */
  | { readonly type: 'refused'; readonly reason: string };

/**
 * Runs one of the operator's commands for an agent, as far as its scope allows. Rejects with an `Error` whose
 * message is for the agent when it is refused or fails.
 */
export type RunAgentCommand = (
  words: readonly string[],
  scope: Exclude<CommandScope, 'none'>,
  agentGroupId: AgentGroupId,
) => Promise<Json>;

/** The result of an action that failed; `error` is one sentence for the agent. */
export function failed(error: string): ActionResult {
  return { status: 'error', error };
}
