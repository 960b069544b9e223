/**
 * People and chats that nobody has let in yet. Their first message waits in the registry with the request; whoever
 * decides lets them in, and then it is read as if it had just come. Files of strangers are not kept: what waits is
 * bounded, and they are told to send them again.
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
import { z } from 'zod';
import { oneLine, type Voice } from '../channels/index.ts';
import type { Approvals, Deed, EndedApproval, Requested } from '../decisions/index.ts';

/** What asking about strangers needs. */
export interface StrangersContext {
  readonly registry: Registry;
  readonly approvals: Approvals;
  readonly voice: Voice;
}

/** Why nobody is asked about a stranger. */
export type NotAsked = 'waits-already' | 'turned-down-lately' | 'too-many-requests' | 'no-agent';

/** Asks an admin of an agent whether somebody may speak to it. `undefined`: the message waits; else why it does not. */
export async function askToLetIn(
  message: ReceivedMessage,
  user: UserId,
  chat: MessagingGroup,
  agent: AgentGroup,
  { registry, approvals, voice }: StrangersContext,
): Promise<NotAsked | undefined> {
  await registry.people.ensureUser(user, message.sender.name);
  const wish = `wants to talk with ${oneLine(agent.name, 60)} in ${place(message, chat.name)}`;
  const requested = await approvals.request({
    kind: 'sender',
    subject: `${agent.id} ${user}`,
    agentGroupId: agent.id,
    messagingGroupId: chat.id,
    sessionId: null,
    requestedBy: user,
    summary: `${person(message, user)} ${wish}: ${excerpt(message)}`,
    payload: kept(message),
  });
  return tellOnce(requested, message, `${agent.name} may talk with you`, voice);
}

/** Asks the owners whether the agent may be talked with in a chat that it does not know. As `askToLetIn`. */
export async function askToOpen(
  message: ReceivedMessage,
  user: UserId,
  { registry, approvals, voice }: StrangersContext,
): Promise<NotAsked | undefined> {
  const { channelType, platformId } = message.address;
  const [agent] = await registry.agentGroups();
  if (agent === undefined) return 'no-agent';
  await registry.people.ensureUser(user, message.sender.name);
  const wish = `wants ${oneLine(agent.name, 60)} to be in ${place(message, '')}`;
  const requested = await approvals.request({
    kind: 'channel',
    subject: `${channelType}:${platformId}`,
    agentGroupId: agent.id,
    messagingGroupId: null,
    sessionId: null,
    requestedBy: user,
    summary: `${person(message, user)} ${wish}: ${excerpt(message)}`,
    payload: kept(message),
  });
  return tellOnce(requested, message, `${agent.name} may talk here`, voice);
}

/** What is needed to read a message that has waited. */
export interface LettingIn {
  readonly registry: Registry;
  readonly voice: Voice;
  readonly now: () => Millis;
  /** Takes a message in for one agent, as if it had just come. */
  readonly replay: (message: ReceivedMessage, user: UserId, agentGroupId: AgentGroupId) => Promise<void>;
}

/** What follows from the decision about a person: they are a member and their message is read, or they are told. */
export function letIn(context: LettingIn): Deed {
  return async (approval) => {
    const message = restored(approval.payload);
    const { agentGroupId } = approval;
    if (message === undefined || agentGroupId === null) return;
    if (approval.outcome.type === 'approved') await admit(message, agentGroupId, approval, context);
    else await tellOutcome(message, approval, context);
  };
}

/** What follows from the decision about a chat: it is wired, or known as denied. */
export function openChat(context: LettingIn): Deed {
  return async (approval) => {
    const message = restored(approval.payload);
    const { agentGroupId, outcome } = approval;
    if (message === undefined || agentGroupId === null) return;
    if (outcome.type !== 'expired') await wire(message, agentGroupId, outcome.type === 'denied', context.registry);
    if (outcome.type === 'approved') await admit(message, agentGroupId, approval, context);
    else await tellOutcome(message, approval, context);
  };
}

/** Makes the sender a member and reads the message. Nothing, when the agent is gone. */
async function admit(
  message: ReceivedMessage,
  agentGroupId: AgentGroupId,
  { outcome }: EndedApproval,
  { registry, replay }: LettingIn,
): Promise<void> {
  const user = userId(message.address.channelType, message.sender.id);
  if (user === undefined || (await registry.agentGroup(agentGroupId)) === undefined) return;
  await registry.people.ensureUser(user, message.sender.name);
  await registry.people.addMember(user, agentGroupId, outcome.by);
  await replay(message, user, agentGroupId);
}

/** Makes the chat known, and wires it unless it is denied. What is there stays as an operator has made it. */
async function wire(
  { address, isDirect }: ReceivedMessage,
  agentGroupId: AgentGroupId,
  denied: boolean,
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
      strangers: 'request_approval',
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

/** Says once that somebody was asked: for the message that made the request, each time the platform repeats it. */
async function tellOnce(
  requested: Requested,
  message: ReceivedMessage,
  what: string,
  voice: Voice,
): Promise<NotAsked | undefined> {
  if (requested.type === 'refused') {
    return requested.because === 'too-many' ? 'too-many-requests' : 'turned-down-lately';
  }
  const { id, payload } = requested.approval;
  if (!isOf(payload, message)) return 'waits-already';
  const files = message.files.length === 0 ? '' : ' Its files are not kept; send them again then.';
  const text =
    `Somebody has been asked whether ${what}. Your message is kept until they decide, and what you write ` +
    `before that is not.${files}`;
  await voice.say(message.address, text, `asked/${id}`);
  return undefined;
}

/** How long it is tried to tell somebody what was decided. */
const TELL_MAX_MS = 86_400_000;

async function tellOutcome(
  message: ReceivedMessage,
  { id, outcome }: EndedApproval,
  { voice, now }: LettingIn,
): Promise<void> {
  const text =
    outcome.type === 'denied'
      ? 'The request to talk here was turned down. Your message was not passed on.'
      : 'Nobody has decided on the request to talk here. Your message was not passed on; write again to ask anew.';
  const said = await voice.say(message.address, text, `${outcome.type}/${id}`);
  const isTriedAgain = said.type === 'not-now' && now() - outcome.at < TELL_MAX_MS;
  if (isTriedAgain) throw new Error(`It could not be said yet: ${said.reason}`);
}

// ── What waits ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** Of what comes with the text, in characters of JSON; a longer text is cut with a word about it. */
const KEPT_MAX = 16_000;

const json: z.ZodType<JsonObject[string]> = z.json();
const KEPT = z.object({
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

/** A message as it waits: without its files, and with a word in the text about everything that is not kept. Pure. */
export function kept(message: ReceivedMessage): JsonObject {
  const { platformMessageId, address, sender, timestamp, isMention, isDirect, files, quote, event } = message;
  const lost = files.map(({ name }) => `[The file ${JSON.stringify(name)} was not kept while the message waited.]`);
  const aside = { ...(quote && { quote: { ...quote } }), ...(event && { event: { ...event } }) };
  const isAsideKept = JSON.stringify(aside).length <= KEPT_MAX;
  if (!isAsideKept) lost.push('[What it quoted or told was too long to be kept while the message waited.]');
  if (message.text.length > KEPT_MAX)
    lost.unshift('[The text was too long to be kept whole while the message waited.]');
  const text = [message.text.slice(0, KEPT_MAX), ...lost].filter((line) => line !== '').join('\n');
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

/** The message that waited; `undefined` for what `kept` has not written. */
export function restored(payload: JsonObject): ReceivedMessage | undefined {
  const read = KEPT.safeParse(payload);
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

function isOf(payload: JsonObject, { address, platformMessageId }: ReceivedMessage): boolean {
  const waiting = restored(payload);
  return (
    waiting?.platformMessageId === platformMessageId &&
    waiting.address.platformId === address.platformId &&
    waiting.address.threadId === address.threadId
  );
}

// ── What a card says: a stranger's words, bounded and on one line ───────────────────────────────────────────────────

function person({ sender }: ReceivedMessage, user: UserId): string {
  return `${oneLine(sender.name, 40)} (${oneLine(user, 80)})`;
}

function place({ address, isDirect }: ReceivedMessage, name: string): string {
  const where = name === '' ? `${address.channelType} ${oneLine(address.platformId, 80)}` : oneLine(name, 60);
  return isDirect ? `a direct chat (${where})` : `the chat ${where}`;
}

function excerpt({ text, files, event }: ReceivedMessage): string {
  if (text.trim() !== '') return `"${oneLine(text, 120)}"`;
  return event === undefined ? `${files.length} files` : `an event of ${oneLine(event.source, 60)}`;
}
