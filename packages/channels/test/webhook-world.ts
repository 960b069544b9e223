// What the tests of the webhook channel need: channels on one folder, signed requests, and a callback that is a real
// server.
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Address, Receive } from '../src/channel.ts';
import type { WebhookEndpoint } from '../src/webhook/endpoint.ts';
import { SIGNATURE_HEADER, signWebhook, TIMESTAMP_HEADER } from '../src/webhook/signature.ts';
import type { WebhookTrouble } from '../src/webhook/trouble.ts';
import { WebhookChannel, type WebhookChannelOptions } from '../src/webhook/webhook-channel.ts';

export const SECRET = 'a secret of the tests';
export const HOOK: Address = { channelType: 'webhook', platformId: 'hook', threadId: null };

export class WebhookWorld {
  readonly folder = mkdtempSync(join(tmpdir(), 'nanoclaw-webhook-'));
  readonly troubles: WebhookTrouble[] = [];
  readonly #endings: (() => unknown)[] = [];
  readonly #channels: WebhookChannel[] = [];
  endpoints: WebhookEndpoint[] = [{ name: 'hook', secret: SECRET }];
  /** How far the clock of the channel is off. */
  skewMs = 0;
  #files = 0;

  constructor() {
    this.onClose(() => rmSync(this.folder, { recursive: true, force: true }));
  }

  onClose(ending: () => unknown): void {
    this.#endings.push(ending);
  }

  channel(options: Partial<WebhookChannelOptions> = {}): WebhookChannel {
    const channel = new WebhookChannel({
      folder: this.folder,
      port: 0,
      endpoints: this.endpoints,
      now: () => Date.now() + this.skewMs,
      setTimer: (delayMs, action) => {
        const timer = setTimeout(action, delayMs);
        return () => clearTimeout(timer);
      },
      onTrouble: (trouble) => this.troubles.push(trouble),
      ...options,
    });
    this.#channels.push(channel);
    this.onClose(() => channel.stop());
    return channel;
  }

  async started(receive: Receive = async () => {}, options: Partial<WebhookChannelOptions> = {}) {
    const channel = this.channel(options);
    await channel.start(receive);
    return channel;
  }

  /** Where the channel that runs listens. */
  get url(): string {
    return this.#channels.findLast(({ url }) => url !== undefined)?.url ?? 'http://127.0.0.1:1';
  }

  /** A signed message. */
  post(message: unknown, { name = 'hook', secret = SECRET, url = this.url } = {}): Promise<Response> {
    const body = typeof message === 'string' ? message : JSON.stringify(message);
    return fetch(`${url}/hooks/${name}`, { method: 'POST', body, headers: signedHeaders(secret, body) });
  }

  /** A signed request for messages. */
  get(query: string, { name = 'hook', secret = SECRET } = {}): Promise<Response> {
    const target = `/hooks/${name}/messages${query}`;
    return fetch(`${this.url}${target}`, { headers: signedHeaders(secret, `GET ${target}`) });
  }

  file(content: Uint8Array | string): string {
    const path = join(this.folder, `file-${++this.#files}`);
    writeFileSync(path, content);
    return path;
  }

  /** A connection that says what it likes. */
  async raw(): Promise<Socket> {
    const socket = connect(Number(new URL(this.url).port), '127.0.0.1');
    this.onClose(() => socket.destroy());
    await once(socket, 'connect');
    socket.on('error', () => {}); // being cut off in the middle of a write is part of these tests
    return socket;
  }

  /** A server for callbacks, and its address. */
  async server(handle: (request: IncomingMessage, body: string, response: ServerResponse) => void): Promise<string> {
    const server = createServer(async (request, response) => {
      let body = '';
      for await (const part of request.setEncoding('utf8')) body += part;
      handle(request, body, response);
    });
    this.onClose(() => {
      server.close();
      server.closeAllConnections();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (typeof address !== 'object' || address === null) throw new Error('the server listens on a port');
    return `http://127.0.0.1:${address.port}/callback`;
  }

  async close(): Promise<void> {
    for (const ending of this.#endings.toReversed()) await ending();
  }
}

export function signedHeaders(secret: string, body: string, seconds = Math.floor(Date.now() / 1000)) {
  return { [TIMESTAMP_HEADER]: String(seconds), [SIGNATURE_HEADER]: signWebhook(secret, seconds, body) };
}
