/**
 * The control socket: the command line asks the running host, over a Unix socket in the data folder that only the host's
 * own user can open. One request per connection: a line of JSON in, any number of progress lines and one last line out.
 *
 * A process that can open the socket may do everything. It is bounded all the same, because a client may be broken: no line,
 * half a line or an endless one costs one connection for some seconds.
 */
import { chmodSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Json, JsonObject, SetTimer } from '@nanoclaw/session-db';
import { inexactness } from '@nanoclaw/session-db/protocol';
import { z } from 'zod';
import { type ExitCode, messageOf, Problem } from '../errors/index.ts';

const Request = z.object({
  command: z.array(z.string().max(64)).min(1).max(4),
  parameters: z.record(z.string(), z.json()),
});

/** A request of the command line: the words of a command and its parameters as they were typed. */
export interface ControlRequest {
  /** The words of the command: `groups`, `create`. */
  readonly command: readonly string[];
  /** By their names in the declaration. */
  readonly parameters: JsonObject;
}

/** A line of the answer. `result` and `refusal` are the last one. */
export type ControlReply =
  | { readonly type: 'progress'; readonly line: string }
  | { readonly type: 'result'; readonly value: Json }
  | { readonly type: 'refusal'; readonly message: string; readonly exitCode: ExitCode };

/** What the control server needs. */
export interface ControlServerOptions {
  /** The data folder: the socket is `control.sock` in it. */
  readonly folder: string;
  /** Does what a request asks. Rejects with a `Problem` for what is refused. */
  readonly run: (request: ControlRequest, onProgress: (line: string) => void) => Promise<Json>;
  /** For the deadlines of requests and of closing. */
  readonly setTimer: SetTimer;
  /** Called with an unexpected error, for the log. Must not throw. */
  readonly onError: (error: unknown) => void;
}

/** Room for a prompt of the longest kind and more. */
const REQUEST_BYTES_MAX = 256 * 1024;
const CONNECTIONS_MAX = 32;
const REQUEST_WAIT_MS = 10_000;
/** How long a host that stops waits for answers that are under way, in milliseconds. */
const CLOSE_WAIT_MS = 2_000;

/** The host's end of the control socket. */
export class ControlServer {
  readonly #options: ControlServerOptions;
  readonly #server: Server;
  readonly #open = new Set<Socket>();

  /**
   * Listens. The caller holds the lease on the folder, so a socket that lies there is a leftover. Rejects with a
   * `Problem` (exit code 4) when it cannot.
   */
  static async listen(options: ControlServerOptions): Promise<ControlServer> {
    const control = new ControlServer(options);
    try {
      await control.#listen();
    } catch (error) {
      control.#server.close();
      if (error instanceof Problem) throw error;
      throw new Problem(
        `The control socket in ${options.folder} cannot be made (${messageOf(error)}); the host was not started. ` +
          'Choose a data folder on a local disk.',
        4,
        { cause: error },
      );
    }
    return control;
  }

  private constructor(options: ControlServerOptions) {
    this.#options = options;
    // Half-open: a client may end its side after the request, as shell tools do.
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#serve(socket));
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  /** Takes no more requests, gives answers that are under way two seconds, and removes the socket. */
  async close(): Promise<void> {
    rmSync(controlSocket(this.#options.folder), { force: true });
    const closed = Promise.withResolvers<void>();
    this.#server.close(() => closed.resolve());
    const cancel = this.#options.setTimer(CLOSE_WAIT_MS, () => {
      for (const socket of this.#open) socket.destroy();
    });
    await closed.promise;
    cancel();
  }

  /** Made where only its owner can reach it and then put into place, so that it is never open to others. */
  async #listen(): Promise<void> {
    const { folder } = this.#options;
    const place = controlSocket(folder);
    const making = join(folder, '.control');
    const made = join(making, 's');
    if (Buffer.byteLength(place) > SOCKET_PATH_BYTES_MAX) {
      throw new Problem(
        `The path of the control socket is longer than the ${SOCKET_PATH_BYTES_MAX} bytes that a system allows: ${place}. ` +
          'The host was not started; use a data folder with a shorter path.',
        4,
      );
    }
    rmSync(making, { recursive: true, force: true });
    mkdirSync(making, { mode: 0o700 });
    const listening = Promise.withResolvers<void>();
    this.#server.once('error', listening.reject).listen(made, listening.resolve);
    await listening.promise;
    chmodSync(made, 0o600);
    renameSync(made, place);
    rmSync(making, { recursive: true });
    this.#server.off('error', listening.reject).on('error', this.#options.onError);
  }

  #serve(socket: Socket): void {
    this.#open.add(socket);
    const cancel = this.#options.setTimer(REQUEST_WAIT_MS, () => {
      refuse(socket, `No request came within ${REQUEST_WAIT_MS / 1_000} s.`);
    });
    socket.on('close', () => {
      cancel();
      this.#open.delete(socket);
    });
    // A client that goes away is no trouble of the host's; what it asked for is done to the end.
    socket.on('error', () => socket.destroy());

    let received = Buffer.alloc(0);
    const onData = (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      const end = received.indexOf(0x0a);
      if (end === -1 && received.length <= REQUEST_BYTES_MAX) return;
      cancel();
      // What it says beyond its one line is not read any more, so it fills nothing but its own buffer.
      socket.off('data', onData).pause();
      if (end === -1 || end > REQUEST_BYTES_MAX) refuse(socket, `A request has at most ${REQUEST_BYTES_MAX} bytes.`);
      else void this.#answer(socket, received.toString('utf8', 0, end));
    };
    socket.on('data', onData).on('end', () => {
      cancel();
      if (received.indexOf(0x0a) === -1) socket.destroy();
    });
  }

  async #answer(socket: Socket, line: string): Promise<void> {
    const request = parsedRequest(line);
    if (typeof request === 'string') {
      refuse(socket, request);
      return;
    }
    try {
      const value = await this.#options.run(request, (progress) => write(socket, { type: 'progress', line: progress }));
      sendLast(socket, { type: 'result', value });
    } catch (error) {
      if (!(error instanceof Problem)) this.#options.onError(error);
      const exitCode = error instanceof Problem ? error.exitCode : 1;
      sendLast(socket, { type: 'refusal', message: messageOf(error), exitCode });
    }
  }
}

/** The path of the control socket of a data folder. */
export function controlSocket(folder: string): string {
  return join(folder, 'control.sock');
}

/** Linux allows 107 bytes and macOS 103; the name under which it is made is as long as its own. */
const SOCKET_PATH_BYTES_MAX = 103;

/** A request, or why it is none. */
function parsedRequest(line: string): ControlRequest | string {
  const strange = 'The request is not one that this host understands. Use the command line of the same version.';
  try {
    const request = Request.safeParse(JSON.parse(line)).data;
    if (request === undefined) return strange;
    const inexact = inexactness(line);
    return inexact ?? request;
  } catch (error) {
    if (error instanceof SyntaxError) return strange;
    throw error;
  }
}

function refuse(socket: Socket, message: string): void {
  sendLast(socket, { type: 'refusal', message: `${message} Nothing was done.`, exitCode: 2 });
}

function sendLast(socket: Socket, reply: ControlReply): void {
  write(socket, reply);
  // Read on to the end, or the connection never closes from this side.
  socket.end().resume();
}

function write(socket: Socket, reply: ControlReply): void {
  if (socket.writable) socket.write(`${JSON.stringify(reply)}\n`);
}
