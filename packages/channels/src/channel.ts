// The contract between a host and a chat platform. A channel translates, and decides nothing about routing,
// permissions or retries: those are the host's. `contract/` holds the suite that every channel must pass.
//
// Two promises carry the whole contract:
//   in   the platform hears "got it" only after the host has the message on disk; until then it comes again.
//   out  `sent` means that people can see the message; a channel that is unsure says so and is asked again, with the same key.

import type { Address, Json, JsonObject, SendResult } from '@nanoclaw/session-db';
import type { TextLimit } from '@nanoclaw/session-db/text';

export { type TextLimit, textLength } from '@nanoclaw/session-db/text';
export type { Address, Json, JsonObject, SendResult };

/**
 * A chat platform as the host sees it. Messages come in through `start`, go out through `send`.
 *
 * A channel may be started again after `stop`, and after a `start` that rejected: a host retries a set-up that failed
 * in the background, with backoff. The channel itself never retries, waits or logs.
 */
export interface Channel {
  /** The `channelType` of every address this channel serves, for example `terminal`. */
  readonly type: string;
  /** What it can do about an attempt that may have worked already. */
  readonly duplicates: Duplicates;
  /** What fits into a message. It refuses for good what does not, so a host splits or shortens it before. */
  readonly limits: ChannelLimits;
  /** What it shows besides text. It refuses everything else for good, so a host says that in text instead. */
  readonly shows: ReadonlySet<Showable>;
  /**
   * Connects and hands every message of a person, and every choice, to `receive`, those first that an earlier run of
   * the host was given but never confirmed. Resolves when messages can come in and go out. Rejects when the channel
   * cannot be set up (the error says why and what to do) or is running already.
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
  /** How it is now. Cheap, and never throws. */
  health(): Health;
  /** Shows for some seconds that the bot writes. Best effort: a rejection may be ignored, and nothing is repeated. */
  typing?(address: Address): Promise<void>;
  /** The direct chat with the person of that `Sender.id`. `undefined`: there is none, and none can be opened. */
  directAddress(handle: string): Promise<Address | undefined>;
}

/** What not every platform can show. */
export type Showable = 'files' | 'edit' | 'reaction' | 'question' | 'card';

/**
 * Resolves once the host has the event durably on disk, and only then does the channel acknowledge it to the platform.
 * When it rejects, the event stays unacknowledged and comes again under the same `platformMessageId`, with the same
 * content. The same event may come more than once, so the host stores it under that id.
 */
export type Receive = (event: ReceivedEvent) => Promise<void>;

/** What people do. */
export type ReceivedEvent = ReceivedMessage | ReceivedChoice;

/** What a person, or a program through a webhook, wrote. Messages of the bot itself are never received. */
export interface ReceivedMessage {
  /** Tells it from a choice. */
  kind: 'message';
  /** Unique among the messages and choices of its address, and the same each time the message comes. */
  platformMessageId: string;
  /** Where it was written: an answer goes there. */
  address: Address;
  /** The person, or the program. */
  sender: Sender;
  /** As it was written; empty only with files or an event. May hold control characters and markup of any kind. */
  text: string;
  /** The files that came with it; often none. */
  files: readonly IncomingFile[];
  /** The message that this one answers, as the platform quotes it. */
  quote?: Quote;
  /** What happened elsewhere, told by a program. */
  event?: OutsideEvent;
  /** When the platform took the message. Epoch milliseconds, the same each time the message comes. */
  timestamp: number;
  /** The platform itself says that the bot is spoken to; always so in a direct message. */
  isMention: boolean;
  /** The chat has one person and the bot in it. */
  isDirect: boolean;
}

/** A file as it came with a message. */
export interface IncomingFile {
  /** What the sender calls it: a name and no path, without control characters. Not safe as the name of a file on disk. */
  name: string;
  /** What the sender says that it is. */
  mediaType?: string;
  /** Its content, from the beginning at each call. To be read before `receive` settles; it is there again if that rejects. */
  bytes(): AsyncIterable<Uint8Array>;
}

/** A message as another one quotes it. */
export interface Quote {
  /** The name of who wrote it, for people. */
  sender?: string;
  /** As the platform quotes it, which may be a part. */
  text: string;
}

/** For example `{ source: 'github', event: 'push', payload: … }`. */
export interface OutsideEvent {
  /** The system in which it happened. */
  source: string;
  /** What kind of thing happened, in the words of that system. */
  event: string;
  /** The rest, as the program sent it. */
  payload: Json;
}

/** A person has chosen one of the choices of a question. Whether they may, and in time, is for the host to say. */
export interface ReceivedChoice {
  /** Tells it from a message. */
  kind: 'choice';
  /** Unique among the messages and choices of its address, and the same each time the choice comes. */
  platformMessageId: string;
  /** Where the question was asked. */
  address: Address;
  /** The person who chose. */
  sender: Sender;
  /** As the question that was sent had it. */
  questionId: string;
  /** The position among the question's choices; 0 for the first. */
  choice: number;
  /** When the platform took the choice. Epoch milliseconds, the same each time the choice comes. */
  timestamp: number;
}

/** Who wrote a message. */
export interface Sender {
  /** The platform's stable handle of that person; not empty. */
  id: string;
  /** For people: it may change, and may be forged. */
  name: string;
}

/**
 * What can be shown. Told apart by `kind`, so that a new kind is an error of the compiler in every channel that has not
 * thought about it.
 */
export type OutgoingMessage = TextMessage | EditMessage | ReactionMessage | QuestionMessage | CardMessage;

/** A text, files, or both. */
export interface TextMessage {
  /** Every channel shows these. */
  kind: 'text';
  /** Within the channel's limit: a channel refuses a longer text, it never cuts one. Empty only with files. */
  text: string;
  /** Only where `Channel.shows` has `files`. */
  files?: readonly OutgoingFile[];
  /** The `platformMessageId` of the message this one answers. One the platform does not know is no obstacle. */
  inReplyTo?: string;
}

/** A file that goes with a text. */
export interface OutgoingFile {
  /** What people see it called. */
  name: string;
  /** The host's own copy, a regular file that stays as it is until `send` settles. */
  path: string;
}

/** Replaces the text of an earlier message of the bot. An edited question has no choices any more. */
export interface EditMessage {
  /** Only where `Channel.shows` has it. */
  kind: 'edit';
  /** Of the message to change, as its `send` gave it. */
  platformMessageId: string;
  /** The new text, within the channel's limit; not empty. */
  text: string;
}

/** Puts an emoji to an earlier message, of a person or of the bot. */
export interface ReactionMessage {
  /** Only where `Channel.shows` has it. */
  kind: 'reaction';
  /** Of the message to react to. */
  platformMessageId: string;
  /** The emoji itself, at most 64 bytes of UTF-8. */
  emoji: string;
}

/** Asks for one of several choices. Which one comes back as a `ReceivedChoice`. */
export interface QuestionMessage {
  /** Only where `Channel.shows` has it. */
  kind: 'question';
  /** The host's own; `choicePayload` makes of it what a button sends back. */
  questionId: string;
  /** A heading; may be empty. */
  title: string;
  /** The question itself; together with the title within the limit for texts. */
  question: string;
  /** The wordings, at least one, none of them empty. */
  choices: readonly string[];
  /** For people to see. Epoch milliseconds; the channel takes choices after it all the same. */
  expiresAt: number;
  /** As in `TextMessage`. */
  inReplyTo?: string;
}

/** A card in whatever form the platform knows. */
export interface CardMessage {
  /** Only where `Channel.shows` has it. */
  kind: 'card';
  /** As the platform wants it: what it holds is between the agent and the platform. */
  card: JsonObject;
  /** The same in words, for platforms and places without cards; not empty. */
  fallbackText: string;
  /** As in `TextMessage`. */
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

/**
 * What a channel refuses, so that the host can split or refuse before it sends. What is left out has no limit of its
 * own.
 */
export interface ChannelLimits {
  /** Of a text, and of a question with its title. */
  text: TextLimit;
  /** Files with one message. */
  filesMax?: number;
  /** Of one file, in bytes. */
  fileBytesMax?: number;
  /** Choices of one question. */
  buttonsMax?: number;
  /** Of the wording of one choice. */
  buttonText?: TextLimit;
  /** What a press sends back: see `choicePayload`. */
  buttonPayload?: TextLimit;
  /** Of a card, as JSON in UTF-8. */
  cardBytesMax?: number;
}

/** How a channel is. */
export type Health =
  | { state: 'stopped' }
  | { state: 'online' }
  | {
      state: 'offline';
      /** What is in the way, as one sentence for an operator. */
      reason: string;
    };
