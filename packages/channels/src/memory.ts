// A chat platform in memory, for tests and for embedding: people write and read through its methods, the host through
// its channels. It keeps a ledger of all it was asked to show and can be told to fail, so that a host's handling of
// duplicates and failures can be tested against any kind of platform.
import {
  type Address,
  type Attempt,
  type Channel,
  type ChannelLimits,
  type Duplicates,
  type Health,
  type OutgoingMessage,
  type Receive,
  type ReceivedMessage,
  refusal,
  type SendResult,
} from './channel.js';

export interface MemoryPlatformOptions {
  /** Default `key`. */
  duplicates?: Duplicates;
  /** Default 4000 UTF-16 units. */
  limits?: ChannelLimits;
}

/** A message that people can see. */
export interface Shown {
  platformMessageId: string;
  address: Address;
  message: OutgoingMessage;
  key: string;
}

/** What becomes of one `send`. */
export type Step =
  /** As it should. */
  | { type: 'works' }
  /** This result, and nothing is shown. */
  | Exclude<SendResult, { type: 'sent' }>
  /** The message is shown, but the answer is lost: the channel reports a failure that a retry may mend. */
  | { type: 'answer-lost' }
  /** Nothing is shown and nothing is answered until the channel stops. */
  | { type: 'hangs' };

/** What became of a message of a person: acknowledged, or kept by the platform for the next start of a channel. */
export type Heard = 'acknowledged' | 'kept';

/**
 * The platform. It outlives its channels: a host that was killed is a channel that is forgotten without `stop`, and the
 * next `channel()` finds everything as the platform saw it.
 */
export class MemoryPlatform {
  readonly type = 'memory';
  readonly duplicates: Duplicates;
  readonly limits: ChannelLimits;
  readonly #shown: Shown[] = [];
  readonly #unacknowledged = new Map<string, ReceivedMessage>();
  readonly #steps: Step[] = [];
  #listener: Listener | undefined;

  constructor(options: MemoryPlatformOptions = {}) {
    this.duplicates = options.duplicates ?? 'key';
    this.limits = options.limits ?? { text: { max: 4000, unit: 'utf16-units' } };
  }

  /** A new channel of this platform. Starting it takes the place of any other. */
  channel(): Channel {
    return new MemoryChannel(this, {
      listen: (listener) => {
        this.#listener?.stop();
        this.#listener = listener;
      },
      unlisten: (listener) => {
        if (this.#listener === listener) this.#listener = undefined;
      },
      unacknowledged: () => [...this.#unacknowledged.values()],
      acknowledge: (message) => this.#unacknowledged.delete(messageKey(message)),
      nextStep: () => this.#steps.shift() ?? { type: 'works' },
      show: (address, message, key) => this.#show(address, message, key),
      find: (key) => this.#shown.find((shown) => shown.key === key)?.platformMessageId,
    });
  }

  /** A person writes. Resolves when the host has it or has failed to take it; `kept` at once when no channel runs. */
  async say(message: ReceivedMessage): Promise<Heard> {
    this.#unacknowledged.set(messageKey(message), message);
    return (await this.#listener?.hear(message)) ?? 'kept';
  }

  /** All that people can see, in the order in which it appeared. */
  get shown(): readonly Shown[] {
    return this.#shown;
  }

  /** What the platform will offer again at the next start of a channel, oldest first. */
  get unacknowledged(): readonly ReceivedMessage[] {
    return [...this.#unacknowledged.values()];
  }

  /** What becomes of the next sends, one step each; after the last one sends work again. */
  script(...steps: readonly Step[]): void {
    this.#steps.push(...steps);
  }

  #show(address: Address, message: OutgoingMessage, key: string): string {
    const known = this.#shown.find((shown) => shown.key === key);
    if (this.duplicates === 'key' && known !== undefined) return known.platformMessageId;
    const platformMessageId = `memory:${this.#shown.length + 1}`;
    this.#shown.push({ platformMessageId, address, message, key });
    return platformMessageId;
  }
}

/** The running channel, as the platform sees it. */
interface Listener {
  hear(message: ReceivedMessage): Promise<Heard>;
  /** What it still works on does not count any more. */
  stop(): void;
}

/** What the platform offers to its channels, and to nobody else. */
interface Line {
  listen(listener: Listener): void;
  unlisten(listener: Listener): void;
  unacknowledged(): ReceivedMessage[];
  acknowledge(message: ReceivedMessage): void;
  nextStep(): Step;
  show(address: Address, message: OutgoingMessage, key: string): string;
  find(key: string): string | undefined;
}

class MemoryChannel implements Channel {
  readonly type: string;
  readonly duplicates: Duplicates;
  readonly limits: ChannelLimits;
  readonly #line: Line;
  #life: Life | undefined;

  constructor(platform: MemoryPlatform, line: Line) {
    this.type = platform.type;
    this.duplicates = platform.duplicates;
    this.limits = platform.limits;
    this.#line = line;
  }

  async start(receive: Receive): Promise<void> {
    if (this.#life !== undefined) throw new Error('The memory channel is running already; stop it before a new start.');
    const life = new Life(this.#line, receive);
    this.#life = life;
    this.#line.listen(life);
    for (const message of this.#line.unacknowledged()) void life.hear(message);
  }

  async send(address: Address, message: OutgoingMessage, attempt: Attempt): Promise<SendResult> {
    const life = this.#life;
    if (life === undefined) return { type: 'offline' };
    const refused = refusal(this, address, message);
    if (refused !== undefined) return refused;
    const step = this.#line.nextStep();
    if (step.type === 'offline' || step.type === 'failed') return step;
    if (step.type === 'hangs') {
      await life.stopped;
      return { type: 'failed', permanent: false, reason: 'The channel stopped before the platform answered.' };
    }
    const found = this.duplicates === 'history' && attempt.uncertain ? this.#line.find(attempt.key) : undefined;
    const platformMessageId = found ?? this.#line.show(address, message, attempt.key);
    if (step.type === 'answer-lost') {
      return { type: 'failed', permanent: false, reason: 'The connection ended before the platform answered.' };
    }
    return { type: 'sent', platformMessageId };
  }

  async stop(): Promise<void> {
    if (this.#life === undefined) return;
    this.#line.unlisten(this.#life);
    this.#life.stop();
    this.#life = undefined;
  }

  health(): Health {
    return this.#life === undefined ? { state: 'stopped' } : { state: 'online' };
  }
}

/** From one start to the next stop. */
class Life implements Listener {
  readonly #line: Line;
  readonly #receive: Receive;
  readonly #stop = Promise.withResolvers<void>();
  #isStopped = false;
  /** The end of the queue of messages, so that the host gets them one by one and in order. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(line: Line, receive: Receive) {
    this.#line = line;
    this.#receive = receive;
  }

  get stopped(): Promise<void> {
    return this.#stop.promise;
  }

  stop(): void {
    this.#isStopped = true;
    this.#stop.resolve();
  }

  hear(message: ReceivedMessage): Promise<Heard> {
    const heard = this.#queue.then(() => this.#hand(message));
    this.#queue = heard;
    return Promise.race([heard, this.stopped.then(() => 'kept' as const)]);
  }

  async #hand(message: ReceivedMessage): Promise<Heard> {
    if (this.#isStopped) return 'kept';
    try {
      await this.#receive(message);
    } catch {
      return 'kept'; // the host did not take it, which is what the result says
    }
    if (this.#isStopped) return 'kept';
    this.#line.acknowledge(message);
    return 'acknowledged';
  }
}

function messageKey({ address, platformMessageId }: ReceivedMessage): string {
  return JSON.stringify([address.channelType, address.platformId, address.threadId, platformMessageId]);
}
