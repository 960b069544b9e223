// The other end of the terminal channel: one connection to one chat of a running host. It never connects again by
// itself; the program that shows the chat decides when, and then passes on what it has seen and what was not accepted.

import { once } from 'node:events';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { basename } from 'node:path';
import { isName } from '@nanoclaw/session-db/text';
import { errorMessage } from '../error-message.ts';
import { LastSeen } from './last-seen.ts';
import {
  type ClientLine,
  type DeclaredFile,
  encodeLine,
  FILE_BYTES_MAX,
  FILES_MAX,
  HISTORY_MAX,
  lines,
  PIECE_BYTES_MAX,
  parseServerLine,
  type ServerLine,
  TEXT_BYTES_MAX,
  type TerminalMessage,
  type TerminalPast,
} from './protocol.ts';

/** Which chat, from where on, and what is done with what comes. */
export interface TerminalClientOptions {
  /** 1 to 64 letters, digits, dots, dashes, underscores. */
  chat: string;
  /**
   * The number of the last message seen: all later ones come first. Without it only what is sent from now on. What
   * `catchUp` remembers goes before it.
   */
  after?: number;
  /** Remembers in a file of this folder what was seen of the chat, and begins after it. The folder is made if missing. */
  catchUp?: { folder: string };
  /** A new id for each message: 1 to 128 letters, digits, dots, colons, dashes, underscores, not `terminal:` first. */
  newId: () => string;
  /** Called with each message to the chat, in order. If it throws, the connection ends and `closed` says why. */
  onMessage: (message: TerminalMessage) => void;
  /** Called now and then while the bot is writing. */
  onTyping?: () => void;
}

/** Why the connection ended: `closed` by this side, `rejected` by the host for what it was sent, else `lost`. */
export type TerminalClosed =
  | { type: 'closed' }
  | { type: 'rejected'; reason: string }
  | { type: 'lost'; reason: string };

/** The host refused it. The same message is refused again unless the reason says otherwise. */
export class MessageRefused extends Error {
  override readonly name = 'MessageRefused';
  /** Of the message. */
  readonly id: string;
  constructor(id: string, reason: string) {
    super(reason);
    this.id = id;
  }
}

/**
 * The connection ended before the host answered, so whether it has the message is not known. Connect again and send the
 * text again with this id: the message is the same one, and arrives once.
 */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost';
  /** Of the message; pass it when sending the text again. */
  readonly id: string;
  constructor(id: string, reason: string) {
    super(`The connection ended before the message was accepted: ${reason} Connect again and send it again.`);
    this.id = id;
  }
}

/** One terminal in one chat. */
export class TerminalClient {
  readonly #socket: Socket;
  readonly #options: TerminalClientOptions;
  readonly #welcome = Promise.withResolvers<void>();
  /** Per id the requests that wait for an answer; the host answers one id in the order in which it was sent. */
  readonly #waiting = new Map<string, PromiseWithResolvers<string>[]>();
  /** By the id of the request, what came of the history so far. */
  readonly #past = new Map<string, TerminalPast[]>();
  readonly #lastSeen: LastSeen | undefined;
  /** The end of the queue of what is written: a message's files come right after it. */
  #writing: Promise<void> = Promise.resolve();
  #ending: TerminalClosed | undefined;
  #seen = 0;

  /** Resolves when the connection has ended, from either side; never rejects. */
  readonly closed: Promise<TerminalClosed>;

  /**
   * Connects and says hello. Rejects when no host listens at the path, or when it does not accept the hello. Messages
   * may come before it resolves.
   */
  static async connect(socketPath: string, options: TerminalClientOptions): Promise<TerminalClient> {
    const client = new TerminalClient(await connectSocket(socketPath), options);
    await client.#welcome.promise;
    return client;
  }

  private constructor(socket: Socket, options: TerminalClientOptions) {
    this.#socket = socket;
    this.#options = options;
    const { chat, catchUp } = options;
    this.#lastSeen = catchUp === undefined ? undefined : new LastSeen(catchUp.folder, chat);
    this.closed = this.#listen();
    const after = this.#lastSeen?.read() ?? options.after;
    socket.write(encodeLine({ type: 'hello', chat, ...(after === undefined ? {} : { after }) }));
  }

  /** The number of the last message seen, or, before the first, the number after which messages come. */
  get seen(): number {
    return this.#seen;
  }

  /**
   * Sends a message and resolves with its id once the host has it on disk. Rejects with `MessageRefused` or
   * `ConnectionLost`; after the second, connect again and pass the error's `id` when sending the text again.
   */
  async send(text: string, id: string = this.#options.newId()): Promise<string> {
    assertLength(text, id);
    return this.#ask({ type: 'message', id, text, files: [] });
  }

  /**
   * Sends files, with a text if there is one, and resolves and rejects as `send` does. Rejects with `MessageRefused` also
   * when a file cannot be read, is no regular file, or is too large; nothing is sent then.
   */
  async sendFiles(paths: readonly string[], text = '', id: string = this.#options.newId()): Promise<string> {
    assertLength(text, id);
    if (paths.length === 0 || paths.length > FILES_MAX) {
      throw new MessageRefused(id, `A message has 1 to ${FILES_MAX} files, and this one has ${paths.length}.`);
    }
    const files: OpenFile[] = [];
    try {
      for (const path of paths) files.push(await openFile(path, id));
      const declared = files.map(({ name, bytes }) => ({ name, bytes }));
      return await this.#ask({ type: 'message', id, text, files: declared }, async () => {
        for (const file of files) await this.#writeFile(file);
      });
    } finally {
      for (const { handle } of files) await handle.close();
    }
  }

  /** Chooses, by the position in the question's choices, and resolves and rejects as `send` does. */
  async choose(questionId: string, choice: number, id: string = this.#options.newId()): Promise<string> {
    return this.#ask({ type: 'choice', id, questionId, choice });
  }

  /** The last of what was said in the chat, from either side, oldest first; `limit` is at most 100. */
  async history(limit: number): Promise<TerminalPast[]> {
    const id = this.#options.newId();
    const past: TerminalPast[] = [];
    this.#past.set(id, past);
    try {
      await this.#ask({ type: 'history', id, limit: Math.min(limit, HISTORY_MAX) });
      return past;
    } finally {
      this.#past.delete(id);
    }
  }

  /** Ends the connection. Messages that are not accepted yet reject with `ConnectionLost`. */
  async close(): Promise<void> {
    this.#ending ??= { type: 'closed' };
    this.#socket.destroy();
    await this.closed;
  }

  /** Writes a line, and what comes right after it, and waits for the answer about its id. */
  async #ask(line: ClientLine & { id: string }, writeRest?: () => Promise<void>): Promise<string> {
    const { id } = line;
    if (this.#ending !== undefined) throw new ConnectionLost(id, reasonOf(this.#ending));
    const answer = Promise.withResolvers<string>();
    this.#waiting.set(id, [...(this.#waiting.get(id) ?? []), answer]);
    this.#writing = this.#writeInTurn(this.#writing, line, writeRest);
    return answer.promise;
  }

  /** Never rejects: what follows half a file would be read as part of it, so then the connection ends. */
  async #writeInTurn(earlier: Promise<void>, line: ClientLine, writeRest?: () => Promise<void>): Promise<void> {
    await earlier;
    this.#socket.write(encodeLine(line));
    try {
      await writeRest?.();
    } catch (error) {
      this.#ending ??= { type: 'lost', reason: errorMessage(error) };
      this.#socket.destroy();
    }
  }

  async #writeFile({ handle, name, bytes }: OpenFile): Promise<void> {
    let left = bytes;
    while (left > 0) {
      const length = Math.min(left, PIECE_BYTES_MAX);
      const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(length), 0, length);
      if (bytesRead === 0) throw new Error(`The file ${name} became shorter while it was sent.`);
      left -= bytesRead;
      const data = buffer.subarray(0, bytesRead).toString('base64');
      if (this.#socket.write(encodeLine({ type: 'bytes', data }))) continue;
      await Promise.race([once(this.#socket, 'drain'), this.closed]);
      if (this.#ending !== undefined) return;
    }
  }

  async #listen(): Promise<TerminalClosed> {
    const ending = await this.#readToEnd();
    this.#ending = ending;
    this.#socket.destroy();
    this.#welcome.reject(new Error(`The host did not let the terminal in: ${reasonOf(ending)}`));
    for (const [id, answers] of this.#waiting) {
      for (const answer of answers) answer.reject(new ConnectionLost(id, reasonOf(ending)));
    }
    this.#waiting.clear();
    return ending;
  }

  /** Hears the host out, and why there is nothing more to hear. */
  async #readToEnd(): Promise<TerminalClosed> {
    try {
      for await (const text of lines(this.#socket)) {
        const line = parseServerLine(text);
        if (line.type === 'invalid')
          return { type: 'lost', reason: `The host does not follow the protocol. ${line.reason}` };
        if (line.type === 'error') return { type: 'rejected', reason: line.reason };
        this.#handleLine(line);
      }
      return this.#ending ?? { type: 'lost', reason: 'The host ended the connection.' };
    } catch (error) {
      return this.#ending ?? { type: 'lost', reason: errorMessage(error) };
    }
  }

  #handleLine(line: Exclude<ServerLine, { type: 'error' }>): void {
    switch (line.type) {
      case 'welcome':
        this.#seen = line.after;
        this.#welcome.resolve();
        return;
      case 'message': {
        const { type: _, ...message } = line;
        this.#options.onMessage(message);
        this.#seen = line.n;
        this.#lastSeen?.write(line.n);
        return;
      }
      case 'typing':
        this.#options.onTyping?.();
        return;
      case 'past':
        this.#past.get(line.id)?.push(line.entry);
        return;
      case 'accepted':
        this.#oldestWaiting(line.id)?.resolve(line.id);
        return;
      case 'refused':
        this.#oldestWaiting(line.id)?.reject(new MessageRefused(line.id, line.reason));
        return;
    }
  }

  /** The oldest request that waits for an answer about `id`; `undefined` when the host answers what was not asked. */
  #oldestWaiting(id: string): PromiseWithResolvers<string> | undefined {
    const [first, ...others] = this.#waiting.get(id) ?? [];
    if (others.length === 0) this.#waiting.delete(id);
    else this.#waiting.set(id, others);
    return first;
  }
}

interface OpenFile extends DeclaredFile {
  handle: FileHandle;
}

/** Opens a file that can be sent. Throws `MessageRefused` for any other. */
async function openFile(path: string, id: string): Promise<OpenFile> {
  const name = basename(path);
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw new MessageRefused(id, `The file cannot be read, so nothing was sent: ${errorMessage(error)}.`);
  }
  const stat = await handle.stat();
  const problem = !stat.isFile()
    ? `${path} is no regular file, so nothing was sent.`
    : stat.size > FILE_BYTES_MAX
      ? `${path} is larger than ${FILE_BYTES_MAX} bytes, so nothing was sent.`
      : isName('file', name)
        ? undefined
        : `${path} has a name that cannot be sent. Copy it to another name; nothing was sent.`;
  if (problem === undefined) return { handle, name, bytes: stat.size };
  await handle.close();
  throw new MessageRefused(id, problem);
}

function assertLength(text: string, id: string): void {
  if (Buffer.byteLength(text) > TEXT_BYTES_MAX) {
    throw new MessageRefused(id, `The message is longer than ${TEXT_BYTES_MAX} bytes. Send it in parts.`);
  }
}

async function connectSocket(path: string): Promise<Socket> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
  } catch (error) {
    const detail = errorMessage(error);
    throw new Error(`No host answers on ${path} (${detail}). Nothing was sent. Start the host and try again.`, {
      cause: error,
    });
  }
  // What fails later is seen by the reader of the lines; this only keeps an error after that from being thrown.
  socket.on('error', () => {});
  return socket;
}

function reasonOf(ending: TerminalClosed): string {
  return ending.type === 'closed' ? 'The connection was closed.' : ending.reason;
}
