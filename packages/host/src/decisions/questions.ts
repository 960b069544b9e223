/**
 * Questions that agents ask people. The question is a row of the registry, so that every answer, however late and however
 * often it comes, is judged by what the host wrote down. The answer goes into the very session that asked.
 */
import type { ReceivedChoice, ReceivedMessage } from '@nanoclaw/channels';
import {
  admission,
  isId,
  isOpen,
  mayAnswer,
  type Question,
  type QuestionId,
  type Registry,
  RegistryError,
  type SessionId,
  standing,
  type UserId,
} from '@nanoclaw/registry';
import type { Address, Millis, NewInbound, OutboundMessage } from '@nanoclaw/session-db';
import { questionOf } from '../channels/index.ts';
import { answeredMessage, authorOf, inboundId, type SessionHandle, type Sessions } from '../session/index.ts';

/** What questions need. */
export interface QuestionsOptions {
  /** Keeps questions and answers, and says who may answer. */
  readonly registry: Registry;
  /** Finds the session that asked. */
  readonly sessions: Pick<Sessions, 'forKey'>;
  /** Wall-clock milliseconds. */
  readonly now: () => Millis;
  /** Called for a session that has something new to do. Must not throw. */
  readonly wake: (sessionId: string) => void;
}

/** How many questions of one session may be open (SECURITY.md, rule 5). */
const OPEN_MAX = 5;
/** How long a question is open that names no time, and how long any may be, in milliseconds. */
const OPEN_MS = 300_000;
const OPEN_MAX_MS = 7 * 86_400_000;
/** Ended questions that one pass of the upkeep looks at. */
const BATCH = 100;

/** The questions of a host, from the agent's row to the answer in its session. */
export class Questions {
  readonly #options: QuestionsOptions;
  /** Questions whose answer is being written just now: a second answer is sent again and finds them answered. */
  readonly #inAnswer = new Set<QuestionId>();

  constructor(options: QuestionsOptions) {
    this.#options = options;
  }

  /**
   * Writes down that a session asks a question at an address. The same message again is the same question. `refused` is
   * one sentence for the agent.
   */
  async open(
    session: SessionHandle,
    message: OutboundMessage,
    address: Address,
  ): Promise<{ readonly questionId: string } | { readonly refused: string }> {
    const asked = questionOf(message.content);
    if (asked === undefined || !isId<SessionId>(session.id)) return { refused: 'The question has no text or choices.' };
    const cause = answeredMessage(session.files, message);
    const person = cause?.address?.channelType === address.channelType ? authorOf(cause) : undefined;
    // The upkeep comes once a minute; till then those that are over would be counted among the open ones.
    await this.#options.registry.questions.expire(this.#options.now());
    try {
      const question = await this.#options.registry.questions.open(
        {
          sessionId: session.id,
          messageId: message.id,
          place: address,
          title: asked.title,
          question: asked.question,
          options: asked.choices,
          askedOf: person ?? null,
          expiresAt: openUntil(asked.expiresAt, this.#options.now()),
        },
        { openMax: OPEN_MAX },
      );
      if (question !== undefined) return { questionId: question.id };
      return { refused: `${OPEN_MAX} questions are open already. Wait for an answer before asking another.` };
    } catch (error) {
      if (error instanceof RegistryError && error.code === 'invalid') return { refused: error.message };
      throw error;
    }
  }

  /**
   * Handles the press of a button. Gives the reply to the person; `undefined`: the answer was passed on, which needs none.
   * Rejects when the platform is to send it again.
   */
  async press(choice: ReceivedChoice, user: UserId): Promise<string | undefined> {
    const { registry } = this.#options;
    const question = isId<QuestionId>(choice.questionId) ? await registry.questions.get(choice.questionId) : undefined;
    const isThere = question !== undefined && isSamePlace(question, choice.address);
    const option = question?.options[choice.choice];
    if (!isThere || option === undefined) return 'This question is no longer open. Write to the agent instead.';
    if (!(await this.#mayAnswer(question, user)))
      return 'This question is for another person; your answer was not passed on.';
    return this.#answer(question, choice.choice, { event: choice, user, id: `answer/${question.id}` });
  }

  /**
   * Handles a message that is exactly the number or the wording of a choice of the one question open in its chat. False:
   * it is an ordinary message. Rejects when the platform is to send it again.
   */
  async tryTextAnswer(message: ReceivedMessage, user: UserId): Promise<boolean> {
    const { registry, now } = this.#options;
    const [question, another] = await registry.questions.openAt(message.address, now());
    if (question === undefined || another !== undefined) return false;
    const option = choiceOf(message.text, question.options);
    if (option === undefined) return false;
    if (!(await this.#mayAnswer(question, user))) return false;
    // Under its own id, so that the session knows it again when the platform repeats it after the question has closed.
    const id = inboundId(message.address, message.platformMessageId);
    await this.#answer(question, option, { event: message, user, id });
    return true;
  }

  /** Expires the questions whose time is over. */
  async expire(now: Millis): Promise<void> {
    const { questions } = this.#options.registry;
    await questions.expire(now);
    // An answer is in its session before the question is answered, and the asking tool knows its own timeout.
    for (const { id } of await questions.pendingNotifications(BATCH)) await questions.markNotified(id);
  }

  async #answer(question: Question, option: number, answer: GivenAnswer): Promise<string | undefined> {
    if (this.#inAnswer.has(question.id))
      throw new Error('The question is being answered just now; send the answer again.');
    this.#inAnswer.add(question.id);
    try {
      const current = await this.#options.registry.questions.get(question.id);
      return await this.#recordAnswer(current ?? question, option, answer);
    } finally {
      this.#inAnswer.delete(question.id);
    }
  }

  /**
   * The answer goes into the session first: a host that dies in between finds the question open and the answer written
   * when the platform repeats it.
   */
  async #recordAnswer(
    question: Question,
    option: number,
    { event, user, id }: GivenAnswer,
  ): Promise<string | undefined> {
    const { registry, sessions, now, wake } = this.#options;
    const at = now();
    if (!isOpen(question, at)) return lateReplyText(question, option, user);
    const asking = await registry.session(question.sessionId);
    if (asking === undefined) return 'The conversation that asked was deleted; your answer was not passed on.';
    const session = await sessions.forKey(asking.key);
    const message = answerMessage(question, option, event, id);
    if (isAnsweredOtherwise(session, message)) return ANSWERED;
    if (session.files.message(id) === undefined) await session.write((files) => files.enqueue(message, at));
    wake(session.id);
    await registry.questions.answer(question.id, { option, by: user, at });
    await registry.questions.markNotified(question.id);
    return undefined;
  }

  async #mayAnswer({ askedOf, sessionId, place }: Question, user: UserId): Promise<boolean> {
    const { registry } = this.#options;
    const session = await registry.session(sessionId);
    if (session === undefined) return false;
    const { agentGroupId } = session.key;
    const of = standing(await registry.people.person(user), agentGroupId);
    if (!mayAnswer(user, of, askedOf)) return false;
    if (askedOf !== null) return true;
    const chat = await registry.wiringsFor(place.channelType, place.platformId);
    const wired = chat?.wirings.find(({ agentGroup }) => agentGroup.id === agentGroupId);
    if (chat === undefined || wired === undefined) return of !== 'stranger';
    return admission(of, chat.messagingGroup.strangers, wired.wiring.senderScope) === 'admit';
  }
}

/** An answer as it was given; `id` is its id in the session. */
interface GivenAnswer {
  readonly event: ReceivedChoice | ReceivedMessage;
  readonly user: UserId;
  readonly id: string;
}

const ANSWERED = 'This question was already answered.';

/** Until when a question is open, in wall-clock milliseconds: as the agent asked for, within the limits. Pure. */
export function openUntil(requested: Millis | undefined, now: Millis): Millis {
  return Math.min(requested ?? now + OPEN_MS, now + OPEN_MAX_MS);
}

/** Which choice a text is: by its number, from 1, or by its exact wording; `undefined` when it is neither. Pure. */
export function choiceOf(text: string, options: readonly string[]): number | undefined {
  const word = text.trim();
  const worded = options.findIndex((option) => option.trim() === word);
  if (worded !== -1) return worded;
  const number = /^[1-9]\d?$/.test(word) ? Number(word) : 0;
  return number >= 1 && number <= options.length ? number - 1 : undefined;
}

function lateReplyText({ outcome }: Question, option: number, user: UserId): string | undefined {
  if (outcome?.type !== 'answered') return 'This question has expired. Write to the agent instead.';
  // The same press again is the platform repeating itself.
  return outcome.by === user && outcome.option === option ? undefined : ANSWERED;
}

function answerMessage(question: Question, option: number, event: GivenAnswer['event'], id: string): NewInbound {
  return {
    id,
    kind: 'chat',
    timestamp: event.timestamp,
    trigger: 'wakes',
    address: event.address,
    inReplyTo: question.messageId,
    content: { text: question.options[option] ?? '', sender: { id: event.sender.id, name: event.sender.name } },
  };
}

/** Whether the session has another answer under this id, which a crash kept from being recorded in the registry. */
function isAnsweredOtherwise(session: SessionHandle, answer: NewInbound): boolean {
  const written = session.files.received(answer.id);
  return written !== undefined && written.content['text'] !== answer.content['text'];
}

function isSamePlace({ place }: Question, { channelType, platformId }: Address): boolean {
  return place.channelType === channelType && place.platformId === platformId;
}
