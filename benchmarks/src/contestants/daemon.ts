/** The product as a daemon: its command line started as people start it, spoken to over its terminal's socket and its webhooks. */

import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { TerminalClient, type TerminalMessage, terminalSocketPath } from '@nanoclaw/channels/terminal';
import { signWebhook } from '@nanoclaw/channels/webhook';
import { execa } from 'execa';
import type { Contestant } from '../contestant.ts';
import { Waiting } from '../waiting.ts';
import { PROVIDER_MODULE } from './product.ts';

const MAIN = fileURLToPath(new URL('../../../apps/host/dist/main.js', import.meta.url));
const START_MAX_MS = 60_000;

/** A chat in a terminal for each session. */
export const PRODUCT_TERMINAL: Contestant = {
  name: 'product, terminal',
  group: 'product',
  open: async (folder, sessions) => {
    const daemon = await Daemon.start(folder, sessions);
    const chats: TerminalChat[] = [];
    for (let i = 0; i < sessions; i += 1) {
      // The first chat is wired by itself; a further one is answered once an operator has wired it.
      if (i > 0) await daemon.wire('terminal', `chat-${i}`);
      chats.push(await TerminalChat.join(folder, i === 0 ? 'main' : `chat-${i}`));
    }
    return {
      ask: (session) => {
        const chat = chats[session];
        if (chat === undefined) throw new RangeError(`There are ${chats.length} chats.`);
        return chat.ask();
      },
      pids: () => [daemon.pid],
      [Symbol.asyncDispose]: async () => {
        for (const chat of chats) await chat.close();
        await daemon.stop();
      },
    };
  },
};

/** A person at a terminal. */
export class TerminalChat {
  readonly #client: TerminalClient;
  readonly #waiting: Waiting;
  #count = 0;

  static async join(folder: string, chat: string): Promise<TerminalChat> {
    const waiting = new Waiting();
    const onMessage = ({ text }: TerminalMessage) => waiting.seen(text);
    const socket = terminalSocketPath(join(folder, 'terminal'));
    return new TerminalChat(await TerminalClient.connect(socket, { chat, newId: randomUUID, onMessage }), waiting);
  }

  private constructor(client: TerminalClient, waiting: Waiting) {
    this.#client = client;
    this.#waiting = waiting;
  }

  /** Says something that was not said before, and resolves when its answer is shown. */
  async ask(): Promise<void> {
    this.#count += 1;
    const id = `message-${this.#count}`;
    const answered = this.#waiting.for(id);
    await this.#client.send(id);
    return answered;
  }

  close(): Promise<void> {
    return this.#client.close();
  }
}

/** An endpoint for each session, whose program waits for the answer with a request of its own. */
export const PRODUCT_WEBHOOK: Contestant = {
  name: 'product, webhook',
  group: 'product',
  open: async (folder, sessions) => {
    const daemon = await Daemon.start(folder, sessions);
    const secrets: string[] = [];
    for (let i = 0; i < sessions; i += 1) {
      const made: unknown = JSON.parse(await daemon.command('webhooks', 'create', `hook-${i}`, '--json'));
      secrets.push(secretOf(made));
      await daemon.wire('webhook', `hook-${i}`);
    }
    const after = secrets.map(() => 0);
    let count = 0;
    const request = async (session: number, method: string, target: string, body?: string): Promise<unknown> => {
      const timestamp = Math.floor(Date.now() / 1_000);
      const signature = signWebhook(secrets[session] ?? '', timestamp, body ?? `GET ${target}`);
      const answer = await fetch(`http://127.0.0.1:${daemon.webhookPort}${target}`, {
        method,
        headers: { 'x-nanoclaw-timestamp': `${timestamp}`, 'x-nanoclaw-signature': signature },
        ...(body === undefined ? {} : { body }),
      });
      if (!answer.ok) throw new Error(`${method} ${target} was answered with ${answer.status}: ${await answer.text()}`);
      return answer.json();
    };
    return {
      ask: async (session) => {
        count += 1;
        const id = `message-${count}`;
        await request(session, 'POST', `/hooks/hook-${session}`, JSON.stringify({ id, text: id }));
        for (;;) {
          const target = `/hooks/hook-${session}/messages?after=${after[session]}&wait=20`;
          const { texts, next } = messagesOf(await request(session, 'GET', target));
          after[session] = next;
          if (texts.some((text) => text.split('\n').includes(id))) return;
        }
      },
      pids: () => [daemon.pid],
      [Symbol.asyncDispose]: () => daemon.stop(),
    };
  },
};

/** The daemon on a folder, with agents as plain processes. */
export class Daemon {
  readonly #folder: string;
  readonly #process: ChildProcess;
  readonly webhookPort: number;

  static async start(folder: string, sessions: number, idleExitMs = 600_000): Promise<Daemon> {
    const [webhookPort, healthPort] = [await freePort(), await freePort()];
    const config = {
      driver: 'process',
      provider: 'instant',
      providers: { instant: { module: PROVIDER_MODULE, options: {} } },
      runsMax: sessions + 1,
      idleExitMs,
      webhookPort,
      healthPort,
    };
    writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
    const daemon = new Daemon(folder, webhookPort);
    await daemon.#untilReady(healthPort);
    return daemon;
  }

  private constructor(folder: string, webhookPort: number) {
    this.#folder = folder;
    this.webhookPort = webhookPort;
    this.#process = spawn(process.execPath, [MAIN, 'start', '--data', folder], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** Does a command of the operator and gives what it prints. */
  async command(...words: readonly string[]): Promise<string> {
    const { stdout } = await execa(process.execPath, [MAIN, ...words, '--data', this.#folder], { stdin: 'ignore' });
    return stdout;
  }

  /** Has the default agent answer each message in a chat. */
  async wire(channel: string, chat: string): Promise<void> {
    await this.command('messaging-groups', 'create', channel, chat, '--kind', 'direct', '--strangers', 'public');
    await this.command('wirings', 'create', 'main', `${channel}:${chat}`, '--engage', 'pattern', '--pattern', '.');
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null) return;
    this.#process.kill('SIGTERM');
    await once(this.#process, 'exit');
  }

  async #untilReady(port: number): Promise<void> {
    const end = Date.now() + START_MAX_MS;
    while (Date.now() < end && this.#process.exitCode === null) {
      const isReady = await fetch(`http://127.0.0.1:${port}/ready`).then(
        ({ ok }) => ok,
        () => false,
      );
      if (isReady) return;
      await sleep(50);
    }
    throw new Error('The daemon did not become ready.');
  }
}

/** A port that nothing listens on just now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('A server on TCP has an address with a port.');
  return address.port;
}

function secretOf(made: unknown): string {
  if (typeof made === 'object' && made !== null && 'secret' in made && typeof made.secret === 'string')
    return made.secret;
  throw new Error('The endpoint was made without a secret.');
}

function messagesOf(answer: unknown): { readonly texts: readonly string[]; readonly next: number } {
  if (typeof answer === 'object' && answer !== null && 'messages' in answer && 'next' in answer) {
    const { messages, next } = answer;
    if (Array.isArray(messages) && typeof next === 'number') return { texts: messages.map(textOf), next };
  }
  throw new Error('An endpoint answers with messages.');
}

function textOf(message: unknown): string {
  const isText =
    typeof message === 'object' && message !== null && 'text' in message && typeof message.text === 'string';
  return isText ? String(message.text) : '';
}
