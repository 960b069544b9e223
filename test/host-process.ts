/** A real host as a real process, on a data folder of its own, for end-to-end tests. Paths and figures are for tests only. */

import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TerminalClient, type TerminalMessage, terminalSocketPath } from '@nanoclaw/channels';
import { SqliteError } from '@nanoclaw/session-db';
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
  kill(signal: 'SIGTERM' | 'SIGKILL'): void;
  readonly ended: Promise<Ended>;
}

/** One test's data folder, its host processes and their clients; `close` ends whatever is left. */
export class Install {
  readonly data = mkdtempSync(join(tmpdir(), 'nano-'));
  readonly #processes: HostProcess[] = [];
  readonly #clients: TerminalClient[] = [];
  #ids = 0;

  /** Runs the host with these words and gives what came of it; never rejects. */
  run(words: readonly string[], env: Record<string, string> = {}, data = this.data): Promise<Ended> {
    return this.#spawn(words, env, data).ended;
  }

  /** Starts a daemon and resolves when it takes connections. */
  async daemon(env: Record<string, string> = {}): Promise<HostProcess> {
    const host = this.#spawn(['start'], { NANOCLAW_LOG: 'warn', ...env }, this.data);
    const failed = host.ended.then(({ exitCode, stderr }): never => {
      throw new Error(`The host ended with ${exitCode}: ${stderr}`);
    });
    // Its end is a failure only while it is waited for.
    failed.catch(() => undefined);
    await Promise.race([until(() => reachable(this.data)), failed]);
    return host;
  }

  #spawn(words: readonly string[], env: Record<string, string>, data: string): HostProcess {
    const inherited = Object.entries(process.env).filter(([name]) => !/^(ANTHROPIC_|NANOCLAW_)/.test(name));
    const running = execa(process.execPath, [MAIN, ...words, '--data', data], {
      // Containers have tests of their own (`test/engine`); these are to run alike on every machine.
      env: { ...Object.fromEntries(inherited), NANOCLAW_DRIVER: 'process', ...env },
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

  /** Joins the main chat; `messages` fills with what is said there from number `after` on. */
  async join(after = 0): Promise<{ client: TerminalClient; messages: TerminalMessage[] }> {
    const messages: TerminalMessage[] = [];
    const client = await TerminalClient.connect(terminalSocketPath(join(this.data, 'terminal')), {
      chat: 'main',
      after,
      newId: () => `message-${++this.#ids}`,
      onMessage: (message) => void messages.push(message),
    });
    this.#clients.push(client);
    return { client, messages };
  }

  /** The one session's folder. */
  session(): string {
    const agents = join(this.data, 'sessions');
    const [agent] = readdirSync(agents);
    if (agent === undefined) throw new SqliteError('SQLITE_CANTOPEN', 'There is no session yet.');
    const [session] = readdirSync(join(agents, agent));
    if (session === undefined) throw new SqliteError('SQLITE_CANTOPEN', 'There is no session yet.');
    return join(agents, agent, session);
  }

  /** Rows of one of the session's files. */
  rows<Row>(file: 'inbound' | 'outbound', sql: string): Row[] {
    const db = openSqlite(join(this.session(), file, `${file}.db`), 'read');
    try {
      db.exec('PRAGMA busy_timeout = 2000');
      return db.all<Row>(sql);
    } finally {
      db.close();
    }
  }

  /** How many rows of one of the session's files there are just now; 0 while it is not there or is being written. */
  count(file: 'inbound' | 'outbound', from: string): number {
    try {
      return this.rows<{ n: number }>(file, `SELECT count(*) AS n FROM ${from}`)[0]?.n ?? 0;
    } catch (error) {
      if (error instanceof SqliteError || (error instanceof Error && 'code' in error)) return 0;
      throw error;
    }
  }

  /** The process numbers of the runs that this install has started and that are alive. */
  async runners(): Promise<number[]> {
    const { stdout } = await execa('pgrep', ['-f', `${this.data}/sessions`], { reject: false });
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

/** Starts the stand-in for the Messages API, as a process of its own. */
export async function startFakeApi(): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const script = fileURLToPath(new URL('../apps/agent-runner/test/fake-messages-api.ts', import.meta.url));
  const running = execa('bun', [script, '--port', '0', '--rules', 'echo'], { reject: false });
  const [line] = await once(running.stdout, 'data');
  return {
    url: String(line).trim(),
    stop: async () => {
      running.kill();
      await running;
    },
  };
}

/** Looks every 20 ms until `condition` holds; rejects after `limitMs`. */
export async function until(condition: () => boolean | Promise<boolean>, limitMs = 30_000): Promise<void> {
  const end = Date.now() + limitMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`It did not happen within ${limitMs / 1000} s: ${condition}`);
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
