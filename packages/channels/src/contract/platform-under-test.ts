// The port of the contract's suite: a platform, or the fake of one, as the cases use it.
import type { Address, Channel, JsonObject } from '../channel.ts';

/** What the suite needs of a platform, or of the fake of one. Each case opens one of its own. */
export interface PlatformUnderTest {
  /** A channel to this platform, not started. Each call is a new run of the host, with what an earlier one left. */
  channel(): Channel;
  /** A chat in which the person writes and reads. */
  readonly address: Address;
  /** A thread in that chat. Needed unless the platform lacks `threads`. */
  readonly thread?: Address | undefined;
  /** A chat in which a message need not be for the bot. Needed unless the platform lacks `groups`. */
  readonly group?: Address | undefined;
  /** The person writes, under an id of its own for each call. Need not wait for the channel: see `PendingAck`. */
  say(message: UserMessage): Promise<PendingAck | undefined>;
  /**
   * The last message or choice once more, under its id, as a platform does that has lost the acknowledgement. Needed
   * unless the platform lacks `redelivery`.
   */
  repeat?(): Promise<PendingAck | undefined>;
  /** The person chooses; 0 for the first choice. Needed unless the platform lacks `questions`. */
  choose?(questionId: string, choice: number): Promise<PendingAck | undefined>;
  /** What a person sees at `address`, by the bot only, in order, whether or not a channel runs. */
  visibleMessages(address: Address): Promise<readonly VisibleMessage[]>;
  /** Makes a file of the host with this content, and gives its path. Needed unless the platform lacks `files`. */
  file?(content: Uint8Array): Promise<string>;
  /** Ends everything that was started, channels included. */
  close(): Promise<void>;
}

/** What a person writes. */
export interface UserMessage {
  /** Empty only with files. */
  text: string;
  /** Default: `PlatformUnderTest.address`. */
  at?: Address;
  /** On a platform that does not lack `attachments`. */
  files?: readonly {
    /** As the person's device has it. */
    name: string;
    /** The whole content. */
    bytes: Uint8Array;
  }[];
  /** In a group: whether the bot is spoken to. Default: it is. */
  isMention?: boolean;
}

/** What will become of something that the person did. */
export interface PendingAck {
  /**
   * Resolves with true when the channel has acknowledged it to the platform, and with false when the channel has refused
   * it or went away without an acknowledgement. Not looked at on a platform that lacks `acknowledgements`.
   */
  acknowledged: Promise<boolean>;
}

/** A message as people see it now: with its text edited, and with the reactions to it. */
export interface VisibleMessage {
  /** As `send` gave it. May be left out on a platform that lacks `message-ids`. */
  platformMessageId?: string | null | undefined;
  /** All of it. Of a question at least the question, of a card whatever is shown. */
  text: string;
  /** With their whole content. */
  files?:
    | readonly {
        /** As people see it. */
        name: string;
        /** The whole content. */
        bytes: Uint8Array;
      }[]
    | undefined;
  /** Emojis, in the order in which they came. */
  reactions?: readonly string[] | undefined;
  /** Of a question that can be answered. */
  choices?: readonly string[] | undefined;
  /** As the platform was given it. */
  card?: JsonObject | undefined;
}

/**
 * What a simple platform may be without. The cases that need it are not listed then, and a channel that claims it all the
 * same fails.
 */
export type PlatformLack =
  /** The bot cannot send files. */
  | 'files'
  /** People cannot send files. */
  | 'attachments'
  /** What was sent stays as it is. */
  | 'edits'
  | 'reactions'
  /** There are no buttons, or whatever a choice could be made with. */
  | 'questions'
  | 'cards'
  | 'threads'
  /** There is no chat of several people, in which a message need not be for the bot. */
  | 'groups'
  /** No person can be spoken to alone. */
  | 'direct-chats'
  /** The channel has no `typing`. */
  | 'typing'
  /** A sent message has no id: `platformMessageId` is null. */
  | 'message-ids'
  /** The platform is not told which messages the host has. */
  | 'acknowledgements'
  /** What a host did not take does not come again. Such a platform can lose a message when the host dies. */
  | 'redelivery'
  /** A text is one line. */
  | 'line-breaks'
  /** A text holds no tabs, zero bytes and escape sequences. */
  | 'control-characters';
