/**
 * Which agents a message concerns, and in which of their sessions. Pure; the registry brings the facts.
 *
 * Each wiring of the chat is decided on its own: one that does not engage, or whose pattern is broken, does not change
 * what becomes of the others.
 */
import { admission, type Person, standing } from './access.ts';
import type { MessagingGroup, SessionKey, WiredAgent, WiredChat, Wiring, WiringId } from './entities.ts';
import { patternMatches } from './pattern.ts';

/** What routing needs to know of a received message. */
export interface MessageFacts {
  readonly text: string;
  /** The platform's thread; `null` when it was sent outside any thread. */
  readonly threadId: string | null;
  /** The platform's own mention signal, never a search for the agent's name in the text. */
  readonly mentioned: boolean;
  readonly sender: Person;
  /** Wirings that an earlier mention engaged in this thread (see `Registry.engagedWirings`). */
  readonly engaged: ReadonlySet<WiringId>;
}

/** What becomes of the message at one wiring. */
export type RouteDecision = WiredAgent &
  (
    | {
        readonly type: 'engage';
        /** The session that the message goes to, and wakes. */
        readonly sessionKey: SessionKey;
        /** How the message is stored: as one that wakes the agent. */
        readonly trigger: 1;
      }
    | {
        readonly type: 'accumulate';
        /** The session that keeps the message as context. */
        readonly sessionKey: SessionKey;
        /** How the message is stored: as one that wakes nothing. */
        readonly trigger: 0;
      }
    /** It would engage, but an admin must let the sender in first. Approving replays the message. */
    | {
        readonly type: 'ask';
        /** The session that it would go to. */
        readonly sessionKey: SessionKey;
      }
    | {
        readonly type: 'drop';
        /** Why it goes nowhere. */
        readonly reason: DropReason;
      }
  );

/**
 * Why a message goes nowhere at a wiring: the chat is denied; its sender may not speak here; nothing made the agent
 * engage; or the stored pattern cannot be used (an operator must correct it).
 */
export type DropReason = 'chat-denied' | 'stranger' | 'not-engaged' | 'pattern-unusable';

/** One decision per wiring of the chat, in the chat's order. An unwired chat yields none. */
export function route(message: MessageFacts, chat: WiredChat): RouteDecision[] {
  return chat.wirings.map((wired) => ({ ...wired, ...decision(message, chat.messagingGroup, wired.wiring) }));
}

type Decision<D = RouteDecision> = D extends RouteDecision ? Omit<D, keyof WiredAgent> : never;

function decision(message: MessageFacts, chat: MessagingGroup, wiring: Wiring): Decision {
  if (chat.denied) return { type: 'drop', reason: 'chat-denied' };

  // Who may not speak is not heard: strangers do not get into the context either, it is how injected prompts travel.
  const admitted = admission(standing(message.sender, wiring.agentGroupId), chat.strangers, wiring.senderScope);
  if (admitted === 'refuse') return { type: 'drop', reason: 'stranger' };

  const engages = engagement(message, chat, wiring);
  if (engages === undefined) return { type: 'drop', reason: 'pattern-unusable' };

  const sessionKey = sessionKeyFor(message, wiring);
  if (admitted === 'ask') return engages ? { type: 'ask', sessionKey } : { type: 'drop', reason: 'not-engaged' };
  if (engages) return { type: 'engage', sessionKey, trigger: 1 };
  if (wiring.otherwise === 'accumulate') return { type: 'accumulate', sessionKey, trigger: 0 };
  return { type: 'drop', reason: 'not-engaged' };
}

/** `undefined`: the pattern cannot be used. */
function engagement(message: MessageFacts, chat: MessagingGroup, wiring: Wiring): boolean | undefined {
  const mentioned = message.mentioned || chat.kind === 'direct';
  switch (wiring.engage.mode) {
    case 'pattern':
      return patternMatches(wiring.engage.pattern, message.text);
    case 'mention':
      return mentioned;
    case 'mention-sticky':
      return mentioned || message.engaged.has(wiring.id);
  }
}

/** A message outside any thread belongs to the chat's own session, also where threads have theirs. */
function sessionKeyFor(message: MessageFacts, wiring: Wiring): SessionKey {
  const { agentGroupId, messagingGroupId } = wiring;
  switch (wiring.sessionMode) {
    case 'agent-shared':
      return { scope: 'agent', agentGroupId };
    case 'shared':
      return { scope: 'chat', agentGroupId, messagingGroupId };
    case 'per-thread':
      return message.threadId === null
        ? { scope: 'chat', agentGroupId, messagingGroupId }
        : { scope: 'thread', agentGroupId, messagingGroupId, threadId: message.threadId };
  }
}
