/**
 * The chat platform and its people, as they outlive every host: what was said and not yet confirmed is offered again,
 * what was shown stays shown. How each send goes is the plan's to say.
 */
import { readFileSync } from 'node:fs';
import type {
  Address,
  Attempt,
  Channel,
  ChannelLimits,
  Duplicates,
  Health,
  OutgoingMessage,
  Receive,
  ReceivedMessage,
  SendResult,
} from '@nanoclaw/channels';
import type { SendFault } from './faults.ts';
import { type Actor, acting, type World } from './world.ts';

/** What people can see. */
export interface Shown {
  readonly key: string;
  readonly address: Address;
  readonly text: string;
  readonly files: readonly ShownFile[];
  readonly at: number;
  readonly attempt: number;
  readonly uncertain: boolean;
}

/** A file with a message, as people get it. */
export interface ShownFile {
  readonly name: string;
  readonly content: string;
}

/** What the platforms can do about messages that come twice, by the types of their channels. */
export const PLATFORMS: ReadonlyMap<string, Duplicates> = new Map([
  ['terminal', 'key'],
  ['club', 'history'],
  ['radio', 'none'],
]);

/** All that a platform knows, for a history that goes on in another world. */
export interface PlatformMemory {
  readonly isOnline: boolean;
  readonly faults: ReadonlyMap<number, SendFault>;
  readonly shown: readonly Shown[];
  readonly accepted: ReadonlyMap<string, Accepted>;
  readonly waiting: ReadonlyMap<string, ReceivedMessage>;
  readonly sends: number;
}

/** What a host has confirmed to have, and when. */
export interface Accepted {
  readonly message: ReceivedMessage;
  readonly at: number;
}

interface Listener {
  readonly actor: Actor;
  readonly receive: Receive;
}

export class Platform {
  /** Sends are answered with `offline` while it is not. */
  isOnline: boolean;
  /** By the number of the send, from 1. */
  readonly faults: Map<number, SendFault>;
  readonly shown: Shown[];
  /** Called before anything is shown, for the checker. */
  onSend: (key: string, attempt: number) => void = () => undefined;
  /** By the platform's id. */
  readonly accepted: Map<string, Accepted>;
  readonly #waiting: Map<string, ReceivedMessage>;
  readonly #world: World;
  readonly #listeners = new Map<string, Listener>();
  #sends: number;
  #hasShownLate = false;

  constructor(world: World, memory?: PlatformMemory) {
    this.#world = world;
    this.isOnline = memory?.isOnline ?? true;
    this.faults = new Map(memory?.faults);
    this.shown = [...(memory?.shown ?? [])];
    this.accepted = new Map(memory?.accepted);
    this.#waiting = new Map(memory?.waiting);
    this.#sends = memory?.sends ?? 0;
  }

  /** As it is now. */
  memory(): PlatformMemory {
    return {
      isOnline: this.isOnline,
      faults: new Map(this.faults),
      shown: [...this.shown],
      accepted: new Map(this.accepted),
      waiting: new Map(this.#waiting),
      sends: this.#sends,
    };
  }

  /** Whether anything was shown after the host had stopped to wait for it. */
  get hasShownLate(): boolean {
    return this.#hasShownLate;
  }

  /** What was sent and the host has not confirmed. */
  get unconfirmed(): readonly ReceivedMessage[] {
    return [...this.#waiting.values()];
  }

  /** A person writes, or the platform tells of it once more. */
  say(message: ReceivedMessage): void {
    if (!this.accepted.has(message.platformMessageId)) this.#waiting.set(message.platformMessageId, message);
    this.#offer(message);
  }

  /** The channels of one life of the host. */
  channels(actor: Actor): PlatformChannel[] {
    return [...PLATFORMS].map(([type, duplicates]) => new PlatformChannel(type, duplicates, actor, this));
  }

  listen(channelType: string, listener: Listener): void {
    this.#listeners.set(channelType, listener);
    for (const message of this.#waiting.values()) {
      if (message.address.channelType === channelType) this.#offer(message);
    }
  }

  unlisten(channelType: string, actor: Actor): void {
    if (this.#listeners.get(channelType)?.actor === actor) this.#listeners.delete(channelType);
  }

  /** Hands a message to the host in its own time, so that two said at once may come in either order. */
  #offer(message: ReceivedMessage): void {
    const listener = this.#listeners.get(message.address.channelType);
    if (listener === undefined || !listener.actor.isAlive) return;
    this.#world.after(
      this.#world.chance.wait('offer', 1, 400),
      () => void this.#hand(listener, message),
      listener.actor,
    );
  }

  async #hand(listener: Listener, message: ReceivedMessage): Promise<void> {
    const { platformMessageId: id } = message;
    try {
      await listener.receive(message);
    } catch (error) {
      if (!listener.actor.isAlive) return;
      this.#world.trace(`platform: ${id} was not accepted: ${error instanceof Error ? error.message : String(error)}`);
      this.#world.after(60_000, () => this.#waiting.has(id) && this.#offer(message), undefined);
      return;
    }
    if (listener !== this.#listeners.get(message.address.channelType)) return;
    this.#world.touch({
      what: `confirm ${id}`,
      perform: () => {
        this.#waiting.delete(id);
        if (!this.accepted.has(id)) this.accepted.set(id, { message, at: this.#world.time });
      },
    });
  }

  async send(address: Address, message: OutgoingMessage, attempt: Attempt): Promise<SendResult> {
    this.#sends += 1;
    const number = this.#sends;
    const fault = this.faults.get(number);
    if (!this.isOnline) return { type: 'offline' };
    const world = this.#world;
    await world.pause(world.chance.whole('latency', 2, 100));
    world.trace(`platform: send ${number} of ${attempt.key}, attempt ${attempt.attempt}: ${fault ?? 'works'}`);
    switch (fault) {
      case 'failed':
        return { type: 'failed', permanent: false, reason: 'The platform has a bad day.' };
      case 'failed-for-long':
        return { type: 'failed', permanent: false, retryAfterMs: 600_000, reason: 'Too many requests.' };
      case 'refused':
        return { type: 'failed', permanent: true, reason: 'The platform will not have it.' };
      case 'hangs':
        return new Promise(() => undefined);
      case 'throws':
        throw new Error('The connection broke before anything was sent.');
      case 'shown-late': {
        // It has the files already: the host's are gone by then if another attempt has delivered them.
        const files = filesOf(message);
        world.after(
          world.chance.whole('late', 61_000, 200_000),
          () => {
            this.#hasShownLate = true;
            this.#show(address, message, files, attempt);
          },
          undefined,
        );
        return new Promise(() => undefined);
      }
      default:
    }
    const known =
      PLATFORMS.get(address.channelType) === 'history' &&
      attempt.uncertain &&
      this.shown.some(({ key }) => key === attempt.key);
    if (!known)
      world.touch({
        what: `send ${attempt.key}`,
        perform: () => {
          acting.exit(() => this.onSend(attempt.key, attempt.attempt));
          this.#show(address, message, filesOf(message), attempt);
        },
      });
    await world.pause(world.chance.whole('latency', 2, 100));
    if (fault === 'shown-and-hangs') return new Promise(() => undefined);
    if (fault === 'answer-lost') throw new Error('The connection broke before the answer.');
    return { type: 'sent', platformMessageId: `shown/${attempt.key}` };
  }

  #show(
    address: Address,
    message: OutgoingMessage,
    files: readonly ShownFile[],
    { key, attempt, uncertain }: Attempt,
  ): void {
    if (PLATFORMS.get(address.channelType) === 'key' && this.shown.some((one) => one.key === key)) return;
    const text = message.kind === 'text' ? message.text : message.kind;
    this.shown.push({ key, address, text, files, at: this.#world.time, attempt, uncertain });
    this.#world.trace(`platform: shows ${JSON.stringify(text.slice(0, 60))}${files.length > 0 ? ' with files' : ''}`);
  }
}

function filesOf(message: OutgoingMessage): ShownFile[] {
  if (message.kind !== 'text') return [];
  return (message.files ?? []).map(({ name, path }) => ({ name, content: readFileSync(path, 'utf8') }));
}

/** One channel of one life of the host. */
export class PlatformChannel implements Channel {
  readonly type: string;
  readonly duplicates: Duplicates;
  readonly limits: ChannelLimits = { text: { max: 4_000, unit: 'utf16-units' } };
  readonly shows: Channel['shows'] = new Set(['files']);
  readonly #actor: Actor;
  readonly #platform: Platform;

  constructor(type: string, duplicates: Duplicates, actor: Actor, platform: Platform) {
    this.type = type;
    this.duplicates = duplicates;
    this.#actor = actor;
    this.#platform = platform;
  }

  async start(receive: Receive): Promise<void> {
    this.#platform.listen(this.type, { actor: this.#actor, receive });
  }

  send(address: Address, message: OutgoingMessage, attempt: Attempt): Promise<SendResult> {
    return this.#platform.send(address, message, attempt);
  }

  async stop(): Promise<void> {
    this.#platform.unlisten(this.type, this.#actor);
  }

  health(): Health {
    return { state: 'online' };
  }

  async directAddress(): Promise<undefined> {
    return undefined;
  }
}
