/**
 * Strangers and chats that are not wired yet. Their first message waits in the registry with a request for approval; once
 * an admin approves, it is routed as if it had just come. Files of strangers are not kept: what waits is bounded, and the
 * sender is asked to send them again.
 */
import type { ReceivedMessage } from '@nanoclaw/channels';
import {
  type AgentGroup,
  type AgentGroupId,
  type MessagingGroup,
  type Registry,
  type UserId,
  userId,
} from '@nanoclaw/registry';
import type { JsonObject, Millis } from '@nanoclaw/session-db';
import { beginning, oneLine } from '@nanoclaw/session-db/text';
import { z } from 'zod';
import type { HostMessenger } from '../channels/index.ts';
import type { ApprovalEffect, Approvals, EndedApproval, RequestOutcome } from '../decisions/index.ts';

/** What requesting an approval for a stranger or a chat needs. */
export interface StrangerPorts {
  /** Knows the sender from then on. */
  readonly registry: Registry;
  /** Takes the request. */
  readonly approvals: Approvals;
  /** Confirms the request to the sender. */
  readonly messenger: HostMessenger;
}

/** Why no approval is requested; the reason under which the message is counted as dropped. */
export type NotRequestedReason = 'waits-already' | 'recently-denied' | 'too-many-requests' | 'no-agent';

/**
 * Asks an admin of an agent whether a stranger may speak to it. `undefined`: the message waits for the decision; else why
 * it does not.
 */
export async function requestSenderApproval(
  message: ReceivedMessage,
  user: UserId,
  chat: MessagingGroup,
  agent: AgentGroup,
  { registry, approvals, messenger }: StrangerPorts,
): Promise<NotRequestedReason | undefined> {
  await registry.people.ensureUser(user, message.sender.name);
  const request = `wants to talk with ${oneLine(agent.name, 60)} in ${placeText(message, chat.name)}`;
  const outcome = await approvals.request({
    kind: 'sender',
    subject: `${agent.id} ${user}`,
    agentGroupId: agent.id,
    messagingGroupId: chat.id,
    sessionId: null,
    requestedBy: user,
    summary: `${personText(message, user)} ${request}: ${excerpt(message)}`,
    payload: toPayload(message),
  });
  return confirmRequest(outcome, message, `${agent.name} may talk with you`, messenger);
}

/** Asks the owners whether the first agent may be talked with in a chat without a wiring. As `requestSenderApproval`. */
export async function requestChatApproval(
  message: ReceivedMessage,
  user: UserId,
  { registry, approvals, messenger }: StrangerPorts,
): Promise<NotRequestedReason | undefined> {
  const { channelType, platformId } = message.address;
  const [agent] = await registry.agentGroups();
  if (agent === undefined) return 'no-agent';
  await registry.people.ensureUser(user, message.sender.name);
  const request = `wants ${oneLine(agent.name, 60)} to be in ${placeText(message, '')}`;
  const outcome = await approvals.request({
    kind: 'channel',
    subject: `${channelType}:${platformId}`,
    agentGroupId: agent.id,
    messagingGroupId: null,
    sessionId: null,
    requestedBy: user,
    summary: `${personText(message, user)} ${request}: ${excerpt(message)}`,
    payload: toPayload(message),
  });
  return confirmRequest(outcome, message, `${agent.name} may talk here`, messenger);
}

/** What carrying out a decision about a stranger or a chat needs. */
export interface AdmissionPorts {
  /** Gets the membership or the wiring. */
  readonly registry: Registry;
  /** Notifies the sender of a denial or an expiry. */
  readonly messenger: HostMessenger;
  /** Wall-clock milliseconds. */
  readonly now: () => Millis;
  /** Routes a message to one agent, as if it had just come. */
  readonly replay: (message: ReceivedMessage, user: UserId, agentGroupId: AgentGroupId) => Promise<void>;
}

/** The effect of a decision about a sender: they become a member and their message is routed, or they are notified. */
export function admitSender(ports: AdmissionPorts): ApprovalEffect {
  return async (approval) => {
    const message = fromPayload(approval.payload);
    const { agentGroupId } = approval;
    if (message === undefined || agentGroupId === null) return;
    if (approval.outcome.type === 'approved') await admit(message, agentGroupId, approval, ports);
    else await notifyOutcome(message, approval, ports);
  };
}

/** The effect of a decision about a chat: it is wired and the message is routed, or it is known as denied. */
export function admitChat(ports: AdmissionPorts): ApprovalEffect {
  return async (approval) => {
    const message = fromPayload(approval.payload);
    const { agentGroupId, outcome } = approval;
    if (message === undefined || agentGroupId === null) return;
    if (outcome.type !== 'expired') {
      const denied = outcome.type === 'denied';
      await wireChat(message, agentGroupId, { denied, strangers: 'request_approval' }, ports.registry);
    }
    if (outcome.type === 'approved') await admit(message, agentGroupId, approval, ports);
    else await notifyOutcome(message, approval, ports);
  };
}

/** Makes the sender a member and routes the message. Does nothing when the agent was deleted. */
async function admit(
  message: ReceivedMessage,
  agentGroupId: AgentGroupId,
  { outcome }: EndedApproval,
  { registry, replay }: AdmissionPorts,
): Promise<void> {
  const user = userId(message.address.channelType, message.sender.id);
  if (user === undefined || (await registry.agentGroup(agentGroupId)) === undefined) return;
  await registry.people.ensureUser(user, message.sender.name);
  await registry.people.addMember(user, agentGroupId, outcome.by);
  await replay(message, user, agentGroupId);
}

/** Makes the chat known, and wires it unless it is denied. What the operator has set up already stays. */
export async function wireChat(
  { address, isDirect }: ReceivedMessage,
  agentGroupId: AgentGroupId,
  { denied, strangers }: { readonly denied: boolean; readonly strangers: MessagingGroup['strangers'] },
  registry: Registry,
): Promise<void> {
  const { channelType, platformId } = address;
  const known = await registry.wiringsFor(channelType, platformId);
  const chat =
    known?.messagingGroup ??
    (await registry.createMessagingGroup({
      channelType,
      platformId,
      name: '',
      kind: isDirect ? 'direct' : 'group',
      strangers,
      denied,
    }));
  if (denied || (known !== undefined && known.wirings.length > 0)) return;
  if ((await registry.agentGroup(agentGroupId)) === undefined) return;
  await registry.createWiring({
    messagingGroupId: chat.id,
    agentGroupId,
    engage: isDirect ? { mode: 'pattern', pattern: '.' } : { mode: 'mention' },
    senderScope: 'all',
    otherwise: 'drop',
    sessionMode: 'shared',
    priority: 0,
  });
}

/** Confirms a request to the sender of the message that made it, once, however often the platform repeats it. */
async function confirmRequest(
  outcome: RequestOutcome,
  message: ReceivedMessage,
  what: string,
  messenger: HostMessenger,
): Promise<NotRequestedReason | undefined> {
  if (outcome.type === 'refused') {
    return outcome.because === 'too-many' ? 'too-many-requests' : 'recently-denied';
  }
  const { id, payload } = outcome.approval;
  if (!isSameMessage(payload, message)) return 'waits-already';
  const files = message.files.length === 0 ? '' : ' Its files are not kept: send them again then.';
  const text =
    `An admin was asked whether ${what}. Your message is kept until the admin decides; what you write before ` +
    `that is not.${files}`;
  await messenger.notify(message.address, text, `asked/${id}`);
  return undefined;
}

/** How long it is tried to notify the sender of a decision, in milliseconds. */
const NOTIFY_MAX_MS = 86_400_000;

async function notifyOutcome(
  message: ReceivedMessage,
  { id, outcome }: EndedApproval,
  { messenger, now }: AdmissionPorts,
): Promise<void> {
  const text =
    outcome.type === 'denied'
      ? 'An admin denied the request to talk here. Your message was not passed on.'
      : 'No admin decided on the request to talk here in time. Your message was not passed on; write again to ask again.';
  const result = await messenger.notify(message.address, text, `${outcome.type}/${id}`);
  const isTriedAgain = result.type === 'not-now' && now() - outcome.at < NOTIFY_MAX_MS;
  if (isTriedAgain) throw new Error(`The notice could not be sent yet: ${result.reason}`);
}

// ── What waits ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** Of the text, and of what comes with it as JSON, in characters; what is longer is cut, and the text says so. */
const PAYLOAD_LENGTH_MAX = 16_000;

const json: z.ZodType<JsonObject[string]> = z.json();
const Payload = z.object({
  platformMessageId: z.string(),
  address: z.object({ channelType: z.string(), platformId: z.string(), threadId: z.string().nullable() }),
  sender: z.object({ id: z.string(), name: z.string() }),
  text: z.string(),
  quote: z.object({ sender: z.string().optional(), text: z.string() }).optional(),
  event: z.object({ source: z.string(), event: z.string(), payload: json }).optional(),
  timestamp: z.number(),
  isMention: z.boolean(),
  isDirect: z.boolean(),
});

/** A message as the payload of an approval: without its files, and with a line about everything that is not kept. Pure. */
export function toPayload(message: ReceivedMessage): JsonObject {
  const { platformMessageId, address, sender, timestamp, isMention, isDirect, files, quote, event } = message;
  const lost = files.map(({ name }) => `[The file ${JSON.stringify(name)} was not kept while the message waited.]`);
  const aside = { ...(quote && { quote: { ...quote } }), ...(event && { event: { ...event } }) };
  const isAsideKept = JSON.stringify(aside).length <= PAYLOAD_LENGTH_MAX;
  if (!isAsideKept) lost.push('[Its quote or event was too long to be kept while the message waited.]');
  if (message.text.length > PAYLOAD_LENGTH_MAX)
    lost.unshift('[The text was too long to be kept whole while the message waited.]');
  const text = [beginning(message.text, PAYLOAD_LENGTH_MAX), ...lost].filter((line) => line !== '').join('\n');
  return {
    platformMessageId,
    address: { ...address },
    sender: { id: sender.id, name: sender.name },
    text: text.toWellFormed(),
    timestamp,
    isMention,
    isDirect,
    ...(isAsideKept ? aside : {}),
  };
}

/** The message in the payload of an approval; `undefined` for what `toPayload` has not written. Pure. */
export function fromPayload(payload: JsonObject): ReceivedMessage | undefined {
  const read = Payload.safeParse(payload);
  if (!read.success) return undefined;
  const { quote, event, ...message } = read.data;
  return {
    kind: 'message',
    ...message,
    files: [],
    ...(quote && { quote: { text: quote.text, ...(quote.sender !== undefined && { sender: quote.sender }) } }),
    ...(event && { event }),
  };
}

function isSameMessage(payload: JsonObject, { address, platformMessageId }: ReceivedMessage): boolean {
  const waiting = fromPayload(payload);
  return (
    waiting?.platformMessageId === platformMessageId &&
    waiting.address.platformId === address.platformId &&
    waiting.address.threadId === address.threadId
  );
}

// ── What a card says: a stranger's words, bounded and on one line ───────────────────────────────────────────────────

function personText({ sender }: ReceivedMessage, user: UserId): string {
  return `${oneLine(sender.name, 40)} (${oneLine(user, 80)})`;
}

function placeText({ address, isDirect }: ReceivedMessage, name: string): string {
  const where = name === '' ? `${address.channelType} ${oneLine(address.platformId, 80)}` : oneLine(name, 60);
  return isDirect ? `a direct chat (${where})` : `the chat ${where}`;
}

function excerpt({ text, files, event }: ReceivedMessage): string {
  if (text.trim() !== '') return `"${oneLine(text, 120)}"`;
  return event === undefined ? `${files.length} files` : `an event of ${oneLine(event.source, 60)}`;
}
