// The port of the contract's suite: a platform, or the fake of one, as the cases use it.
import type { Address, Channel, JsonObject } from '../channel.ts';

/** What the suite needs of a platform, or of the fake of one. Each case opens one of its own. */
export interface PlatformUnderTest {
  /** A channel to this platform, not started. Each call is a new life of the host, with what an earlier one left. */
  channel(): Channel;
  /** A chat in which the person writes and reads. */
  address: Address;
  /** A thread in that chat; undefined on a platform that has none. */
  thread: Address | undefined;
  /** A chat in which a message need not be for the bot; undefined on a platform that has none. */
  group: Address | undefined;
  /**
   * The person does something, under an id of its own for each call. `acknowledged` resolves with true when the channel
   * has acknowledged it, and with false when it has refused it or went away without an acknowledgement.
   */
  say(said: Said): Promise<Heard>;
  /** The same message once more, under its id, as a platform does that has lost the acknowledgement. */
  repeat(): Promise<Heard>;
  /** The person chooses. Called only on a platform whose channel shows questions. */
  choose(questionId: string, choice: number): Promise<Heard>;
  /** What a person sees at `address`, by the bot only, in order, whether or not a channel runs. */
  shown(address: Address): Promise<Seen[]>;
  /** A file of the host with this content, that can be sent. */
  file(content: Uint8Array): Promise<string>;
  /** Ends everything that was started, channels included. */
  close(): Promise<void>;
}

/** What a person writes. */
export interface Said {
  text: string;
  /** Default: `address`. */
  at?: Address;
  files?: readonly { name: string; bytes: Uint8Array }[];
  /** In a group: whether the bot is spoken to. Default: it is. */
  isMention?: boolean;
}

/** What becomes of what the person did. */
export interface Heard {
  acknowledged: Promise<boolean>;
}

/** A message as people see it now: with its text edited, and what was put to it. */
export interface Seen {
  platformMessageId: string | null;
  text: string;
  files?: readonly { name: string; bytes: Uint8Array }[];
  reactions?: readonly string[];
  /** Of a question that can be answered. */
  choices?: readonly string[];
  card?: JsonObject;
}
