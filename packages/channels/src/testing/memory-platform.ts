// A chat platform in memory, for tests and for embedding: people write and read through its methods, the host through
// its channels. It keeps a ledger of all it was asked to show and can be told to fail, so that a host's handling of
// duplicates and failures can be tested against any kind of platform.
import type {
  Address,
  Attempt,
  Channel,
  ChannelLimits,
  Duplicates,
  Health,
  OutgoingMessage,
  Receive,
  ReceivedEvent,
  SendResult,
  Showable,
} from '../channel.ts';
import { readOutgoing, UnsendableFile } from '../outgoing-files.ts';
import { refusal, refused } from '../refusal.ts';

/** What kind of platform it is. */
export interface MemoryPlatformOptions {
  /** The `channelType` of its addresses. Default `memory`. */
  type?: string;
  /** Default `key`. */
  duplicates?: Duplicates;
  /** Default 4000 UTF-16 units of text, ten files of 1 MiB, eight choices of 64 characters with 64 bytes of payload. */
  limits?: ChannelLimits;
  /** Default everything. */
  shows?: readonly Showable[];
  /** Default: every person has a direct chat, `dm-` and the handle. */
  directAddress?: (handle: string) => Address | undefined;
}

/** What the platform was asked to show: a message, or a change to one. */
export interface SentMessage {
  /** As `send` gave it. */
  platformMessageId: string;
  /** Where it appeared. */
  address: Address;
  /** As the host sent it. */
  message: OutgoingMessage;
  /** Of the attempt that showed it. */
  key: string;
  /** Of a text, as they were when it was sent. */
  files: readonly SentFile[];
}

/** A file as people see it. */
export interface SentFile {
  /** Its name with the message. */
  name: string;
  /** Its content. */
  bytes: Buffer;
}

/** What becomes of one `send`. */
export type SendStep =
  /** As it should. */
  | { type: 'works' }
  /** This result, and nothing is shown. */
  | Exclude<SendResult, { type: 'sent' }>
  /** The message is shown, but the answer is lost: the channel reports a failure that a retry may mend. */
  | { type: 'answer-lost' }
  /** Nothing is shown and nothing is answered until the channel stops. */
  | { type: 'hangs' };

/** What became of what a person did: acknowledged, or kept by the platform for the next start of a channel. */
export type ReceiveOutcome = 'acknowledged' | 'kept';

/**
 * The platform. It outlives its channels: a host that was killed is a channel that is forgotten without `stop`, and the
 * next `channel()` finds everything as the platform saw it.
 */
export class MemoryPlatform {
  /** Of its channels. */
  readonly type: string;
  /** Of its channels. */
  readonly duplicates: Duplicates;
  /** Of its channels. */
  readonly limits: ChannelLimits;
  /** What its channels show. */
  readonly shows: ReadonlySet<Showable>;
  /** Where its channels find the direct chat of a person. */
  readonly directAddress: (handle: string) => Address | undefined;
  readonly #shown: SentMessage[] = [];
  readonly #typing: Address[] = [];
  /** Of all messages of people, also of those that a host refused. */
  readonly #messageIds = new Set<string>();
  readonly #unacknowledged = new Map<string, ReceivedEvent>();
  readonly #steps: SendStep[] = [];
  #listener: Listener | undefined;

  constructor(options: MemoryPlatformOptions = {}) {
    const type = options.type ?? 'memory';
    this.type = type;
    this.duplicates = options.duplicates ?? 'key';
    this.limits = options.limits ?? LIMITS;
    this.shows = new Set(options.shows ?? EVERYTHING);
    this.directAddress =
      options.directAddress ?? ((handle) => ({ channelType: type, platformId: `dm-${handle}`, threadId: null }));
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
      acknowledge: (event) => this.#unacknowledged.delete(placeOf(event.address, event.platformMessageId)),
      nextStep: () => this.#steps.shift() ?? { type: 'works' },
      knows: (address, message) => this.#knows(address, message),
      show: (shown) => this.#show(shown),
      find: (key) => this.#shown.find((shown) => shown.key === key)?.platformMessageId,
      type: (address) => this.#typing.push(address),
    });
  }

  /** A person does something. Resolves when the host has it or has failed to take it; `kept` at once without a channel. */
  async say(event: ReceivedEvent): Promise<ReceiveOutcome> {
    const place = placeOf(event.address, event.platformMessageId);
    this.#unacknowledged.set(place, event);
    if (event.kind === 'message') this.#messageIds.add(place);
    return (await this.#listener?.receive(event)) ?? 'kept';
  }

  /** All that the platform was asked to show, in the order in which it appeared. */
  get shown(): readonly SentMessage[] {
    return this.#shown;
  }

  /** Where the bot was said to be typing, once for each time. */
  get typing(): readonly Address[] {
    return this.#typing;
  }

  /** What the platform will offer again at the next start of a channel, oldest first. */
  get unacknowledged(): readonly ReceivedEvent[] {
    return [...this.#unacknowledged.values()];
  }

  /** What becomes of the next sends, one step each; after the last one sends work again. */
  script(...steps: readonly SendStep[]): void {
    this.#steps.push(...steps);
  }

  #show(wanted: Omit<SentMessage, 'platformMessageId'>): string {
    const known = this.#shown.find((shown) => shown.key === wanted.key);
    if (this.duplicates === 'key' && known !== undefined) return known.platformMessageId;
    const platformMessageId = `${this.type}:${this.#shown.length + 1}`;
    this.#shown.push({ platformMessageId, ...wanted });
    return platformMessageId;
  }

  /** Whether what an edit or a reaction is about is there. */
  #knows(address: Address, message: OutgoingMessage): boolean {
    if (message.kind !== 'edit' && message.kind !== 'reaction') return true;
    const { kind, platformMessageId } = message;
    const place = placeOf(address, platformMessageId);
    const isOfBot = this.#shown.some((shown) => placeOf(shown.address, shown.platformMessageId) === place);
    return isOfBot || (kind === 'reaction' && this.#messageIds.has(place));
  }
}

const EVERYTHING: readonly Showable[] = ['files', 'edit', 'reaction', 'question', 'card'];

const LIMITS: Readonly<ChannelLimits> = {
  text: { max: 4000, unit: 'utf16-units' },
  filesMax: 10,
  fileBytesMax: 1024 * 1024,
  buttonsMax: 8,
  buttonText: { max: 64, unit: 'utf16-units' },
  buttonPayload: { max: 64, unit: 'utf8-bytes' },
};

/** The running channel, as the platform sees it. */
interface Listener {
  receive(event: ReceivedEvent): Promise<ReceiveOutcome>;
  /** What it still works on does not count any more. */
  stop(): void;
}

/** What the platform offers to its channels only. */
interface PlatformPort {
  listen(listener: Listener): void;
  unlisten(listener: Listener): void;
  unacknowledged(): ReceivedEvent[];
  acknowledge(event: ReceivedEvent): void;
  nextStep(): SendStep;
  knows(address: Address, message: OutgoingMessage): boolean;
  show(shown: Omit<SentMessage, 'platformMessageId'>): string;
  type(address: Address): void;
  find(key: string): string | undefined;
}

class MemoryChannel implements Channel {
  readonly type: string;
  readonly duplicates: Duplicates;
  readonly limits: ChannelLimits;
  readonly shows: ReadonlySet<Showable>;
  readonly #platform: MemoryPlatform;
  readonly #port: PlatformPort;
  #connection: Connection | undefined;

  constructor(platform: MemoryPlatform, port: PlatformPort) {
    this.type = platform.type;
    this.duplicates = platform.duplicates;
    this.limits = platform.limits;
    this.shows = platform.shows;
    this.#platform = platform;
    this.#port = port;
  }

  async start(receive: Receive): Promise<void> {
    if (this.#connection !== undefined)
      throw new Error('The memory channel is running already; stop it before a new start.');
    const connection = new Connection(this.#port, receive);
    this.#connection = connection;
    this.#port.listen(connection);
    for (const event of this.#port.unacknowledged()) void connection.receive(event);
  }

  async send(address: Address, message: OutgoingMessage, attempt: Attempt): Promise<SendResult> {
    const connection = this.#connection;
    if (connection === undefined) return { type: 'offline' };
    const impossible = refusal(this, address, message);
    if (impossible !== undefined) return impossible;
    if (!this.#port.knows(address, message)) return refused('The platform does not know the message to change.');
    const step = this.#port.nextStep();
    if (step.type === 'offline' || step.type === 'failed') return step;
    if (step.type === 'hangs') {
      await connection.stopped;
      return { type: 'failed', permanent: false, reason: 'The channel stopped before the platform answered.' };
    }
    const files = await this.#contents(message);
    if (!Array.isArray(files)) return files;
    const found = this.duplicates === 'history' && attempt.uncertain ? this.#port.find(attempt.key) : undefined;
    const platformMessageId = found ?? this.#port.show({ address, message, key: attempt.key, files });
    if (step.type === 'answer-lost') {
      return { type: 'failed', permanent: false, reason: 'The connection ended before the platform answered.' };
    }
    return { type: 'sent', platformMessageId };
  }

  async typing(address: Address): Promise<void> {
    if (this.#connection !== undefined) this.#port.type(address);
  }

  async directAddress(handle: string): Promise<Address | undefined> {
    return this.#platform.directAddress(handle);
  }

  async stop(): Promise<void> {
    if (this.#connection === undefined) return;
    this.#port.unlisten(this.#connection);
    this.#connection.stop();
    this.#connection = undefined;
  }

  health(): Health {
    return this.#connection === undefined ? { state: 'stopped' } : { state: 'online' };
  }

  async #contents(message: OutgoingMessage): Promise<SentFile[] | SendResult> {
    const files: SentFile[] = [];
    if (message.kind !== 'text') return files;
    try {
      for (const file of message.files ?? []) {
        const bytes = await readOutgoing(file, this.limits.fileBytesMax ?? Number.POSITIVE_INFINITY);
        files.push({ name: file.name, bytes });
      }
      return files;
    } catch (error) {
      if (error instanceof UnsendableFile) return refused(error.message);
      throw error;
    }
  }
}

/** From one start to the next stop. */
class Connection implements Listener {
  readonly #port: PlatformPort;
  readonly #receive: Receive;
  readonly #stop = Promise.withResolvers<void>();
  #isStopped = false;
  /** The end of the queue of messages, so that the host gets them one by one and in order. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(port: PlatformPort, receive: Receive) {
    this.#port = port;
    this.#receive = receive;
  }

  get stopped(): Promise<void> {
    return this.#stop.promise;
  }

  stop(): void {
    this.#isStopped = true;
    this.#stop.resolve();
  }

  receive(event: ReceivedEvent): Promise<ReceiveOutcome> {
    const outcome = this.#queue.then(() => this.#deliver(event));
    this.#queue = outcome;
    return Promise.race([outcome, this.stopped.then(() => 'kept' as const)]);
  }

  async #deliver(event: ReceivedEvent): Promise<ReceiveOutcome> {
    if (this.#isStopped) return 'kept';
    try {
      await this.#receive(event);
    } catch {
      return 'kept'; // the host did not take it, which is what the result says
    }
    if (this.#isStopped) return 'kept';
    this.#port.acknowledge(event);
    return 'acknowledged';
  }
}

/** One message of one place, as text. Threads number their messages together with their chat. */
function placeOf({ channelType, platformId }: Address, platformMessageId: string): string {
  return JSON.stringify([channelType, platformId, platformMessageId]);
}
