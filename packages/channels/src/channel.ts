// The contract between a host and a chat platform. A channel translates, and decides nothing about routing,
// permissions or retries: those are the host's. `contract.ts` holds the suite that every channel must pass.
//
// Two promises carry the whole contract:
//   in   the platform hears "got it" only after the host has the message on disk; until then it comes again.
//   out  `sent` means that people can see the message; whoever is unsure says so and is asked again, with the same key.

/**
 * A chat platform as the host sees it. Messages come in through `start`, go out through `send`.
 *
 * A channel may be started again after `stop`, and after a `start` that rejected: a host retries a set-up that failed
 * in the background, with backoff. The channel itself never retries, waits or logs.
 */
export interface Channel {
  /** The `channelType` of every address this channel serves, for example `terminal`. */
  readonly type: string;
  readonly duplicates: Duplicates;
  readonly limits: ChannelLimits;
  /**
   * Connects and hands every message of a person to `receive`, those first that an earlier life of the host was given
   * but never confirmed. Resolves when messages can come in and go out. Rejects when the channel cannot be set up (the
   * error says why and what to do) or is running already.
   */
  start(receive: Receive): Promise<void>;
  /**
   * Makes one attempt to show `message` at `address`. What the platform says is in the result; a rejection is a bug of
   * the channel and leaves the caller as unsure as a lost answer does.
   */
  send(address: Address, message: OutgoingMessage, attempt: Attempt): Promise<SendResult>;
  /**
   * Disconnects. A message that `receive` still works on is not acknowledged any more: it comes again at the next
   * start. Does nothing on a channel that is stopped.
   */
  stop(): Promise<void>;
  health(): Health;
}

/** A place on a platform. `threadId` is null where there is no thread, and on platforms that know none. */
export interface Address {
  channelType: string;
  platformId: string;
  threadId: string | null;
}

/**
 * Resolves once the host has the message durably on disk, and only then does the channel acknowledge it to the
 * platform. When it rejects, the message stays unacknowledged and comes again under the same `platformMessageId`, with
 * the same content. The same message may come more than once, so the host stores it under that id.
 */
export type Receive = (message: ReceivedMessage) => Promise<void>;

/** What a person wrote. Messages of the bot itself are never received. */
export interface ReceivedMessage {
  /** Unique among the messages of its address, and the same each time the message comes. */
  platformMessageId: string;
  address: Address;
  sender: Sender;
  /** As the person wrote it, never empty. May hold control characters and markup of any kind. */
  text: string;
  /** When the platform took the message. Epoch milliseconds, the same each time the message comes. */
  timestamp: number;
  /** The platform itself says that the bot is spoken to; always so in a direct message. */
  isMention: boolean;
  /** The chat has one person and the bot in it. */
  isDirect: boolean;
}

/** Who wrote a message: `id` is the platform's stable handle, `name` is for people and may change or be forged. */
export interface Sender {
  id: string;
  name: string;
}

/**
 * What can be shown. Told apart by `kind`, so that a new kind is an error of the compiler in every channel that has not
 * thought about it.
 */
export type OutgoingMessage = TextMessage;

export interface TextMessage {
  kind: 'text';
  /** Not empty, and within the channel's limit: a channel refuses a longer text, it never cuts one. */
  text: string;
  /** The `platformMessageId` of the message this one answers. One the platform does not know is no obstacle. */
  inReplyTo?: string;
}

/** One attempt to send one message. The caller has it on disk before it makes it. */
export interface Attempt {
  /** Names the message, or the part of a message, in all its attempts; different for any two messages. */
  key: string;
  /** 1 for the first. */
  attempt: number;
  /** An earlier attempt was made and its outcome is not known: the message may be visible already. */
  uncertain: boolean;
}

/**
 * What a channel can do about a message that may have been sent already: `key`, the platform itself takes a key only
 * once; `history`, the channel can look up whether the message is there; `none`, a repeated attempt may show twice.
 */
export type Duplicates = 'key' | 'history' | 'none';

/** The outcome of one attempt. */
export type SendResult =
  /** People can see it. The id is null only on platforms that give none. */
  | { type: 'sent'; platformMessageId: string | null }
  /** Not attempted, for certain; nothing is visible. Spends no attempt. */
  | { type: 'offline' }
  /**
   * Not known to be visible. `permanent`: the same attempt can never succeed. `retryAfterMs`: the platform's own wish.
   * `reason` is one sentence for an operator, without the text of the message.
   */
  | { type: 'failed'; permanent: boolean; retryAfterMs?: number; reason: string };

/** What a channel refuses, so that the host can split or refuse before it sends. */
export interface ChannelLimits {
  text: TextLimit;
}

/** The longest text of one message, counted the way the platform counts. */
export interface TextLimit {
  max: number;
  unit: TextUnit;
}

export type TextUnit = 'utf16-units' | 'code-points' | 'utf8-bytes';

/** `reason` is one sentence for an operator. */
export type Health = { state: 'stopped' } | { state: 'online' } | { state: 'offline'; reason: string };

/** The length of a text in the unit of a platform. */
export function textLength(text: string, unit: TextUnit): number {
  switch (unit) {
    case 'utf16-units':
      return text.length;
    case 'code-points':
      return [...text].length;
    case 'utf8-bytes':
      return Buffer.byteLength(text);
  }
}

/**
 * What makes a message impossible to send, whatever the platform: an address of another channel, no text, or more text
 * than one message holds. `undefined` when nothing does. For channels to ask first in `send`.
 */
export function refusal(
  channel: Pick<Channel, 'type' | 'limits'>,
  address: Address,
  message: OutgoingMessage,
): (SendResult & { type: 'failed' }) | undefined {
  if (address.channelType !== channel.type) {
    return never(`The address belongs to the channel "${address.channelType}", not to "${channel.type}".`);
  }
  if (message.text.trim() === '') return never('The message has no text, so there is nothing to show.');
  const { max, unit } = channel.limits.text;
  const length = textLength(message.text, unit);
  if (length > max) {
    return never(
      `The text is ${length} ${unit} long, and one message holds at most ${max}. Split it and send the parts.`,
    );
  }
  return undefined;
}

function never(reason: string): SendResult & { type: 'failed' } {
  return { type: 'failed', permanent: true, reason };
}
