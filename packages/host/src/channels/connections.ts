/**
 * The channels of a host, by instance name, connected. One that cannot be set up, or that is cut off later, is tried again
 * in the background, more slowly each time: it neither stays dead until a restart nor hammers its platform. One that could
 * not even be made stays in the list with the reason, and keeps none of the others from working.
 */
import type { Channel, Health, Receive } from '@nanoclaw/channels';
import type { Clock, RetryPolicy } from '@nanoclaw/session-db';
import { backoffMs } from '@nanoclaw/session-db/protocol';
import { messageOf, type UncaughtErrors } from '../errors/index.ts';
import { asInstance } from './instance.ts';

/** A channel as its operator sees it. */
export interface ChannelState {
  /** The name that the operator gave it; its type where nobody gave it another. */
  readonly instance: string;
  /** What kind of channel it is; `null` when it could not be made. */
  readonly type: string | null;
  /** `broken`: it could not be made, for a reason that only an operator can remove. */
  readonly health: Health | { readonly state: 'broken'; readonly reason: string };
  /** Set-ups that failed in a row. */
  readonly failures: number;
}

/** What becomes of a message from a chat that no agent is wired to: an admin is asked, or the default agent answers. */
export type NewChats = 'ask' | 'answer';

/** Why a channel of that type may not have that instance name, as one sentence; `undefined` when it may. Never rejects. */
export type Admit = (instance: string, type: string) => Promise<string | undefined>;

/** What keeps channels connected. */
export interface ConnectionsOptions {
  readonly clock: Pick<Clock, 'setTimer'>;
  /** Learns which errors were told to a channel. */
  readonly uncaught: Pick<UncaughtErrors, 'onBehalfOf'>;
  /** From 0 up to 1: what jitter draws on, so that hosts cut off together do not come back together. */
  readonly random: () => number;
  /** A channel could not be set up or was cut off, and when it is tried again. Must not throw. */
  readonly onTrouble: (trouble: { readonly channel: string; readonly reason: string; readonly waitMs: number }) => void;
}

/** 1 s, doubling up to 5 minutes, less up to a quarter by chance. */
const SETUP_RETRY: RetryPolicy = { triesMax: 1, backoffBaseMs: 1_000, backoffMaxMs: 300_000, jitter: 0.25 };

/** How often a connected channel is asked how it is, in milliseconds. */
const LOOK_EVERY_MS = 15_000;

/** All channels of a host. */
export class Connections {
  readonly #options: ConnectionsOptions;
  /** As the host sees them: see `asInstance`. */
  readonly #channels = new Map<string, Channel>();
  /** In the order in which they were added. */
  readonly #entries = new Map<string, Entry>();
  /** While channels are connected. */
  #running: { readonly receive: Receive; readonly admit: Admit } | undefined;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  /** The channels that could be made, by instance name. A live view: one that is added later is in it then. */
  get byInstance(): ReadonlyMap<string, Channel> {
    return this.#channels;
  }

  /** What becomes of messages from new chats of an instance; `ask` for one that is not known. */
  newChats(instance: string): NewChats {
    return this.#entries.get(instance)?.newChats ?? 'ask';
  }

  /**
   * Adds a channel under a name that none has yet, to be connected with the others at the start, or now if they are.
   * Resolves when it has been tried once. Never rejects for a channel that cannot be connected.
   */
  async add(instance: string, channel: Channel, newChats: NewChats = 'ask'): Promise<void> {
    if (this.#entries.has(instance)) throw new Error(`There is a channel "${instance}" already.`);
    const named = asInstance(channel, instance, this.#options.uncaught);
    const connection = new Connection(named, this.#options);
    this.#channels.set(instance, named);
    this.#entries.set(instance, { type: channel.type, newChats, connection });
    await this.#connect(instance, channel.type, connection);
  }

  /** Notes that the channel of this name could not be made, with the reason as one sentence. */
  addBroken(instance: string, reason: string): void {
    this.#entries.set(instance, { type: null, newChats: 'ask', reason });
  }

  /** Disconnects a channel and forgets it. False when there is none of that name. Rejects as the channel's `stop` does. */
  async remove(instance: string): Promise<boolean> {
    const entry = this.#entries.get(instance);
    if (entry === undefined) return false;
    this.#entries.delete(instance);
    this.#channels.delete(instance);
    if ('connection' in entry) await entry.connection.stop();
    return true;
  }

  /**
   * Connects all, and from now on what is added. Resolves when each has been tried once; those that failed are tried again by
   * themselves. One that is not admitted is not connected, and stays in the list as broken. Never rejects.
   */
  async start(receive: Receive, admit: Admit = async () => undefined): Promise<void> {
    this.#running = { receive, admit };
    await Promise.all(
      [...this.#entries].map(async ([instance, entry]) => {
        if ('connection' in entry) await this.#connect(instance, entry.type, entry.connection);
      }),
    );
  }

  async #connect(instance: string, type: string, connection: Connection): Promise<void> {
    if (this.#running === undefined) return;
    const { receive, admit } = this.#running;
    const reason = await admit(instance, type);
    if (reason === undefined) {
      await connection.start(receive);
      return;
    }
    this.#channels.delete(instance);
    this.addBroken(instance, reason);
    this.#options.onTrouble({ channel: instance, reason, waitMs: 0 });
  }

  /** Disconnects all. What a channel's `stop` rejects with is told as trouble, and the others are stopped. */
  async stop(): Promise<void> {
    this.#running = undefined;
    for (const connection of this.#connections()) {
      try {
        await connection.stop();
      } catch (error) {
        this.#options.onTrouble({ channel: connection.instance, reason: messageOf(error), waitMs: 0 });
      }
    }
  }

  /** How each channel is, in the order in which they were added. */
  states(): ChannelState[] {
    return [...this.#entries].map(([instance, entry]) =>
      'connection' in entry
        ? { instance, type: entry.type, health: entry.connection.health(), failures: entry.connection.failures }
        : { instance, type: null, health: { state: 'broken', reason: entry.reason }, failures: 0 },
    );
  }

  #connections(): Connection[] {
    return [...this.#entries.values()].flatMap((entry) => ('connection' in entry ? [entry.connection] : []));
  }
}

/** A channel that was made, or why it could not be. */
type Entry =
  | { readonly type: string; readonly newChats: NewChats; readonly connection: Connection }
  | { readonly type: null; readonly newChats: NewChats; readonly reason: string };

/** One channel's way from down to up and back. */
class Connection {
  readonly #channel: Channel;
  readonly #options: ConnectionsOptions;
  #failures = 0;
  /** Why it is being tried again. */
  #reason: string | undefined;
  #isOver = false;
  #underway: Promise<void> = Promise.resolve();
  #cancel: () => void = () => undefined;

  constructor(channel: Channel, options: ConnectionsOptions) {
    this.#channel = channel;
    this.#options = options;
  }

  get instance(): string {
    return this.#channel.type;
  }

  get failures(): number {
    return this.#failures;
  }

  start(receive: Receive): Promise<void> {
    this.#underway = this.#connect(receive);
    return this.#underway;
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    this.#reason = undefined;
    this.#cancel();
    await this.#underway;
    await this.#channel.stop();
  }

  health(): Health {
    const health = this.#channel.health();
    // A channel that could not be started is, for itself, only stopped.
    return health.state === 'stopped' && this.#reason !== undefined
      ? { state: 'offline', reason: this.#reason }
      : health;
  }

  async #connect(receive: Receive): Promise<void> {
    try {
      await this.#channel.start(receive);
      this.#reason = undefined;
      this.#after(LOOK_EVERY_MS, () => this.#look(receive));
    } catch (error) {
      this.#again(receive, messageOf(error));
    }
  }

  async #look(receive: Receive): Promise<void> {
    const health = this.#channel.health();
    if (health.state === 'online') {
      this.#failures = 0;
      return this.#after(LOOK_EVERY_MS, () => this.#look(receive));
    }
    try {
      await this.#channel.stop();
      this.#again(receive, health.state === 'offline' ? health.reason : 'It has stopped.');
    } catch (error) {
      this.#again(receive, messageOf(error));
    }
  }

  #again(receive: Receive, reason: string): void {
    this.#failures += 1;
    this.#reason = reason;
    const waitMs = backoffMs(this.#failures, SETUP_RETRY, this.#options.random());
    if (this.#isOver) return;
    this.#options.onTrouble({ channel: this.instance, reason, waitMs });
    this.#after(waitMs, () => this.#connect(receive));
  }

  #after(ms: number, action: () => Promise<void>): void {
    if (this.#isOver) return;
    this.#cancel = this.#options.clock.setTimer(ms, () => {
      this.#underway = action();
    });
  }
}
