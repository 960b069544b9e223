/**
 * Hops 2 and 3 of a message: find the agents that get it, write it into their sessions, wake them. The channel
 * acknowledges to its platform when this returns, so everything is on disk by then; waking is not waited for. A host that
 * dies anywhere in between gets the same event again, and each step knows what it has done before.
 */
import type { ReceivedChoice, ReceivedEvent, ReceivedMessage } from '@nanoclaw/channels';
import {
  type AgentGroup,
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
import { type Millis, type NewInbound, storeAttachments } from '@nanoclaw/session-db';
import type { HostMessenger } from '../channels/index.ts';
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
import { classifyCommand, isStop } from './commands.ts';
import { requestChatApproval, requestSenderApproval, wireChat } from './strangers.ts';

/**
 * Handles an event of a channel: a message or the press of a button. Resolves when every session that gets it has it on
 * disk. Rejects when one could not be given it: the platform then sends it again, and a session that has it already
 * ignores the duplicate.
 */
export async function receive(event: ReceivedEvent, ports: InboundPorts): Promise<void> {
  const user = userId(event.address.channelType, event.sender.id);
  // What the registry cannot hold would be refused however often it came.
  if (user === undefined || !isStorable(event)) return ports.onDropped(event, 'malformed');
  if (event.kind === 'choice') return handlePress(event, user, ports);
  if (await tryAnswer(event, user, ports)) return undefined;
  return routeMessage(event, user, ports);
}

/**
 * Routes a message to every wiring of its chat, each by itself; or to one agent, when it has waited for an approval.
 * Rejects with an `AggregateError` when it could not be given to every agent.
 */
export async function routeMessage(
  message: ReceivedMessage,
  user: UserId,
  ports: InboundPorts,
  onlyFor?: AgentGroupId,
): Promise<void> {
  const { registry } = ports;
  const { channelType, platformId, threadId } = message.address;
  const chat = await registry.wiringsFor(channelType, platformId);
  if (chat === undefined || chat.wirings.length === 0) return handleUnwired(message, user, chat, ports);

  const sender = await registry.people.person(user);
  const engaged = await registry.engagedWirings(chat.messagingGroup.id, threadId);
  const decisions = routeDecisions(message, sender, chat, engaged).filter(
    ({ agentGroup }) => onlyFor === undefined || agentGroup.id === onlyFor,
  );
  if (decisions.some(({ type }) => type !== 'drop')) await registry.people.ensureUser(user, message.sender.name);

  const outcomes: RouteOutcome[] = [];
  const failures: unknown[] = [];
  for (const decision of decisions) {
    const isAdmin = mayAdminister(standing(sender, decision.agentGroup.id));
    try {
      outcomes.push(await handleDecision(decision, { message, user, isAdmin, chat }, ports));
    } catch (error) {
      failures.push(error); // the other agents are to have it all the same
    }
  }
  await replyRefused(message, outcomes, ports);
  if (failures.length > 0) {
    const why = failures.map(messageOf).join('; ');
    throw new AggregateError(failures, `The message could not be given to every agent (${why}).`);
  }
  await countDropped(message, outcomes, ports);
}

/** What routing a message needs. */
export interface InboundPorts {
  /** Wirings, people and rules. */
  readonly registry: Registry;
  /** Finds the session that gets a message. */
  readonly sessions: Pick<Sessions, 'forKey'>;
  /** Takes answers to questions. */
  readonly questions: Questions;
  /** Takes decisions, and requests about strangers. */
  readonly approvals: Approvals;
  /** Sends replies to refused commands and to decisions. */
  readonly messenger: HostMessenger;
  /** Wall-clock milliseconds. */
  readonly now: () => Millis;
  /** What becomes of messages in chats of a channel that no agent is wired to. */
  readonly newChats: (channelType: string) => 'ask' | 'answer';
  /** The agent that answers in such chats where no admin is asked; `undefined`: there is none. */
  readonly defaultAgent: () => Promise<AgentGroup | undefined>;
  /** Called for a session that has something new to do. Must not throw. */
  readonly wake: (sessionId: string) => void;
  /** Called for an event that went to no agent, with the reason. Must not throw. */
  readonly onDropped: (event: ReceivedEvent, reason: string) => void;
}

/** What the registry's rules say about a message. To stop an agent it need not be mentioned. Pure. */
function routeDecisions(
  { text, event, isMention, address }: ReceivedMessage,
  sender: Person,
  chat: WiredChat,
  engaged: ReadonlySet<WiringId>,
): RouteDecision[] {
  const facts = { text, threadId: address.threadId, mentioned: isMention, sender, engaged };
  if (event !== undefined || !isStop(text)) return route(facts, chat);
  const mentioned = chat.wirings.map((wired) => ({ ...wired, wiring: { ...wired.wiring, engage: ON_MENTION } }));
  return route({ ...facts, mentioned: true }, { ...chat, wirings: mentioned });
}

const ON_MENTION = { mode: 'mention' } as const;

/** What became of a message at one wiring. */
type RouteOutcome =
  /** It is written down, waits for an approval, or needs nothing. */
  | { readonly type: 'handled' }
  | { readonly type: 'dropped'; readonly reason: string }
  | { readonly type: 'refused'; readonly answer: string };

/** A message with its sender and its chat. */
interface IncomingMessage {
  readonly message: ReceivedMessage;
  readonly user: UserId;
  /** Whether the sender may administer the agent in question. */
  readonly isAdmin: boolean;
  readonly chat: WiredChat;
}

async function handleDecision(
  decision: RouteDecision,
  incoming: IncomingMessage,
  ports: InboundPorts,
): Promise<RouteOutcome> {
  const { message, user, chat } = incoming;
  switch (decision.type) {
    case 'drop':
      return { type: 'dropped', reason: decision.reason };
    case 'ask': {
      if (isStop(message.text)) return { type: 'dropped', reason: 'stranger' };
      const notRequested = await requestSenderApproval(message, user, chat.messagingGroup, decision.agentGroup, ports);
      return notRequested === undefined ? { type: 'handled' } : { type: 'dropped', reason: notRequested };
    }
    case 'accumulate':
      // A command that does not mention this agent is not for it, and nothing to remember.
      if (message.event === undefined && classifyCommand(message.text, incoming.isAdmin).type !== 'chat')
        return { type: 'handled' };
      return store(message, decision, ports);
    case 'engage':
      return engage(decision, incoming, ports);
  }
}

type EngageDecision = Extract<RouteDecision, { type: 'engage' }>;
type StoreDecision = Extract<RouteDecision, { type: 'engage' | 'accumulate' }>;

async function engage(decision: EngageDecision, incoming: IncomingMessage, ports: InboundPorts): Promise<RouteOutcome> {
  const { message, user, isAdmin, chat } = incoming;
  const text = message.event === undefined ? classifyCommand(message.text, isAdmin) : ({ type: 'chat' } as const);
  switch (text.type) {
    case 'filtered':
      return { type: 'handled' };
    case 'refused':
      return text;
    case 'command':
      await enqueueCommand(decision, text, message, user, ports);
      return { type: 'handled' };
    case 'chat': {
      const { wiring } = decision;
      const { threadId } = message.address;
      const isAddressed = message.isMention || chat.messagingGroup.kind === 'direct';
      if (wiring.engage.mode === 'mention-sticky' && threadId !== null && isAddressed) {
        await ports.registry.engageThread(wiring.id, threadId);
      }
      return store(message, decision, ports);
    }
  }
}

/** Writes the message into the session, its files first. One that is there already is left as it was first written. */
async function store(message: ReceivedMessage, decision: StoreDecision, ports: InboundPorts): Promise<RouteOutcome> {
  const { registry, sessions, now, wake } = ports;
  const session = await sessions.forKey(decision.sessionKey);
  if (isEcho(session, message)) return { type: 'dropped', reason: 'own-message' };
  const id = inboundId(message.address, message.platformMessageId);
  const trigger = decision.type === 'engage' ? 'wakes' : 'context';
  if (session.files.message(id) === undefined) {
    const destinations = await destinationsOf(session, registry);
    const attachments = await storeAttachments(session.folder, id, filesToStore(message));
    // An agent that only listens keeps answering, its tasks for example, where it did.
    const replyTo = trigger === 'context' ? (session.files.routing().replyTo ?? message.address) : message.address;
    await session.write((files) => {
      files.setRouting({ destinations, replyTo }, now());
      files.enqueue(inboundMessage(message, trigger, attachments), now());
    });
  }
  if (trigger === 'wakes') wake(session.id);
  return { type: 'handled' };
}

/** How many of the agent's last messages are looked through: an echo comes at once. */
const ECHO_LOOKBACK = 20;

/** Whether a platform, against its promise, gives the agent's own message back as if a person had written it. */
function isEcho({ files }: SessionHandle, { address, platformMessageId }: ReceivedMessage): boolean {
  return files.deliveries.wasShown(platformMessageId, address, ECHO_LOOKBACK);
}

async function enqueueCommand(
  decision: EngageDecision,
  { text, isForAdmins }: { readonly text: string; readonly isForAdmins: boolean },
  message: ReceivedMessage,
  user: UserId,
  { registry, sessions, now, wake }: InboundPorts,
): Promise<void> {
  const session = await sessions.forKey(decision.sessionKey);
  const row: NewInbound = inboundCommand(message, text);
  if (session.files.message(row.id) === undefined) {
    if (isForAdmins) {
      const entry = { actor: user, action: 'command', target: session.id, outcome: 'given', detail: { command: text } };
      await registry.audit.add({ at: now(), ...entry });
    }
    const destinations = await destinationsOf(session, registry);
    await session.write((files) => {
      files.setRouting({ destinations, replyTo: message.address }, now());
      files.enqueue(row, now());
    });
  }
  wake(session.id);
}

/** Replies to a command that was refused: once, however many agents it was for. */
async function replyRefused(
  message: ReceivedMessage,
  outcomes: readonly RouteOutcome[],
  ports: InboundPorts,
): Promise<void> {
  const refused = outcomes.find((one) => one.type === 'refused');
  if (refused === undefined) return;
  const key = `refused/${inboundId(message.address, message.platformMessageId)}`;
  await reply(message, refused.answer, key, ports);
}

/** Counts a message that every wiring has dropped. */
async function countDropped(
  message: ReceivedMessage,
  outcomes: readonly RouteOutcome[],
  ports: InboundPorts,
): Promise<void> {
  const [dropped] = outcomes.filter((one) => one.type === 'dropped');
  if (dropped === undefined || outcomes.some((one) => one.type !== 'dropped')) return;
  await drop(message, dropped.reason, ports);
}

/**
 * In a chat without a wiring, when the bot is mentioned or the chat is a direct one: the owners are asked, or the default agent
 * is wired to it at once, as the operator has set it for the channel.
 */
async function handleUnwired(
  message: ReceivedMessage,
  user: UserId,
  chat: WiredChat | undefined,
  ports: InboundPorts,
): Promise<void> {
  const isDenied = chat?.messagingGroup.denied === true;
  const isAddressed = message.isMention || message.isDirect;
  if (isDenied || !isAddressed || isStop(message.text)) {
    return drop(message, isDenied ? 'chat-denied' : 'not-wired', ports);
  }
  if (ports.newChats(message.address.channelType) === 'answer') {
    const agent = await ports.defaultAgent();
    if (agent === undefined) return drop(message, 'no-agent', ports);
    await wireChat(message, agent.id, { denied: false, strangers: 'public' }, ports.registry);
    return routeMessage(message, user, ports);
  }
  const notRequested = await requestChatApproval(message, user, ports);
  if (notRequested !== undefined) await drop(message, notRequested, ports);
}

/** Gives the press of a button to the question or the approval that it belongs to. */
async function handlePress(choice: ReceivedChoice, user: UserId, ports: InboundPorts): Promise<void> {
  const { questions, approvals } = ports;
  const answer = (await approvals.press(choice, user)) ?? (await questions.press(choice, user));
  const key = `press/${inboundId(choice.address, choice.platformMessageId)}`;
  if (answer !== undefined) await reply(choice, answer, key, ports);
}

/** Handles a message that answers a card or a question; false when it is neither. */
async function tryAnswer(message: ReceivedMessage, user: UserId, ports: InboundPorts): Promise<boolean> {
  if (message.event !== undefined || message.files.length > 0) return false;
  const text = await ports.approvals.tryTextDecision(message, user);
  if (text === undefined) return ports.questions.tryTextAnswer(message, user);
  await reply(message, text, `press/${inboundId(message.address, message.platformMessageId)}`, ports);
  return true;
}

/** Replies to an event. Rejects when that cannot be sent now, so that it is sent when the event comes again. */
async function reply(
  { address }: ReceivedEvent,
  text: string,
  key: string,
  { messenger }: InboundPorts,
): Promise<void> {
  const result = await messenger.notify(address, text, key);
  if (result.type === 'not-now') throw new Error(`The reply could not be sent: ${result.reason}`);
}

async function drop(message: ReceivedMessage, reason: string, ports: InboundPorts): Promise<void> {
  const { channelType, platformId } = message.address;
  await ports.registry.dropped.count({ channelType, platformId, reason }, ports.now());
  ports.onDropped(message, reason);
}

function filesToStore({ files }: ReceivedMessage) {
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
