/** What an action is: its request, what it works with, and what can come of it. */
import type { Actor, AgentGroupId, CommandScope, Registry } from '@nanoclaw/registry';
import type { Json, JsonObject, Millis, OutboundMessage } from '@nanoclaw/session-db';
import type { DataFolder } from '../data/index.ts';
import type { ImageRebuilt } from '../runs/index.ts';
import type { ActionResult, SessionHandle, Sessions } from '../session/index.ts';

/** Does what a row asks for. `waits`: somebody has been asked, and what comes of it is told later. */
export type Action = (request: ActionRequest, context: ActionContext) => Promise<ActionResult | 'waits'>;

/** What an agent asks for, and which of its sessions asks. */
export interface ActionRequest {
  readonly session: SessionHandle;
  /** A request of a container: nothing in it is known to be true. */
  readonly row: OutboundMessage;
  /** An earlier attempt was made, and nobody knows how far it came. */
  readonly isRepeated: boolean;
}

/** Does what somebody has approved. Doing it again changes nothing. */
export type Approved = (approved: ApprovedRequest, context: EffectContext) => Promise<ActionResult>;

/** What was asked for, and who has approved it. */
export interface ApprovedRequest {
  readonly session: SessionHandle;
  /** As it stood when somebody was asked. */
  readonly payload: JsonObject;
  readonly by: Actor;
}

/** What actions work with. */
export interface ActionContext extends EffectContext {
  /** Asks those who may decide. The same subject again asks nobody twice. */
  readonly requestApproval: (wish: ActionWish) => Promise<ApprovalAsked>;
  readonly runOperatorCommand: RunOperatorCommand;
}

/** What is needed to do what has been approved. */
export interface EffectContext {
  readonly registry: Registry;
  readonly sessions: Pick<Sessions, 'known'>;
  readonly data: Pick<DataFolder, 'agent'>;
  /** The zone of times that name none; IANA. */
  readonly timeZone: string;
  readonly now: () => Millis;
  /** Called for a session that has something new to do. Must not throw. */
  readonly wake: (sessionId: string) => void;
  /** Builds the image with the agent group's packages and puts it in force; the old one stays when that fails. */
  readonly rebuildImage: (agentGroupId: AgentGroupId) => Promise<ImageRebuilt>;
  /** Ends the runs that would be started differently by now, those between turns at once, so that the next ones are. */
  readonly replaceOutdatedRuns: () => Promise<void>;
}

/** What an agent wishes that only a person may allow. */
export interface ActionWish {
  readonly kind: 'action';
  /** Names the row for good. */
  readonly subject: string;
  readonly agentGroupId: AgentGroupId;
  readonly sessionId: SessionHandle['id'];
  readonly requestedBy: Actor;
  /** One line for whoever decides. */
  readonly summary: string;
  readonly payload: JsonObject;
}

/** Whether somebody was asked. */
export type ApprovalAsked =
  | { readonly type: 'asked' }
  /** Too many wait already, or there is nobody who could decide. One sentence. */
  | { readonly type: 'refused'; readonly reason: string };

/**
 * Runs a command of the operator's command line for an agent, as far as its scope allows. Rejects with an `Error` whose
 * message is for the agent when it is refused or fails.
 */
export type RunOperatorCommand = (
  words: readonly string[],
  scope: Exclude<CommandScope, 'none'>,
  agentGroupId: AgentGroupId,
) => Promise<Json>;

/** An action that failed for a reason the agent is told. */
export function failed(error: string): ActionResult {
  return { status: 'error', error };
}
