/**
 * A channel of your own: a chat over TCP, a line for each thing said. A program, or you with `nc 127.0.0.1 7000`, says who it is
 * and then writes; every message has an id that begins with its time, and is sent again until it is acknowledged.
 *
 *   ada → HELLO ada                        bot → ACK 1790000000000-1
 *   ada → MSG 1790000000000-1 How are you? bot → SAY Fine, thanks.
 *
 * Nobody proves who they are here, so it listens on this machine only. The default export lets a host load it by its
 * configuration: { "channels": { "line": { "module": "./line-channel.ts", "options": { "port": 7000 } } } }.
 */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { type Channel, type ChannelModule, type Health, type Receive, refusal } from '@nanoclaw/channels';
import { lines } from '@nanoclaw/session-db/text';
import { z } from 'zod';

/** Room for a message of 8000 characters, its id and its word. */
const LINE_BYTES_MAX = 33_000;

export class LineChannel implements Channel {
  readonly type = 'line';
  // A line that was lost with its connection is not known to be lost.
  readonly duplicates = 'none';
  readonly limits = { text: { max: 8_000, unit: 'utf8-bytes' } } as const;
  readonly shows = new Set<never>();
  readonly #people = new Map<string, Socket>();
  readonly #port: number;
  #server: Server | undefined;

  constructor(port: number) {
    this.#port = port;
  }

  async start(receive: Receive): Promise<void> {
    if (this.#server) throw new Error('The line channel runs already.');
    const server = createServer(
      { noDelay: true },
      (socket) => void this.#talk(socket, receive).catch(() => socket.destroy()),
    );
    this.#server = server;
    try {
      // A stop that overtakes it closes a server that never listened.
      await Promise.race([once(server.listen(this.#port, '127.0.0.1'), 'listening'), once(server, 'close')]);
    } catch (error) {
      if (this.#server === server) this.#server = undefined;
      throw error;
    }
  }

  async #talk(socket: Socket, receive: Receive): Promise<void> {
    socket.on('error', () => socket.destroy());
    let name: string | undefined;
    try {
      for await (const line of lines(socket, LINE_BYTES_MAX)) {
        const [, word, first, rest] = /^(HELLO|MSG) (\S{1,64})(?: (.{1,8000}?))?\r?$/s.exec(line) ?? [];
        if (word === 'HELLO' && first) this.#people.set((name = first), socket);
        else if (word === 'MSG' && first && rest && name) await this.#hear(name, first, rest, socket, receive);
        else socket.write('WHAT? Say HELLO name, then MSG time-number text.\n');
      }
    } finally {
      if (name !== undefined && this.#people.get(name) === socket) this.#people.delete(name);
    }
  }

  async #hear(name: string, id: string, text: string, socket: Socket, receive: Receive): Promise<void> {
    const address = { channelType: this.type, platformId: name, threadId: null };
    const message = { kind: 'message', address, text, files: [], isMention: true, isDirect: true } as const;
    const timestamp = Number.parseInt(id, 10) || 0;
    try {
      await receive({ ...message, platformMessageId: id, sender: { id: name, name }, timestamp });
      socket.write(`ACK ${id}\n`);
    } catch {
      socket.write(`RETRY ${id}\n`); // the host could not write it down: it is to come again
    }
  }

  async send(...[address, message]: Parameters<Channel['send']>): ReturnType<Channel['send']> {
    const refused = refusal(this, address, message);
    if (refused) return refused;
    if (address.threadId !== null)
      return { type: 'failed', permanent: true, reason: 'There are no threads on a line.' };
    const socket = this.#people.get(address.platformId);
    if (!this.#server || !socket?.writable || message.kind !== 'text') return { type: 'offline' };
    const said = message.text.split('\n').map((line) => `SAY ${line}\n`);
    return new Promise((resolve) => {
      socket.write(said.join(''), (error) => {
        if (error) resolve({ type: 'failed', permanent: false, reason: `The line broke: ${error.message}` });
        else resolve({ type: 'sent', platformMessageId: null });
      });
    });
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    for (const socket of this.#people.values()) socket.destroy();
    this.#people.clear();
    if (server) await new Promise((resolve) => server.close(resolve));
  }

  health(): Health {
    return { state: this.#server ? 'online' : 'stopped' };
  }

  async directAddress(handle: string) {
    return this.#people.has(handle) ? { channelType: this.type, platformId: handle, threadId: null } : undefined;
  }
}

export default {
  type: 'line',
  options: z.strictObject({ port: z.int().min(1).max(65_535) }),
  create: ({ port }) => new LineChannel(port),
} satisfies ChannelModule<{ port: number }>;
