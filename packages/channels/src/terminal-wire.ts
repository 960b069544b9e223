// What a terminal client and the host say to each other over the socket: one JSON object per line. Both ends treat
// the other as untrusted, so lines are bounded and every field is checked. Pure, apart from reading the stream.
import { TextDecoder } from 'node:util';

/** The longest text of one message in either direction, in bytes of UTF-8. */
export const TEXT_MAX_BYTES = 64 * 1024;

/** The longest line: JSON writes a control character as six bytes, and 1 KiB holds the rest of the object. */
export const LINE_MAX_BYTES = 6 * TEXT_MAX_BYTES + 1024;

/** What a client says. `hello` comes first, once. Without `after` the client gets only what is sent from now on. */
export type ClientLine =
  | { type: 'hello'; chat: string; after?: number }
  | { type: 'message'; id: string; text: string };

/** What the host says. `welcome` answers `hello`; `error` is the last thing said before the connection ends. */
export type ServerLine =
  | { type: 'welcome'; after: number }
  | { type: 'message'; n: number; timestamp: number; text: string; inReplyTo?: string }
  | { type: 'accepted'; id: string }
  | { type: 'refused'; id: string; reason: string }
  | { type: 'error'; reason: string };

/** A line that does not follow the protocol. */
export interface Garbage {
  type: 'garbage';
  reason: string;
}

const CHAT_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const MESSAGE_ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;

/** Whether this can be the name of a chat: 1 to 64 letters, digits, dots, dashes and underscores. */
export function isChatName(name: string): boolean {
  return CHAT_NAME.test(name);
}

/** What the client said, checked. Length and emptiness of a text are left to the caller, who can name the message. */
export function parseClientLine(line: string): ClientLine | Garbage {
  const said = parsedObject(line);
  if (said === undefined) return garbage('A line is not a JSON object.');
  if (said.type === 'hello') {
    const { chat, after } = said;
    if (typeof chat !== 'string' || !isChatName(chat)) {
      return garbage('A chat name has 1 to 64 letters, digits, dots, dashes or underscores.');
    }
    if (after === undefined) return { type: 'hello', chat };
    if (!isCount(after)) return garbage('"after" is the number of the last message seen, 0 or more.');
    return { type: 'hello', chat, after };
  }
  if (said.type === 'message') {
    const { id, text } = said;
    if (typeof id !== 'string' || !MESSAGE_ID.test(id)) {
      return garbage('A message id has 1 to 128 letters, digits, dots, colons, dashes or underscores.');
    }
    if (typeof text !== 'string') return garbage('A message has a text.');
    // Half of a surrogate pair cannot be stored as UTF-8; left in, a resent message would differ from its first copy.
    return { type: 'message', id, text: text.toWellFormed() };
  }
  return garbage('A line has the type "hello" or "message".');
}

/** What the host said, checked. */
export function parseServerLine(line: string): ServerLine | Garbage {
  const said = parsedObject(line);
  if (said === undefined) return garbage('A line is not a JSON object.');
  const { type, after, n, timestamp, text, inReplyTo, id, reason } = said;
  if (type === 'welcome' && isCount(after)) return { type, after };
  if (type === 'message' && isCount(n) && isCount(timestamp) && typeof text === 'string') {
    if (inReplyTo === undefined) return { type, n, timestamp, text };
    if (typeof inReplyTo === 'string') return { type, n, timestamp, text, inReplyTo };
  }
  if (type === 'accepted' && typeof id === 'string') return { type, id };
  if (type === 'refused' && typeof id === 'string' && typeof reason === 'string') return { type, id, reason };
  if (type === 'error' && typeof reason === 'string') return { type, reason };
  return garbage('A line is of no known type, or a field is missing.');
}

/** One line, ready to be written. */
export function lineOf(said: ClientLine | ServerLine): string {
  return `${JSON.stringify(said)}\n`;
}

/** The other end sent more than a line may hold, or bytes that are not UTF-8. */
export class BrokenLine extends Error {
  override readonly name = 'BrokenLine';
}

/**
 * The lines of a stream. Reads on only when the next line is asked for, so a slow reader slows the writer down, and
 * never holds more than one line and one chunk. Throws `BrokenLine`, and what the stream throws. An unfinished last
 * line is dropped: its writer died in the middle of it.
 */
export async function* lines(stream: AsyncIterable<Buffer>): AsyncGenerator<string, void> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let parts: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream) {
    let start = 0;
    for (let end = chunk.indexOf(0x0a); end !== -1; end = chunk.indexOf(0x0a, start)) {
      const line = Buffer.concat([...parts, chunk.subarray(start, end)]);
      if (line.length > LINE_MAX_BYTES) throw tooLong();
      parts = [];
      length = 0;
      start = end + 1;
      yield decoded(decoder, line);
    }
    const rest = chunk.subarray(start);
    length += rest.length;
    if (length > LINE_MAX_BYTES) throw tooLong();
    if (rest.length > 0) parts.push(rest);
  }
}

function decoded(decoder: TextDecoder, line: Buffer): string {
  try {
    return decoder.decode(line);
  } catch (error) {
    throw new BrokenLine('A line is not UTF-8.', { cause: error });
  }
}

function tooLong(): BrokenLine {
  return new BrokenLine(`A line is longer than ${LINE_MAX_BYTES} bytes.`);
}

/** `undefined` for anything but a JSON object. */
function parsedObject(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined; // not JSON: the caller says so to the other end
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function garbage(reason: string): Garbage {
  return { type: 'garbage', reason };
}
