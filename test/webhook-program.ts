/** A program that talks to a host through an endpoint of the webhook channel, for end-to-end tests. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { signWebhook } from '@nanoclaw/channels/webhook';
import { until } from './host-process.ts';

/** A message of the bot as the program has got it. */
export interface WebhookAnswer {
  readonly n: number;
  readonly text?: string;
  readonly thread?: string;
  readonly inReplyTo?: string;
  readonly files?: readonly { readonly name: string; readonly data: string }[];
}

/** What the program says. */
export interface WebhookPost {
  readonly id: string;
  readonly text?: string;
  readonly choice?: { readonly questionId: string; readonly choice: number };
  readonly thread?: string;
  readonly sender?: { readonly id: string; readonly name?: string };
  readonly files?: readonly { readonly name: string; readonly data: string }[];
}

export class WebhookProgram {
  readonly #name: string;
  readonly #secret: string;
  readonly #base: string;

  constructor(name: string, secret: string, port: number) {
    this.#name = name;
    this.#secret = secret;
    this.#base = `http://127.0.0.1:${port}`;
  }

  /** Posts a message and gives the status; `secret` and `timestamp` are for programs that sign it wrongly. */
  async post(
    message: WebhookPost,
    { secret = this.#secret, timestamp = seconds() }: { secret?: string; timestamp?: number } = {},
  ): Promise<number> {
    const body = JSON.stringify(message);
    const headers = signed(secret, timestamp, body);
    const response = await fetch(`${this.#base}/hooks/${this.#name}`, { method: 'POST', body, headers });
    await response.text();
    return response.status;
  }

  /** What the bot has said, after a number; waits some seconds for something. Rejects when it is refused. */
  async fetched(after = 0, waitS = 10): Promise<WebhookAnswer[]> {
    const target = `/hooks/${this.#name}/messages?after=${after}&wait=${waitS}`;
    const response = await fetch(`${this.#base}${target}`, {
      headers: signed(this.#secret, seconds(), `GET ${target}`),
    });
    if (response.status !== 200) throw new Error(`${target} was answered with ${response.status}.`);
    const { messages } = JSON.parse(await response.text());
    return messages;
  }

  /** Fetches until there is an answer that reads like this. */
  async hears(what: RegExp): Promise<WebhookAnswer> {
    const messages: WebhookAnswer[] = [];
    const found = () => messages.find(({ text }) => text !== undefined && what.test(text));
    await until(
      async () => {
        messages.push(...(await this.fetched(messages.at(-1)?.n)));
        return found() !== undefined;
      },
      30_000,
      () => `${what} was not said. ${JSON.stringify(messages)}`,
    );
    const answer = found();
    if (answer === undefined) throw new Error('It was there a moment ago.');
    return answer;
  }
}

/** A server that answers are posted to. */
export class CallbackServer implements AsyncDisposable {
  /** All that came, in order. */
  readonly posts: { readonly key: string; readonly isSigned: boolean; readonly answer: WebhookAnswer }[] = [];
  /** What signs the posts, once the endpoint has it. */
  secret = '';
  /** What is answered to the next posts, before 200 is to all. */
  readonly statuses: number[] = [];
  readonly #server: Server;

  static async open(): Promise<CallbackServer> {
    const server = createServer();
    const callback = new CallbackServer(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return callback;
  }

  private constructor(server: Server) {
    this.#server = server;
    server.on('request', async (request, response) => {
      let body = '';
      for await (const piece of request) body += piece;
      const timestamp = Number(request.headers['x-nanoclaw-timestamp']);
      this.posts.push({
        key: String(request.headers['idempotency-key']),
        isSigned: request.headers['x-nanoclaw-signature'] === signWebhook(this.secret, timestamp, body),
        answer: JSON.parse(body),
      });
      response.writeHead(this.statuses.shift() ?? 200).end();
    });
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('A server on TCP has an address with a port.');
    return `http://127.0.0.1:${address.port}/answers`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

function signed(secret: string, timestamp: number, body: string): Record<string, string> {
  return {
    'x-nanoclaw-timestamp': String(timestamp),
    'x-nanoclaw-signature': signWebhook(secret, timestamp, body),
  };
}

function seconds(): number {
  return Math.floor(Date.now() / 1_000);
}
