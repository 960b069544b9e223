// What a terminal client and the host say to each other over the socket: one JSON object per line. Both ends treat
// the other as untrusted, so lines are bounded and every field is checked. Pure, apart from reading the stream.
import { inexactness } from '@nanoclaw/session-db/protocol';
import { lines as boundedLines, isName } from '@nanoclaw/session-db/text';

export { BrokenLine } from '@nanoclaw/session-db/text';

/** The longest text of one message in either direction, in bytes of UTF-8. */
export const TEXT_BYTES_MAX = 64 * 1024;

/** Files with one message, and the bytes of each, in either direction. */
export const FILES_MAX = 10;
export const FILE_BYTES_MAX = 25 * 1024 * 1024;

/** Bytes of a file in one line, before they are written as base64. */
export const PIECE_BYTES_MAX = 192 * 1024;

/** Choices of one question, and the bytes of each. */
export const CHOICES_MAX = 20;
export const CHOICE_BYTES_MAX = 200;

/** Entries of a history that a client may ask for at once. */
export const HISTORY_MAX = 100;

/** The longest line: JSON writes a control character as six bytes, and 128 KiB hold the rest: choices, names, paths. */
export const LINE_BYTES_MAX = 6 * TEXT_BYTES_MAX + 128 * 1024;

/**
 * What a client says. `hello` comes first, once. Without `after` the client gets only what is sent from now on. A message
 * with files is followed by their bytes, file by file, and by nothing else until the last byte.
 */
export type ClientLine =
  | { type: 'hello'; chat: string; after?: number }
  | { type: 'message'; id: string; text: string; files: readonly DeclaredFile[] }
  | { type: 'bytes'; data: string }
  | { type: 'choice'; id: string; questionId: string; choice: number }
  | { type: 'history'; id: string; limit: number };

/** A file that a client is about to upload. */
export interface DeclaredFile {
  /** A name and no path. */
  name: string;
  /** How many there are. */
  bytes: number;
}

/**
 * What the host says. `welcome` answers `hello`; what has an id is answered by `accepted` or `refused`, a request for
 * the history by `past` lines before that; `error` is the last thing said before the connection ends.
 */
export type ServerLine =
  | { type: 'welcome'; after: number }
  | ({ type: 'message' } & TerminalMessage)
  | { type: 'typing' }
  | { type: 'past'; id: string; entry: TerminalPast }
  | { type: 'accepted'; id: string }
  | { type: 'refused'; id: string; reason: string }
  | { type: 'error'; reason: string };

/** A message to the chat, or a change to one. `terminal:<n>` is the id by which others name it. */
export type TerminalMessage = {
  /** Grows over the chat. */
  n: number;
  /** When it was sent. Epoch milliseconds. */
  timestamp: number;
  /**
   * Of a text or an edit the text, of a question the question, of a reaction the emoji. Untouched: may hold escape
   * sequences, so strip control characters before printing it to a terminal.
   */
  text: string;
  /** The id of the user's message that it answers. */
  inReplyTo?: string;
} & TerminalDetail;

/** What each kind of message has besides. */
export type TerminalDetail =
  | { kind: 'text'; files: readonly TerminalFile[] }
  /** The message with the id `of` now has this text, and no choices. */
  | { kind: 'edit'; of: string }
  | { kind: 'reaction'; to: string }
  | { kind: 'question'; questionId: string; title: string; choices: readonly string[]; expiresAt: number };

/** A file of a message to the chat. */
export interface TerminalFile {
  /** What people see it called. */
  name: string;
  /** How many there are. */
  bytes: number;
  /** The terminal's own copy on this machine; null when it is kept no longer. */
  path: string | null;
}

/** What was said earlier. Of the files that a person sent only the names are kept. */
export type TerminalPast =
  | {
      from: 'person';
      /** Unique in the history; a client that sends a message again uses the same. */
      id: string;
      /** When the server took it, in epoch milliseconds. */
      timestamp: number;
      /** As it was typed; empty only with files. */
      text: string;
      /** Their names, in the order in which they were sent. */
      files: readonly string[];
    }
  | {
      from: 'bot';
      /** As it is now: with its text edited, and the reactions to it. */
      message: TerminalMessage;
    };

/** A line that does not follow the protocol. */
export interface InvalidLine {
  type: 'invalid';
  reason: string;
}

/** An id of the shape `terminal:8` names a message of the bot, so no person's message has one. */
const MESSAGE_ID = /^(?!terminal:)[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;

/** Whether this can be the name of a chat: 1 to 64 letters, digits, dots, dashes and underscores. */
export function isChatName(name: string): boolean {
  return isName('chat', name);
}

/** What the client sent, checked. Length and emptiness of a text are left to the caller, who can name the message. */
export function parseClientLine(line: string): ClientLine | InvalidLine {
  const fields = parsedObject(line);
  if (fields === undefined) return invalidLine('A line is not a JSON object.');
  const inexact = inexactness(line, 'replaced');
  if (inexact !== undefined) return invalidLine(inexact);
  if (fields.type === 'hello') {
    const { chat, after } = fields;
    if (typeof chat !== 'string' || !isChatName(chat)) {
      return invalidLine('A chat name has 1 to 64 letters, digits, dots, dashes or underscores.');
    }
    if (after === undefined) return { type: 'hello', chat };
    if (!isCount(after)) return invalidLine('"after" is the number of the last message seen, 0 or more.');
    return { type: 'hello', chat, after };
  }
  if (fields.type === 'bytes') {
    return typeof fields.data === 'string'
      ? { type: 'bytes', data: fields.data }
      : invalidLine('A piece of a file has data.');
  }
  const { id } = fields;
  if (typeof id !== 'string' || !MESSAGE_ID.test(id)) {
    return invalidLine(
      'An id has 1 to 128 letters, digits, dots, colons, dashes or underscores, and no "terminal:" first.',
    );
  }
  if (fields.type === 'message') {
    const { text } = fields;
    if (typeof text !== 'string') return invalidLine('A message has a text.');
    const files = declaredFiles(fields.files ?? []);
    if (files === undefined) {
      return invalidLine(
        `A message has at most ${FILES_MAX} files of at most ${FILE_BYTES_MAX} bytes, with a name and no path.`,
      );
    }
    // Half of a surrogate pair cannot be stored as UTF-8; left in, a resent message would differ from its first copy.
    return { type: 'message', id, text: text.toWellFormed(), files };
  }
  if (fields.type === 'choice') {
    const { questionId, choice } = fields;
    if (typeof questionId !== 'string' || !isCount(choice))
      return invalidLine('A choice names a question and a number.');
    return { type: 'choice', id, questionId, choice };
  }
  if (fields.type === 'history') {
    const { limit } = fields;
    if (!isCount(limit) || limit > HISTORY_MAX) return invalidLine(`"limit" is at most ${HISTORY_MAX}.`);
    return { type: 'history', id, limit };
  }
  return invalidLine('A line has the type "hello", "message", "bytes", "choice" or "history".');
}

/** `undefined` when they are more, larger or otherwise named than files may be. */
function declaredFiles(value: unknown): DeclaredFile[] | undefined {
  if (!Array.isArray(value) || value.length > FILES_MAX) return undefined;
  const files: DeclaredFile[] = [];
  for (const file of value) {
    if (!isObject(file)) return undefined;
    const { name, bytes } = file;
    if (typeof name !== 'string' || !isName('file', name.toWellFormed())) return undefined;
    if (!isCount(bytes) || bytes > FILE_BYTES_MAX) return undefined;
    files.push({ name: name.toWellFormed(), bytes });
  }
  return files;
}

/** The bytes of a piece; `undefined` when they are not base64, none, or more than a piece has. */
export function decodePiece(data: string): Buffer | undefined {
  const piece = Buffer.from(data, 'base64');
  const isWhole = piece.length > 0 && piece.length <= PIECE_BYTES_MAX && piece.toString('base64') === data;
  return isWhole ? piece : undefined;
}

/** What the host sent, checked. */
export function parseServerLine(line: string): ServerLine | InvalidLine {
  const fields = parsedObject(line);
  if (fields === undefined) return invalidLine('A line is not a JSON object.');
  const { type, after, id, reason } = fields;
  if (type === 'welcome' && isCount(after)) return { type, after };
  if (type === 'message') {
    const message = terminalMessage(fields);
    if (message !== undefined) return { type, ...message };
  }
  if (type === 'typing') return { type };
  if (type === 'past' && typeof id === 'string') {
    const entry = pastEntry(fields.entry);
    if (entry !== undefined) return { type, id, entry };
  }
  if (type === 'accepted' && typeof id === 'string') return { type, id };
  if (type === 'refused' && typeof id === 'string' && typeof reason === 'string') return { type, id, reason };
  if (type === 'error' && typeof reason === 'string') return { type, reason };
  return invalidLine('A line is of no known type, or a field is missing.');
}

function terminalMessage(fields: Record<string, unknown>): TerminalMessage | undefined {
  const { n, timestamp, text, inReplyTo } = fields;
  const detail = terminalDetail(fields);
  if (detail === undefined || !isCount(n) || !isCount(timestamp) || typeof text !== 'string') return undefined;
  if (inReplyTo === undefined) return { n, timestamp, text, ...detail };
  return typeof inReplyTo === 'string' ? { n, timestamp, text, inReplyTo, ...detail } : undefined;
}

function terminalDetail(fields: Record<string, unknown>): TerminalDetail | undefined {
  const { kind, files, of, to, questionId, title, choices, expiresAt } = fields;
  if (kind === 'text' && Array.isArray(files)) {
    const known = files.filter(isTerminalFile);
    return known.length === files.length ? { kind, files: known } : undefined;
  }
  if (kind === 'edit' && typeof of === 'string') return { kind, of };
  if (kind === 'reaction' && typeof to === 'string') return { kind, to };
  if (kind !== 'question' || typeof questionId !== 'string' || typeof title !== 'string') return undefined;
  return areStrings(choices) && isCount(expiresAt) ? { kind, questionId, title, choices, expiresAt } : undefined;
}

function isTerminalFile(value: unknown): value is TerminalFile {
  if (!isObject(value) || typeof value.name !== 'string' || !isCount(value.bytes)) return false;
  return value.path === null || typeof value.path === 'string';
}

function pastEntry(value: unknown): TerminalPast | undefined {
  if (!isObject(value)) return undefined;
  if (value.from === 'bot') {
    const message = isObject(value.message) ? terminalMessage(value.message) : undefined;
    return message === undefined ? undefined : { from: 'bot', message };
  }
  const { from, id, timestamp, text, files } = value;
  const isWhole = from === 'person' && typeof id === 'string' && isCount(timestamp) && typeof text === 'string';
  return isWhole && areStrings(files) ? { from, id, timestamp, text, files } : undefined;
}

function areStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

/** One line, ready to be written. */
export function encodeLine(line: ClientLine | ServerLine): string {
  return `${JSON.stringify(line)}\n`;
}

/** The lines of a stream, each at most as long as a line may be: `lines` of session-db, with that limit. */
export function lines(stream: AsyncIterable<Buffer>): AsyncGenerator<string, void> {
  return boundedLines(stream, LINE_BYTES_MAX);
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

function invalidLine(reason: string): InvalidLine {
  return { type: 'invalid', reason };
}
