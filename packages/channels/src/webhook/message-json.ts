// A message of the bot as a program gets it: JSON, with the files in it.
import { createHash } from 'node:crypto';
import type { JsonObject, OutgoingMessage } from '../channel.ts';
import { readOutgoing } from '../outgoing-files.ts';
import { FILE_BYTES_MAX } from './protocol.ts';

/** The message without its number and time. Throws `UnsendableFile`, and what the file system says. */
export async function messageJson(thread: string | null, message: OutgoingMessage): Promise<JsonObject> {
  const common = { kind: message.kind, ...(thread === null ? {} : { thread }), ...replyTarget(message) };
  switch (message.kind) {
    case 'text': {
      const files: JsonObject[] = [];
      for (const file of message.files ?? []) {
        files.push({ name: file.name, data: (await readOutgoing(file, FILE_BYTES_MAX)).toString('base64') });
      }
      return { ...common, text: message.text, ...(files.length === 0 ? {} : { files }) };
    }
    case 'edit':
      return { ...common, of: message.platformMessageId, text: message.text };
    case 'reaction':
      return { ...common, to: message.platformMessageId, emoji: message.emoji };
    case 'question': {
      const { questionId, title, question, choices, expiresAt } = message;
      return { ...common, questionId, title, question, choices, expiresAt };
    }
    case 'card':
      return { ...common, card: message.card, fallbackText: message.fallbackText };
  }
}

/** Tells messages apart that have the same key; of files it has the names. */
export function messageDigest(endpoint: string, thread: string | null, message: OutgoingMessage): string {
  const files = message.kind === 'text' ? (message.files ?? []).map(({ name }) => name) : [];
  return sha256(JSON.stringify([endpoint, thread, { ...message, files }]));
}

/** Hexadecimal SHA-256. */
export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function replyTarget(message: OutgoingMessage): { inReplyTo?: string } {
  return 'inReplyTo' in message && message.inReplyTo !== undefined ? { inReplyTo: message.inReplyTo } : {};
}
