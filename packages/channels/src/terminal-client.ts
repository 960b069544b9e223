// The other end of the terminal channel: one connection to one chat of a running host. It never connects again by
// itself; the program that shows the chat decides when, and then passes on what it has seen and what was not accepted.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { lineOf, lines, parseServerLine, type ServerLine, TEXT_MAX_BYTES } from './terminal-wire.js';

export interface TerminalClientOptions {
  /** 1 to 64 letters, digits, dots, dashes, underscores. */
  chat: string;
  /** The number of the last message seen: all later ones come first. Without it only what is sent from now on. */
  after?: number;
  /** A new id for each message: 1 to 128 letters, digits, dots, colons, dashes, underscores. */
  newId: () => string;
  /** Called with each message to the chat, in order. If it throws, the connection ends and `closed` says why. */
  onMessage: (message: TerminalMessage) => void;
}

/** A message to the chat. */
export interface TerminalMessage {
  /** Grows over the chat. To be remembered: it is the `after` of the next connection. */
  n: number;
  /** When it was sent. Epoch milliseconds. */
  timestamp: number;
  /** Untouched: may hold escape sequences, so strip control characters before printing it to a terminal. */
  text: string;
  /** The id of the user's message that it answers. */
  inReplyTo?: string;
}

/** Why the connection ended: `closed` by this side, `rejected` by the host for what it was told, else `lost`. */
export type TerminalClosed =
  | { type: 'closed' }
  | { type: 'rejected'; reason: string }
  | { type: 'lost'; reason: string };

/** The host was told and said no. The same message is refused again unless the reason says otherwise. */
export class MessageRefused extends Error {
  override readonly name = 'MessageRefused';
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
  readonly id: string;
  constructor(id: string, reason: string) {
    super(`The connection ended before the message was accepted: ${reason} Connect again and send it again.`);
    this.id = id;
  }
}

export class TerminalClient {
  readonly #socket: Socket;
  readonly #options: TerminalClientOptions;
  readonly #welcome = Promise.withResolvers<void>();
  /** Per id those who wait for an answer; the host answers one id in the order in which it was sent. */
  readonly #waiting = new Map<string, PromiseWithResolvers<string>[]>();
  #ending: TerminalClosed | undefined;
  #seen = 0;

  /** Resolves when the connection has ended, whoever ended it; never rejects. */
  readonly closed: Promise<TerminalClosed>;

  /**
   * Connects and says hello. Rejects when no host listens at the path, or when it does not accept the hello. Messages
   * may come before it resolves.
   */
  static async connect(socketPath: string, options: TerminalClientOptions): Promise<TerminalClient> {
    const client = new TerminalClient(await connected(socketPath), options);
    await client.#welcome.promise;
    return client;
  }

  private constructor(socket: Socket, options: TerminalClientOptions) {
    this.#socket = socket;
    this.#options = options;
    this.closed = this.#listen();
    const { chat, after } = options;
    socket.write(lineOf({ type: 'hello', chat, ...(after === undefined ? {} : { after }) }));
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
    if (Buffer.byteLength(text) > TEXT_MAX_BYTES) {
      throw new MessageRefused(id, `The message is longer than ${TEXT_MAX_BYTES} bytes. Send it in parts.`);
    }
    if (this.#ending !== undefined) throw new ConnectionLost(id, reasonOf(this.#ending));
    const answer = Promise.withResolvers<string>();
    this.#waiting.set(id, [...(this.#waiting.get(id) ?? []), answer]);
    this.#socket.write(lineOf({ type: 'message', id, text }));
    return answer.promise;
  }

  /** Ends the connection. Messages that are not accepted yet reject with `ConnectionLost`. */
  async close(): Promise<void> {
    this.#ending ??= { type: 'closed' };
    this.#socket.destroy();
    await this.closed;
  }

  async #listen(): Promise<TerminalClosed> {
    const ending = await this.#heardOut();
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
  async #heardOut(): Promise<TerminalClosed> {
    try {
      for await (const line of lines(this.#socket)) {
        const said = parseServerLine(line);
        if (said.type === 'garbage')
          return { type: 'lost', reason: `The host does not follow the protocol. ${said.reason}` };
        if (said.type === 'error') return { type: 'rejected', reason: said.reason };
        this.#hear(said);
      }
      return this.#ending ?? { type: 'lost', reason: 'The host ended the connection.' };
    } catch (error) {
      return this.#ending ?? { type: 'lost', reason: error instanceof Error ? error.message : String(error) };
    }
  }

  #hear(said: Exclude<ServerLine, { type: 'error' }>): void {
    switch (said.type) {
      case 'welcome':
        this.#seen = said.after;
        this.#welcome.resolve();
        return;
      case 'message': {
        const { type: _, ...message } = said;
        this.#options.onMessage(message);
        this.#seen = said.n;
        return;
      }
      case 'accepted':
        this.#answered(said.id)?.resolve(said.id);
        return;
      case 'refused':
        this.#answered(said.id)?.reject(new MessageRefused(said.id, said.reason));
        return;
    }
  }

  /** Who has waited longest for an answer about `id`; `undefined` when the host answers what nobody asked. */
  #answered(id: string): PromiseWithResolvers<string> | undefined {
    const [first, ...others] = this.#waiting.get(id) ?? [];
    if (others.length === 0) this.#waiting.delete(id);
    else this.#waiting.set(id, others);
    return first;
  }
}

async function connected(path: string): Promise<Socket> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    throw new Error(`No host answers on ${path} (${detail}). Nothing was sent. Start the host and try again.`, {
      cause: error,
    });
  }
  // What fails later is seen by who reads the lines; this only keeps an error after that from being thrown.
  socket.on('error', () => {});
  return socket;
}

function reasonOf(ending: TerminalClosed): string {
  return ending.type === 'closed' ? 'The connection was closed.' : ending.reason;
}
