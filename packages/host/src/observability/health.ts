/**
 * What a supervisor and a Prometheus ask for, over HTTP on loopback: `/health` (the host lives), `/ready` (it takes
 * messages in and hands them out) and `/metrics`. Reads only, says nothing of any message, and is off unless a port is
 * configured.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { messageOf, Problem } from '../errors/index.ts';

/** Whether the host does its work. */
export type Readiness =
  | { readonly type: 'ready' }
  | {
      readonly type: 'not-ready';
      /** Why not: one sentence each; never empty. */
      readonly reasons: readonly string[];
    };

/** What is served, and where. */
export interface HealthOptions {
  /** 1–65535, or 0 for any that is free. */
  readonly port: number;
  readonly readiness: () => Readiness;
  /** Answers `/metrics`. */
  readonly metrics: (request: IncomingMessage, response: ServerResponse) => void;
}

/** Only this machine: what is told is for its operator. */
const LOOPBACK = '127.0.0.1';

/** A watcher asks one thing and goes: what is slower is somebody else. */
const REQUEST_MAX_MS = 5_000;
const CONNECTIONS_MAX = 32;

/** The server that watchers ask. */
export class Health implements AsyncDisposable {
  readonly #server: Server;

  /** Resolves when it answers. Rejects with a `Problem` (exit code 2) when the port cannot be had. */
  static async open(options: HealthOptions): Promise<Health> {
    const server = createServer(
      { requestTimeout: REQUEST_MAX_MS, headersTimeout: REQUEST_MAX_MS },
      (request, response) => answer(request, response, options),
    );
    server.maxConnections = CONNECTIONS_MAX;
    server.listen(options.port, LOOPBACK);
    try {
      await once(server, 'listening');
    } catch (error) {
      throw new Problem(
        `Health and metrics cannot be served on port ${options.port} (${messageOf(error)}); nothing was started. ` +
          'Choose another `healthPort`, or 0 for none.',
        2,
        { cause: error },
      );
    }
    return new Health(server);
  }

  private constructor(server: Server) {
    this.#server = server;
  }

  /** The port that is served. */
  get port(): number {
    return portOf(this.#server.address());
  }

  /** Ends the server, and the connections that are open. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

function answer(request: IncomingMessage, response: ServerResponse, { readiness, metrics }: HealthOptions): void {
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return said(response, 405, { error: 'Only GET is answered.' });
  switch (request.url) {
    case '/health':
      return said(response, 200, { status: 'alive' });
    case '/ready': {
      const state = readiness();
      return state.type === 'ready'
        ? said(response, 200, { status: 'ready' })
        : said(response, 503, { status: 'not ready', reasons: state.reasons });
    }
    case '/metrics':
      return metrics(request, response);
    default:
      return said(response, 404, { error: 'There are /health, /ready and /metrics.' });
  }
}

function said(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`);
}

function portOf(address: AddressInfo | string | null): number {
  if (address === null || typeof address === 'string') throw new Error('The server does not listen on a port.');
  return address.port;
}
