/**
 * The channels of a host, connected. One that cannot be set up, or that is cut off later, is tried again in the
 * background, more slowly each time: it neither stays dead until a restart nor hammers its platform.
 */
import type { Channel, Health, Receive } from '@nanoclaw/channels';
import { backoffMs, type RetryPolicy, type SetTimer } from '@nanoclaw/session-db';
import { messageOf } from '../errors/index.ts';

/** A channel as its operator sees it. */
export interface ChannelState {
  readonly type: string;
  readonly health: Health;
  /** Set-ups that failed in a row. */
  readonly failures: number;
}

/** What keeps channels connected. */
export interface ConnectionsOptions {
  readonly channels: readonly Channel[];
  readonly setTimer: SetTimer;
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
  readonly #channels = new Map<string, Channel>();
  readonly #lines: Line[] = [];
  #receive: Receive | undefined;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
    for (const channel of options.channels) this.#include(channel);
  }

  /** The channels by their types. One that is added later is in it then. */
  get byType(): ReadonlyMap<string, Channel> {
    return this.#channels;
  }

  /** Resolves when each channel has been tried once; those that failed are tried again by themselves. Never rejects. */
  async start(receive: Receive): Promise<void> {
    this.#receive = receive;
    await Promise.all(this.#lines.map((line) => line.start(receive)));
  }

  /** Adds a channel, unless there is one of its type, and connects it as the others are. */
  async add(channel: Channel): Promise<void> {
    if (this.#channels.has(channel.type)) return;
    const line = this.#include(channel);
    if (this.#receive !== undefined) await line.start(this.#receive);
  }

  #include(channel: Channel): Line {
    const line = new Line(channel, this.#options);
    this.#channels.set(channel.type, channel);
    this.#lines.push(line);
    return line;
  }

  /** Disconnects all. What a channel's `stop` rejects with is told as trouble, and the others are stopped. */
  async stop(): Promise<void> {
    this.#receive = undefined;
    for (const line of this.#lines) {
      try {
        await line.stop();
      } catch (error) {
        this.#options.onTrouble({ channel: line.state().type, reason: messageOf(error), waitMs: 0 });
      }
    }
  }

  /** How each channel is, in the order in which they were added. */
  states(): ChannelState[] {
    return this.#lines.map((line) => line.state());
  }
}

/** One channel's way from down to up and back. */
class Line {
  readonly #channel: Channel;
  readonly #options: ConnectionsOptions;
  #failures = 0;
  #isOver = false;
  #underway: Promise<void> = Promise.resolve();
  #cancel: () => void = () => undefined;

  constructor(channel: Channel, options: ConnectionsOptions) {
    this.#channel = channel;
    this.#options = options;
  }

  start(receive: Receive): Promise<void> {
    this.#underway = this.#connect(receive);
    return this.#underway;
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    this.#cancel();
    await this.#underway;
    await this.#channel.stop();
  }

  state(): ChannelState {
    return { type: this.#channel.type, health: this.#channel.health(), failures: this.#failures };
  }

  async #connect(receive: Receive): Promise<void> {
    try {
      await this.#channel.start(receive);
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
    const waitMs = backoffMs(this.#failures, SETUP_RETRY, this.#options.random());
    if (this.#isOver) return;
    this.#options.onTrouble({ channel: this.#channel.type, reason, waitMs });
    this.#after(waitMs, () => this.#connect(receive));
  }

  #after(ms: number, action: () => Promise<void>): void {
    if (this.#isOver) return;
    this.#cancel = this.#options.setTimer(ms, () => {
      this.#underway = action();
    });
  }
}
