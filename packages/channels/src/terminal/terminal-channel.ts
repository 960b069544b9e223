// The terminal channel: people talk to their agents over a Unix socket, from any number of terminals at once. It is a
// small platform of its own, because there is none behind it: it keeps the history that clients catch up from, knows
// every message by its id or key, and hands a message to the host until the host has confirmed it (`terminal-server.ts`).
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type {
  Address,
  Attempt,
  Channel,
  ChannelLimits,
  Health,
  OutgoingMessage,
  Receive,
  SendResult,
  Showable,
} from '../channel.ts';
import { refusal, refused } from '../refusal.ts';
import { CHOICE_BYTES_MAX, CHOICES_MAX, FILE_BYTES_MAX, FILES_MAX, isChatName, TEXT_BYTES_MAX } from './protocol.ts';
import { TerminalFiles } from './terminal-files.ts';
import { History } from './terminal-history.ts';
import { PERSON, TerminalServer } from './terminal-server.ts';
import type { TerminalTrouble } from './trouble.ts';

/** How many messages of a chat are kept from each side, and how many bytes of files over all chats, unless told. */
export const MESSAGES_KEPT = 10_000;
export const FILE_BYTES_KEPT = 1024 ** 3;
/** Fewer would forget the key of a message that the host still tries to send. */
export const MESSAGES_KEPT_MIN = 100;

/** Where a terminal channel keeps things, and how much of them. */
export interface TerminalChannelOptions {
  /** Holds socket, history and files. Made if missing, for its owner only. One channel at a time serves a folder. */
  folder: string;
  /** Epoch milliseconds. */
  now: () => number;
  /** Told of what goes wrong between the channel and a client, or the host; for log and metrics. Must not throw. */
  onTrouble?: (trouble: TerminalTrouble) => void;
  /** How much of a chat is kept: messages from each side, at least 100. Default 10 000. */
  messagesKept?: number;
  /** How many bytes of sent files are kept, over all chats. Default 1 GiB. */
  fileBytesKept?: number;
}

/**
 * The channel `terminal`. Its chats are the names that clients give; a chat exists once something was said in it, from
 * either side. All that is sent is stored first, so no client needs to be connected.
 */
export class TerminalChannel implements Channel {
  readonly type = 'terminal';
  /** The history takes a key once. */
  readonly duplicates = 'key';
  /** 64 KiB of text, 10 files of 25 MiB, 20 choices of 200 bytes. */
  readonly limits: ChannelLimits = {
    text: { max: TEXT_BYTES_MAX, unit: 'utf8-bytes' },
    filesMax: FILES_MAX,
    fileBytesMax: FILE_BYTES_MAX,
    buttonsMax: CHOICES_MAX,
    buttonText: { max: CHOICE_BYTES_MAX, unit: 'utf8-bytes' },
  };
  /** All but cards. */
  readonly shows: ReadonlySet<Showable> = new Set(['files', 'edit', 'reaction', 'question']);
  readonly #options: TerminalChannelOptions;
  #server: TerminalServer | undefined;

  /** Throws `RangeError` when less is to be kept than 100 messages. */
  constructor(options: TerminalChannelOptions) {
    if ((options.messagesKept ?? MESSAGES_KEPT_MIN) < MESSAGES_KEPT_MIN)
      throw new RangeError(`messagesKept is at least ${MESSAGES_KEPT_MIN}.`);
    this.#options = options;
  }

  /**
   * Serves the socket. Rejects when the path is too long for a socket, when another process serves the folder, and when
   * a file that is no socket is in the place of the socket; the error says what to do.
   */
  async start(receive: Receive): Promise<void> {
    if (this.#server !== undefined)
      throw new Error('The terminal channel is running already; stop it before a new start.');
    const { folder } = this.#options;
    const path = terminalSocketPath(folder);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const server = this.#newServer(receive);
    this.#server = server;
    try {
      await server.open(path);
    } catch (error) {
      if (this.#server === server) this.#server = undefined;
      await server.close();
      throw error;
    }
  }

  /** Stores the message, and shows it to the clients that are connected; others catch up. */
  async send(address: Address, message: OutgoingMessage, attempt: Attempt): Promise<SendResult> {
    const server = this.#server;
    if (server === undefined) return { type: 'offline' };
    const impossible = refusal(this, address, message);
    if (impossible !== undefined) return impossible;
    if (address.threadId !== null) return refused('The terminal has no threads.');
    if (!isChatName(address.platformId)) return refused('The address is not the name of a terminal chat.');
    return server.send(address.platformId, message, attempt);
  }

  /** Ends all connections, and frees the folder. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    await server?.close();
  }

  /** `online` once the socket is open. */
  health(): Health {
    if (this.#server === undefined) return { state: 'stopped' };
    return this.#server.isOpen ? { state: 'online' } : { state: 'offline', reason: 'The socket is not open yet.' };
  }

  /** Shown to the clients that are connected now. */
  async typing(address: Address): Promise<void> {
    this.#server?.showTyping(address.platformId);
  }

  /** The one person of the terminal is spoken to in the chat `main`. */
  async directAddress(handle: string): Promise<Address | undefined> {
    return handle === PERSON ? { channelType: this.type, platformId: 'main', threadId: null } : undefined;
  }

  #newServer(receive: Receive): TerminalServer {
    const { folder, messagesKept = MESSAGES_KEPT, fileBytesKept = FILE_BYTES_KEPT, now, onTrouble } = this.#options;
    const history = new History(join(folder, HISTORY_NAME));
    try {
      return new TerminalServer({
        history,
        files: new TerminalFiles(join(folder, FILES_NAME), history.folders()),
        receive,
        folder,
        messagesKept,
        fileBytesKept,
        now,
        trouble: (trouble) => onTrouble?.(trouble),
      });
    } catch (error) {
      history[Symbol.dispose]();
      throw error;
    }
  }
}

/** Where a host that uses this folder listens. Throws when the path is too long for a socket. */
export function terminalSocketPath(folder: string): string {
  const path = join(folder, SOCKET_NAME);
  const length = Buffer.byteLength(path);
  if (length > SOCKET_PATH_BYTES_MAX) {
    throw new Error(
      `The path of the terminal's socket is ${length} bytes long and the system allows ${SOCKET_PATH_BYTES_MAX}: ` +
        `${path}. Use a folder with a shorter path.`,
    );
  }
  return path;
}

const SOCKET_NAME = 'terminal.sock';
const HISTORY_NAME = 'terminal.db';
const FILES_NAME = 'files';
/** What fits everywhere: macOS has room for 104 bytes with the final zero, Linux for 108. */
const SOCKET_PATH_BYTES_MAX = 103;
