/** A real host as a real process, on a data folder of its own, for end-to-end tests. Paths and figures are for tests only. */

import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TerminalClient, type TerminalMessage, terminalSocketPath } from '@nanoclaw/channels/terminal';
import { type Json, SqliteError } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { execa } from 'execa';

const MAIN = fileURLToPath(new URL('../apps/host/dist/main.js', import.meta.url));

/** What came of a host process. */
export interface Ended {
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** A host process. Not a promise itself, so that it can be handed on while it runs. */
export interface HostProcess {
  readonly pid: number | undefined;
  kill(signal: 'SIGHUP' | 'SIGTERM' | 'SIGKILL'): void;
  readonly ended: Promise<Ended>;
}

/** One test's data folder, its host processes and their clients; `close` ends whatever is left. */
export class Install {
  readonly data: string;
  readonly #processes: HostProcess[] = [];
  readonly #clients: TerminalClient[] = [];
  #ids = 0;

  /** With a new data folder, unless there is to be another one, which the first start makes. */
  constructor(data = mkdtempSync(join(tmpdir(), 'nano-'))) {
    this.data = data;
  }

  /** Runs the host with these words and gives what came of it; never rejects. */
  run(words: readonly string[], env: Record<string, string> = {}, data = this.data): Promise<Ended> {
    return this.#spawn(words, env, data).ended;
  }

  /** Does an operator's command with `--json` and gives what it says. Rejects with its sentence when it ends otherwise than with 0. */
  async nanoclaw(...words: readonly string[]): Promise<Told> {
    const { exitCode, stdout, stderr } = await this.run([...words, '--json']);
    if (exitCode !== 0) throw new Error(`nanoclaw ${words.join(' ')} ended with ${exitCode}: ${stderr}`);
    return new Told(JSON.parse(stdout));
  }

  /** Starts a daemon, which may have so many files open, and resolves when it takes connections. */
  async daemon(env: Record<string, string> = {}, openFilesMax?: number): Promise<HostProcess> {
    const host = this.#spawn(['start'], { NANOCLAW_LOG: 'warn', ...env }, this.data, openFilesMax);
    const failed = host.ended.then(({ exitCode, stderr }): never => {
      throw new Error(`The host ended with ${exitCode}: ${stderr}`);
    });
    // Its end is a failure only while it is waited for.
    failed.catch(() => undefined);
    await Promise.race([until(() => reachable(this.data)), failed]);
    return host;
  }

  #spawn(words: readonly string[], env: Record<string, string>, data: string, openFilesMax?: number): HostProcess {
    const inherited = Object.entries(process.env).filter(([name]) => !/^(ANTHROPIC_|NANOCLAW_)/.test(name));
    const node = [process.execPath, MAIN, ...words, '--data', data];
    const limit = openFilesMax === undefined ? '' : `ulimit -n ${openFilesMax};`;
    const running = execa('bash', ['-c', `${limit} exec "$@"`, 'bash', ...node], {
      // Containers have tests of their own (`test/engine`); these are to run alike on every machine.
      env: { ...Object.fromEntries(inherited), NANOCLAW_DRIVER: 'process', NANOCLAW_WEBHOOK_PORT: '0', ...env },
      extendEnv: false,
      reject: false,
      stdin: 'ignore',
    });
    const host: HostProcess = {
      pid: running.pid,
      kill: (signal) => void running.kill(signal),
      ended: running.then(({ exitCode, stdout, stderr }) => ({ exitCode, stdout, stderr })),
    };
    this.#processes.push(host);
    return host;
  }

  /** Somebody at a terminal in a chat of the host; `after` is the number of the message that they saw last. */
  async join({ chat = 'main', after = 0 } = {}): Promise<Person> {
    const person = await Person.join(join(this.data, 'terminal'), {
      chat,
      after,
      newId: () => `message-${++this.#ids}`,
    });
    this.#clients.push(person.client);
    return person;
  }

  /** The folder of the session with this id; of the only one when left out. */
  session(id?: string): string {
    const agents = join(this.data, 'sessions');
    const folders = readdirSync(agents).flatMap((agent) =>
      readdirSync(join(agents, agent)).map((session) => join(agents, agent, session)),
    );
    const found = folders.find((folder) => id === undefined || folder.endsWith(`/${id}`));
    if (found === undefined) throw new SqliteError('SQLITE_CANTOPEN', 'There is no such session yet.');
    return found;
  }

  /** Rows of one of a session's files. */
  rows<Row>(file: 'inbound' | 'outbound', sql: string, session?: string): Row[] {
    const db = openSqlite(join(this.session(session), file, `${file}.db`), 'read');
    try {
      db.exec('PRAGMA busy_timeout = 2000');
      return db.all<Row>(sql);
    } finally {
      db.close();
    }
  }

  /** How many rows of one of a session's files there are just now; 0 while it is not there or is being written. */
  count(file: 'inbound' | 'outbound', from: string, session?: string): number {
    try {
      return this.rows<{ n: number }>(file, `SELECT count(*) AS n FROM ${from}`, session)[0]?.n ?? 0;
    } catch (error) {
      if (error instanceof SqliteError || (error instanceof Error && 'code' in error)) return 0;
      throw error;
    }
  }

  /** The process numbers of the runs that this install has started and that are alive. */
  async runners(): Promise<number[]> {
    const { stdout } = await execa('pgrep', ['-f', '--', `--inbound ${this.data}/sessions`], { reject: false });
    return stdout.split('\n').filter(Boolean).map(Number);
  }

  async close(): Promise<void> {
    for (const client of this.#clients) await client.close();
    for (const host of this.#processes) host.kill('SIGKILL');
    await Promise.all(this.#processes.map((host) => host.ended));
    for (const pid of await this.runners()) process.kill(pid, 'SIGKILL');
    await until(async () => (await this.runners()).length === 0);
    rmSync(this.data, { recursive: true, force: true });
  }
}

/** Somebody at a terminal: what they say and what they are shown. */
export class Person {
  readonly client: TerminalClient;
  /** All that they were shown, from the number on after which they joined. */
  readonly messages: TerminalMessage[];
  #heard = 0;

  static async join(folder: string, options: { chat: string; after: number; newId: () => string }): Promise<Person> {
    const messages: TerminalMessage[] = [];
    const onMessage = (message: TerminalMessage) => void messages.push(message);
    return new Person(await TerminalClient.connect(terminalSocketPath(folder), { ...options, onMessage }), messages);
  }

  private constructor(client: TerminalClient, messages: TerminalMessage[]) {
    this.client = client;
    this.messages = messages;
  }

  /** Says something; gives its id once the host has it. */
  say(text: string, id?: string): Promise<string> {
    return this.client.send(text, id);
  }

  /** The next message, after the one heard last, that reads like this; those in between are passed over. */
  async hears(what: RegExp | string, limitMs?: number): Promise<TerminalMessage> {
    const isIt = ({ text }: TerminalMessage) => (typeof what === 'string' ? text === what : what.test(text));
    let at = -1;
    const found = () => {
      at = this.messages.findIndex((message, index) => index >= this.#heard && isIt(message));
      return at !== -1;
    };
    await until(found, limitMs, () => `${what} was not said. ${JSON.stringify(this.messages.slice(this.#heard))}`);
    const message = this.messages[at];
    if (message === undefined) throw new Error('It was there a moment ago.');
    this.#heard = at + 1;
    return message;
  }

  /** As `hears`, for a question with its choices. */
  async isAsked(what: RegExp | string): Promise<Extract<TerminalMessage, { kind: 'question' }>> {
    const message = await this.hears(what);
    if (message.kind !== 'question') throw new Error(`This is no question: ${JSON.stringify(message)}`);
    return message;
  }
}

/** What a command has said with `--json`. */
export class Told {
  readonly value: Json;

  constructor(value: Json) {
    this.value = value;
  }

  /** The text of a field of a record. */
  text(field: string): string {
    const { [field]: value } = isRecord(this.value) ? this.value : {};
    if (typeof value !== 'string') throw new Error(`There is no text ${field} in ${JSON.stringify(this.value)}.`);
    return value;
  }

  /** The rows of a table. */
  rows(): readonly Told[] {
    return Array.isArray(this.value) ? this.value.map((row) => new Told(row)) : [];
  }

  /** The number of a field of a record. */
  number(field: string): number {
    const { [field]: value } = isRecord(this.value) ? this.value : {};
    if (typeof value !== 'number') throw new Error(`There is no number ${field} in ${JSON.stringify(this.value)}.`);
    return value;
  }

  /** The rows of a table that is a field of a record. */
  rowsOf(field: string): readonly Told[] {
    const { [field]: value } = isRecord(this.value) ? this.value : {};
    return new Told(value ?? null).rows();
  }

  /** The texts of a field, row by row. */
  column(field: string): string[] {
    return this.rows().map((row) => row.text(field));
  }
}

function isRecord(value: Json): value is { [field: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** All regular files below a folder. */
export function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** A port of this machine that nobody listens on just now. */
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

/**
 * Starts the stand-in for the Messages API, as a process of its own. It answers with what was said (`echo`), or says it by
 * our tool `send_message` and then ends its turn (`send`).
 */
export async function startFakeApi(
  rules: 'echo' | 'send' = 'echo',
): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const script = fileURLToPath(new URL('../packages/providers/test/fake-messages-api.ts', import.meta.url));
  const running = execa('bun', [script, '--port', '0', '--rules', rules], { reject: false });
  const [line] = await once(running.stdout, 'data');
  return {
    url: String(line).trim(),
    stop: async () => {
      running.kill();
      await running;
    },
  };
}

/** Looks every 20 ms until `condition` holds; rejects after `limitMs` with what `otherwise` says. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  limitMs = 30_000,
  otherwise: () => string = () => String(condition),
): Promise<void> {
  const end = Date.now() + limitMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`It did not happen within ${limitMs / 1000} s: ${otherwise()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function reachable(data: string): Promise<boolean> {
  try {
    const client = await TerminalClient.connect(terminalSocketPath(join(data, 'terminal')), {
      chat: 'probe',
      newId: () => 'never-sent',
      onMessage: () => undefined,
    });
    await client.close();
    return true;
  } catch {
    return false;
  }
}
