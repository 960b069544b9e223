/**
 * The host that is attacked: the one that people run, as a process of its own, with a session of an honest agent beside
 * those of the attacker. Agents run as plain processes, which have every right that a container would not have.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { TerminalClient, type TerminalMessage, terminalSocketPath } from '@nanoclaw/channels/terminal';
import { execa } from 'execa';
import { z } from 'zod';
import type { Lateness } from './monitor.ts';

/** What no attacker may ever show in its chat. */
export const SECRET = 'the-secret-of-another-session';

const SECRET_OF_ENDPOINT = z.object({ secret: z.string() });

const MAIN = fileURLToPath(new URL('../../../apps/host/dist/main.js', import.meta.url));
const MONITOR = new URL('./monitor.ts', import.meta.url).href;
const IDLE = fileURLToPath(new URL('./idle.ts', import.meta.url));
const ATTACKER = fileURLToPath(new URL('./attacker.ts', import.meta.url));

/** A running host under attack. */
export class Arena implements AsyncDisposable {
  readonly data: string;
  readonly hostFile: string;
  /** Where webhooks are taken. */
  readonly webhookPort: number;
  readonly #healthPort: number;
  readonly #clients = new Map<string, Chat>();
  readonly #idle: ChildProcess = fork(IDLE, { execArgv: [...MONITORED] });
  #host: ChildProcess | undefined;
  #ids = 0;

  /** Starts a host, and an honest agent that has told a secret. `liveMs`: how long a live attack goes on. */
  static async open(liveMs: number): Promise<Arena> {
    const arena = new Arena(mkdtempSync(join(tmpdir(), 'hostile-')), await freePort(), await freePort());
    try {
      await arena.#start(liveMs);
      return arena;
    } catch (error) {
      await arena[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(data: string, healthPort: number, webhookPort: number) {
    this.data = data;
    this.hostFile = join(data, 'host-file');
    this.#healthPort = healthPort;
    this.webhookPort = webhookPort;
  }

  async #start(liveMs: number): Promise<void> {
    writeFileSync(this.hostFile, SECRET);
    const victim = join(this.data, 'victim.db');
    const options = { victim, hostFile: this.hostFile, liveMs };
    const config = {
      driver: 'process',
      provider: 'attacker',
      providers: { attacker: { module: ATTACKER, options } },
      runsMax: 100,
      healthPort: this.#healthPort,
      webhookPort: this.webhookPort,
    };
    writeFileSync(join(this.data, 'config.json'), JSON.stringify(config));
    this.#host = spawn(process.execPath, [...MONITORED, MAIN, 'start', '--data', this.data], {
      env: { PATH: process.env['PATH'] ?? '', HOME: this.data, NANOCLAW_LOG: 'info' },
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    await this.#untilReady();
    // The first chat makes the default agent, which is the attacker.
    await (await this.chat('main')).asks('hello', 'You said: hello');
    await this.command('groups', 'create', 'innocent', '--provider', 'offline');
    await this.command(
      'messaging-groups',
      'create',
      'terminal',
      'innocent',
      '--kind',
      'direct',
      '--strangers',
      'public',
    );
    await this.command('wirings', 'create', 'innocent', 'terminal:innocent');
    const others = new Set(this.sessions());
    await (await this.chat('innocent')).asks(`say ${SECRET}`, SECRET);
    const innocent = this.sessions().find((folder) => !others.has(folder));
    writeFileSync(victim, readFileSync(join(innocent ?? '', 'outbound', 'outbound.db')));
  }

  async #untilReady(): Promise<void> {
    const end = Date.now() + 30_000;
    for (;;) {
      const ready = await fetch(`http://127.0.0.1:${this.#healthPort}/ready`).then(
        ({ ok }) => ok,
        () => false,
      );
      if (ready) return;
      if (!this.isAlive || Date.now() > end) throw new Error('The host did not become ready.');
      await sleep(50);
    }
  }

  /** Whether the host that was started is alive. */
  get isAlive(): boolean {
    return this.#host !== undefined && this.#host.exitCode === null && this.#host.signalCode === null;
  }

  /** Does a command of the operator and gives what it prints. Rejects when it fails. */
  async command(...words: readonly string[]): Promise<string> {
    const { stdout } = await execa(process.execPath, [MAIN, ...words, '--data', this.data], {
      env: { PATH: process.env['PATH'] ?? '', HOME: this.data },
      extendEnv: false,
      stdin: 'ignore',
    });
    return stdout;
  }

  /** A person in a chat of its own with the attacker; the same one for the same name. */
  async attackersChat(name: string): Promise<Chat> {
    if (!this.#clients.has(name)) await this.#wire('main', name);
    return this.chat(name);
  }

  /** The secret of an endpoint `honest`, whose messages go to the honest agent. */
  async endpoint(): Promise<string> {
    const made: unknown = JSON.parse(await this.command('webhooks', 'create', 'honest', '--json'));
    await this.command('messaging-groups', 'create', 'webhook', 'honest', '--strangers', 'public');
    await this.command('wirings', 'create', 'innocent', 'webhook:honest', '--engage', 'pattern', '--pattern', '.');
    return SECRET_OF_ENDPOINT.parse(made).secret;
  }

  async #wire(agent: string, chat: string): Promise<void> {
    await this.command('messaging-groups', 'create', 'terminal', chat, '--kind', 'direct', '--strangers', 'public');
    await this.command('wirings', 'create', agent, `terminal:${chat}`, '--engage', 'pattern', '--pattern', '.');
  }

  /** A person in a chat that is there; the same one for the same name. */
  async chat(name: string): Promise<Chat> {
    const known = this.#clients.get(name);
    if (known !== undefined) return known;
    const chat = await Chat.join(join(this.data, 'terminal'), name, () => `hostile-${++this.#ids}`);
    this.#clients.set(name, chat);
    return chat;
  }

  /** The folders of all sessions. */
  sessions(): string[] {
    const root = join(this.data, 'sessions');
    return readdirSync(root).flatMap((agent) => readdirSync(join(root, agent)).map((id) => join(root, agent, id)));
  }

  /** What the host counts, by name and labels. */
  async counters(): Promise<ReadonlyMap<string, number>> {
    const answer = await fetch(`http://127.0.0.1:${this.#healthPort}/metrics`);
    const counters = new Map<string, number>();
    for (const line of (await answer.text()).split('\n')) {
      const [, name, value] = /^(nanoclaw_\S+) (\S+)/.exec(line) ?? [];
      if (name !== undefined) counters.set(name.replaceAll(/,?otel_scope\w*="[^"]*"/g, ''), Number(value));
    }
    return counters;
  }

  /** How late the host's loop was since the last look, and that of an idle process beside it. */
  async lateness(): Promise<{ readonly stall: Lateness; readonly idle: Lateness }> {
    const [stall, idle] = await Promise.all([latenessOf(this.#host), latenessOf(this.#idle)]);
    return { stall, idle };
  }

  /** What the log holds now. */
  log(): string {
    return readFileSync(join(this.data, 'host.log'), 'utf8');
  }

  /** Ends the host, and whatever its agents have left. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const chat of this.#clients.values()) await chat.close();
    this.#idle.kill();
    await this.#ended('SIGKILL');
    for (let tries = 0; tries < 50; tries += 1) {
      const { stdout } = await execa('pgrep', ['-f', this.data], { reject: false });
      const left = stdout.split('\n').filter(Boolean).map(Number);
      if (left.length === 0) break;
      for (const pid of left) tryKill(pid);
      await sleep(100);
    }
    await execa('chmod', ['-R', 'u+rwX', this.data], { reject: false });
    await execa('rm', ['-rf', this.data]);
  }

  async #ended(signal: NodeJS.Signals): Promise<void> {
    if (!this.isAlive) return;
    this.#host?.kill(signal);
    if (this.#host !== undefined) await once(this.#host, 'exit');
  }

  /** Ends the host in order; gives how long it took, in milliseconds. */
  async stop(): Promise<number> {
    const begun = Date.now();
    await this.#ended('SIGTERM');
    return Date.now() - begun;
  }
}

/** What a process is started with whose loop is watched. */
const MONITORED = ['--disable-warning=ExperimentalWarning', '--import', MONITOR] as const;

const LATENESS = z.object({ ms: z.number(), cpuMs: z.number() });

async function latenessOf(process: ChildProcess | undefined): Promise<Lateness> {
  if (process?.connected !== true) return { ms: Number.NaN, cpuMs: Number.NaN };
  const answer = once(process, 'message', { signal: AbortSignal.timeout(60_000) });
  process.send('');
  return LATENESS.parse((await answer)[0]);
}

/** A person in a chat. */
export class Chat {
  readonly #client: TerminalClient;
  readonly #messages: TerminalMessage[];

  static async join(folder: string, name: string, newId: () => string): Promise<Chat> {
    const messages: TerminalMessage[] = [];
    const onMessage = (message: TerminalMessage) => void messages.push(message);
    return new Chat(
      await TerminalClient.connect(terminalSocketPath(folder), { chat: name, newId, onMessage }),
      messages,
    );
  }

  private constructor(client: TerminalClient, messages: TerminalMessage[]) {
    this.#client = client;
    this.#messages = messages;
  }

  /** Says something, and does not wait for an answer. */
  async says(text: string): Promise<void> {
    await this.#client.send(text);
  }

  /** Says something and waits for an answer with these words; gives how long that took, in milliseconds. */
  async asks(text: string, wanted: string, limitMs = 60_000): Promise<number> {
    const begun = performance.now();
    const from = this.#messages.length;
    await this.#client.send(text);
    while (!this.#messages.slice(from).some((message) => message.text.includes(wanted))) {
      if (performance.now() - begun > limitMs)
        throw new Error(`"${text}" was not answered within ${limitMs / 1_000} s.`);
      await sleep(2);
    }
    return performance.now() - begun;
  }

  /** All that was shown here. */
  text(): string {
    return this.#messages.map(({ text }) => text).join('\n');
  }

  /** How often these words were shown. */
  times(words: string): number {
    return this.#messages.filter(({ text }) => text.includes(words)).length;
  }

  close(): Promise<void> {
    return this.#client.close();
  }
}

function tryKill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

/** A port of this machine that nothing listens on just now. */
async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('A server on TCP has an address with a port.');
  return address.port;
}
