// What several tests need: temporary folders, terminal channels and clients that are ended after each test, raw sockets.
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Address, Receive, ReceivedChoice, ReceivedEvent, ReceivedMessage } from '../src/channel.ts';
import type { VisibleMessage } from '../src/contract/index.ts';
import type { TerminalFile, TerminalMessage } from '../src/terminal/protocol.ts';
import { TerminalChannel, type TerminalChannelOptions, terminalSocketPath } from '../src/terminal/terminal-channel.ts';
import { TerminalClient, type TerminalClientOptions } from '../src/terminal/terminal-client.ts';
import type { TerminalTrouble } from '../src/terminal/trouble.ts';

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

  channel(options: Partial<TerminalChannelOptions> = {}): TerminalChannel {
    const channel = new TerminalChannel({
      folder: this.folder,
      now: () => this.#time++,
      onTrouble: (trouble) => this.troubles.push(trouble),
      ...options,
    });
    this.onClose(() => channel.stop());
    return channel;
  }

  async started(receive: Receive = async () => {}): Promise<TerminalChannel> {
    const channel = this.channel();
    await channel.start(receive);
    return channel;
  }

  newId(): string {
    return `id-${++this.#ids}`;
  }

  /** A file of the host, or of a person. */
  file(content: Uint8Array | string, name = `file-${++this.#ids}`): string {
    const path = join(this.folder, name);
    writeFileSync(path, content);
    return path;
  }

  async client(options: Partial<TerminalClientOptions> = {}): Promise<Reader> {
    const got: TerminalMessage[] = [];
    const reader = new Reader(
      await TerminalClient.connect(this.socketPath, {
        chat: 'main',
        newId: () => this.newId(),
        ...options,
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

/** The text of a message that came in; a choice has none. */
export function textOf(event: ReceivedEvent): string | undefined {
  return event.kind === 'message' ? event.text : undefined;
}

/** Waits until `done` holds; the test's own time limit is the only other end. */
export async function until(done: () => boolean): Promise<void> {
  while (!done()) {
    await new Promise((resolve) => {
      setTimeout(resolve, 5);
    });
  }
}

/** What a platform showed one after the other, of which some changes what was there. */
export type Change =
  | { kind: 'text' | 'question' | 'card' }
  | { kind: 'edit'; of: string }
  | { kind: 'reaction'; to: string };

/** What people see in the end. */
export function folded(changes: readonly (Change & VisibleMessage)[]): VisibleMessage[] {
  const seen: VisibleMessage[] = [];
  for (const change of changes) {
    const index = seen.findIndex((one) => one.platformMessageId === targetOf(change));
    const target = seen[index];
    if (change.kind === 'edit') {
      if (target === undefined) throw new Error('an edit of nothing');
      const { choices: _, ...rest } = target;
      seen[index] = { ...rest, text: change.text };
    } else if (change.kind === 'reaction') {
      if (target !== undefined) seen[index] = { ...target, reactions: [...(target.reactions ?? []), change.text] };
    } else {
      const { platformMessageId, text, files, choices, card } = change;
      seen.push({
        platformMessageId,
        text,
        ...(files === undefined ? {} : { files }),
        ...(choices === undefined ? {} : { choices }),
        ...(card === undefined ? {} : { card }),
      });
    }
  }
  return seen;
}

function targetOf(change: Change): string | undefined {
  if (change.kind === 'edit') return change.of;
  return change.kind === 'reaction' ? change.to : undefined;
}

/** The files that a client was told of. */
export function readFiles(files: readonly TerminalFile[]): { name: string; bytes: Buffer }[] {
  return files.map(({ name, path }) => ({ name, bytes: readFileSync(path ?? '') }));
}

/** An event as plain data. */
export type EventContent =
  | ReceivedChoice
  | (Omit<ReceivedMessage, 'files'> & { files: { name: string; mediaType?: string; bytes: Buffer }[] });

/** Reads the files of an event, as a host does before its `receive` resolves. */
export async function contentOf(event: ReceivedEvent): Promise<EventContent> {
  if (event.kind === 'choice') return event;
  const files = [];
  for (const file of event.files) {
    const parts: Uint8Array[] = [];
    for await (const part of file.bytes()) parts.push(part);
    const { name, mediaType } = file;
    files.push({ name, ...(mediaType === undefined ? {} : { mediaType }), bytes: Buffer.concat(parts) });
  }
  return { ...event, files };
}
