// The webhook channel: programs talk to the bot over HTTP, each through an endpoint with a secret of its own. What they
// post is signed; what the bot says they fetch, or get posted to a callback (`webhook-server.ts`). There is no platform
// behind it, so it keeps a store, as the terminal does.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { SetTimer } from '@nanoclaw/session-db';
import type {
  Address,
  Attempt,
  Channel,
  ChannelLimits,
  Health,
  OutgoingMessage,
  Receive,
  SendResult,
  Showable,
} from '../channel.ts';
import { refusal, refused } from '../refusal.ts';
import { endpointProblem, type WebhookEndpoint } from './endpoint.ts';
import { FILE_BYTES_MAX, FILES_MAX, TEXT_BYTES_MAX } from './protocol.ts';
import type { WebhookTrouble } from './trouble.ts';
import { WebhookServer } from './webhook-server.ts';
import { WebhookStore } from './webhook-store.ts';

/** The defaults of the options below. */
export const LOOPBACK = '127.0.0.1';
export const CALLBACK_MS_MAX = 10_000;
export const REQUEST_MS_MAX = 15_000;

/** Where a webhook channel listens and keeps things, and for whom. */
export interface WebhookChannelOptions {
  /** Holds the store. Made if missing, for its owner only. One channel at a time serves a folder. */
  folder: string;
  /** The address to listen on. Default 127.0.0.1; in front of a network belongs a server that speaks TLS. */
  host?: string;
  /** The port to listen on; 0 for any that is free. */
  port: number;
  /** Those to begin with. */
  endpoints: readonly WebhookEndpoint[];
  /** Epoch milliseconds. */
  now: () => number;
  /** For callbacks that do not answer, and programs that wait for messages. */
  setTimer: SetTimer;
  /** Told of what goes wrong on this side; for log and metrics. Must not throw. */
  onTrouble?: (trouble: WebhookTrouble) => void;
  /** How long a callback may take, in milliseconds. Default 10 000. */
  callbackMaxMs?: number;
  /** How long a request may take to come in, in milliseconds. Default 15 000. */
  requestMaxMs?: number;
}

/**
 * The channel `webhook`. The store takes a key once, so `duplicates` is `key`: what is kept is kept once. A callback gets
 * the key with each attempt and has to take it once; that is part of what a callback is, and without it a lost answer
 * would show a message twice.
 */
export class WebhookChannel implements Channel {
  readonly type = 'webhook';
  /** The store takes a key once, and a callback gets it with each attempt. */
  readonly duplicates = 'key';
  /** 64 KiB of text, 4 files of 256 KiB, 50 choices of 500 bytes, a card of 64 KiB. */
  readonly limits: ChannelLimits = {
    text: { max: TEXT_BYTES_MAX, unit: 'utf8-bytes' },
    filesMax: FILES_MAX,
    fileBytesMax: FILE_BYTES_MAX,
    buttonsMax: CHOICES_MAX,
    buttonText: { max: CHOICE_BYTES_MAX, unit: 'utf8-bytes' },
    cardBytesMax: CARD_BYTES_MAX,
  };
  /** Everything: programs get it as JSON. */
  readonly shows: ReadonlySet<Showable> = new Set(['files', 'edit', 'reaction', 'question', 'card']);
  readonly #options: WebhookChannelOptions;
  readonly #endpoints = new Map<string, WebhookEndpoint>();
  #server: WebhookServer | undefined;

  /** Throws for an endpoint as `addEndpoint` does. */
  constructor(options: WebhookChannelOptions) {
    this.#options = options;
    for (const endpoint of options.endpoints) this.addEndpoint(endpoint);
  }

  /** Where it listens while it runs, without a slash at the end: `http://127.0.0.1:8080`. */
  get url(): string | undefined {
    return this.#server?.url;
  }

  /** Throws for a name that is taken or is none, a secret that is too short, and a callback that is no HTTP address. */
  addEndpoint(endpoint: WebhookEndpoint): void {
    const problem = this.#endpoints.has(endpoint.name) ? 'there is one already' : endpointProblem(endpoint);
    if (problem !== undefined) throw new Error(`The webhook endpoint "${endpoint.name}" cannot be added: ${problem}.`);
    this.#endpoints.set(endpoint.name, endpoint);
  }

  /**
   * Refuses requests to an endpoint from now on. What is kept stays, for one of the same name. False when there was none.
   */
  removeEndpoint(name: string): boolean {
    return this.#endpoints.delete(name);
  }

  /** Serves the endpoints. Rejects when the port is taken or another process serves the folder; the error says so. */
  async start(receive: Receive): Promise<void> {
    if (this.#server !== undefined)
      throw new Error('The webhook channel is running already; stop it before a new start.');
    const { folder, host = LOOPBACK, port, now, setTimer, onTrouble } = this.#options;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const server = new WebhookServer({
      store: new WebhookStore(join(folder, 'webhook.db')),
      endpoints: this.#endpoints,
      receive,
      now,
      setTimer,
      callbackMaxMs: this.#options.callbackMaxMs ?? CALLBACK_MS_MAX,
      requestMaxMs: this.#options.requestMaxMs ?? REQUEST_MS_MAX,
      trouble: (trouble) => onTrouble?.(trouble),
    });
    this.#server = server;
    try {
      await server.open(host, port);
    } catch (error) {
      if (this.#server === server) this.#server = undefined;
      await server.close();
      throw error;
    }
  }

  /** Keeps the message for the program to fetch, or posts it to the callback of its endpoint. */
  async send(address: Address, message: OutgoingMessage, attempt: Attempt): Promise<SendResult> {
    const server = this.#server;
    if (server === undefined) return { type: 'offline' };
    const impossible = refusal(this, address, message);
    if (impossible !== undefined) return impossible;
    const endpoint = this.#endpoints.get(address.platformId);
    if (endpoint === undefined) return refused(`There is no webhook endpoint "${address.platformId}".`);
    return server.send(endpoint, address.threadId, message, attempt);
  }

  /** Ends all requests, and frees the port and the folder. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    await server?.close();
  }

  /** `online` once it listens. */
  health(): Health {
    if (this.#server === undefined) return { state: 'stopped' };
    return this.#server.url === undefined
      ? { state: 'offline', reason: 'It does not listen yet.' }
      : { state: 'online' };
  }

  /** Programs have no direct chats. */
  async directAddress(): Promise<undefined> {
    return undefined;
  }
}

/** No platform sets these: they keep a message to what a program reads in one go. */
const CHOICES_MAX = 50;
const CHOICE_BYTES_MAX = 500;
const CARD_BYTES_MAX = 64 * 1024;
