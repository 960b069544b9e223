/**
 * What the rows of `inbound.db` say, as checked values. The host writes them, but their texts come from strangers and
 * from other programs: what does not fit is `unreadable` and fails alone, never its neighbours.
 */
import type { InboundMessage, Json, JsonObject } from '@nanoclaw/session-db';

/** The content of one message, checked. */
export type Content =
  | {
      readonly type: 'chat';
      /** What was written; may be empty with attachments. */
      readonly text: string;
      /** Who wrote it, as the channel says; `undefined`: it does not say. */
      readonly sender: Sender | undefined;
      /** The earlier message that it answers. */
      readonly quote: Quote | undefined;
      /** The files that came with it, by name. */
      readonly attachments: readonly Attachment[];
    }
  | {
      readonly type: 'task';
      /** What the agent is to do. */
      readonly prompt: string;
      /** The program that runs before the turn, for `bash`; `undefined`: none. */
      readonly script: string | undefined;
      /** What the script printed, once it has run. */
      readonly data?: Json;
    }
  | {
      readonly type: 'webhook';
      /** Who sent it: the name of the program. */
      readonly source: string;
      /** What has happened, in the sender's words. */
      readonly event: string;
      /** What came with it, as indented JSON. */
      readonly payload: string;
    }
  /** What came of a request to the host. */
  | {
      readonly type: 'result';
      /** The action that was asked for. */
      readonly action: string;
      /** Whether the host did it. */
      readonly status: 'ok' | 'error';
      /** For the agent to read. */
      readonly text: string;
    }
  | {
      readonly type: 'command';
      /** What is to be done with the session, instead of a turn. */
      readonly command: Command;
    };

export interface Sender {
  /** The platform's stable handle. */
  readonly id: string | undefined;
  readonly name: string;
}

/** The message that a message replies to. */
export interface Quote {
  readonly sender: string | undefined;
  readonly text: string;
}

/** A file in the message's own folder under `inbound/files`. */
export interface Attachment {
  readonly name: string;
  readonly mimeType: string | undefined;
}

/** The words that are commands, exactly as they stand here. */
export const COMMANDS = ['/clear', '/stop', '/compact', '/context', '/cost', '/files'] as const;
export type Command = (typeof COMMANDS)[number];

/** What no row may hold, for whoever wrote it; one sentence. */
export interface Unreadable {
  readonly type: 'unreadable';
  readonly reason: string;
}

/** Levels of JSON that a payload may have; deeper ones overflow the stack of whoever prints them. */
const PAYLOAD_DEPTH_MAX = 64;

/** Reads a message's content, or says in one sentence why it cannot be read. */
export function readContent(message: Pick<InboundMessage, 'kind' | 'content'>): Content | Unreadable {
  const { content } = message;
  switch (message.kind) {
    case 'chat':
    case 'chat-sdk':
      return readChat(content);
    case 'task':
      return readTask(content);
    case 'webhook':
      return readWebhook(content);
    case 'system':
      return readResult(content);
    case 'command': {
      const command = COMMANDS.find((known) => known === content['text']);
      return command === undefined
        ? unreadable(`Its text is none of the commands ${COMMANDS.join(', ')}.`)
        : { type: 'command', command };
    }
  }
}

function readChat(content: JsonObject): Content | Unreadable {
  const { text = '', attachments = [] } = content;
  if (typeof text !== 'string') return unreadable('The text of a chat message must be a text.');
  if (!isArray(attachments)) return unreadable('The attachments of a chat message must be a list.');
  const files = attachments.map(readAttachment);
  if (!files.every((file) => file !== undefined)) return unreadable('An attachment must be an object with a name.');
  if (text.trim() === '' && files.length === 0) return unreadable('A chat message needs a text or an attachment.');
  return {
    type: 'chat',
    text,
    sender: readSender(content),
    quote: readQuote(content['replyTo']),
    attachments: files,
  };
}

function readSender(content: JsonObject): Sender | undefined {
  const { sender, senderId } = content;
  // Both forms are in use: an object with id and name, and a bare name with the id beside it.
  if (typeof sender === 'string') return { id: textOf(senderId), name: sender };
  if (!isObject(sender)) return undefined;
  const id = textOf(sender['id']);
  const name = textOf(sender['name']) ?? id;
  return name === undefined ? undefined : { id, name };
}

function readQuote(quote: Json | undefined): Quote | undefined {
  if (!isObject(quote)) return undefined;
  const text = textOf(quote['text']);
  const sender = isObject(quote['sender']) ? textOf(quote['sender']['name']) : textOf(quote['sender']);
  return text === undefined ? undefined : { sender, text };
}

function readAttachment(value: Json): Attachment | undefined {
  if (!isObject(value)) return undefined;
  const name = textOf(value['name']);
  return name === undefined ? undefined : { name, mimeType: textOf(value['mimeType']) };
}

function readTask(content: JsonObject): Content | Unreadable {
  const { prompt, script = null, data } = content;
  if (typeof prompt !== 'string' || prompt.trim() === '') return unreadable('A task needs a prompt that is a text.');
  if (script !== null && typeof script !== 'string') return unreadable('The script of a task must be a text.');
  return { type: 'task', prompt, script: script ?? undefined, ...(data === undefined ? {} : { data }) };
}

function readWebhook(content: JsonObject): Content | Unreadable {
  const source = textOf(content['source']);
  const event = textOf(content['event']);
  const payload = content['payload'] ?? null;
  if (source === undefined || event === undefined) return unreadable('A webhook needs a source and an event.');
  if (!isDepthAtMost(payload, PAYLOAD_DEPTH_MAX)) {
    return unreadable(`The payload of a webhook has more than ${PAYLOAD_DEPTH_MAX} levels.`);
  }
  return { type: 'webhook', source, event, payload: JSON.stringify(payload, null, 1) };
}

function readResult(content: JsonObject): Content | Unreadable {
  const { action, status, result = null, error } = content;
  if (typeof action !== 'string') return unreadable('A result must name the action it is the result of.');
  if (status === 'error') {
    return { type: 'result', action, status, text: textOf(error) ?? 'The host gave no reason.' };
  }
  if (status !== 'ok') return unreadable("The status of a result must be 'ok' or 'error'.");
  if (!isDepthAtMost(result, PAYLOAD_DEPTH_MAX)) {
    return unreadable(`A result has more than ${PAYLOAD_DEPTH_MAX} levels.`);
  }
  return { type: 'result', action, status, text: typeof result === 'string' ? result : JSON.stringify(result) };
}

function unreadable(reason: string): Unreadable {
  return { type: 'unreadable', reason };
}

function textOf(value: Json | undefined): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !isArray(value);
}

function isArray(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}

function isDepthAtMost(value: Json, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return levels > 0 && Object.values(value).every((child: Json) => isDepthAtMost(child, levels - 1));
}
