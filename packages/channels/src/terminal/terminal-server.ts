// The terminal channel from one start to the next stop: its clients, what they say, and what is sent to them.
//
// A message survives a host that dies at any point:
//   before it is stored           the client had no answer, and sends it again
//   stored, not yet received      it is handed to the host at the next start
//   received, not yet marked      the host gets it again under the same id, with the same content
//   marked, not yet answered      the client sends it again and is told at once
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Attempt, OutgoingMessage, Receive, ReceivedEvent, SendResult } from '../channel.ts';
import { errorMessage } from '../error-message.ts';
import { KeyedQueue } from '../keyed-queue.ts';
import { UnsendableFile } from '../outgoing-files.ts';
import { refused } from '../refusal.ts';
import { type HistoryEntry, historyEntry } from './history-entry.ts';
import {
  BrokenLine,
  type ClientLine,
  decodePiece,
  encodeLine,
  FILE_BYTES_MAX,
  lines,
  parseClientLine,
  type ServerLine,
  TEXT_BYTES_MAX,
  type TerminalMessage,
  type TerminalPast,
} from './protocol.ts';
import { assertFree, bind } from './socket-file.ts';
import type { TerminalFiles, Upload } from './terminal-files.ts';
import type { History, Incoming, Outgoing, OutgoingDetail } from './terminal-history.ts';
import type { TerminalTrouble } from './trouble.ts';

/** Only the owner of the host's account can open the socket, so there is one sender. */
export const PERSON = 'local';

/** What a server needs. It closes the history at its end. */
export interface TerminalServerOptions {
  readonly history: History;
  readonly files: TerminalFiles;
  readonly receive: Receive;
  readonly folder: string;
  readonly messagesKept: number;
  readonly fileBytesKept: number;
  readonly now: () => number;
  readonly trouble: (trouble: TerminalTrouble) => void;
}

/** Connections at a time; a person has a handful, and each costs memory. */
const CLIENTS_MAX = 64;
/** How much a client may leave unread before it is dropped. It loses nothing: it catches up when it connects again. */
const UNREAD_BYTES_MAX = 1024 * 1024;
/** Messages read from the history at a time; with the longest texts 2 MiB. */
const PAGE_LENGTH = 32;
/** What may wait for a host that does not take it: each message is written down before the host is asked. */
const WAITING_MAX = 1000;
const WAITING_BYTES_MAX = 512 * 1024 * 1024;
/** How often old messages are looked for: once in so many that are sent. */
const FORGET_EVERY = 64;

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
  /** Nothing more will come from it, or it was told that the connection ends. */
  isLeaving: boolean;
  /** The message whose files it sends just now. */
  sending: Sending | undefined;
}

/** A message that waits for the last of its files. */
interface Sending {
  readonly message: MessageLine;
  /** How many bytes are still to come, whether or not they can be kept. */
  left: number;
  upload: Upload;
  /** Why the files cannot be kept. The rest of them is read all the same, and then the message refused. */
  failure: string | undefined;
}

type Hello = Extract<ClientLine, { type: 'hello' }>;
type MessageLine = Extract<ClientLine, { type: 'message' }>;
type ChoiceLine = Extract<ClientLine, { type: 'choice' }>;

/** What still runs after the close sees `isClosed` and touches nothing. */
export class TerminalServer {
  isOpen = false;
  #isClosed = false;
  readonly #options: TerminalServerOptions;
  readonly #server: Server;
  /** Of the socket, once it is there. */
  #path: string | undefined;
  #opening: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  readonly #clients = new Set<Client>();
  /** What comes in, by chat, so that the host gets it one by one and in order. */
  readonly #incoming = new KeyedQueue();
  /** What is sent, by chat, so that a message with files is not overtaken. */
  readonly #outgoing = new KeyedQueue();

  constructor(options: TerminalServerOptions) {
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
    for (const message of this.#options.history.unreceived()) {
      void this.#incoming.run(message.chat, () => this.#deliver(message));
    }
    await bind(this.#server, join(this.#options.folder, '.new'), path);
    this.#path = path;
    if (this.#isClosed) throw new Error('The terminal channel was stopped while it started.');
    this.#server.on('error', (error) => this.#trouble({ type: 'connection-failed', reason: error.message }));
    this.isOpen = true;
  }

  async #close(): Promise<void> {
    await Promise.allSettled([this.#opening]); // the caller of `open` is told how that went
    for (const { socket } of this.#clients) socket.destroy();
    if (this.#path !== undefined) rmSync(this.#path, { force: true });
    if (this.#server.listening) {
      const closed = once(this.#server, 'close');
      this.#server.close();
      await closed;
    }
    await this.#outgoing.done();
    this.#options.history[Symbol.dispose](); // last: it is the lock on the folder
  }

  // ── Outgoing ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Stores a message that the contract allows, and shows it to the clients that are connected. */
  send(chat: string, message: OutgoingMessage, attempt: Attempt): Promise<SendResult> {
    return this.#outgoing.run(chat, async () => {
      try {
        return await this.#store(chat, message, attempt.key);
      } catch (error) {
        if (error instanceof UnsendableFile) return refused(error.message);
        return { type: 'failed', permanent: false, reason: `The history could not be written: ${errorMessage(error)}` };
      }
    });
  }

  /** Tells the clients that are connected now; it is not stored. */
  showTyping(chat: string): void {
    for (const client of this.#clients) {
      if (client.chat === chat && !client.isFull) this.#write(client, { type: 'typing' });
    }
  }

  async #store(chat: string, message: OutgoingMessage, key: string): Promise<SendResult> {
    if (this.#isClosed) return { type: 'offline' };
    const { history, now } = this.#options;
    const known = history.outgoing(key);
    const entry = known === undefined ? await this.#storable(chat, message, key) : historyEntry(message, known.detail);
    if (this.#isClosed)
      return { type: 'failed', permanent: false, reason: 'The channel stopped before it was stored.' };
    const missing = known === undefined ? this.#missingTarget(chat, entry.detail) : undefined;
    const stored = missing === undefined ? history.storeOutgoing(key, { chat, timestamp: now(), ...entry }) : undefined;
    if (stored === undefined) {
      if (entry.folder !== null) await this.#remove(entry.folder);
      return refused(missing ?? `The key ${key} was used before, for a different message.`);
    }
    if (stored.isNew) {
      this.#push(chat, Buffer.byteLength(entry.text));
      await this.#removeOld(chat, stored.n, entry.folder !== null);
    }
    return { type: 'sent', platformMessageId: `terminal:${stored.n}` };
  }

  /** The message as it is stored; its files are copied first. */
  async #storable(chat: string, message: OutgoingMessage, key: string): Promise<HistoryEntry> {
    const entry = historyEntry(message, undefined);
    if (message.kind !== 'text' || message.files === undefined || message.files.length === 0) return entry;
    const { folder, files } = await this.#options.files.copy(message.files, `${chat}/${key}`, FILE_BYTES_MAX);
    return { ...entry, folder, detail: { kind: 'text', files } };
  }

  /** Lets go of what is too old to be kept. */
  async #removeOld(chat: string, n: number, hasFiles: boolean): Promise<void> {
    const { history, messagesKept, fileBytesKept } = this.#options;
    const messages = n % FORGET_EVERY === 0 ? history.forgetOlder(chat, messagesKept) : [];
    const files = hasFiles ? history.forgetFiles(fileBytesKept) : [];
    for (const folder of [...messages, ...files]) await this.#remove(folder);
  }

  async #remove(folder: string): Promise<void> {
    try {
      await this.#options.files.remove(folder);
    } catch (error) {
      this.#trouble({ type: 'files-left', reason: errorMessage(error) });
    }
  }

  /** Why a change has nothing to change. */
  #missingTarget(chat: string, detail: OutgoingDetail): string | undefined {
    const { history } = this.#options;
    if (detail.kind !== 'edit' && detail.kind !== 'reaction') return undefined;
    const id = detail.kind === 'edit' ? detail.of : detail.to;
    const n = /^terminal:([1-9]\d{0,14})$/.exec(id)?.[1];
    if (n !== undefined && history.isOfBot(chat, Number(n))) return undefined;
    if (detail.kind === 'reaction' && history.isOfPerson(chat, id)) return undefined;
    return 'The terminal chat has no such message to change.';
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
      sending: undefined,
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
      this.#dropWithReason(client, `The terminal has ${CLIENTS_MAX} connections already. Close one and try again.`);
      return;
    }
    this.#clients.add(client);
    void this.#serve(client);
  }

  /** Drops the oldest connection that is good for nothing: one without a hello, or one that will send nothing more. */
  #makeRoom(): boolean {
    for (const client of this.#clients) {
      if (client.chat !== undefined && !client.isLeaving) continue;
      this.#drop(client, 'Its connection was idle and its place was needed.');
      this.#clients.delete(client);
      return true;
    }
    return false;
  }

  /** Handles what a client sends, one line at a time: it is not read on while the host works on its message. */
  async #serve(client: Client): Promise<void> {
    try {
      // The socket outlives the reading: an answer or an error may still have to be written.
      for await (const line of lines(client.socket.iterator({ destroyOnReturn: false }))) {
        const answer = await this.#handleLine(client, parseClientLine(line));
        if (this.#isClosed) return;
        if (answer !== undefined) this.#write(client, answer);
      }
      client.isLeaving = true;
      client.socket.end();
    } catch (error) {
      if (error instanceof BrokenLine) this.#dropWithReason(client, error.message);
      else if (!client.socket.destroyed) this.#drop(client, errorMessage(error));
    } finally {
      await this.#endUpload(client);
    }
  }

  /** What to answer to a line. Throws `BrokenLine` when nothing good can follow it. */
  async #handleLine(client: Client, line: ReturnType<typeof parseClientLine>): Promise<ServerLine | undefined> {
    if (line.type === 'invalid') throw new BrokenLine(line.reason);
    const { chat, sending } = client;
    if (line.type === 'hello') {
      if (chat !== undefined) throw new BrokenLine('A client says hello once.');
      this.#welcome(client, line);
      return undefined;
    }
    if (chat === undefined) throw new BrokenLine('A client says hello first.');
    if (line.type === 'bytes') return this.#addPiece(client, chat, line.data);
    if (sending !== undefined) throw new BrokenLine('A message with files is followed by the bytes of its files.');
    switch (line.type) {
      case 'message':
        return this.#beginMessage(client, chat, line);
      case 'choice':
        return this.#incoming.run(chat, () => this.#acceptChoice(chat, line));
      case 'history':
        for (const entry of this.#options.history.past(chat, line.limit)) {
          this.#write(client, { type: 'past', id: line.id, entry: this.#toPast(entry) });
        }
        return { type: 'accepted', id: line.id };
    }
  }

  #welcome(client: Client, hello: Hello): void {
    const newest = this.#options.history.lastNumber();
    // A client that has seen more than there is knows another history; it gets this one from the start.
    const after = hello.after === undefined ? newest : hello.after > newest ? 0 : hello.after;
    client.seen = after;
    client.chat = hello.chat;
    this.#write(client, { type: 'welcome', after });
    this.#pump(client);
  }

  async #beginMessage(client: Client, chat: string, line: MessageLine): Promise<ServerLine | undefined> {
    const { id, text } = line;
    const left = line.files.reduce((sum, file) => sum + file.bytes, 0);
    if (line.files.length === 0) {
      if (text.trim() === '') return refusedLine(id, 'The message is empty; nothing was kept.');
      if (Buffer.byteLength(text) > TEXT_BYTES_MAX) return refusedLine(id, TOO_LONG);
      return this.#incoming.run(chat, () => this.#acceptMessage(chat, line, undefined));
    }
    const upload = await this.#options.files.upload(line.files);
    const failure = Buffer.byteLength(text) > TEXT_BYTES_MAX ? TOO_LONG : undefined;
    client.sending = { message: line, left, upload, failure };
    await this.#writeUpload(client.sending, () => upload.begin());
    return left === 0 ? this.#finishUpload(client, chat, client.sending) : undefined;
  }

  async #addPiece(client: Client, chat: string, data: string): Promise<ServerLine | undefined> {
    const { sending } = client;
    const piece = decodePiece(data);
    if (sending === undefined || piece === undefined || piece.length > sending.left) {
      throw new BrokenLine('A piece of a file belongs to no file, is too long, or is not base64.');
    }
    sending.left -= piece.length;
    await this.#writeUpload(sending, async () => {
      if (!(await sending.upload.add(piece))) throw new BrokenLine('A piece of a file goes beyond its end.');
    });
    return sending.left === 0 ? this.#finishUpload(client, chat, sending) : undefined;
  }

  /** Keeps why files cannot be written: the client is answered when it has sent them all. */
  async #writeUpload(sending: Sending, work: () => Promise<void>): Promise<void> {
    if (sending.failure !== undefined) return;
    try {
      await work();
    } catch (error) {
      if (error instanceof BrokenLine) throw error;
      sending.failure = `The files could not be written: ${errorMessage(error)}. Nothing was kept; send them again.`;
    }
  }

  async #finishUpload(client: Client, chat: string, sending: Sending): Promise<ServerLine> {
    const { message, upload, failure } = sending;
    try {
      if (failure !== undefined) return refusedLine(message.id, failure);
      return await this.#incoming.run(chat, () => this.#acceptMessage(chat, message, upload));
    } finally {
      await this.#endUpload(client);
    }
  }

  /** What the client uploads, if anything, is not waited for any more, and gone unless it was given its place. */
  async #endUpload(client: Client): Promise<void> {
    const { sending } = client;
    client.sending = undefined;
    try {
      await sending?.upload.discard();
    } catch (error) {
      this.#trouble({ type: 'files-left', reason: errorMessage(error) });
    }
  }

  async #acceptChoice(chat: string, { id, questionId, choice }: ChoiceLine): Promise<ServerLine> {
    if (this.#isClosed) return refusedLine(id, STOPPING);
    const { history, now } = this.#options;
    const text = history.choices(chat, questionId)?.[choice];
    if (text === undefined) return refusedLine(id, 'There is no such choice in this chat; nothing was kept.');
    const made = { chat, id, text, timestamp: now(), files: [], folder: null, choice: { questionId, choice } };
    return this.#storeAndDeliver(made, undefined);
  }

  async #acceptMessage(chat: string, { id, text }: MessageLine, upload: Upload | undefined): Promise<ServerLine> {
    if (this.#isClosed) return refusedLine(id, STOPPING);
    const files = upload?.kept ?? [];
    const message = { chat, id, text, timestamp: this.#options.now(), files, folder: null, choice: null };
    return this.#storeAndDeliver(message, upload);
  }

  /** Stores what came in unless it is there, with its files before it, and hands it to the host. */
  async #storeAndDeliver(incoming: Incoming, upload: Upload | undefined): Promise<ServerLine> {
    const { history, files } = this.#options;
    const { chat, id } = incoming;
    try {
      const known = history.knownIncoming(incoming);
      if (known?.type === 'received') return { type: 'accepted', id };
      if (known?.type === 'conflict') return refusedLine(id, ID_IS_USED);
      if (known !== undefined) return await this.#deliver(known.message);
      const waiting = history.waiting();
      if (waiting.messages >= WAITING_MAX || waiting.bytes >= WAITING_BYTES_MAX) return refusedLine(id, TOO_MANY_WAIT);
      const folder = upload === undefined ? null : await files.keepUpload(upload, `${chat}/${id}`);
      if (this.#isClosed) return refusedLine(id, STOPPING);
      const stored = history.storeIncoming({ ...incoming, folder });
      return stored.type === 'pending' ? await this.#deliver(stored.message) : refusedLine(id, ID_IS_USED);
    } catch (error) {
      return this.#notReceived(incoming, error);
    }
  }

  /** Hands what is stored to the host, and notes that it has it. */
  async #deliver(message: Incoming): Promise<ServerLine> {
    const { chat, id, folder } = message;
    if (this.#isClosed) return refusedLine(id, STOPPING);
    try {
      await this.#options.receive(this.#toEvent(message));
      if (this.#isClosed) return refusedLine(id, STOPPING);
      this.#options.history.markReceived(chat, id);
    } catch (error) {
      return this.#notReceived(message, error);
    }
    if (folder !== null) await this.#remove(folder);
    return { type: 'accepted', id };
  }

  #notReceived({ chat, id }: Incoming, error: unknown): ServerLine {
    this.#trouble({ type: 'not-received', chat, id, reason: errorMessage(error) });
    return refusedLine(
      id,
      `The host could not take the message: ${errorMessage(error).replace(/\.$/, '')}. ` +
        'Send it again to try again now; if it was stored, the host also tries again at its next start.',
    );
  }

  #toEvent({ chat, id, text, timestamp, files, folder, choice }: Incoming): ReceivedEvent {
    const common = {
      platformMessageId: id,
      address: { channelType: 'terminal', platformId: chat, threadId: null },
      sender: { id: PERSON, name: PERSON },
      timestamp,
    };
    if (choice !== null) return { kind: 'choice', ...common, ...choice };
    const read = (name: string, position: number) => this.#options.files.read(folder ?? '', name, position);
    const incoming = files.map(({ name }, position) => ({ name, bytes: () => read(name, position) }));
    return { kind: 'message', ...common, text, files: incoming, isMention: true, isDirect: true };
  }

  // ── To the clients ──────────────────────────────────────────────────────────────────────────────────────────────

  /** Something new was stored for the chat. */
  #push(chat: string, bytes: number): void {
    for (const client of this.#clients) {
      if (client.chat !== chat) continue;
      if (client.isFull) client.unreadBytes += bytes;
      if (client.unreadBytes > UNREAD_BYTES_MAX) this.#drop(client, 'It does not read what is sent to it.');
      else this.#pump(client);
    }
  }

  /** Writes what the client has not seen, until its socket is full: the history is the buffer. */
  #pump(client: Client): void {
    const { chat, socket } = client;
    if (chat === undefined) return;
    try {
      while (!client.isFull && !this.#isClosed && socket.writable) {
        const page = this.#options.history.outgoingAfter(chat, client.seen, PAGE_LENGTH);
        if (page.length === 0) return;
        for (const message of page) {
          this.#write(client, { type: 'message', ...this.#toMessage(message) });
          client.seen = message.n;
          if (client.isFull) break;
        }
      }
    } catch (error) {
      this.#dropWithReason(client, `The history could not be read: ${errorMessage(error)}`);
    }
  }

  #write(client: Client, line: ServerLine): void {
    if (!client.socket.writable) return; // gone, or ended from this side
    if (!client.socket.write(encodeLine(line))) client.isFull = true;
    // Answers are written to a full socket too; a client that sends and never reads must not fill the memory with them.
    if (client.socket.writableLength > UNREAD_BYTES_MAX) this.#drop(client, 'It does not read its answers.');
  }

  /** Tells the client why, then ends the connection. */
  #dropWithReason(client: Client, reason: string): void {
    if (!client.socket.writable) return;
    client.isLeaving = true;
    client.socket.end(encodeLine({ type: 'error', reason }), () => client.socket.destroy());
    this.#trouble({ type: 'client-dropped', chat: client.chat, reason });
  }

  #drop(client: Client, reason: string): void {
    if (client.socket.destroyed) return;
    client.socket.destroy();
    this.#trouble({ type: 'client-dropped', chat: client.chat, reason });
  }

  #trouble(trouble: TerminalTrouble): void {
    this.#options.trouble(trouble);
  }

  #toPast(entry: Incoming | Outgoing): TerminalPast {
    if ('n' in entry) return { from: 'bot', message: this.#toMessage(entry) };
    const { id, timestamp, text, files } = entry;
    return { from: 'person', id, timestamp, text, files: files.map(({ name }) => name) };
  }

  #toMessage({ n, timestamp, text, inReplyTo, detail, folder }: Outgoing): TerminalMessage {
    const common = { n, timestamp, text, ...(inReplyTo === null ? {} : { inReplyTo }) };
    if (detail.kind !== 'text') return { ...common, ...detail };
    const path = (name: string, position: number) =>
      folder === null ? null : this.#options.files.path(folder, name, position);
    const files = detail.files.map((file, position) => ({ ...file, path: path(file.name, position) }));
    return { ...common, kind: 'text', files };
  }
}

const STOPPING = 'The host is stopping. Connect again and send the message again.';
const ID_IS_USED = 'The id of this message was used for another text. Only the first was kept; use a new id.';
const TOO_LONG = `The message is longer than ${TEXT_BYTES_MAX} bytes; nothing was kept.`;
const TOO_MANY_WAIT =
  'Too much waits for the host already; nothing was kept. Send it again when the host takes messages.';

function refusedLine(id: string, reason: string): ServerLine {
  return { type: 'refused', id, reason };
}
