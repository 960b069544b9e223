import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import {
  type Address,
  type Attempt,
  type Channel,
  type ChannelModule,
  type Health,
  type OutgoingMessage,
  type Receive,
  refusal,
  refused,
  type SendResult,
} from '@nanoclaw/channels';
import { z } from 'zod';

/** A chat server that speaks JSON lines over TCP: one room, texts only. */
export class LineChannel implements Channel {
  readonly type = 'line';
  readonly duplicates = 'none';
  readonly limits = { text: { max: 2000, unit: 'utf8-bytes' } } as const;
  readonly shows = new Set<never>(); // besides text
  readonly #port: number;
  readonly #sending = new Map<string, (result: SendResult) => void>();
  #socket: Socket | undefined;

  constructor(port: number) {
    this.#port = port;
  }

  async start(receive: Receive): Promise<void> {
    if (this.#socket !== undefined) throw new Error('The line channel is running already; stop it first.');
    const socket = connect(this.#port);
    this.#socket = socket;
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    const connected = new Promise<void>((resolve) => socket.once('connect', () => resolve()));
    socket.on('error', () => socket.destroy()); // `close` follows, and is looked at below
    void closed.then(() => this.#failSending());
    await Promise.race([connected, closed]);
    if (this.#socket === socket && !socket.destroyed) {
      this.#read(socket, receive);
      return;
    }
    if (this.#socket === socket) this.#socket = undefined;
    throw new Error(`The line channel found no chat server on port ${this.#port}, or was stopped. Start the server.`);
  }

  async send(address: Address, message: OutgoingMessage, { key }: Attempt): Promise<SendResult> {
    const socket = this.#socket;
    if (socket === undefined || socket.readyState !== 'open') return { type: 'offline' };
    const impossible = refusal(this, address, message); // another channel's address, no text, too long, not shown here
    if (impossible !== undefined) return impossible;
    if (address.threadId !== null || message.kind !== 'text') return refused('The room has no threads.');
    return new Promise((resolve) => {
      this.#sending.set(key, resolve);
      write(socket, { key, room: address.platformId, text: message.text });
    });
  }

  async stop(): Promise<void> {
    this.#socket?.destroy();
    this.#socket = undefined;
    this.#failSending();
  }

  health(): Health {
    if (this.#socket === undefined) return { state: 'stopped' };
    if (this.#socket.readyState === 'open') return { state: 'online' };
    return { state: 'offline', reason: 'The connection to the chat server was lost.' };
  }

  async directAddress(): Promise<undefined> {
    return undefined; // the server has one room, and no chats of two
  }

  #read(socket: Socket, receive: Receive): void {
    let delivered = Promise.resolve(); // one by one, so that the host gets what people write in order
    const lines = createInterface({ input: socket });
    lines.on('error', () => {}); // the socket's own
    lines.on('line', (line) => {
      const { shown, id, room, from, text, at } = JSON.parse(line);
      if (shown !== undefined) this.#settle(shown, { type: 'sent', platformMessageId: null });
      if (id === undefined) return;
      const address = { channelType: this.type, platformId: room, threadId: null };
      const place = { platformMessageId: id, address, sender: { id: from, name: from }, timestamp: at };
      const message = { kind: 'message', ...place, text, files: [], isMention: true, isDirect: false } as const;
      delivered = delivered
        .then(() => receive(message))
        .then(
          () => write(socket, { ack: id }), // only now, when the host has it on disk
          () => write(socket, { nack: id }), // the server offers it again to the next connection
        );
    });
  }

  #settle(key: string, result: SendResult): void {
    this.#sending.get(key)?.(result);
    this.#sending.delete(key);
  }

  /** What was not confirmed may be visible or not: the host is told that, and tries again. */
  #failSending(): void {
    for (const key of this.#sending.keys()) {
      this.#settle(key, { type: 'failed', permanent: false, reason: 'The connection was lost before the answer.' });
    }
  }
}

function write(socket: Socket, line: object): void {
  if (socket.writable) socket.write(`${JSON.stringify(line)}\n`);
}

const line: ChannelModule<{ port: number }> = {
  type: 'line',
  options: z.strictObject({ port: z.int().min(1).max(65_535) }),
  create: ({ port }) => new LineChannel(port),
};

export default line;
