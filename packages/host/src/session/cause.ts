/**
 * What caused an outbound row. The row names the inbound message that it answers; that is a container's claim, so it is
 * looked up in the host's own file and only counts for as much as that file bears out.
 */
import { type AgentGroupId, mayAdminister, type Registry, standing, type UserId, userId } from '@nanoclaw/registry';
import type { HostSession, Millis, OutboundMessage, SessionView } from '@nanoclaw/session-db';
import type { ReceivedRow } from '@nanoclaw/session-db/protocol';

/** The channel type of an agent's address; its platform id is the agent group, its thread the session that wrote. */
export const AGENT_CHANNEL = 'agent';

/** On whose behalf an agent acts. */
type Cause =
  /** A person's message, which a run may be working on just now. */
  | { readonly type: 'person'; readonly message: ReceivedRow; readonly person: UserId }
  /** Another agent's mail, a task, an event, a result: nothing that gives a right. */
  | { readonly type: 'machine'; readonly message: ReceivedRow }
  /** It names no message of this session, or one that ended long ago. */
  | { readonly type: 'unverified' };

/** How long after a message has ended its run's last rows may still come in, in milliseconds. */
const LATE_MS = 600_000;

/** The inbound message that a row answers, as the host has it; `undefined` when the row names none of this session. */
export function answeredMessage(
  session: Pick<HostSession, 'received'>,
  row: Pick<OutboundMessage, 'inReplyTo'>,
): ReceivedRow | undefined {
  return row.inReplyTo === null ? undefined : session.received(row.inReplyTo);
}

/** Whether a run may be working on a message, or has only just ended with it. */
export function isCurrent(message: ReceivedRow, now: Millis): boolean {
  return message.settledAt === null || (now >= message.settledAt && now - message.settledAt <= LATE_MS);
}

/** Who or what a row was caused by, as far as the host's own file bears it out. */
function causeOf(session: SessionView, row: Pick<OutboundMessage, 'inReplyTo'>, now: Millis): Cause {
  const message = answeredMessage(session, row);
  if (message === undefined || !isCurrent(message, now)) return { type: 'unverified' };
  const person = authorOf(message);
  return person === undefined ? { type: 'machine', message } : { type: 'person', message, person };
}

/** The person who wrote a message, by what the host stored with it; `undefined` when no person did. */
export function authorOf({ kind, sourceSessionId, seriesId, address, content }: ReceivedRow): UserId | undefined {
  if (kind !== 'chat' && kind !== 'chat-sdk' && kind !== 'command') return undefined;
  if (sourceSessionId !== null || seriesId !== null || address === null || address.channelType === AGENT_CHANNEL) {
    return undefined;
  }
  const { sender } = content;
  const id = typeof sender === 'object' && sender !== null && 'id' in sender ? sender.id : undefined;
  return typeof id === 'string' && id !== '' ? userId(address.channelType, id) : undefined;
}

/**
 * The admin on whose behalf an agent acts with a row; `undefined` when there is none, and an approval is needed. Of all
 * that the run may be working on, every message must be an admin's: a run that also reads a stranger may be doing what the
 * stranger says.
 */
export async function actingAdmin(
  session: SessionView,
  row: Pick<OutboundMessage, 'inReplyTo'>,
  agentGroupId: AgentGroupId,
  registry: Registry,
  now: Millis,
): Promise<UserId | undefined> {
  const cause = causeOf(session, row, now);
  if (cause.type !== 'person' || cause.message.settledAt !== null) return undefined;
  const inHand = session.inHand(now, IN_HAND_MAX);
  if (inHand.length === IN_HAND_MAX) return undefined;
  const people = inHand.map(authorOf);
  for (const person of new Set(people)) {
    if (person === undefined) return undefined;
    if (!mayAdminister(standing(await registry.people.person(person), agentGroupId))) return undefined;
  }
  return cause.person;
}

/** More open messages than this are not looked through: an admin is asked then. */
const IN_HAND_MAX = 50;
