// The terminal channel: people talk to their agents over a Unix socket, from any number of terminals at once. It is a
// small platform of its own, because there is none behind it: it keeps the history that clients catch up from, knows
// every message by its id or key, and hands a message to the host until the host has confirmed it.
//
// A message survives a host that dies at any point:
//   before it is stored           the client had no answer, and sends it again
//   stored, not yet received      it is handed to the host at the next start
//   received, not yet marked      the host gets it again under the same id, with the same content
//   marked, not yet answered      the client sends it again and is told at once
import { once } from 'node:events';
import { chmodSync, lstatSync, mkdirSync, renameSync, rmdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import {
  type Address,
  type Attempt,
  type Channel,
  type ChannelLimits,
  type Health,
  type OutgoingMessage,
  type Receive,
  type ReceivedMessage,
  refusal,
  type SendResult,
} from './channel.js';
import { History, type Incoming, type Outgoing } from './terminal-history.js';
import {
  BrokenLine,
  type ClientLine,
  isChatName,
  lineOf,
  lines,
  parseClientLine,
  type ServerLine,
  TEXT_MAX_BYTES,
} from './terminal-wire.js';

export interface TerminalChannelOptions {
  /** Holds socket and history. Made if missing, for its owner only. One channel at a time serves a folder. */
  folder: string;
  /** Epoch milliseconds. */
  now: () => number;
  /** Told of what goes wrong between the channel and a client, or the host; for log and metrics. Must not throw. */
  onTrouble?: (trouble: TerminalTrouble) => void;
}

/** What went wrong. A `reason` is one sentence, without the text of any message. */
export type TerminalTrouble =
  /** The connection was ended from this side; `chat` is undefined if the client never named one. */
  | { type: 'client-dropped'; chat: string | undefined; reason: string }
  /** The host did not take a message; it is offered again at the next start, or when the client sends it again. */
  | { type: 'not-received'; chat: string; id: string; reason: string }
  /** The socket could not take a connection. */
  | { type: 'connection-failed'; reason: string };

/**
 * The channel `terminal`. Its chats are the names that clients give; a chat exists once something was said in it, from
 * either side. All that is sent is stored first, so nobody needs to be connected.
 */
export class TerminalChannel implements Channel {
  readonly type = 'terminal';
  readonly duplicates = 'key';
  readonly limits: ChannelLimits = { text: { max: TEXT_MAX_BYTES, unit: 'utf8-bytes' } };
  readonly #options: TerminalChannelOptions;
  #life: Life | undefined;

  constructor(options: TerminalChannelOptions) {
    this.#options = options;
  }

  /**
   * Serves the socket. Rejects when the path is too long for a socket, when another process serves the folder, and when
   * a file that is no socket is in the place of the socket; the error says what to do.
   */
  async start(receive: Receive): Promise<void> {
    if (this.#life !== undefined)
      throw new Error('The terminal channel is running already; stop it before a new start.');
    const path = terminalSocketPath(this.#options.folder);
    mkdirSync(this.#options.folder, { recursive: true, mode: 0o700 });
    const life = new Life(new History(join(this.#options.folder, HISTORY_NAME)), receive, this.#options);
    this.#life = life;
    try {
      await life.open(path);
    } catch (error) {
      if (this.#life === life) this.#life = undefined;
      await life.close();
      throw error;
    }
  }

  async send(address: Address, message: OutgoingMessage, attempt: Attempt): Promise<SendResult> {
    if (this.#life === undefined) return { type: 'offline' };
    const refused = refusal(this, address, message);
    if (refused !== undefined) return refused;
    if (address.threadId !== null) return permanentFailure('The terminal has no threads.');
    if (!isChatName(address.platformId)) return permanentFailure('The address is not the name of a terminal chat.');
    return this.#life.send(address.platformId, message, attempt);
  }

  async stop(): Promise<void> {
    const life = this.#life;
    this.#life = undefined;
    await life?.close();
  }

  health(): Health {
    if (this.#life === undefined) return { state: 'stopped' };
    return this.#life.isOpen ? { state: 'online' } : { state: 'offline', reason: 'The socket is not open yet.' };
  }
}

/** Where a host that uses this folder listens. Throws when the path is too long for a socket. */
export function terminalSocketPath(folder: string): string {
  const path = join(folder, SOCKET_NAME);
  const length = Buffer.byteLength(path);
  if (length > SOCKET_PATH_MAX_BYTES) {
    throw new Error(
      `The path of the terminal's socket is ${length} bytes long and the system allows ${SOCKET_PATH_MAX_BYTES}: ` +
        `${path}. Use a folder with a shorter path.`,
    );
  }
  return path;
}

const SOCKET_NAME = 'terminal.sock';
const HISTORY_NAME = 'terminal.db';
/** What fits everywhere: macOS has room for 104 bytes with the final zero, Linux for 108. */
const SOCKET_PATH_MAX_BYTES = 103;
/** Connections at a time; a person has a handful, and each costs memory. */
const CLIENTS_MAX = 64;
/** How much a client may leave unread before it is dropped. It loses nothing: it catches up when it connects again. */
const UNREAD_MAX_BYTES = 1024 * 1024;
/** Messages read from the history at a time; with the longest texts 2 MiB. */
const PAGE_LENGTH = 32;

/** One connection. */
interface Client {
  readonly socket: Socket;
  /** Set by its hello. */
  chat: string | undefined;
  /** The number of the last message written to it. */
  seen: number;
  /** The socket is full: nothing is written until it has drained. */
  isFull: boolean;
  /** Bytes of text that were sent to its chat since it became full. */
  unreadBytes: number;
  /** It has said, or was told, its last word. */
  isLeaving: boolean;
}

type Hello = Extract<ClientLine, { type: 'hello' }>;

/** From one start to the next stop. What still runs after the stop sees `isClosed` and touches nothing. */
class Life {
  isOpen = false;
  #isClosed = false;
  readonly #history: History;
  readonly #receive: Receive;
  readonly #options: TerminalChannelOptions;
  readonly #server: Server;
  /** Of the socket, once it is there. */
  #path: string | undefined;
  #opening: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  readonly #clients = new Set<Client>();
  /** Per chat the end of the queue of incoming messages, so that the host gets them one by one and in order. */
  readonly #queues = new Map<string, Promise<void>>();

  constructor(history: History, receive: Receive, options: TerminalChannelOptions) {
    this.#history = history;
    this.#receive = receive;
    this.#options = options;
    // Half-open, so that a script may write its message, close its side, and still read the answer.
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#admit(socket));
  }

  open(path: string): Promise<void> {
    this.#opening = this.#open(path);
    return this.#opening;
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.isOpen = false;
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #open(path: string): Promise<void> {
    await assertFree(path);
    for (const message of this.#history.unreceived()) {
      void this.#inTurn(message.chat, () => this.#take(message));
    }
    await bind(this.#server, join(this.#options.folder, '.new'), path);
    this.#path = path;
    if (this.#isClosed) throw new Error('The terminal channel was stopped while it started.');
    this.#server.on('error', (error) => this.#trouble({ type: 'connection-failed', reason: error.message }));
    this.isOpen = true;
  }

  async #close(): Promise<void> {
    await Promise.allSettled([this.#opening]); // whoever started it is told how that went
    for (const { socket } of this.#clients) socket.destroy();
    if (this.#path !== undefined) rmSync(this.#path, { force: true });
    if (this.#server.listening) {
      const closed = once(this.#server, 'close');
      this.#server.close();
      await closed;
    }
    this.#history[Symbol.dispose](); // last: it is the lock on the folder
  }

  send(chat: string, message: OutgoingMessage, attempt: Attempt): SendResult {
    const text = message.text.toWellFormed();
    const inReplyTo = message.inReplyTo ?? null;
    const timestamp = this.#options.now();
    try {
      const stored = this.#history.storeOutgoing(attempt.key, { chat, text, inReplyTo, timestamp });
      if (stored === undefined) {
        return permanentFailure(`The key ${attempt.key} was used before, for a different message.`);
      }
      if (stored.isNew) this.#push(chat, Buffer.byteLength(text));
      return { type: 'sent', platformMessageId: `terminal:${stored.n}` };
    } catch (error) {
      return { type: 'failed', permanent: false, reason: `The history could not be written: ${messageOf(error)}` };
    }
  }

  // ── Incoming ────────────────────────────────────────────────────────────────────────────────────────────────────

  #admit(socket: Socket): void {
    const client: Client = {
      socket,
      chat: undefined,
      seen: 0,
      isFull: false,
      unreadBytes: 0,
      isLeaving: false,
    };
    // Whatever the error, `close` follows and is where the client is forgotten; without a listener it would be thrown.
    socket.on('error', () => {});
    socket.on('close', () => this.#clients.delete(client));
    socket.on('drain', () => {
      client.isFull = false;
      client.unreadBytes = 0;
      this.#pump(client);
    });
    if (this.#isClosed) {
      socket.destroy();
      return;
    }
    if (this.#clients.size >= CLIENTS_MAX && !this.#makeRoom()) {
      this.#dismiss(client, `The terminal has ${CLIENTS_MAX} connections already. Close one and try again.`);
      return;
    }
    this.#clients.add(client);
    void this.#serve(client);
  }

  /** Drops the oldest connection that is good for nothing: one that never said hello, or has said all it will. */
  #makeRoom(): boolean {
    for (const client of this.#clients) {
      if (client.chat !== undefined && !client.isLeaving) continue;
      this.#drop(client, 'Its connection was idle and its place was needed.');
      this.#clients.delete(client);
      return true;
    }
    return false;
  }

  /** Works off what a client says, one line at a time: it is not read on while the host works on its message. */
  async #serve(client: Client): Promise<void> {
    try {
      // The socket outlives the reading: an answer or an error may still have to be written.
      for await (const line of lines(client.socket.iterator({ destroyOnReturn: false }))) {
        const said = parseClientLine(line);
        if (said.type === 'garbage') return this.#dismiss(client, said.reason);
        if (said.type === 'hello') {
          if (client.chat !== undefined) return this.#dismiss(client, 'A client says hello once.');
          this.#welcome(client, said);
          continue;
        }
        const { chat } = client;
        if (chat === undefined) return this.#dismiss(client, 'A client says hello first.');
        const answer = await this.#answer(chat, said.id, said.text);
        if (this.#isClosed) return;
        this.#write(client, answer);
      }
      client.isLeaving = true;
      client.socket.end();
    } catch (error) {
      if (error instanceof BrokenLine) this.#dismiss(client, error.message);
      else if (!client.socket.destroyed) this.#drop(client, messageOf(error));
    }
  }

  #welcome(client: Client, hello: Hello): void {
    const newest = this.#history.lastNumber();
    // A client that has seen more than there is knows another history; it gets this one from the start.
    const after = hello.after === undefined ? newest : hello.after > newest ? 0 : hello.after;
    client.seen = after;
    client.chat = hello.chat;
    this.#write(client, { type: 'welcome', after });
    this.#pump(client);
  }

  async #answer(chat: string, id: string, text: string): Promise<ServerLine> {
    if (text.trim() === '') return { type: 'refused', id, reason: 'The message is empty; nothing was kept.' };
    if (Buffer.byteLength(text) > TEXT_MAX_BYTES) {
      return { type: 'refused', id, reason: `The message is longer than ${TEXT_MAX_BYTES} bytes; nothing was kept.` };
    }
    return this.#inTurn(chat, () => this.#take({ chat, id, text, timestamp: this.#options.now() }));
  }

  /** Runs `job` after all earlier ones of the chat. */
  async #inTurn(chat: string, job: () => Promise<ServerLine>): Promise<ServerLine> {
    const earlier = this.#queues.get(chat);
    const done = Promise.withResolvers<void>();
    this.#queues.set(chat, done.promise);
    await earlier;
    try {
      return await job();
    } finally {
      if (this.#queues.get(chat) === done.promise) this.#queues.delete(chat);
      done.resolve();
    }
  }

  /** Stores the message, hands it to the host unless the host has it, and notes that it does. */
  async #take(message: Incoming): Promise<ServerLine> {
    const { chat, id } = message;
    const refused = (reason: string): ServerLine => ({ type: 'refused', id, reason });
    if (this.#isClosed) return refused('The host is stopping. Connect again and send the message again.');
    try {
      const stored = this.#history.storeIncoming(message);
      if (stored.type === 'received') return { type: 'accepted', id };
      if (stored.type === 'conflict') {
        return refused('The id of this message was used for another text. Only the first was kept; use a new id.');
      }
      await this.#receive(receivedMessage(stored.message));
      if (!this.#isClosed) this.#history.markReceived(chat, id);
      return { type: 'accepted', id };
    } catch (error) {
      this.#trouble({ type: 'not-received', chat, id, reason: messageOf(error) });
      return refused(
        `The host could not take the message: ${messageOf(error)}. ` +
          'Send it again to try again now; if it was stored, the host also tries again at its next start.',
      );
    }
  }

  // ── Outgoing ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Something new was stored for the chat. */
  #push(chat: string, bytes: number): void {
    for (const client of this.#clients) {
      if (client.chat !== chat) continue;
      if (client.isFull) client.unreadBytes += bytes;
      if (client.unreadBytes > UNREAD_MAX_BYTES) this.#drop(client, 'It does not read what is sent to it.');
      else this.#pump(client);
    }
  }

  /** Writes what the client has not seen, until its socket is full: the history is the buffer. */
  #pump(client: Client): void {
    const { chat, socket } = client;
    if (chat === undefined) return;
    try {
      while (!client.isFull && !this.#isClosed && socket.writable) {
        const page = this.#history.outgoingAfter(chat, client.seen, PAGE_LENGTH);
        if (page.length === 0) return;
        for (const message of page) {
          this.#write(client, outgoingLine(message));
          client.seen = message.n;
          if (client.isFull) break;
        }
      }
    } catch (error) {
      this.#dismiss(client, `The history could not be read: ${messageOf(error)}`);
    }
  }

  #write(client: Client, line: ServerLine): void {
    if (!client.socket.writable) return; // gone, or told its last word
    if (!client.socket.write(lineOf(line))) client.isFull = true;
    // Answers are written to a full socket too; a client that sends and never reads must not fill the memory with them.
    if (client.socket.writableLength > UNREAD_MAX_BYTES) this.#drop(client, 'It does not read its answers.');
  }

  /** Tells the client why, then ends the connection. */
  #dismiss(client: Client, reason: string): void {
    if (!client.socket.writable) return;
    client.isLeaving = true;
    client.socket.end(lineOf({ type: 'error', reason }), () => client.socket.destroy());
    this.#trouble({ type: 'client-dropped', chat: client.chat, reason });
  }

  #drop(client: Client, reason: string): void {
    if (client.socket.destroyed) return;
    client.socket.destroy();
    this.#trouble({ type: 'client-dropped', chat: client.chat, reason });
  }

  #trouble(trouble: TerminalTrouble): void {
    this.#options.onTrouble?.(trouble);
  }
}

/** Whoever can open the socket is the owner of the host's account, so there is one sender and one kind of chat. */
function receivedMessage(message: Incoming): ReceivedMessage {
  return {
    platformMessageId: message.id,
    address: { channelType: 'terminal', platformId: message.chat, threadId: null },
    sender: { id: 'local', name: 'local' },
    text: message.text,
    timestamp: message.timestamp,
    isMention: true,
    isDirect: true,
  };
}

function outgoingLine({ n, timestamp, text, inReplyTo }: Outgoing): ServerLine {
  return { type: 'message', n, timestamp, text, ...(inReplyTo === null ? {} : { inReplyTo }) };
}

/**
 * Listens where nobody else can connect, and then moves the socket to its place. So it is never open to others, and a
 * stale socket is replaced in one step.
 */
async function bind(server: Server, folder: string, path: string): Promise<void> {
  const made = join(folder, 's');
  rmSync(folder, { recursive: true, force: true }); // of a host that died in between
  mkdirSync(folder, { mode: 0o700 });
  const listening = once(server, 'listening');
  server.listen(made);
  await listening;
  chmodSync(made, 0o600);
  renameSync(made, path);
  rmdirSync(folder);
}

/** Throws if something lives at the place of the socket. What a dead host left there is free. */
async function assertFree(path: string): Promise<void> {
  const place = lstatSync(path, { throwIfNoEntry: false });
  if (place === undefined) return;
  if (!place.isSocket()) {
    throw new Error(`There is a file that is no socket in the place of the terminal's socket: ${path}. Move it away.`);
  }
  const socket = connect(path);
  const answers = await new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false)); // nobody listens: the host that made it is dead
  });
  socket.destroy();
  if (answers) {
    throw new Error(`Another process serves the terminal's socket ${path}. It keeps running; stop it first.`);
  }
}

function permanentFailure(reason: string): SendResult {
  return { type: 'failed', permanent: true, reason };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
