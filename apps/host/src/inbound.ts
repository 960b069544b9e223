/**
 * Hops 2 to 4 of a message: find who is concerned, write it down, wake them. The channel acknowledges to its platform
 * when this returns, so everything is on disk by then; waking is not waited for.
 */
import type { ReceivedMessage } from '@nanoclaw/channels';
import {
  type AgentGroupId,
  mayAdminister,
  type Person,
  type Registry,
  type RouteDecision,
  route,
  standing,
} from '@nanoclaw/registry';
import type { Address, Destination, Millis, NewInbound } from '@nanoclaw/session-db';
import { type Said, said } from './commands.js';
import type { Sessions } from './sessions.js';

export interface InboundContext {
  readonly registry: Registry;
  readonly sessions: Sessions;
  readonly now: () => Millis;
  /** Called for a session that has something new to do. Must not throw. */
  readonly wake: (sessionId: string) => void;
  /** Says something in the chat in the host's own name. Rejects when it cannot be said now. */
  readonly answer: (message: ReceivedMessage, text: string) => Promise<void>;
  /** Told of messages that concern nobody. */
  readonly onDropped: (message: ReceivedMessage, reason: string) => void;
}

/**
 * Takes one received message in. Resolves when each session concerned has it on disk. Rejects when one of them could
 * not be written: the platform then sends it again, and whoever has it already takes it as a duplicate.
 */
export async function receive(message: ReceivedMessage, context: InboundContext): Promise<void> {
  const { registry, sessions, now } = context;
  const { channelType, platformId, threadId } = message.address;
  const chat = await registry.wiringsFor(channelType, platformId);
  if (chat === undefined || chat.wirings.length === 0) {
    context.onDropped(message, 'No agent is wired to this chat.');
    return;
  }
  const sender = personOf(message);
  const decisions = route(
    {
      text: message.text,
      threadId,
      mentioned: message.isMention,
      sender,
      engaged: await registry.engagedWirings(chat.messagingGroup.id, threadId),
    },
    chat,
  );
  for (const decision of decisions) {
    if (decision.type === 'drop' || decision.type === 'ask') {
      context.onDropped(message, decision.type === 'drop' ? decision.reason : 'stranger');
      continue;
    }
    const what = said(message.text, mayAdminister(standing(sender, decision.agentGroup.id)));
    if (what.type === 'filtered') continue;
    if (what.type === 'refused') {
      await context.answer(message, what.answer);
      continue;
    }
    const session = await sessions.forKey(decision.sessionKey);
    const destinations = await destinationsOf(decision.agentGroup.id, registry);
    session.files.setRouting({ destinations, replyTo: message.address }, now());
    session.files.enqueue(inboundMessage(message, decision, what), now());
    if (decision.type === 'engage') context.wake(session.id);
  }
}

/**
 * What is on record about the sender. The registry has no users yet: whoever can open the terminal's socket, which is for
 * its owner only, is the owner, and everybody else a stranger.
 */
function personOf({ address }: ReceivedMessage): Person {
  return { roles: address.channelType === 'terminal' ? [{ role: 'owner' }] : [], memberOf: [] };
}

/** Where an agent may write to: the chats that it is wired to, each under a name of its own. */
async function destinationsOf(agentGroupId: AgentGroupId, registry: Registry): Promise<Destination[]> {
  const wirings = (await registry.wirings()).filter((wiring) => wiring.agentGroupId === agentGroupId);
  const chats = await Promise.all(wirings.map((wiring) => registry.messagingGroup(wiring.messagingGroupId)));
  return chats.flatMap((chat) =>
    chat === undefined
      ? []
      : {
          type: 'channel' as const,
          name: `${chat.channelType}-${chat.platformId}`,
          displayName: chat.name,
          channelType: chat.channelType,
          platformId: chat.platformId,
        },
  );
}

type Stored = Extract<RouteDecision, { type: 'engage' | 'accumulate' }>;

function inboundMessage(
  message: ReceivedMessage,
  decision: Stored,
  what: Extract<Said, { type: 'chat' | 'command' }>,
): NewInbound {
  return {
    id: inboundId(message.address, message.platformMessageId),
    kind: what.type,
    timestamp: message.timestamp,
    trigger: decision.type === 'engage' ? 'wakes' : 'context',
    address: message.address,
    content: {
      text: what.type === 'command' ? what.text : message.text,
      sender: { id: message.sender.id, name: message.sender.name },
    },
  };
}

/**
 * The id of a platform's message in a session: unique there, because a session may serve several chats whose platforms
 * number their messages alike, and the same each time the platform sends it.
 */
export function inboundId(address: Address, platformMessageId: string): string {
  return `${addressPrefix(address)}${platformMessageId}`;
}

/** The platform's own id of a message of this address; `undefined` when the id is not one that `inboundId` made for it. */
export function platformIdOf(address: Address, inboundMessageId: string): string | undefined {
  const prefix = addressPrefix(address);
  return inboundMessageId.startsWith(prefix) ? inboundMessageId.slice(prefix.length) : undefined;
}

function addressPrefix(address: Address): string {
  return `${address.channelType}:${address.platformId}:`;
}
