/**
 * What waits for the decision of an admin: strangers, new chats, actions of agents. A request, its decision and its effect
 * are three steps, each in the registry before the next, so that a host that dies in between goes on where it was.
 */
import type { ReceivedChoice, ReceivedMessage } from '@nanoclaw/channels';
import {
  type Actor,
  type Approval,
  type ApprovalId,
  isId,
  mayDecide,
  type Registry,
  type UserId,
} from '@nanoclaw/registry';
import { addressKey, type Millis } from '@nanoclaw/session-db';
import type { HostMessenger } from '../channels/index.ts';
import { messageOf } from '../errors/index.ts';
import { singleFlight } from './single-flight.ts';

/** What an admin is to decide. */
export type ApprovalRequest = Pick<
  Approval,
  'kind' | 'subject' | 'agentGroupId' | 'messagingGroupId' | 'sessionId' | 'requestedBy' | 'summary' | 'payload'
>;

/** What became of a request. */
export type RequestOutcome =
  | { readonly type: 'open'; readonly approval: Approval; readonly isNew: boolean }
  /** Too many wait already, or the same was denied a short time ago. No admin is asked. */
  | { readonly type: 'refused'; readonly because: 'too-many' | 'recently-denied' };

/** What became of a decision: it counts, another came before it, its maker may not decide, or there is no such request. */
export type Decision =
  | { readonly type: 'decided'; readonly approval: Approval }
  | { readonly type: 'already-decided'; readonly approval: Approval }
  | { readonly type: 'not-allowed' }
  | { readonly type: 'unknown' };

/** An approval whose outcome stands. */
export type EndedApproval = Approval & { readonly outcome: NonNullable<Approval['outcome']> };

/**
 * Does what follows from an outcome, approved or not. May be called again for the same approval after a crash, so it must
 * be idempotent. A rejection means that it is tried again later.
 */
export type ApprovalEffect = (approval: EndedApproval) => Promise<void>;

/** What approvals need. */
export interface ApprovalsOptions {
  /** Keeps requests and decisions, and says who may decide. */
  readonly registry: Registry;
  /** Sends the cards. */
  readonly messenger: HostMessenger;
  /** Wall-clock milliseconds. */
  readonly now: () => Millis;
  /** What follows from an outcome, by the kind of the request. */
  readonly effects: Readonly<Record<Approval['kind'], ApprovalEffect>>;
  /** Called when something failed and will be tried again, with the reason. Must not throw. */
  readonly onTrouble: (approval: ApprovalId, reason: string) => void;
}

/** How long a request waits for a decision: a week, in milliseconds. */
const OPEN_MS = 7 * 86_400_000;
/** Open requests of each kind. Strangers make two of the kinds, agents the third. */
const OPEN_MAX = 50;
/** Open requests of one agent's actions: one agent must not use up the room of the others. */
const OPEN_OF_AGENT_MAX = 10;
/** A stranger or a chat that was denied is not asked about again for a day, in milliseconds. */
const ASK_AGAIN_AFTER_MS = 86_400_000;
/** Senders, chats, actions. */
const KINDS = 3;
/** Approvals that one pass of the upkeep looks at. */
const BATCH = 100;

const CHOICES = ['Approve', 'Deny'] as const;
const PREFIX = 'approval:';

/** The approvals of a host: requests, decisions and effects. */
export class Approvals {
  readonly #options: ApprovalsOptions;
  /** Cards and effects under way, so that a decision and the upkeep do not both do the same. */
  readonly #cards = new Map<ApprovalId, Promise<void>>();
  readonly #effects = new Map<ApprovalId, Promise<void>>();

  constructor(options: ApprovalsOptions) {
    this.#options = options;
  }

  /** Writes a request down and sends its card. The same subject again, while it is open, is the same request. */
  async request(request: ApprovalRequest): Promise<RequestOutcome> {
    const { registry, now } = this.#options;
    const latest = await registry.approvals.latest(request.kind, request.subject);
    if (latest !== undefined && isRecentlyDenied(latest, now())) {
      return { type: 'refused', because: 'recently-denied' };
    }
    // Approved, and about to be done: it is not asked a second time.
    if (latest?.outcome?.type === 'approved' && !latest.isApplied) {
      return { type: 'open', approval: latest, isNew: false };
    }
    const isOpen = latest !== undefined && latest.outcome === null;
    if (!isOpen && (await this.#isOverQuota(request))) return { type: 'refused', because: 'too-many' };
    const requested = await registry.approvals.request(
      { ...request, expiresAt: now() + OPEN_MS },
      { openMax: OPEN_MAX },
    );
    if (requested === undefined) return { type: 'refused', because: 'too-many' };
    // A card that could not be sent, or that a crash has kept back, is sent by the upkeep, not by the next event.
    if (requested.isNew) await this.#ask(requested.approval);
    return { type: 'open', ...requested };
  }

  /**
   * Decides in the name of a user or the operator, and does what follows from it. A user who may not decide changes
   * nothing.
   */
  async decide(id: string, type: 'approved' | 'denied', by: UserId | 'operator'): Promise<Decision> {
    const { registry, now } = this.#options;
    const approval = isId<ApprovalId>(id) ? await registry.approvals.get(id) : undefined;
    if (approval === undefined) return { type: 'unknown' };
    if (by !== 'operator' && !mayDecide(by, await registry.people.person(by), deciderScope(approval))) {
      await this.#audit(by, approval, 'not-allowed');
      return { type: 'not-allowed' };
    }
    const result = await registry.approvals.decide(approval.id, { type, by, at: now() });
    const ended = (await registry.approvals.get(approval.id)) ?? approval;
    const applied = this.apply(ended.id);
    // An image may take minutes to build, and the person who has decided does not wait for that.
    if (ended.kind !== 'action') await applied;
    return { type: result === 'decided' ? 'decided' : 'already-decided', approval: ended };
  }

  /** Handles the press of a button. Gives the reply to the person; `undefined`: the button is not that of a card. */
  async press(choice: ReceivedChoice, user: UserId): Promise<string | undefined> {
    if (!choice.questionId.startsWith(PREFIX)) return undefined;
    const type = OUTCOMES[choice.choice];
    if (type === undefined) return UNKNOWN;
    return replyText(await this.decide(choice.questionId.slice(PREFIX.length), type, user), type, user);
  }

  /**
   * Handles a message that is exactly the wording of a choice of the one card in a direct chat. Gives the reply to the
   * person; `undefined`: it is an ordinary message. A bare number decides nothing: an agent that asks for one in the same
   * chat, in a question or only in words, would get its own request approved.
   */
  async tryTextDecision(message: ReceivedMessage, user: UserId): Promise<string | undefined> {
    const word = message.text.trim();
    const type = OUTCOMES[CHOICES.findIndex((choice) => choice === word)];
    if (type === undefined || !message.isDirect) return undefined;
    const { registry, now } = this.#options;
    const { approvals, questions } = registry;
    const at = now();
    const [open, another] = await approvals.openAt(message.address, at);
    if (another !== undefined || (open !== undefined && open.asked?.of !== user)) return undefined;
    // An agent asks with the same words: it is not clear which is meant, and the agent's question changes less.
    const asked = await questions.openAt(message.address, at);
    if (asked.some(({ options }) => options.some((option) => option.trim() === word))) return undefined;
    const meant = open ?? (await this.#findRepeated(message, type, user));
    return meant && replyText(await this.decide(meant.id, type, user), type, user);
  }

  /** Whether an agent has as many requests open as one may have. */
  async #isOverQuota({ kind, agentGroupId }: ApprovalRequest): Promise<boolean> {
    if (kind !== 'action') return false;
    const { registry, now } = this.#options;
    const open = await registry.approvals.list({ state: 'open', now: now(), limit: KINDS * OPEN_MAX });
    return open.filter((one) => one.kind === kind && one.agentGroupId === agentGroupId).length >= OPEN_OF_AGENT_MAX;
  }

  /** The approval that this very message has decided: its platform repeats it when the host died before acknowledging. */
  async #findRepeated(
    message: ReceivedMessage,
    type: 'approved' | 'denied',
    user: UserId,
  ): Promise<Approval | undefined> {
    const ended = await this.#options.registry.approvals.list({ state: 'ended', limit: BATCH });
    return ended.find(
      ({ asked, outcome, createdAt }) =>
        asked !== null &&
        addressKey(asked.place) === addressKey(message.address) &&
        outcome?.type === type &&
        outcome.by === user &&
        // It was sent before the decision that it made, and any later one of the same wording after it.
        isBetween(message.timestamp, createdAt, outcome.at),
    );
  }

  /**
   * Does what follows from the outcome of an approval, once. Resolves when it is done or has failed, and never
   * rejects: the decision stands, and what has failed is tried again by the upkeep.
   */
  apply(id: ApprovalId): Promise<void> {
    return singleFlight(this.#effects, id, () => this.#applyEffect(id));
  }

  /** Expires requests whose time is over, sends cards that could not be sent, finishes effects that failed. Idempotent. */
  async upkeep(now: Millis): Promise<void> {
    const { approvals } = this.#options.registry;
    await approvals.expire(now);
    for (const approval of await approvals.pendingEffects(BATCH)) {
      const applied = this.apply(approval.id);
      if (approval.kind !== 'action') await applied;
    }
    for (const approval of await approvals.list({ state: 'open', now, limit: BATCH })) {
      await this.#ask(approval);
    }
  }

  /** Sends the card to the first person who can be reached: admins of the agent, then global admins, then owners. */
  #ask(approval: Approval): Promise<void> {
    if (approval.asked !== null || approval.outcome !== null) return Promise.resolve();
    return singleFlight(this.#cards, approval.id, () => this.#sendCard(approval));
  }

  async #sendCard(approval: Approval): Promise<void> {
    const { registry, messenger, onTrouble } = this.#options;
    const { id, summary, expiresAt } = approval;
    const card = { questionId: `${PREFIX}${id}`, title: 'Approval', question: summary, choices: CHOICES, expiresAt };
    for (const user of await registry.people.approvers(deciderScope(approval).agentGroupId)) {
      const address = await messenger.directAddress(user);
      if (address === undefined) continue;
      const result = await messenger.ask(address, card, `card/${id}/${user}`);
      if (result.type !== 'sent') continue;
      await registry.approvals.markAsked(id, { of: user, place: address });
      return;
    }
    onTrouble(id, 'No admin or owner who may decide can be reached.');
  }

  async #applyEffect(id: ApprovalId): Promise<void> {
    const { registry, effects, onTrouble } = this.#options;
    try {
      const approval = await registry.approvals.get(id);
      if (approval === undefined || !isEnded(approval) || approval.isApplied) return;
      await effects[approval.kind](approval);
      await this.#audit(approval.outcome.by, approval, approval.outcome.type);
      await registry.approvals.markApplied(approval.id);
    } catch (error) {
      onTrouble(id, messageOf(error));
    }
  }

  async #audit(actor: Actor, { id, kind, subject, requestedBy, summary }: Approval, outcome: string): Promise<void> {
    await this.#options.registry.audit.add({
      at: this.#options.now(),
      actor,
      action: `approval.${kind}`,
      target: id,
      outcome,
      detail: { subject, requestedBy, summary },
    });
  }
}

/** In the order of the choices. */
const OUTCOMES: readonly ('approved' | 'denied')[] = ['approved', 'denied'];
const UNKNOWN = 'This request is no longer known here; nothing was changed.';

/** The reply to a person who has decided, or tried to. Pure. */
function replyText(decision: Decision, wanted: 'approved' | 'denied', user: UserId): string {
  switch (decision.type) {
    case 'unknown':
      return UNKNOWN;
    case 'not-allowed':
      return 'Only an admin may decide this; nothing was changed.';
    case 'decided':
      return `${WORDS[wanted]}: ${decision.approval.summary}`;
    case 'already-decided': {
      const { outcome, summary } = decision.approval;
      if (outcome === null || outcome.type === 'expired')
        return `This request expired before your decision, so nothing was changed: ${summary}`;
      // The same press again is the platform repeating itself.
      const isOwn = outcome.by === user && outcome.type === wanted;
      return isOwn ? `${WORDS[wanted]}: ${summary}` : `This was already decided (${outcome.type}): ${summary}`;
    }
  }
}

const WORDS = { approved: 'Approved', denied: 'Denied' } as const;

/** Whose approval counts: to which chats an agent belongs is decided by global admins, not by its own. */
function deciderScope(approval: Approval): Pick<Approval, 'agentGroupId' | 'asked'> {
  return { asked: approval.asked, agentGroupId: approval.kind === 'channel' ? null : approval.agentGroupId };
}

function isEnded(approval: Approval): approval is EndedApproval {
  return approval.outcome !== null;
}

function isRecentlyDenied({ kind, outcome }: Approval, now: Millis): boolean {
  if (kind === 'action' || outcome === null || outcome.type === 'approved') return false;
  return now - outcome.at < ASK_AGAIN_AFTER_MS;
}

function isBetween(time: Millis, from: Millis, to: Millis): boolean {
  return from <= time && time <= to;
}
