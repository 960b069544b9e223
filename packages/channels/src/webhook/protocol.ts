// What programs say to the webhook channel, checked. Pure. Every field is known and bounded: what is not known is refused,
// so that no message of the bot can be sent back as one of a program.
import { boundedJson, inexactness } from '@nanoclaw/session-db/protocol';
import { cut, isName } from '@nanoclaw/session-db/text';
import type { Json, OutsideEvent } from '../channel.ts';

/** The longest text, in bytes of UTF-8. */
export const TEXT_BYTES_MAX = 64 * 1024;

/** Files with one message, and the bytes of each: they come within the body. */
export const FILES_MAX = 4;
export const FILE_BYTES_MAX = 256 * 1024;

/** The longest body of a request: four files as base64, a text in which everything is escaped, and an event. */
export const BODY_BYTES_MAX = 2 * 1024 * 1024;

/** Lists and objects within each other, and values in all: more has no sense, and breaks programs that walk through it. */
const JSON_LIMITS = { depthMax: 32, valuesMax: 20_000 } as const;

/** A message of a program. The optional fields are left out where it said nothing. */
export interface WebhookMessage {
  id: string;
  text: string;
  files: readonly WebhookFile[];
  sender?: { id: string; name: string };
  thread?: string;
  event?: OutsideEvent;
  choice?: { questionId: string; choice: number };
}

/** A file within a message; `data` is base64. */
export interface WebhookFile {
  name: string;
  mediaType?: string;
  data: string;
}

/** What is wrong with a message, in one sentence for the author of the program. */
export interface WebhookProblem {
  problem: string;
}

/** An id of the shape `webhook:8` names a message of the bot. */
const ID = /^(?!webhook:)[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$/;
const LABEL_MAX = 128;

/** The message in the body of a request. */
export function parseWebhookMessage(body: string): WebhookMessage | WebhookProblem {
  const parsed = boundedJson(body, JSON_LIMITS);
  if (parsed.type === 'too-deep') return { problem: `The body is nested more than ${JSON_LIMITS.depthMax} deep.` };
  if (parsed.type === 'too-many-values') return { problem: `The body has more than ${JSON_LIMITS.valuesMax} values.` };
  if (parsed.type === 'not-json' || !isObject(parsed.value)) return { problem: 'The body is not a JSON object.' };
  const inexact = inexactness(body);
  if (inexact !== undefined) return { problem: inexact };
  const fields = parsed.value;
  const unknown = Object.keys(fields).find((field) => !FIELDS.has(field));
  if (unknown !== undefined) return { problem: `The field ${JSON.stringify(cut(unknown, 64))} is not known.` };
  const problem = Object.entries(CHECKS).find(
    ([field, { isRight }]) => fields[field] !== undefined && !isRight(fields[field]),
  );
  if (problem !== undefined) return { problem: `"${problem[0]}" ${problem[1].is}` };
  return whole(fields);
}

/** The message, once each of its fields is right by itself. */
function whole({ id, text, files, sender, thread, event, choice }: Fields): WebhookMessage | WebhookProblem {
  if (!isId(id)) return { problem: `"id" ${CHECKS.id.is}` };
  const message: WebhookMessage = {
    id,
    text: isText(text) ? text : '',
    files: areFiles(files) ? files.map(plainFile) : [],
    ...(isSender(sender) ? { sender: { id: sender.id, name: sender.name ?? sender.id } } : {}),
    ...(isLabel(thread) ? { thread } : {}),
    ...(isEvent(event) ? { event: { source: event.source, event: event.event, payload: event.payload } } : {}),
    ...(isChoice(choice) ? { choice: { questionId: choice.questionId, choice: choice.choice } } : {}),
  };
  const says = message.text.trim() !== '' || message.files.length > 0 || message.event !== undefined;
  if (message.choice === undefined)
    return says ? message : { problem: 'A message has a text, files, an event or a choice.' };
  return says ? { problem: 'A choice stands alone, without text, files and event.' } : message;
}

type Fields = Partial<Record<keyof WebhookMessage, unknown>>;

interface Check {
  isRight: (value: unknown) => boolean;
  /** The rest of the sentence that begins with the field. */
  is: string;
}

const CHECKS = {
  id: { isRight: isId, is: 'is 1 to 128 letters, digits and ._:/- , and does not begin with "webhook:".' },
  text: { isRight: isText, is: `is a text of at most ${TEXT_BYTES_MAX} bytes.` },
  files: {
    isRight: areFiles,
    is: `is a list of at most ${FILES_MAX} files, each with a name, data in base64 of at most ${FILE_BYTES_MAX} bytes, and perhaps a mediaType.`,
  },
  sender: { isRight: isSender, is: `has an id and perhaps a name, of 1 to ${LABEL_MAX} characters each.` },
  thread: { isRight: isLabel, is: `is a name of 1 to ${LABEL_MAX} characters without control characters.` },
  event: { isRight: isEvent, is: 'has a source and an event, which are names, and a payload.' },
  choice: { isRight: isChoice, is: 'has a questionId and a choice, which is 0 for the first.' },
} as const satisfies Record<keyof WebhookMessage, Check>;

const FIELDS: ReadonlySet<string> = new Set(Object.keys(CHECKS));

function isId(value: unknown): value is string {
  return typeof value === 'string' && ID.test(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && Buffer.byteLength(value) <= TEXT_BYTES_MAX;
}

function isLabel(value: unknown): value is string {
  return typeof value === 'string' && value.length >= 1 && value.length <= LABEL_MAX && !/\p{Cc}|\p{Cs}/u.test(value);
}

function isSender(value: unknown): value is { id: string; name?: string } {
  if (!isObject(value) || !isLabel(value.id)) return false;
  return hasOnly(value, ['id', 'name']) && (value.name === undefined || isLabel(value.name));
}

function isEvent(value: unknown): value is OutsideEvent {
  if (!isObject(value) || !hasOnly(value, ['source', 'event', 'payload'])) return false;
  return isLabel(value.source) && isLabel(value.event) && value.payload !== undefined;
}

function isChoice(value: unknown): value is { questionId: string; choice: number } {
  if (!isObject(value) || !hasOnly(value, ['questionId', 'choice'])) return false;
  const { questionId, choice } = value;
  return isLabel(questionId) && typeof choice === 'number' && Number.isSafeInteger(choice) && choice >= 0;
}

function areFiles(value: unknown): value is WebhookFile[] {
  return Array.isArray(value) && value.length <= FILES_MAX && value.every(isFile);
}

function isFile(value: unknown): value is WebhookFile {
  if (!isObject(value) || !hasOnly(value, ['name', 'mediaType', 'data'])) return false;
  const { name, mediaType, data } = value;
  if (typeof name !== 'string' || !isName('file', name)) return false;
  if (mediaType !== undefined && !isLabel(mediaType)) return false;
  if (typeof data !== 'string') return false;
  const bytes = Buffer.from(data, 'base64');
  return bytes.length <= FILE_BYTES_MAX && bytes.toString('base64') === data;
}

function plainFile({ name, mediaType, data }: WebhookFile): WebhookFile {
  return { name, ...(mediaType === undefined ? {} : { mediaType }), data };
}

function hasOnly(value: Record<string, unknown>, fields: readonly string[]): boolean {
  return Object.keys(value).every((field) => fields.includes(field));
}

function isObject(value: unknown): value is Record<string, Json> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
