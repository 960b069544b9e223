// What several tests need: temporary folders, terminal channels and clients that are ended after each test, raw sockets.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Address, Receive } from '../src/channel.js';
import { TerminalChannel, type TerminalTrouble, terminalSocketPath } from '../src/terminal.js';
import { TerminalClient, type TerminalMessage } from '../src/terminal-client.js';

export const MAIN: Address = { channelType: 'terminal', platformId: 'main', threadId: null };

/** One test's world. Everything made through it is ended by `close`, last made first. */
export class World {
  readonly #endings: (() => unknown)[] = [];
  readonly folder = mkdtempSync(join(tmpdir(), 'nanoclaw-channels-'));
  readonly troubles: TerminalTrouble[] = [];
  #ids = 0;
  #time = 1_000_000;

  constructor() {
    this.onClose(() => rmSync(this.folder, { recursive: true, force: true }));
  }

  onClose(ending: () => unknown): void {
    this.#endings.push(ending);
  }

  get socketPath(): string {
    return terminalSocketPath(this.folder);
  }

  channel(): TerminalChannel {
    const channel = new TerminalChannel({
      folder: this.folder,
      now: () => this.#time++,
      onTrouble: (trouble) => this.troubles.push(trouble),
    });
    this.onClose(() => channel.stop());
    return channel;
  }

  async started(receive: Receive = async () => {}): Promise<TerminalChannel> {
    const channel = this.channel();
    await channel.start(receive);
    return channel;
  }

  async client(options: { chat?: string; after?: number } = {}): Promise<Reader> {
    const got: TerminalMessage[] = [];
    const reader = new Reader(
      await TerminalClient.connect(this.socketPath, {
        chat: options.chat ?? 'main',
        ...(options.after === undefined ? {} : { after: options.after }),
        newId: () => `id-${++this.#ids}`,
        onMessage: (message) => {
          got.push(message);
          reader?.look();
        },
      }),
      got,
    );
    this.onClose(() => reader.client.close());
    return reader;
  }

  /** A connection that says what it likes. */
  async raw(): Promise<Socket> {
    const socket = connect(this.socketPath);
    this.onClose(() => socket.destroy());
    await once(socket, 'connect');
    socket.on('error', () => {}); // being cut off in the middle of a write is part of these tests
    return socket;
  }

  async close(): Promise<void> {
    for (const ending of this.#endings.toReversed()) await ending();
  }
}

/** A client and what it got. */
export class Reader {
  readonly client: TerminalClient;
  readonly got: TerminalMessage[];
  #waiting: (() => void)[] = [];

  constructor(client: TerminalClient, got: TerminalMessage[]) {
    this.client = client;
    this.got = got;
  }

  get texts(): string[] {
    return this.got.map((message) => message.text);
  }

  look(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Resolves once so many messages have come. */
  async has(count: number): Promise<void> {
    while (this.got.length < count) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
    }
  }
}

/** All that a socket says until the other side ends it. */
export async function heardOut(socket: Socket): Promise<string> {
  let heard = '';
  socket.setEncoding('utf8');
  socket.on('data', (chunk: string) => {
    heard += chunk;
  });
  if (!socket.destroyed) await once(socket, 'close');
  return heard;
}

/** Waits until `done` holds; the test's own time limit is the only other end. */
export async function until(done: () => boolean): Promise<void> {
  while (!done()) {
    await new Promise((resolve) => {
      setTimeout(resolve, 5);
    });
  }
}
