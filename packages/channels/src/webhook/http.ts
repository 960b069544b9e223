// HTTP as the webhook channel speaks it: small JSON bodies, bounded in size and time, and refusals of one sentence.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { isName } from '@nanoclaw/session-db/text';
import type { JsonObject } from '../channel.ts';
import { BODY_BYTES_MAX } from './protocol.ts';
import { SIGNATURE_HEADER, TIMESTAMP_HEADER, TIMESTAMP_TOLERANCE_S } from './signature.ts';

/** A request that is answered with an error. The message is the sentence that the program gets. */
export class HttpError extends Error {
  override readonly name = 'HttpError';
  readonly status: number;
  /** When it may be tried again, in seconds. */
  readonly retryAfterS: number | undefined;

  constructor(status: number, sentence: string, retryAfterS?: number) {
    super(sentence);
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

/** What a request is about. */
export type Target =
  | { type: 'message'; endpoint: string }
  | { type: 'messages'; endpoint: string; after: number; waitS: number };

/** What a request says of its own signature. */
export interface RequestSignature {
  timestamp: number;
  signature: string;
}

/** The longest that a program may ask to wait for messages. */
export const WAIT_S_MAX = 60;
/** How long a request may take to come to the end of its headers, in milliseconds. */
const HEADERS_MS_MAX = 5_000;
/** A connection on which nothing moves is closed: longer than any wait for messages. */
const IDLE_MS_MAX = (WAIT_S_MAX + 15) * 1000;

/** A server that gives each request to `handle`, and closes connections that do not send or read in time. */
export function hooksServer(
  requestMaxMs: number,
  handle: (request: IncomingMessage, response: ServerResponse) => void,
): Server {
  const server = createServer(
    {
      requestTimeout: requestMaxMs,
      headersTimeout: Math.min(requestMaxMs, HEADERS_MS_MAX),
      connectionsCheckingInterval: Math.min(requestMaxMs, 1000),
      maxHeaderSize: 8 * 1024,
    },
    handle,
  );
  server.timeout = IDLE_MS_MAX;
  return server;
}

/** What the request is about. Throws `HttpError` when that is nothing. */
export function parseTarget({ method, url = '' }: IncomingMessage): Target {
  const { path, query } = /^(?<path>[^?]*)(?:\?(?<query>.*))?$/s.exec(url)?.groups ?? {};
  const [, endpoint = '', isList] = /^\/hooks\/([^/]+)(\/messages)?$/.exec(path ?? '') ?? [];
  if (!isName('endpoint', endpoint)) throw new HttpError(404, 'There is nothing here; a hook is at /hooks/<name>.');
  const allowed = isList === undefined ? 'POST' : 'GET';
  if (method !== allowed) throw new HttpError(405, `This place knows only ${allowed}.`);
  if (isList === undefined) return { type: 'message', endpoint };
  const asked = new URLSearchParams(query ?? '');
  const [after, waitS] = [count(asked.get('after')), count(asked.get('wait'))];
  if (after === undefined) throw new HttpError(400, '"after" is the number of the last message fetched, 0 or more.');
  if (waitS === undefined || waitS > WAIT_S_MAX) throw new HttpError(400, `"wait" is 0 to ${WAIT_S_MAX} seconds.`);
  return { type: 'messages', endpoint, after, waitS };
}

/** What the request says of its signature. Throws `HttpError` when that is nothing, or not of now. */
export function readSignature({ headers }: IncomingMessage, now: number): RequestSignature {
  const { [TIMESTAMP_HEADER]: timestamp, [SIGNATURE_HEADER]: signature } = headers;
  if (typeof timestamp !== 'string' || !/^\d{1,12}$/.test(timestamp) || typeof signature !== 'string') {
    throw new HttpError(
      401,
      `A request has the headers ${TIMESTAMP_HEADER}, in Unix seconds, and ${SIGNATURE_HEADER}.`,
    );
  }
  if (Math.abs(now / 1000 - Number(timestamp)) > TIMESTAMP_TOLERANCE_S) {
    throw new HttpError(401, 'The timestamp is more than five minutes off; set the clock, and sign each attempt anew.');
  }
  return { timestamp: Number(timestamp), signature };
}

/** The body. Throws `HttpError` when it is too large, and what the connection throws. */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > BODY_BYTES_MAX) throw tooLarge();
  const parts: Buffer[] = [];
  let length = 0;
  // The request outlives the reading: a program that sent too much is still told so.
  for await (const part of request.iterator({ destroyOnReturn: false })) {
    length += part.length;
    if (length > BODY_BYTES_MAX) throw tooLarge();
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** Answers, and ends the connection when the request was not read to its end. */
export function respond(response: ServerResponse, status: number, body: JsonObject, retryAfterS?: number): void {
  if (response.destroyed || response.headersSent) return;
  const { req: request } = response;
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    ...(retryAfterS === undefined ? {} : { 'retry-after': String(retryAfterS) }),
    ...(request.complete ? {} : { connection: 'close' }),
  });
  response.end(`${JSON.stringify(body)}\n`, () => {
    if (!request.complete) request.destroy();
  });
}

function tooLarge(): HttpError {
  return new HttpError(413, `The body is larger than ${BODY_BYTES_MAX} bytes.`);
}

function count(digits: string | null): number | undefined {
  if (digits === null) return 0;
  return /^\d{1,15}$/.test(digits) ? Number(digits) : undefined;
}
