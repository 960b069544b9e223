/**
 * How an outbound message is shown: as the channel's own kind where it has one, else as text, split by its limits. The
 * content is what an agent wrote, so every field is checked. Pure.
 */
import {
  type Address,
  type Channel,
  type OutgoingMessage,
  refusal,
  type TextLimit,
  type TextMessage,
  textLength,
} from '@nanoclaw/channels';
import { type Body, splitMessage } from '@nanoclaw/delivery';
import type { Json, JsonObject } from '@nanoclaw/session-db';
import { choicesProblem, oneLine } from '@nanoclaw/session-db/text';

/** How a message is to be shown on a channel. */
export type Showing =
  /** As it stands: a kind that the channel has. `target` is the number of the earlier message that it is about. */
  | { readonly type: 'whole'; readonly target?: number }
  /** As texts, each with the files that go with it. */
  | { readonly type: 'parts'; readonly parts: Iterable<JsonObject> }
  | { readonly type: 'impossible'; readonly reason: string };

type Shows = Pick<Channel, 'type' | 'limits' | 'shows'>;

/** Decides how a message's content is shown at an address of a channel. */
export function showing(content: JsonObject, channel: Shows, address: Address): Showing {
  const own = ownKind(content, HANDLE_OF_ANY);
  if (content['operation'] !== undefined && own === undefined) return NOTHING_TO_SHOW;
  if (own !== undefined && refusal(channel, address, own) === undefined) {
    return own.kind === 'edit' || own.kind === 'reaction'
      ? { type: 'whole', target: Number(content['messageId']) }
      : { type: 'whole' };
  }
  const files = channel.shows.has('files') ? fileNames(content) : [];
  const text = files.length > 0 ? (textOf(content, 'text') ?? '') : asText(content);
  if (text === undefined) return NOTHING_TO_SHOW;
  const limits = files.length > 0 ? { ...channel.limits, text: withRoom(channel.limits.text) } : channel.limits;
  const split = splitMessage({ text, files, buttons: [] }, limits);
  if (split.type === 'impossible') return split;
  // A question that is shown as text is still one: it has to be opened when it is sent.
  return { type: 'parts', parts: contents(split.parts, own?.kind === 'question' ? content : {}) };
}

/** Each part as it is stored, made when it is asked for. */
function* contents(parts: Iterable<Body<string, never>>, base: JsonObject): Generator<JsonObject, void> {
  for (const { text, files } of parts) yield { ...base, text, ...(files.length === 0 ? {} : { files }) };
}

const NOTHING_TO_SHOW: Showing = { type: 'impossible', reason: 'The message has nothing that can be shown.' };

/** As long as the ids of questions are, to know before there is one whether a channel's buttons can carry it. */
const HANDLE_OF_ANY = '0'.repeat(36);

/**
 * The content as a kind other than text; `undefined` for text, and for what is not well-formed. `handle` is the platform's
 * id of the message that is edited or reacted to, or the host's id of the question.
 */
export function ownKind(content: JsonObject, handle: string): Exclude<OutgoingMessage, TextMessage> | undefined {
  switch (content['operation']) {
    case 'edit': {
      const text = textOf(content, 'text');
      if (text === undefined || !isNumber(content['messageId'])) return undefined;
      return { kind: 'edit', platformMessageId: handle, text };
    }
    case 'reaction': {
      const emoji = textOf(content, 'emoji');
      if (emoji === undefined || !isNumber(content['messageId'])) return undefined;
      return { kind: 'reaction', platformMessageId: handle, emoji };
    }
    case 'ask_question': {
      const question = questionOf(content);
      if (question === undefined) return undefined;
      const { title, question: asked, choices, expiresAt } = question;
      return { kind: 'question', questionId: handle, title, question: asked, choices, expiresAt: expiresAt ?? 0 };
    }
    case 'card': {
      const { card } = content;
      if (!isObject(card)) return undefined;
      return { kind: 'card', card, fallbackText: asText(content) ?? '' };
    }
    default:
      return undefined;
  }
}

/** A question as an agent asks it. */
export interface AskedQuestion {
  readonly title: string;
  readonly question: string;
  readonly choices: readonly string[];
  /** `undefined`: the agent named no time. */
  readonly expiresAt: number | undefined;
}

/** The question in a content; `undefined` when it holds no well-formed one. */
export function questionOf(content: JsonObject): AskedQuestion | undefined {
  if (content['operation'] !== 'ask_question') return undefined;
  const question = textOf(content, 'question');
  const options = list(content['options']);
  const choices = options.filter((option) => typeof option === 'string').map((option) => option.trim());
  if (question === undefined || choices.length !== options.length || choicesProblem(choices) !== undefined)
    return undefined;
  const { expiresAt } = content;
  return {
    title: textOf(content, 'title') ?? '',
    question,
    choices,
    expiresAt: typeof expiresAt === 'number' && Number.isFinite(expiresAt) ? expiresAt : undefined,
  };
}

/** The text that stands for a message where only text can be shown; `undefined` when it has nothing to show. */
export function asText(content: JsonObject): string | undefined {
  switch (content['operation']) {
    case undefined:
      return plain(content);
    case 'edit':
      return joined(`(message ${numberOf(content)}, corrected)`, textOf(content, 'text'));
    case 'reaction':
      return joined(textOf(content, 'emoji'), `(to message ${numberOf(content)})`);
    case 'ask_question':
      return questionText(content);
    case 'card':
      return textOf(content, 'fallbackText') ?? JSON.stringify(content['card'] ?? null, null, 2);
    default:
      return undefined;
  }
}

/** The names of the files that a message brings. */
export function fileNames(content: JsonObject): string[] {
  return list(content['files']).map(nameOf);
}

/** A text with a line for each file that could not go with it, as many as there is room for. */
export function withRefusals(
  text: string,
  refused: readonly { readonly name: string; readonly reason: string }[],
  limit: TextLimit,
): string {
  if (refused.length === 0) return text;
  const lines = refused.map(
    ({ name, reason }) => `(The file ${oneLine(name, SAID_MAX)} was not sent: ${oneLine(reason, SAID_MAX)})`,
  );
  const whole = [text, ...lines].filter(Boolean).join('\n');
  if (textLength(whole, limit.unit) <= limit.max) return whole;
  const short = [text, `(Files that were not sent: ${refused.length})`].filter(Boolean).join('\n');
  return textLength(short, limit.unit) <= limit.max ? short : text;
}

/** Of the name of a file, and of the reason why it was not sent. */
const SAID_MAX = 200;

/** What a text beside files leaves free, for a word about those that cannot go with it. */
const REFUSALS_ROOM = 600;

function withRoom({ max, unit }: TextLimit): TextLimit {
  return { max: Math.max(Math.ceil(max / 2), max - REFUSALS_ROOM), unit };
}

function plain(content: JsonObject): string | undefined {
  const text = textOf(content, 'text');
  const names = fileNames(content).map((name) => `(A file that cannot be shown here: ${oneLine(name, SAID_MAX)})`);
  const lines = [...(text === undefined ? [] : [text]), ...names];
  return lines.length === 0 ? undefined : lines.join('\n');
}

function questionText(content: JsonObject): string {
  const choices = list(content['options']).map((option, i) => `  ${i + 1}. ${String(option)}`);
  return [textOf(content, 'title'), textOf(content, 'question'), ...choices].filter(Boolean).join('\n');
}

function joined(...parts: readonly (string | undefined)[]): string | undefined {
  return parts.includes(undefined) ? undefined : parts.join(' ');
}

function numberOf(content: JsonObject): string {
  return oneLine(String(content['messageId']), 20);
}

function isNumber(value: Json | undefined): boolean {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0;
}

function nameOf(file: Json): string {
  const name = isObject(file) ? file['name'] : file;
  return typeof name === 'string' ? name : JSON.stringify(name ?? null);
}

function textOf(content: JsonObject, key: string): string | undefined {
  const value = content[key];
  return typeof value === 'string' && value.trim() !== '' ? value : undefined;
}

function list(value: Json | undefined): readonly Json[] {
  return isArray(value) ? value : [];
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !isArray(value);
}

function isArray(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}
