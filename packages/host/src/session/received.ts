/**
 * A received message as a session keeps it: its id there, and its content in the shape that the runner reads. Pure.
 */
import { createHash } from 'node:crypto';
import type { ReceivedMessage } from '@nanoclaw/channels';
import type { Address, Attachment, JsonObject, NewInbound } from '@nanoclaw/session-db';

/** The row of a message for the agent; `attachments` is what became of its files. */
export function inboundMessage(
  message: ReceivedMessage,
  trigger: NewInbound['trigger'],
  attachments: readonly Attachment[],
): NewInbound {
  const common = {
    id: inboundId(message.address, message.platformMessageId),
    timestamp: message.timestamp,
    trigger,
    address: message.address,
  };
  const { event } = message;
  return event === undefined
    ? { ...common, kind: 'chat', content: chatContent(message, attachments) }
    : { ...common, kind: 'webhook', content: webhookContent(message, event, attachments) };
}

/** The row of a command for the agent; `word` is the command, such as `/stop`. */
export function inboundCommand(message: ReceivedMessage, word: string): NewInbound {
  return {
    id: inboundId(message.address, message.platformMessageId),
    kind: 'command',
    timestamp: message.timestamp,
    trigger: 'wakes',
    address: message.address,
    content: { text: word, sender: { ...message.sender } },
  };
}

function chatContent(message: ReceivedMessage, attachments: readonly Attachment[]): JsonObject {
  const { sender, quote } = message;
  return {
    text: withRefused(message.text, attachments),
    sender: { id: sender.id, name: sender.name },
    ...(quote === undefined ? {} : { replyTo: { ...quote } }),
    ...(attachments.length === 0 ? {} : { attachments: storedFiles(message, attachments) }),
  };
}

/** An event is its payload. What else came with it is put around the payload, so that the agent reads all of it. */
function webhookContent(
  message: ReceivedMessage,
  { source, event, payload }: NonNullable<ReceivedMessage['event']>,
  attachments: readonly Attachment[],
): JsonObject {
  const { sender } = message;
  const text = withRefused(message.text, attachments);
  const isBare = text === '' && attachments.length === 0;
  const whole = isBare ? payload : { text, files: storedFiles(message, attachments), payload };
  return { source, event, payload: whole, sender: { id: sender.id, name: sender.name } };
}

/** The stored files, each with the type that the sender claims for it. */
function storedFiles({ files }: ReceivedMessage, attachments: readonly Attachment[]): JsonObject[] {
  return attachments.flatMap((file, index) => {
    if (file.type === 'refused') return [];
    const mimeType = files[index]?.mediaType;
    return [{ name: file.name, ...(mimeType === undefined ? {} : { mimeType }) }];
  });
}

/** Names the files that the agent will not find. */
function withRefused(text: string, attachments: readonly Attachment[]): string {
  const lines = attachments.flatMap((file) =>
    file.type === 'refused' ? [`[The file ${JSON.stringify(file.name)} was not accepted: ${file.reason}]`] : [],
  );
  return [text, ...lines].filter((line) => line !== '').join('\n');
}

/** What the session's file takes as an id. */
const ID_LENGTH_MAX = 300;

/**
 * The id of a platform's message in a session: unique there, because a session may serve several chats whose platforms
 * number their messages alike, and the same each time the platform sends it. One that is too long is its hash.
 */
export function inboundId(address: Address, platformMessageId: string): string {
  const id = `${addressPrefix(address)}${platformMessageId}`;
  return id.length <= ID_LENGTH_MAX ? id : `sha256:${createHash('sha256').update(id).digest('hex')}`;
}

/**
 * The platform's own id of a message of this address; `undefined` when the id is not one that `inboundId` made for it,
 * or has been shortened.
 */
export function platformIdOf(address: Address, inboundMessageId: string): string | undefined {
  const prefix = addressPrefix(address);
  return inboundMessageId.startsWith(prefix) ? inboundMessageId.slice(prefix.length) : undefined;
}

/** No part of an address can be mistaken for another: what separates them is written with `%` inside them. */
function addressPrefix({ channelType, platformId, threadId }: Address): string {
  return `${part(channelType)}:${part(platformId)}${threadId === null ? '' : `#${part(threadId)}`}:`;
}

function part(text: string): string {
  return text.replace(/[%:#]/g, encodeURIComponent);
}
