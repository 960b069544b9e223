/**
 * What waits for the decision of an admin: strangers, new chats, actions of agents. A request, its decision and what
 * follows from it are three steps, each in the registry before the next, so that a host that dies in between goes on
 * where it was.
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
import type { Voice } from '../channels/index.ts';
import { messageOf } from '../errors/index.ts';
import { isStillOpen } from './questions.ts';
import { once } from './single-flight.ts';

/** What somebody wants decided. */
export type ApprovalWish = Pick<
  Approval,
  'kind' | 'subject' | 'agentGroupId' | 'messagingGroupId' | 'sessionId' | 'requestedBy' | 'summary' | 'payload'
>;

/** What became of a wish. */
export type Requested =
  | { readonly type: 'open'; readonly approval: Approval; readonly isNew: boolean }
  /** Too many wait already, or the same was turned down a short time ago. Nobody is asked. */
  | { readonly type: 'refused'; readonly because: 'too-many' | 'decided-lately' };

/** What became of a decision. */
export type Decision =
  | { readonly type: 'decided'; readonly approval: Approval }
  | { readonly type: 'already'; readonly approval: Approval }
  | { readonly type: 'not-allowed' }
  | { readonly type: 'unknown' };

/** An approval whose outcome stands. */
export type EndedApproval = Approval & { readonly outcome: NonNullable<Approval['outcome']> };

/**
 * Does what follows from an outcome, approved or not. May be called again for the same approval after a crash, so doing
 * it twice must be doing it once. A rejection means that it is tried again later.
 */
export type Deed = (approval: EndedApproval) => Promise<void>;

/** What approvals work with. */
export interface ApprovalsContext {
  readonly registry: Registry;
  readonly voice: Voice;
  readonly now: () => Millis;
  readonly deeds: Readonly<Record<Approval['kind'], Deed>>;
  /** Told what could not be done now and is tried again. Must not throw. */
  readonly onTrouble: (approval: ApprovalId, reason: string) => void;
}

/** A request waits for a week. */
const OPEN_MS = 7 * 86_400_000;
/** Of each kind. Strangers make two of the kinds, agents the third. */
const OPEN_MAX = 50;
/** Of one agent's actions: what one agent wishes must not leave the others without anybody to ask. */
const OPEN_OF_AGENT_MAX = 10;
/** A stranger or a chat that was turned down is not asked about again for a day. */
const ASK_AGAIN_AFTER_MS = 86_400_000;
/** Senders, chats, actions. */
const KINDS = 3;
/** Approvals that are looked after at once. */
const BATCH = 100;

const CHOICES = ['Approve', 'Deny'] as const;
const PREFIX = 'approval:';

/** Requests, decisions and deeds of a host. */
export class Approvals {
  readonly #context: ApprovalsContext;
  /** What is being done just now, so that a decision and the upkeep do not do it both. */
  readonly #cards = new Map<ApprovalId, Promise<void>>();
  readonly #deeds = new Map<ApprovalId, Promise<void>>();

  constructor(context: ApprovalsContext) {
    this.#context = context;
  }

  /** Writes a request down and asks somebody. The same subject again, while it is open, is the same request. */
  async request(wish: ApprovalWish): Promise<Requested> {
    const { registry, now } = this.#context;
    const latest = await registry.approvals.latest(wish.kind, wish.subject);
    if (latest !== undefined && isTurnedDownLately(latest, now())) {
      return { type: 'refused', because: 'decided-lately' };
    }
    // Approved, and about to be done: it is not asked a second time.
    if (latest?.outcome?.type === 'approved' && !latest.isApplied) {
      return { type: 'open', approval: latest, isNew: false };
    }
    const isOpen = latest !== undefined && latest.outcome === null;
    if (!isOpen && (await this.#asksTooMuch(wish))) return { type: 'refused', because: 'too-many' };
    const requested = await registry.approvals.request({ ...wish, expiresAt: now() + OPEN_MS }, { openMax: OPEN_MAX });
    if (requested === undefined) return { type: 'refused', because: 'too-many' };
    // What could not be asked, or a crash has left unasked, is asked by the upkeep, not by whatever comes in.
    if (requested.isNew) await this.#ask(requested.approval);
    return { type: 'open', ...requested };
  }

  /** Decides, for an operator or for a person who may, and does what follows from it. */
  async decide(id: string, type: 'approved' | 'denied', by: UserId | 'operator'): Promise<Decision> {
    const { registry, now } = this.#context;
    const approval = isId<ApprovalId>(id) ? await registry.approvals.get(id) : undefined;
    if (approval === undefined) return { type: 'unknown' };
    if (by !== 'operator' && !mayDecide(by, await registry.people.person(by), inScope(approval))) {
      await this.#audit(by, approval, 'not-allowed');
      return { type: 'not-allowed' };
    }
    const result = await registry.approvals.decide(approval.id, { type, by, at: now() });
    const ended = (await registry.approvals.get(approval.id)) ?? approval;
    const applied = this.apply(ended.id);
    // An image may take minutes to build, and whoever has decided does not wait for that.
    if (ended.kind !== 'action') await applied;
    return { type: result === 'decided' ? 'decided' : 'already', approval: ended };
  }

  /** Takes the press of a card's button. Gives what is to be said to the person; `undefined`: the card is not one. */
  async press(choice: ReceivedChoice, user: UserId): Promise<string | undefined> {
    if (!choice.questionId.startsWith(PREFIX)) return undefined;
    const type = OUTCOMES[choice.choice];
    if (type === undefined) return UNKNOWN;
    return told(await this.decide(choice.questionId.slice(PREFIX.length), type, user), type, user);
  }

  /**
   * Takes a message that is exactly the wording of a choice of the one card in a direct chat. Gives what is to be said;
   * `undefined`: it is an ordinary message. A bare number decides nothing: an agent that asks for one in the same chat,
   * in a question or only in words, would get its own wish approved.
   */
  async take(message: ReceivedMessage, user: UserId): Promise<string | undefined> {
    const word = message.text.trim();
    const type = OUTCOMES[CHOICES.findIndex((choice) => choice === word)];
    if (type === undefined || !message.isDirect) return undefined;
    const { registry, now } = this.#context;
    const { approvals, questions } = registry;
    const [open, another] = await approvals.openAt(message.address);
    if (another !== undefined || (open !== undefined && open.asked?.of !== user)) return undefined;
    // An agent asks with the same words: whom it was said to nobody knows, and the agent's question changes less.
    const at = now();
    const asked = (await questions.openAt(message.address)).filter((question) => isStillOpen(question, at));
    if (asked.some(({ options }) => options.some((option) => option.trim() === word))) return undefined;
    const meant = open ?? (await this.#repeated(message, type, user));
    return meant && told(await this.decide(meant.id, type, user), type, user);
  }

  /** Whether an agent has as many wishes open as one may have. */
  async #asksTooMuch({ kind, agentGroupId }: ApprovalWish): Promise<boolean> {
    if (kind !== 'action') return false;
    const open = await this.#context.registry.approvals.list({ isOpen: true, limit: KINDS * OPEN_MAX });
    return open.filter((one) => one.kind === kind && one.agentGroupId === agentGroupId).length >= OPEN_OF_AGENT_MAX;
  }

  /** The approval that this very message has decided: its platform repeats it when the host died before "taken". */
  async #repeated(message: ReceivedMessage, type: 'approved' | 'denied', user: UserId): Promise<Approval | undefined> {
    const ended = await this.#context.registry.approvals.list({ isOpen: false, limit: BATCH });
    return ended.find(
      ({ asked, outcome, createdAt }) =>
        asked !== null &&
        addressKey(asked.place) === addressKey(message.address) &&
        outcome?.type === type &&
        outcome.by === user &&
        // It was said before the decision that it made, and any later one of the same wording after it.
        isBetween(message.timestamp, createdAt, outcome.at),
    );
  }

  /**
   * Does what follows from the outcome of an approval, once. Resolves when it is done or has failed, and never
   * rejects: the decision stands, and what has failed is tried again by the upkeep.
   */
  apply(id: ApprovalId): Promise<void> {
    return once(this.#deeds, id, () => this.#do(id));
  }

  /** Ends requests whose time is over, asks where nobody could be asked, does what was left undone. */
  async upkeep(now: Millis): Promise<void> {
    const { approvals } = this.#context.registry;
    await approvals.expire(now);
    for (const approval of await approvals.toApply(BATCH)) {
      const applied = this.apply(approval.id);
      if (approval.kind !== 'action') await applied;
    }
    for (const approval of await approvals.list({ isOpen: true, limit: BATCH })) {
      await this.#ask(approval);
    }
  }

  /** Sends the card to the first who can be reached: admins of the agent, then global admins, then owners. */
  #ask(approval: Approval): Promise<void> {
    if (approval.asked !== null || approval.outcome !== null) return Promise.resolve();
    return once(this.#cards, approval.id, () => this.#sendCard(approval));
  }

  async #sendCard(approval: Approval): Promise<void> {
    const { registry, voice, onTrouble } = this.#context;
    const { id, summary, expiresAt } = approval;
    const card = { questionId: `${PREFIX}${id}`, title: 'Approval', question: summary, choices: CHOICES, expiresAt };
    for (const user of await registry.people.approvers(inScope(approval).agentGroupId)) {
      const address = await voice.directAddress(user);
      if (address === undefined) continue;
      const said = await voice.ask(address, card, `card/${id}/${user}`);
      if (said.type !== 'said') continue;
      await registry.approvals.asked(id, { of: user, place: address });
      return;
    }
    onTrouble(id, 'Nobody who may decide can be reached.');
  }

  async #do(id: ApprovalId): Promise<void> {
    const { registry, deeds, onTrouble } = this.#context;
    try {
      const approval = await registry.approvals.get(id);
      if (approval === undefined || !isEnded(approval) || approval.isApplied) return;
      await deeds[approval.kind](approval);
      await this.#audit(approval.outcome.by, approval, approval.outcome.type);
      await registry.approvals.applied(approval.id);
    } catch (error) {
      onTrouble(id, messageOf(error));
    }
  }

  async #audit(actor: Actor, { id, kind, subject, requestedBy, summary }: Approval, outcome: string): Promise<void> {
    await this.#context.registry.audit.add({
      at: this.#context.now(),
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
const UNKNOWN = 'This request is not known here any more.';

/** What is said to who has decided, or tried to. Pure. */
function told(decision: Decision, wanted: 'approved' | 'denied', user: UserId): string {
  switch (decision.type) {
    case 'unknown':
      return UNKNOWN;
    case 'not-allowed':
      return 'Only an admin may decide this; nothing was changed.';
    case 'decided':
      return `${WORDS[wanted]}: ${decision.approval.summary}`;
    case 'already': {
      const { outcome, summary } = decision.approval;
      if (outcome === null || outcome.type === 'expired') return `The time for this decision was over: ${summary}`;
      // The same press again is the platform repeating itself.
      const isOwn = outcome.by === user && outcome.type === wanted;
      return isOwn ? `${WORDS[wanted]}: ${summary}` : `This was decided before (${outcome.type}): ${summary}`;
    }
  }
}

const WORDS = { approved: 'Approved', denied: 'Denied' } as const;

/** Where an agent is to be is not for its own admins to say, but for those of all agents. */
function inScope(approval: Approval): Pick<Approval, 'agentGroupId' | 'asked'> {
  return { asked: approval.asked, agentGroupId: approval.kind === 'channel' ? null : approval.agentGroupId };
}

function isEnded(approval: Approval): approval is EndedApproval {
  return approval.outcome !== null;
}

function isTurnedDownLately({ kind, outcome }: Approval, now: Millis): boolean {
  if (kind === 'action' || outcome === null || outcome.type === 'approved') return false;
  return now - outcome.at < ASK_AGAIN_AFTER_MS;
}

function isBetween(time: Millis, from: Millis, to: Millis): boolean {
  return from <= time && time <= to;
}
