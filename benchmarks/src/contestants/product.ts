/**
 * The product as people have it: a host by `createHost` with everything that is its default, real runner processes, a model that
 * answers at once. The chats are in memory, so that no platform is measured.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Channel, Receive } from '@nanoclaw/channels';
import { Guard } from '@nanoclaw/guard';
import { createHost, processPorts } from '@nanoclaw/host';
import type { Contestant } from '../contestant.ts';
import { Waiting } from '../waiting.ts';

export const PROVIDER_MODULE = fileURLToPath(new URL('./instant-provider.ts', import.meta.url));
export const RUNNER_FOLDER = fileURLToPath(new URL('../../../apps/agent-runner/dist', import.meta.url));

/** What a trace wants to know of a host. */
export interface ProductHooks {
  /** The Bun of the runners. */
  readonly bunPath?: string;
  /** A read of what a runner wrote, that began at this `performance.now()`, is over. */
  readonly onRead?: (since: number, what: string) => void;
  /** A message is to be shown. */
  readonly onSend?: () => void;
}

export const PRODUCT_IN_MEMORY = productInMemory();

/** The product with its chats in memory. */
export function productInMemory({ bunPath, onRead, onSend }: ProductHooks = {}): Contestant {
  return {
    name: 'product, channel in memory',
    group: 'product',
    open: async (folder, sessions) => {
      const channel = new MemoryChannel(onSend);
      writeFileSync(
        join(folder, 'config.json'),
        JSON.stringify({ providers: { instant: { module: PROVIDER_MODULE, options: {} } } }),
      );
      const host = await createHost({
        data: folder,
        channels: { memory: { channel, newChats: 'answer' } },
        settings: {
          driver: 'process',
          provider: 'instant',
          runsMax: sessions + 1,
          idleExitMs: 600_000,
          ...(bunPath === undefined ? {} : { bunPath }),
        },
        runnerFolder: RUNNER_FOLDER,
        ...(onRead === undefined ? {} : { guard: watched(folder, onRead) }),
      });
      return {
        ask: (session) => channel.ask(`chat-${session}`),
        [Symbol.asyncDispose]: () => host.stop(),
      };
    },
  };
}

/** The guard that a host would start itself, with a look at each read. */
function watched(folder: string, onRead: NonNullable<ProductHooks['onRead']>): Guard {
  const { clock, monotonic } = processPorts();
  const guard = new Guard({
    sessions: join(folder, 'sessions'),
    scratch: join(folder, 'guard'),
    setTimer: clock.setTimer,
    monotonic,
    onTrouble: () => undefined,
  });
  const reader = guard.reader.bind(guard);
  guard.reader = (session) => {
    const original = reader(session);
    return {
      read: async (request) => {
        const since = performance.now();
        const read = await original.read(request);
        onRead(since, JSON.stringify(request).slice(0, 100));
        return read;
      },
    };
  };
  return guard;
}

/** Chats that are nowhere: a message has come once its answer is to be shown. */
class MemoryChannel implements Channel {
  readonly type = 'memory';
  readonly duplicates = 'key';
  readonly limits = { text: { max: 10_000, unit: 'utf16-units' } } as const;
  readonly shows = new Set<never>();
  readonly #waiting = new Waiting();
  readonly #onSend: () => void;
  #receive: Receive | undefined;
  #count = 0;

  constructor(onSend: () => void = () => undefined) {
    this.#onSend = onSend;
  }

  async start(receive: Receive): Promise<void> {
    this.#receive = receive;
  }

  async ask(chat: string): Promise<void> {
    if (this.#receive === undefined) throw new Error('The host has not started the channel.');
    this.#count += 1;
    const id = `message-${this.#count}`;
    const answered = this.#waiting.for(id);
    await this.#receive({
      kind: 'message',
      platformMessageId: id,
      address: { channelType: this.type, platformId: chat, threadId: null },
      sender: { id: `person-${chat}`, name: 'Ada' },
      text: id,
      files: [],
      timestamp: Date.now(),
      isMention: true,
      isDirect: true,
    });
    return answered;
  }

  async send(...[, message]: Parameters<Channel['send']>): ReturnType<Channel['send']> {
    this.#onSend();
    if (message.kind === 'text') this.#waiting.seen(message.text);
    return { type: 'sent', platformMessageId: null };
  }

  async stop(): Promise<void> {
    this.#receive = undefined;
  }

  health() {
    return { state: this.#receive ? 'online' : 'stopped' } as const;
  }

  async directAddress() {
    return undefined;
  }
}
