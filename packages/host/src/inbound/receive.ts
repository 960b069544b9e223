/**
 * Hops 2 and 3 of a message: find who is concerned, write it down, wake them. The channel acknowledges to its platform
 * when this returns, so everything is on disk by then; waking is not waited for. A host that dies anywhere in between
 * gets the same event again, and each step knows what it has done before.
 */
import type { ReceivedChoice, ReceivedEvent, ReceivedMessage } from '@nanoclaw/channels';
import {
  type AgentGroupId,
  mayAdminister,
  type Person,
  type Registry,
  type RouteDecision,
  route,
  standing,
  type UserId,
  userId,
  type WiredChat,
  type WiringId,
} from '@nanoclaw/registry';
import { addressKey, type Millis, type NewInbound, storeAttachments } from '@nanoclaw/session-db';
import type { Voice } from '../channels/index.ts';
import type { Approvals, Questions } from '../decisions/index.ts';
import { messageOf } from '../errors/index.ts';
import {
  destinationsOf,
  inboundCommand,
  inboundId,
  inboundMessage,
  type SessionHandle,
  type Sessions,
} from '../session/index.ts';
import { gated, isStop } from './commands.ts';
import { askToLetIn, askToOpen } from './strangers.ts';

/**
 * Takes in what somebody has done. Resolves when everybody concerned has it on disk. Rejects when one of them could not
 * be given it: the platform then sends it again, and whoever has it already takes it as a duplicate.
 */
export async function receive(event: ReceivedEvent, context: InboundContext): Promise<void> {
  const user = userId(event.address.channelType, event.sender.id);
  // What no registry can hold would be refused however often it came.
  if (user === undefined || !isStorable(event)) return context.onDropped(event, 'malformed');
  if (event.kind === 'choice') return choose(event, user, context);
  if (await isAnswer(event, user, context)) return undefined;
  return take(event, user, context);
}

/** Takes a message in at every wiring of its chat, each by itself; or for one agent, when it has waited for that. */
export async function take(
  message: ReceivedMessage,
  user: UserId,
  context: InboundContext,
  onlyFor?: AgentGroupId,
): Promise<void> {
  const { registry } = context;
  const { channelType, platformId, threadId } = message.address;
  const chat = await registry.wiringsFor(channelType, platformId);
  if (chat === undefined || chat.wirings.length === 0) return takeUnwired(message, user, chat, context);

  const sender = await registry.people.person(user);
  const engaged = await registry.engagedWirings(chat.messagingGroup.id, threadId);
  const decisions = decided(message, sender, chat, engaged).filter(
    ({ agentGroup }) => onlyFor === undefined || agentGroup.id === onlyFor,
  );
  if (decisions.some(({ type }) => type !== 'drop')) await registry.people.ensureUser(user, message.sender.name);

  const done: Done[] = [];
  const failures: unknown[] = [];
  for (const decision of decisions) {
    const isAdmin = mayAdminister(standing(sender, decision.agentGroup.id));
    try {
      done.push(await carryOut(decision, { message, user, isAdmin, chat }, context));
    } catch (error) {
      failures.push(error); // the others are to have it all the same
    }
  }
  await answerRefused(message, done, context);
  if (failures.length > 0) {
    const why = failures.map(messageOf).join('; ');
    throw new AggregateError(failures, `Not every agent could be given the message (${why}).`);
  }
  await countDropped(message, done, context);
}

/** What hops 2 and 3 work with. */
export interface InboundContext {
  readonly registry: Registry;
  readonly sessions: Pick<Sessions, 'forKey'>;
  readonly questions: Questions;
  readonly approvals: Approvals;
  readonly voice: Voice;
  readonly now: () => Millis;
  /** Called for a session that has something new to do. Must not throw. */
  readonly wake: (sessionId: string) => void;
  /** Told of what concerns nobody. Must not throw. */
  readonly onDropped: (event: ReceivedEvent, reason: string) => void;
}

/** What the registry's rules say about a message. To stop an agent it need not be called. Pure. */
function decided(
  { text, event, isMention, address }: ReceivedMessage,
  sender: Person,
  chat: WiredChat,
  engaged: ReadonlySet<WiringId>,
): RouteDecision[] {
  const facts = { text, threadId: address.threadId, mentioned: isMention, sender, engaged };
  if (event !== undefined || !isStop(text)) return route(facts, chat);
  const called = chat.wirings.map((wired) => ({ ...wired, wiring: { ...wired.wiring, engage: CALLED } }));
  return route({ ...facts, mentioned: true }, { ...chat, wirings: called });
}

const CALLED = { mode: 'mention' } as const;

/** What became of a message at one wiring. */
type Done =
  /** It is written down, or needs nothing. */
  | { readonly type: 'taken' }
  | { readonly type: 'dropped'; readonly reason: string }
  | { readonly type: 'refused'; readonly answer: string };

/** A message, who said it and where. */
interface Heard {
  readonly message: ReceivedMessage;
  readonly user: UserId;
  /** Whether they may administer the agent in question. */
  readonly isAdmin: boolean;
  readonly chat: WiredChat;
}

async function carryOut(decision: RouteDecision, heard: Heard, context: InboundContext): Promise<Done> {
  const { message, user, chat } = heard;
  switch (decision.type) {
    case 'drop':
      return { type: 'dropped', reason: decision.reason };
    case 'ask': {
      if (isStop(message.text)) return { type: 'dropped', reason: 'stranger' };
      const notAsked = await askToLetIn(message, user, chat.messagingGroup, decision.agentGroup, context);
      return notAsked === undefined ? { type: 'taken' } : { type: 'dropped', reason: notAsked };
    }
    case 'accumulate':
      // A command that does not call this agent is none of its business, and nothing to remember.
      if (message.event === undefined && gated(message.text, heard.isAdmin).type !== 'chat') return { type: 'taken' };
      return store(message, decision, context);
    case 'engage':
      return engage(decision, heard, context);
  }
}

type Engaging = Extract<RouteDecision, { type: 'engage' }>;
type Storing = Extract<RouteDecision, { type: 'engage' | 'accumulate' }>;

async function engage(decision: Engaging, heard: Heard, context: InboundContext): Promise<Done> {
  const { message, user, isAdmin, chat } = heard;
  const what = message.event === undefined ? gated(message.text, isAdmin) : ({ type: 'chat' } as const);
  switch (what.type) {
    case 'filtered':
      return { type: 'taken' };
    case 'refused':
      return what;
    case 'command':
      await command(decision, what, message, user, context);
      return { type: 'taken' };
    case 'chat': {
      const { wiring } = decision;
      const { threadId } = message.address;
      const isCalled = message.isMention || chat.messagingGroup.kind === 'direct';
      if (wiring.engage.mode === 'mention-sticky' && threadId !== null && isCalled) {
        await context.registry.engageThread(wiring.id, threadId);
      }
      return store(message, decision, context);
    }
  }
}

/** Writes the message into the session, its files first. One that is there already is left as it was first written. */
async function store(message: ReceivedMessage, decision: Storing, context: InboundContext): Promise<Done> {
  const { registry, sessions, now, wake } = context;
  const session = await sessions.forKey(decision.sessionKey);
  if (isEcho(session, message)) return { type: 'dropped', reason: 'own-message' };
  const id = inboundId(message.address, message.platformMessageId);
  const trigger = decision.type === 'engage' ? 'wakes' : 'context';
  if (session.files.message(id) === undefined) {
    const destinations = await destinationsOf(decision.agentGroup.id, registry);
    const attachments = await storeAttachments(session.folder, id, toStore(message));
    // Who only listens does not have its answers, those to tasks for example, moved to another chat.
    const replyTo = trigger === 'context' ? (session.files.routing().replyTo ?? message.address) : message.address;
    session.files.setRouting({ destinations, replyTo }, now());
    session.files.enqueue(inboundMessage(message, trigger, attachments), now());
  }
  if (trigger === 'wakes') wake(session.id);
  return { type: 'taken' };
}

/** How many of the agent's last messages are looked through: an echo comes at once, and the history costs nothing. */
const ECHO_LOOKBACK = 20;

/** Whether a platform, against its promise, gives the agent's own message back as if somebody had written it. */
function isEcho({ files }: SessionHandle, { address, platformMessageId }: ReceivedMessage): boolean {
  const key = addressKey(address);
  const taken = files.cursor().messagesAfter;
  const last = taken - ((taken + 1) % 2); // the agent's numbers are odd
  for (let seq = last; seq > Math.max(0, last - 2 * ECHO_LOOKBACK); seq -= 2) {
    const parts = files.deliveries.parts(seq);
    if (
      parts.some(
        (part) =>
          part.platformMessageId === platformMessageId && part.address !== null && addressKey(part.address) === key,
      )
    )
      return true;
  }
  return false;
}

async function command(
  decision: Engaging,
  { text, isForAdmins }: { readonly text: string; readonly isForAdmins: boolean },
  message: ReceivedMessage,
  user: UserId,
  { registry, sessions, now, wake }: InboundContext,
): Promise<void> {
  const session = await sessions.forKey(decision.sessionKey);
  const row: NewInbound = inboundCommand(message, text);
  if (session.files.message(row.id) === undefined) {
    if (isForAdmins) {
      const entry = { actor: user, action: 'command', target: session.id, outcome: 'given', detail: { command: text } };
      await registry.audit.add({ at: now(), ...entry });
    }
    const destinations = await destinationsOf(decision.agentGroup.id, registry);
    session.files.setRouting({ destinations, replyTo: message.address }, now());
    session.files.enqueue(row, now());
  }
  wake(session.id);
}

/** Answers a command that was refused, once, whichever agents it was for. */
async function answerRefused(message: ReceivedMessage, done: readonly Done[], context: InboundContext): Promise<void> {
  const refused = done.find((one) => one.type === 'refused');
  if (refused === undefined) return;
  const key = `refused/${inboundId(message.address, message.platformMessageId)}`;
  await tell(message, refused.answer, key, context);
}

/** Counts a message that nobody has taken. */
async function countDropped(message: ReceivedMessage, done: readonly Done[], context: InboundContext): Promise<void> {
  const [dropped] = done.filter((one) => one.type === 'dropped');
  if (dropped === undefined || done.some((one) => one.type !== 'dropped')) return;
  await drop(message, dropped.reason, context);
}

/** In a chat that no agent is wired to the owners are asked, when the bot is called by name or alone with somebody. */
async function takeUnwired(
  message: ReceivedMessage,
  user: UserId,
  chat: WiredChat | undefined,
  context: InboundContext,
): Promise<void> {
  const isDenied = chat?.messagingGroup.denied === true;
  const isCalled = message.isMention || message.isDirect;
  if (isDenied || !isCalled || isStop(message.text)) {
    return drop(message, isDenied ? 'chat-denied' : 'not-wired', context);
  }
  const notAsked = await askToOpen(message, user, context);
  if (notAsked !== undefined) await drop(message, notAsked, context);
}

/** Gives the press of a button to the question or the approval that it belongs to. */
async function choose(choice: ReceivedChoice, user: UserId, context: InboundContext): Promise<void> {
  const { questions, approvals } = context;
  const answer = (await approvals.press(choice, user)) ?? (await questions.press(choice, user));
  const key = `press/${inboundId(choice.address, choice.platformMessageId)}`;
  if (answer !== undefined) await tell(choice, answer, key, context);
}

/** Whether a message was the answer to a card or a question, and has been taken as such. */
async function isAnswer(message: ReceivedMessage, user: UserId, context: InboundContext): Promise<boolean> {
  if (message.event !== undefined || message.files.length > 0) return false;
  const told = await context.approvals.take(message, user);
  if (told === undefined) return context.questions.take(message, user);
  await tell(message, told, `press/${inboundId(message.address, message.platformMessageId)}`, context);
  return true;
}

/** Answers whoever did something. Rejects when it cannot be said now, so that it is said when the event comes again. */
async function tell({ address }: ReceivedEvent, text: string, key: string, { voice }: InboundContext): Promise<void> {
  const result = await voice.say(address, text, key);
  if (result.type === 'not-now') throw new Error(`The answer could not be said: ${result.reason}`);
}

async function drop(message: ReceivedMessage, reason: string, context: InboundContext): Promise<void> {
  const { channelType, platformId } = message.address;
  await context.registry.dropped.count({ channelType, platformId, reason }, context.now());
  context.onDropped(message, reason);
}

function toStore({ files }: ReceivedMessage) {
  return files.map((file) => ({ name: file.name, bytes: file.bytes() }));
}

/** Whether the registry and the session files can hold what the event is called and where it was. */
function isStorable({ address, platformMessageId }: ReceivedEvent): boolean {
  return (
    isBounded(address.channelType, 200) &&
    isBounded(address.platformId, 500) &&
    (address.threadId === null || isBounded(address.threadId, 500)) &&
    isBounded(platformMessageId, Number.POSITIVE_INFINITY)
  );
}

function isBounded(text: string, max: number): boolean {
  return text.length > 0 && text.length <= max && text.isWellFormed();
}
