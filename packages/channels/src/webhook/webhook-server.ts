// The webhook channel from one start to the next stop: its requests, and what is sent to programs.
//
// A message survives a host that dies at any point:
//   before it is stored           the program had no answer, and sends it again
//   stored, not yet received      it is handed to the host at the next start
//   received, not yet marked      the host gets it again under the same id, with the same content
//   marked, not yet answered      the program sends it again and is told at once
import { once } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { SetTimer } from '@nanoclaw/session-db';
import type { Attempt, JsonObject, OutgoingMessage, Receive, ReceivedEvent, SendResult } from '../channel.ts';
import { errorMessage } from '../error-message.ts';
import { KeyedQueue } from '../keyed-queue.ts';
import { UnsendableFile } from '../outgoing-files.ts';
import { refused } from '../refusal.ts';
import { postCallback } from './callback.ts';
import type { WebhookEndpoint } from './endpoint.ts';
import {
  HttpError,
  hooksServer,
  parseTarget,
  type RequestSignature,
  readBody,
  readSignature,
  respond,
  type Target,
} from './http.ts';
import { messageDigest, messageJson, sha256 } from './message-json.ts';
import { parseWebhookMessage, type WebhookMessage } from './protocol.ts';
import { peerOf, Seats } from './seats.ts';
import {
  isRightSignature,
  SIGNATURE_HEADER,
  signWebhook,
  TIMESTAMP_HEADER,
  TIMESTAMP_TOLERANCE_S,
} from './signature.ts';
import type { WebhookTrouble } from './trouble.ts';
import type { Kept, Pending, StoredOutgoing, WebhookStore } from './webhook-store.ts';

/** What a server needs. It closes the store at its end. */
export interface WebhookServerOptions {
  readonly store: WebhookStore;
  /** Changes while it runs. */
  readonly endpoints: ReadonlyMap<string, WebhookEndpoint>;
  readonly receive: Receive;
  readonly now: () => number;
  readonly setTimer: SetTimer;
  readonly callbackMaxMs: number;
  readonly requestMaxMs: number;
  readonly trouble: (trouble: WebhookTrouble) => void;
}

/** Connections at a time, many more than programs that wait for messages. */
const CONNECTIONS_MAX = 256;
/** Bodies that are read at a time: they come from strangers until the last byte is there. */
const BODIES_MAX = 16;
/** What takes longer, in milliseconds, gives way to another when there are too many: an honest request is there at once. */
const SLOW_MS = 1_000;
const REPORT_EVERY_MS = 60_000;
/** Programs that wait for messages at a time. */
const POLLS_MAX = 64;
/** What may wait of an endpoint for a host that does not take it. */
const WAITING_MAX = 1000;
const WAITING_BYTES_MAX = 64 * 1024 * 1024;
/** What is kept for a program that does not fetch it. */
const UNFETCHED_MAX = 5000;
const UNFETCHED_BYTES_MAX = 64 * 1024 * 1024;
/** Messages that are gone, but whose ids and keys are known, so that a repetition is seen. */
const IDS_KEPT = 10_000;
const FETCHED_KEPT = 1000;
/** Messages in one answer. */
const PAGE_LENGTH = 100;
const PAGE_BYTES_MAX = 4 * 1024 * 1024;
/** When a program may try again, in seconds. */
const SOON_S = 1;
const LATER_S = 10;

/** What still runs after the close sees `isClosed` and touches nothing. */
export class WebhookServer {
  url: string | undefined;
  #isClosed = false;
  readonly #options: WebhookServerOptions;
  readonly #server: Server;
  readonly #stop = new AbortController();
  #opening: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  readonly #connections = new Seats<Socket>({ max: CONNECTIONS_MAX, slowMs: SLOW_MS });
  /** Requests whose bodies are read. */
  readonly #bodies = new Seats<IncomingMessage>({ max: BODIES_MAX, slowMs: SLOW_MS });
  readonly #evictionsReportedAt = new Map<string, number>();
  /** Those who wait for messages of an endpoint. */
  readonly #polls = new Set<{ endpoint: string; wake: () => void }>();
  /** What comes in, by endpoint, so that the host gets it one by one and in order. */
  readonly #incoming = new KeyedQueue();
  /** What is sent, by endpoint and thread. */
  readonly #outgoing = new KeyedQueue();

  constructor(options: WebhookServerOptions) {
    this.#options = options;
    this.#server = hooksServer(options.requestMaxMs, (request, response) => void this.#serve(request, response));
    this.#server.on('connection', (socket) => this.#admit(socket));
  }

  open(host: string, port: number): Promise<void> {
    this.#opening = this.#open(host, port);
    return this.#opening;
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.url = undefined;
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #open(host: string, port: number): Promise<void> {
    for (const { n, endpoint } of this.#options.store.allPending()) {
      void this.#incoming
        .run(endpoint, () => this.#deliver(n))
        .catch((error: unknown) => this.#reportUndelivered(error));
    }
    const listening = once(this.#server, 'listening');
    this.#server.listen(port, host);
    try {
      await listening;
    } catch (error) {
      throw new Error(
        `The webhook channel cannot listen on ${host}, port ${port} (${errorMessage(error)}). ` +
          'Nothing was changed; end what uses it, or configure another.',
        { cause: error },
      );
    }
    if (this.#isClosed) throw new Error('The webhook channel was stopped while it started.');
    this.#server.on('error', (error) => this.#options.trouble({ type: 'request-failed', reason: error.message }));
    const bound = this.#server.address();
    const name = host.includes(':') ? `[${host}]` : host;
    this.url = `http://${name}:${typeof bound === 'object' && bound !== null ? bound.port : port}`;
  }

  async #close(): Promise<void> {
    await Promise.allSettled([this.#opening]); // the caller of `open` is told how that went
    this.#stop.abort();
    if (this.#server.listening) {
      const closed = once(this.#server, 'close');
      this.#server.close();
      this.#server.closeAllConnections();
      await closed;
    }
    await this.#outgoing.done();
    this.#options.store[Symbol.dispose](); // last: it is the lock on the folder
  }

  // ── Requests ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Makes room for one more connection where there is none, so that who holds many cannot keep the programs out. */
  #admit(socket: Socket): void {
    const admission = this.#connections.admit(socket, peerOf(socket.remoteAddress ?? ''), this.#options.now());
    if (admission.type === 'full') {
      socket.destroy();
      return;
    }
    socket.once('close', () => this.#connections.leave(socket));
    if (admission.evicted === undefined) return;
    admission.evicted.destroy();
    this.#reportEviction('A connection came to nothing, or was of a peer with many, and gave way to others.');
  }

  /** What a stranger can cause over and over is told once in a while. */
  #reportEviction(reason: string): void {
    const now = this.#options.now();
    if (now - (this.#evictionsReportedAt.get(reason) ?? Number.NEGATIVE_INFINITY) < REPORT_EVERY_MS) return;
    this.#evictionsReportedAt.set(reason, now);
    this.#options.trouble({ type: 'request-failed', reason });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // Whatever the error, there is no connection left to answer on; without a listener it would be thrown.
    response.on('error', () => response.destroy());
    try {
      const target = parseTarget(request);
      const signed = readSignature(request, this.#options.now());
      if (target.type === 'message') {
        const message = await this.#readMessage(request, target.endpoint, signed);
        using _held = this.#connections.hold(request.socket);
        await this.#accept(target.endpoint, message);
        respond(response, 202, { accepted: true, id: message.id });
      } else {
        this.#assertSigned(target.endpoint, signed, `GET ${request.url ?? ''}`);
        using _held = this.#connections.hold(request.socket);
        respond(response, 200, await this.#messages(target, response));
      }
    } catch (error) {
      if (request.destroyed && !request.complete) return; // it went away in the middle of its body
      const problem = this.#problemOf(error);
      respond(response, problem.status, { error: problem.message }, problem.retryAfterS);
    }
  }

  #problemOf(error: unknown): HttpError {
    if (error instanceof HttpError) return error;
    if (!this.#isClosed) this.#options.trouble({ type: 'request-failed', reason: errorMessage(error) });
    return new HttpError(503, 'The host could not do this now; nothing is lost if you try again.', LATER_S);
  }

  /** Throws for a wrong signature, and in the same way for an endpoint that is not there: a stranger learns nothing. */
  #assertSigned(name: string, { timestamp, signature }: RequestSignature, body: string | Uint8Array): void {
    const endpoint = this.#options.endpoints.get(name);
    const isRight = isRightSignature(endpoint?.secret ?? '', timestamp, body, signature);
    if (endpoint === undefined || !isRight) {
      throw new HttpError(401, 'The signature is not that of an endpoint of this name over "<timestamp>.<body>".');
    }
  }

  async #readMessage(request: IncomingMessage, endpoint: string, signed: RequestSignature): Promise<WebhookMessage> {
    this.#admitBody(request);
    let body: Buffer;
    try {
      body = await readBody(request);
    } finally {
      this.#bodies.leave(request);
    }
    this.#assertSigned(endpoint, signed, body);
    const message = parseWebhookMessage(body.toString());
    if ('problem' in message) throw new HttpError(400, message.problem);
    return message;
  }

  /** Makes room for one more body. Throws `HttpError` where there is none. */
  #admitBody(request: IncomingMessage): void {
    const admission = this.#bodies.admit(request, peerOf(request.socket.remoteAddress ?? ''), this.#options.now());
    if (admission.type === 'full') throw new HttpError(503, 'Too many requests come in at once.', SOON_S);
    if (admission.evicted === undefined) return;
    admission.evicted.destroy();
    this.#reportEviction('A request came in too slowly and gave way to others.');
  }

  /** Resolves when the host has the message. */
  async #accept(endpoint: string, message: WebhookMessage): Promise<void> {
    if (this.#isClosed) throw stopping();
    const { store, now } = this.#options;
    const waiting = store.waiting(endpoint);
    const isTooMuch = waiting.count >= WAITING_MAX || waiting.bytes >= WAITING_BYTES_MAX;
    if (isTooMuch && !store.isOfProgram(endpoint, message.id)) {
      throw new HttpError(503, 'Too much waits for the host already; nothing was kept.', LATER_S);
    }
    const stored = store.storeIncoming(endpoint, message, sha256(JSON.stringify(message)), now());
    if (stored.type === 'conflict') {
      throw new HttpError(
        409,
        'The id of this message was used for another one. Only the first was kept; use a new id.',
      );
    }
    if (stored.type === 'pending') await this.#incoming.run(endpoint, () => this.#deliver(stored.n));
  }

  /** Hands what is stored to the host, unless the host has it, and notes that it does. */
  async #deliver(n: number): Promise<void> {
    if (this.#isClosed) throw stopping();
    const { store, receive, now, trouble } = this.#options;
    const pending = store.pending(n);
    if (pending === undefined) return;
    const { endpoint, message } = pending;
    try {
      await receive(toEvent(pending));
    } catch (error) {
      trouble({ type: 'not-received', endpoint, id: message.id, reason: errorMessage(error) });
      throw new HttpError(
        503,
        'The host could not take the message. It is kept and offered again at the next start; send it again to try now.',
        LATER_S,
      );
    }
    if (this.#isClosed) throw stopping();
    store.markReceived(n);
    // Ids outlive every signature under which they could be sent again.
    store.forgetIncoming(endpoint, IDS_KEPT, now() - 3 * TIMESTAMP_TOLERANCE_S * 1000);
  }

  /** Of what was offered at the start: no request waits for the answer. */
  #reportUndelivered(error: unknown): void {
    if (!(error instanceof HttpError)) this.#options.trouble({ type: 'request-failed', reason: errorMessage(error) });
  }

  // ── Outgoing ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Keeps or posts a message that the contract allows. */
  send(
    endpoint: WebhookEndpoint,
    thread: string | null,
    message: OutgoingMessage,
    attempt: Attempt,
  ): Promise<SendResult> {
    return this.#outgoing.run(JSON.stringify([endpoint.name, thread]), async () => {
      try {
        const stored = await this.#storedMessage(endpoint, thread, message, attempt.key);
        return 'type' in stored ? stored : await this.#publish(endpoint, stored, attempt.key);
      } catch (error) {
        if (error instanceof UnsendableFile) return refused(error.message);
        return { type: 'failed', permanent: false, reason: `The store could not be written: ${errorMessage(error)}` };
      }
    });
  }

  /** The message as it is in the store, from this attempt or an earlier one; or why it cannot be stored. */
  async #storedMessage(
    endpoint: WebhookEndpoint,
    thread: string | null,
    message: OutgoingMessage,
    key: string,
  ): Promise<StoredOutgoing | SendResult> {
    if (this.#isClosed) return { type: 'offline' };
    const { store, now } = this.#options;
    const digest = messageDigest(endpoint.name, thread, message);
    const known = store.outgoing(key);
    if (known !== undefined) return known.digest === digest ? known : refused(usedKey(key));
    if (!this.#knowsTarget(endpoint.name, message)) return refused('The endpoint has no such message to change.');
    if (endpoint.callback === undefined && isFull(store.unfetched(endpoint.name))) {
      const reason = `The program behind the endpoint "${endpoint.name}" fetches no messages, and too many are kept.`;
      return { type: 'failed', permanent: false, reason };
    }
    const content = JSON.stringify(await messageJson(thread, message));
    if (this.#isClosed) return { type: 'offline' };
    const state = endpoint.callback === undefined ? 'kept' : 'posting';
    const stored = store.storeOutgoing({
      key,
      endpoint: endpoint.name,
      kind: message.kind,
      digest,
      content,
      timestamp: now(),
      state,
    });
    return stored.digest === digest ? stored : refused(usedKey(key));
  }

  #knowsTarget(endpoint: string, message: OutgoingMessage): boolean {
    if (message.kind !== 'edit' && message.kind !== 'reaction') return true;
    const { store } = this.#options;
    const id = message.platformMessageId;
    const n = /^webhook:([1-9]\d{0,14})$/.exec(id)?.[1];
    if (n !== undefined) return store.isOfBot(endpoint, Number(n));
    return message.kind === 'reaction' && store.isOfProgram(endpoint, id);
  }

  /** Makes what is stored visible to the program. */
  async #publish(endpoint: WebhookEndpoint, stored: StoredOutgoing, key: string): Promise<SendResult> {
    const { store, now, setTimer, callbackMaxMs: maxMs } = this.#options;
    const sent: SendResult = { type: 'sent', platformMessageId: idOf(stored.n) };
    if (stored.state === 'posted') return sent;
    if (stored.state === 'posting' && endpoint.callback !== undefined) {
      const body = JSON.stringify(toJson(stored));
      const headers = callbackHeaders(endpoint, key, body, now());
      const signal = this.#stop.signal;
      const posted = await postCallback(endpoint.callback.url, body, headers, { now, setTimer, maxMs, signal });
      if (posted.type === 'sent') store.markPosted(stored.n);
      else if (posted.permanent) store.forgetPosting(stored.n);
      store.forgetPosted(endpoint.name, IDS_KEPT);
      return posted.type === 'sent' ? sent : posted;
    }
    if (stored.state === 'posting') store.markKept(stored.n);
    for (const poll of this.#polls) if (poll.endpoint === endpoint.name) poll.wake();
    return sent;
  }

  /** What the program has not fetched; waits for it as long as the program asks to, or stays. */
  async #messages(target: Extract<Target, { type: 'messages' }>, response: ServerResponse): Promise<JsonObject> {
    const { store } = this.#options;
    const { endpoint, waitS } = target;
    // A program that has fetched more than there is knows another store; it gets this one from the start.
    const after = target.after > store.lastNumber() ? 0 : target.after;
    store.markFetched(endpoint, after, FETCHED_KEPT);
    const ready = this.#page(endpoint, after);
    if (ready.length > 0 || waitS === 0) return pageOf(ready, after);
    await this.#waitForMessage(endpoint, waitS, response);
    if (this.#isClosed) throw stopping();
    if (!this.#options.endpoints.has(endpoint)) throw new HttpError(404, 'The endpoint is not there any more.');
    return pageOf(this.#page(endpoint, after), after);
  }

  /** Resolves when there may be something new, the time is over, or the program has gone. */
  async #waitForMessage(endpoint: string, waitS: number, response: ServerResponse): Promise<void> {
    if (this.#polls.size >= POLLS_MAX) throw new HttpError(503, 'Too many wait for messages already.', LATER_S);
    const waiting = Promise.withResolvers<void>();
    const poll = { endpoint, wake: waiting.resolve };
    this.#polls.add(poll);
    const cancel = this.#options.setTimer(waitS * 1000, waiting.resolve);
    response.once('close', waiting.resolve);
    await waiting.promise;
    cancel();
    this.#polls.delete(poll);
  }

  #page(endpoint: string, after: number): Kept[] {
    let bytes = 0;
    return this.#options.store.keptAfter(endpoint, after, PAGE_LENGTH).filter(({ content }, index) => {
      bytes += content.length;
      return index === 0 || bytes <= PAGE_BYTES_MAX;
    });
  }
}

/** A program that knows the secret speaks for all people of its endpoint, and for those of no other. */
function toEvent({ endpoint, message, timestamp }: Pending): ReceivedEvent {
  const { id, text, files, sender, thread, event, choice } = message;
  const common = {
    platformMessageId: id,
    address: { channelType: 'webhook', platformId: endpoint, threadId: thread ?? null },
    sender:
      sender === undefined ? { id: endpoint, name: endpoint } : { id: `${endpoint}/${sender.id}`, name: sender.name },
    timestamp,
  };
  if (choice !== undefined) return { kind: 'choice', ...common, ...choice };
  return {
    kind: 'message',
    ...common,
    text,
    files: files.map(({ name, mediaType, data }) => ({
      name,
      ...(mediaType === undefined ? {} : { mediaType }),
      async *bytes() {
        yield Buffer.from(data, 'base64');
      },
    })),
    ...(event === undefined ? {} : { event }),
    isMention: true,
    isDirect: false,
  };
}

/** The key is the host's and may hold anything; its digest tells messages apart as well. */
function callbackHeaders({ secret }: WebhookEndpoint, key: string, body: string, now: number): Record<string, string> {
  const timestamp = Math.floor(now / 1000);
  return {
    'content-type': 'application/json; charset=utf-8',
    'idempotency-key': sha256(key),
    [TIMESTAMP_HEADER]: String(timestamp),
    [SIGNATURE_HEADER]: signWebhook(secret, timestamp, body),
  };
}

function pageOf(kept: readonly Kept[], after: number): JsonObject {
  return { messages: kept.map(toJson), next: kept.at(-1)?.n ?? after };
}

/** A message as the program gets it. */
function toJson({ n, timestamp, content }: Kept): JsonObject {
  return { n, id: idOf(n), timestamp, ...JSON.parse(content) };
}

function idOf(n: number): string {
  return `webhook:${n}`;
}

function isFull({ count, bytes }: { count: number; bytes: number }): boolean {
  return count >= UNFETCHED_MAX || bytes >= UNFETCHED_BYTES_MAX;
}

function usedKey(key: string): string {
  return `The key ${key} was used before, for a different message.`;
}

function stopping(): HttpError {
  return new HttpError(503, 'The host is stopping; send it again when it runs.', LATER_S);
}
