/**
 * Hop 8: where an outbound message goes, one attempt to send it, and what is removed after it. The row is a request: where
 * it may go, whom it answers and which earlier message it is about is decided from what the host itself has written.
 */
import { statSync } from 'node:fs';
import {
  type Channel,
  type Address as ChannelAddress,
  type OutgoingFile,
  type OutgoingMessage,
  refusal,
} from '@nanoclaw/channels';
import type { Attempt, Rate, Route } from '@nanoclaw/delivery';
import {
  type Address,
  type Attachment,
  addressKey,
  type OutboundMessage,
  type Routing,
  type SendResult,
  type Target,
} from '@nanoclaw/session-db';
import { asText, fileNames, ownKind, questionOf, showing, withRefusals } from '../channels/index.ts';
import { openUntil } from '../decisions/index.ts';
import { AGENT_CHANNEL, answeredMessage, platformIdOf, type SessionHandle, writeResult } from '../session/index.ts';
import { type MailPorts, sendMail } from './mail.ts';

/** The channels of a host, by their types. */
export type Channels = ReadonlyMap<string, Channel>;

/** What sending messages needs. */
export interface OutboundPorts extends MailPorts {
  /** The connected channels, by their types. */
  readonly channels: Channels;
  /** Performs an action that an agent requests. Rejects when it cannot be done now. */
  readonly performAction: (session: SessionHandle, message: OutboundMessage, attempt: Attempt) => Promise<void>;
  /** Removes the spooled files of a message. `unfinished`: there are more, and it is to be called again. */
  readonly remove: (session: SessionHandle, messageId: string) => Promise<'removed' | 'unfinished'>;
  /** Opens a question at an address. The same message again gives the same question. */
  readonly openQuestion: OpenQuestion;
}

/** Opens a question, or gives the reason why not as one sentence for the agent. */
export type OpenQuestion = (
  session: SessionHandle,
  message: OutboundMessage,
  address: Address,
) => Promise<{ readonly questionId: string } | { readonly refused: string }>;

/** Longest id of a row, in characters: what is named after it needs room, and an honest id has some 60. */
const ROW_ID_LENGTH_MAX = 200;

/** The account of what an agent asks of its host: one for each session, as of mail, because nothing is there that could be away. */
const HOST_ACCOUNT = 'host';

/**
 * Decides where a message goes: to the host itself, to another agent, or to a chat among this agent's destinations, by
 * default the one that it answers.
 */
export function routeOf(
  session: Pick<SessionHandle, 'id' | 'files'>,
  message: OutboundMessage,
  channels: Channels,
): Route {
  // What is named after it, its result, a mail, its files, would have no room for more.
  if (message.id.length > ROW_ID_LENGTH_MAX) return refused('The id of the message is too long.');
  const rates = [rowRate(session.id)];
  const cleansUp = fileNames(message.content).length > 0;
  if (message.kind === 'system') {
    const perRow = [...rates, actionRate(session.id)];
    return {
      type: 'deliver',
      address: null,
      account: `${HOST_ACCOUNT}/${session.id}`,
      duplicates: 'key',
      cleansUp,
      rates: perRow,
    };
  }
  const routing = session.files.routing();
  const address = placeOf(session, message, routing);
  if (address === null) return refused('The message has no address and its session has none to answer to.');
  if (!mayWriteTo(address, routing)) {
    const place = `${address.channelType} ${address.platformId}`;
    return refused(`This agent may not write to ${place}: it is not among the destinations of this session.`);
  }
  if (!isOwnThread(session, message, address, routing)) {
    return refused('This message names a thread that does not belong to its session.');
  }
  if (address.channelType === AGENT_CHANNEL) {
    // One lane for each agent written to: the session in the address is only the return path.
    return {
      type: 'deliver',
      address: { ...address, threadId: null },
      account: `${AGENT_CHANNEL}/${session.id}`,
      duplicates: 'key',
      cleansUp,
      rates: [...rates, mailRate(session.id)],
    };
  }
  const channel = channels.get(address.channelType);
  if (channel === undefined) return refused(`There is no channel "${address.channelType}".`);
  const shown = showing(message.content, channel, channelAddress(address));
  if (shown.type === 'impossible') return refused(shown.reason);
  return {
    type: 'deliver',
    address,
    account: channel.type,
    duplicates: channel.duplicates,
    cleansUp,
    rates,
    ...(shown.type === 'parts' ? { parts: shown.parts } : shown.target === undefined ? {} : { target: shown.target }),
  };
}

/**
 * Makes one attempt at a message, or one part of it, for which `routeOf` gave a way. Rejects when it cannot be made now;
 * what the platform answers is the result.
 */
export async function send(
  session: SessionHandle,
  message: OutboundMessage,
  attempt: Attempt,
  ports: OutboundPorts,
): Promise<SendResult> {
  if (message.kind === 'system') {
    await ports.performAction(session, message, attempt);
    return { type: 'sent', platformMessageId: null };
  }
  const routing = session.files.routing();
  const address = placeOf(session, message, routing);
  if (address === null || !mayWriteTo(address, routing))
    return permanentFailure('This agent may no longer write there.');
  if (address.channelType === AGENT_CHANNEL) {
    if (message.content['operation'] !== 'ask_question') return sendMail(session, message, address.platformId, ports);
    return rejectQuestion(session, message, 'Only people can be asked to choose; write to the agent instead.', ports);
  }
  const channel = ports.channels.get(address.channelType);
  if (channel === undefined) return { type: 'offline' };
  const composed = await compose(session, message, attempt, { channel, address }, ports);
  if ('type' in composed) return composed;
  const { key, attempt: number, uncertain } = attempt;
  return channel.send(channelAddress(address), composed, { key, attempt: number, uncertain });
}

/** Removes what a message that has ended has left behind. Rejects while there is more to remove: to be called again. */
export async function cleanUp(
  session: SessionHandle,
  messageOutId: string,
  { remove }: Pick<OutboundPorts, 'remove'>,
): Promise<void> {
  if ((await remove(session, messageOutId)) === 'removed') return;
  throw new Error('The files of a message are too many to be removed at once; the rest follows.');
}

/** At most so many rows of a session at once, and then two a second: the rest waits. */
function rowRate(sessionId: string): Rate {
  return { key: `rows/${sessionId}`, burst: 240, everyMs: 500 };
}

/** At most so many requests of a session at once, and then six a minute: each leaves something behind at the host. */
function actionRate(sessionId: string): Rate {
  return { key: `actions/${sessionId}`, burst: 60, everyMs: 10_000 };
}

/** At most so many mails of a session at once, and then one a minute: the rest waits. */
function mailRate(sessionId: string): Rate {
  return { key: `mails/${sessionId}`, burst: 30, everyMs: 60_000 };
}

/**
 * The address of a message: of the earlier message that it edits or reacts to; else the one it names; else of the message
 * that it answers; else where its session answers. All but the one it names come from the host's own file.
 */
function placeOf(
  session: Pick<SessionHandle, 'files'>,
  message: OutboundMessage,
  { replyTo }: Routing,
): Address | null {
  const named = message.address ?? answeredMessage(session.files, message)?.address ?? replyTo;
  // A message of the same commit is not known yet; delivery looks for it once more when its turn comes.
  return placeOfEarlier(session, message) ?? named;
}

/** Of the earlier message that this one edits or reacts to. */
function placeOfEarlier({ files }: Pick<SessionHandle, 'files'>, { content }: OutboundMessage): Address | undefined {
  const { operation, messageId } = content;
  if ((operation !== 'edit' && operation !== 'reaction') || typeof messageId !== 'number') return undefined;
  return addressOf(files.deliveries.target(messageId));
}

function addressOf(target: Target | undefined): Address | undefined {
  const address = target?.type === 'agent' ? target.parts[0]?.address : target?.address;
  return address ?? undefined;
}

function mayWriteTo(address: Address, { destinations }: Routing): boolean {
  return destinations.some((one) =>
    one.type === 'channel'
      ? one.channelType === address.channelType && one.platformId === address.platformId
      : address.channelType === AGENT_CHANNEL && one.agentGroupId === address.platformId,
  );
}

/**
 * Whether the thread of a place is one that the host knows of: that of the message answered, of the earlier message
 * that this one is about, or where the session answers. Any text could name one, and each would be a lane of its own.
 */
function isOwnThread(
  session: Pick<SessionHandle, 'files'>,
  message: OutboundMessage,
  { channelType, platformId, threadId }: Address,
  { replyTo }: Routing,
): boolean {
  if (threadId === null || channelType === AGENT_CHANNEL) return true;
  const key = addressKey({ channelType, platformId, threadId });
  const known = [answeredMessage(session.files, message)?.address, replyTo, placeOfEarlier(session, message)];
  return known.some((place) => place && addressKey(place) === key);
}

interface Place {
  readonly channel: Channel;
  readonly address: Address;
}

/** The message as its channel takes it, or the result when there is none to be sent. */
async function compose(
  session: SessionHandle,
  message: OutboundMessage,
  attempt: Attempt,
  place: Place,
  ports: OutboundPorts,
): Promise<OutgoingMessage | SendResult> {
  const { content } = message;
  switch (content['operation']) {
    case 'edit':
    case 'reaction':
      return composeEditOrReaction(message, attempt.target, place);
    case 'ask_question':
      return composeQuestion(session, message, place, ports);
    case 'card': {
      const card = ownKind(content, '');
      return card === undefined
        ? permanentFailure('The card is not well-formed.')
        : { ...card, ...replyReference(session, message, place) };
    }
    default:
      return composeText(session, message, attempt, place, ports);
  }
}

/** An edit or a reaction, to the earlier message's own id on its platform. */
function composeEditOrReaction(
  { content }: OutboundMessage,
  target: Target | undefined,
  { address }: Place,
): OutgoingMessage | SendResult {
  const number = String(content['messageId']);
  if (target === undefined) return permanentFailure(`There is no message ${number}.`);
  const at = addressOf(target);
  if (at === undefined || addressKey(at) !== addressKey(address)) {
    return permanentFailure(`Message ${number} is not in the chat that this is for.`);
  }
  if (content['operation'] === 'edit' && target.type === 'person') {
    return permanentFailure(`Message ${number} is a person's, and only an agent's own messages can be edited.`);
  }
  if (content['operation'] === 'edit' && target.type === 'agent' && target.parts.length > 1) {
    return permanentFailure(
      `Message ${number} was sent in ${target.parts.length} parts, so it cannot be edited as one.`,
    );
  }
  const id =
    target.type === 'person'
      ? platformIdOf(at, target.messageId)
      : target.parts.findLast((part) => part.platformMessageId !== null)?.platformMessageId;
  if (id === undefined || id === null) return permanentFailure(`Message ${number} has no id on its platform.`);
  return ownKind(content, id) ?? permanentFailure('The message has nothing that can be shown.');
}

async function composeQuestion(
  session: SessionHandle,
  message: OutboundMessage,
  place: Place,
  ports: OutboundPorts,
): Promise<OutgoingMessage | SendResult> {
  const { content } = message;
  const asked = questionOf(content);
  if (asked === undefined) return rejectQuestion(session, message, 'The question is not well-formed.', ports);
  const now = ports.now();
  const expiresAt = openUntil(asked.expiresAt, now);
  if (expiresAt <= now) return permanentFailure('The question expired before it could be shown.');
  const opened = await ports.openQuestion(session, message, place.address);
  if ('refused' in opened) return rejectQuestion(session, message, opened.refused, ports);
  const { title, question: text, choices } = asked;
  const replying = replyReference(session, message, place);
  const own = { kind: 'question', questionId: opened.questionId, title, question: text, choices, expiresAt } as const;
  // Decided when it was accepted: its text is there when it is shown as text.
  const asLines = typeof content['text'] === 'string' ? content['text'] : asText({ ...content, text: null });
  const isOwn = content['text'] === undefined && !refusal(place.channel, channelAddress(place.address), own);
  return isOwn ? { ...own, ...replying } : { kind: 'text', text: asLines ?? '', ...replying };
}

/** Rejects a question, and says so in its session at once: the agent waits for the answer. */
async function rejectQuestion(
  session: SessionHandle,
  message: OutboundMessage,
  reason: string,
  ports: OutboundPorts,
): Promise<SendResult> {
  const result = { status: 'error', error: reason } as const;
  await session.write((files) => writeResult(files, message, 'ask_question', result, ports.now()));
  ports.wake(session.id);
  return permanentFailure(reason);
}

async function composeText(
  session: SessionHandle,
  message: OutboundMessage,
  { isPossibleDuplicate }: Attempt,
  place: Place,
  { spool }: OutboundPorts,
): Promise<OutgoingMessage | SendResult> {
  const { limits } = place.channel;
  const names = place.channel.shows.has('files') ? fileNames(message.content) : [];
  const spooled = names.length === 0 ? [] : await spool(session, message.id, names);
  const files: OutgoingFile[] = [];
  const refusals: { name: string; reason: string }[] = [];
  for (const one of spooled) {
    const reason = one.type === 'refused' ? one.reason : tooBig(one, limits.fileBytesMax);
    if (reason === undefined && one.type === 'stored') files.push({ name: one.name, path: one.path });
    else refusals.push({ name: one.name, reason: reason ?? '' });
  }
  const written = typeof message.content['text'] === 'string' ? message.content['text'] : '';
  const text = withRefusals(
    isPossibleDuplicate ? markedAsRepeat(written, limits.text.max) : written,
    refusals,
    limits.text,
  );
  if (text.trim() === '' && files.length === 0) return permanentFailure('The message has nothing that can be shown.');
  return { kind: 'text', text, ...(files.length === 0 ? {} : { files }), ...replyReference(session, message, place) };
}

/** The text with a note that people may see it for the second time, where there is room for it. */
function markedAsRepeat(text: string, max: number): string {
  const whole = `(This may be a repeat.) ${text}`;
  return Buffer.byteLength(whole) <= max ? whole : text;
}

function tooBig({ path }: Extract<Attachment, { type: 'stored' }>, bytesMax: number | undefined): string | undefined {
  if (bytesMax === undefined) return undefined;
  const bytes = statSync(path).size;
  return bytes <= bytesMax ? undefined : `It has ${bytes} bytes, and its channel allows at most ${bytesMax}.`;
}

/** Which message of the chat it answers, when the host has that one and its platform knows it. */
function replyReference(
  session: SessionHandle,
  message: OutboundMessage,
  { address }: Place,
): { readonly inReplyTo?: string } {
  const received = answeredMessage(session.files, message);
  if (!received?.address || addressKey(received.address) !== addressKey(address)) return {};
  const inReplyTo = platformIdOf(address, received.id);
  return inReplyTo === undefined ? {} : { inReplyTo };
}

function channelAddress({ channelType, platformId, threadId }: Address): ChannelAddress {
  return { channelType, platformId, threadId };
}

function refused(reason: string): Route {
  return { type: 'refused', reason };
}

function permanentFailure(reason: string): SendResult {
  return { type: 'failed', permanent: true, reason };
}
