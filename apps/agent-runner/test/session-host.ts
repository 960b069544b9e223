/**
 * The host's part, for tests of the bundled program: a session folder, and the program started on it as a process of
 * its own, away from the workspace so that nothing it imports can come from there.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  createSession,
  HostSession,
  INBOUND_DEFERRAL,
  INBOUND_RETRY,
  inProcessReader,
  isBusy,
  type JsonObject,
  type NewInbound,
  type OutboundContents,
  runId,
  type SessionFolder,
} from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/bun';

/** What a test may take on a loaded machine with two cores. */
export const TEST_MAX_MS = 60_000;

export const CONFIG = {
  protocolVersion: 2,
  agentGroupId: 'g1',
  assistantName: 'Nano',
  provider: { name: 'offline' },
  timeZone: 'UTC',
  idleExitMs: 20_000,
};

const ADDRESS = { channelType: 'terminal', platformId: 'main', threadId: null };

export type Program = Bun.Subprocess<'ignore', 'ignore', 'pipe'>;

export class SessionHost {
  readonly root = mkdtempSync(join(tmpdir(), 'nanoclaw-main-'));
  readonly agentFolder = join(this.root, 'agent');
  /** Shown to the program once a test has put a skill into it. */
  readonly skillsFolder = join(this.root, 'skills');
  readonly folder: SessionFolder = createSession(join(this.root, 'session'));
  readonly host: HostSession = HostSession.open(this.folder, openSqlite);
  readonly #programs: Program[] = [];
  #messages = 0;

  constructor() {
    mkdirSync(this.agentFolder);
    cpSync(join(import.meta.dir, '..', 'dist'), join(this.root, 'app'), { recursive: true });
  }

  /** Starts a run with this configuration: an object, or the text of the file. */
  start(config: unknown = CONFIG, run = 'run-1', env: Readonly<Record<string, string>> = {}): Program {
    this.beginRun(run);
    const path = join(this.root, 'container.json');
    writeFileSync(path, typeof config === 'string' ? config : JSON.stringify(config));
    const args = ['--run', run, '--config', path, '--agent', this.agentFolder];
    args.push('--inbound', this.folder.inbound.root, '--outbound', this.folder.outbound.root);
    if (existsSync(this.skillsFolder)) args.push('--skills', this.skillsFolder);
    return this.startWith(args, env);
  }

  /** Makes a run the live one, whichever was. */
  beginRun(run: string): void {
    again(() => this.host.beginRun(runId(run), Date.now()));
  }

  startWith(args: string[], env: Readonly<Record<string, string>> = {}): Program {
    const program = Bun.spawn([process.execPath, join(this.root, 'app', 'main.js'), ...args], {
      cwd: this.agentFolder,
      env: { PATH: process.env['PATH'] ?? '', HOME: this.root, ...env },
      stdin: 'ignore',
      stdout: 'ignore',
      stderr: 'pipe',
    });
    this.#programs.push(program);
    return program;
  }

  /** Puts a skill into the folder of skills: its SKILL.md. */
  addSkill(name: string, text = `---\nname: ${name}\ndescription: How to ${name}.\n---\nGently.\n`): void {
    mkdirSync(join(this.skillsFolder, name), { recursive: true });
    writeFileSync(join(this.skillsFolder, name, 'SKILL.md'), text);
  }

  /** Writes a file below the folder of the test. */
  addFile(path: string, text: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    writeFileSync(join(this.root, path), text);
  }

  /** Confirms that a run is dead and settles what it left, so that it is due again at once. */
  async buried(program: Program, run = 'run-1'): Promise<void> {
    program.kill('SIGKILL');
    await program.exited;
    again(() => this.host.endRun(runId(run)));
    await this.sweep();
  }

  /** Settles what the runner has said of its claims: as if all waits were over, or as it is. */
  async sweep(waits: 'over' | 'as it is' = 'over'): Promise<void> {
    const seen = await this.until(() => true);
    const now = waits === 'over' ? Date.now() - INBOUND_DEFERRAL.retryAfterMaxMs : Date.now();
    again(() => this.host.settle(seen, now, INBOUND_RETRY));
  }

  /** A chat message of Ada's; gives its id. */
  say(text: string): string {
    return this.enqueue({ text, sender: { id: 'u1', name: 'Ada' } });
  }

  enqueue(content: JsonObject, more: Partial<NewInbound> = {}): string {
    this.#messages += 1;
    const id = `m${this.#messages}`;
    const now = Date.now();
    const message = { id, kind: 'chat', timestamp: now, trigger: 'wakes', address: ADDRESS, content, ...more } as const;
    again(() => this.host.enqueue(message, now));
    return id;
  }

  /** Everything the runner has written; `undefined` while it cannot be read. */
  async written(): Promise<OutboundContents | undefined> {
    const read = await inProcessReader(this.folder, openSqlite).read({ acksAfter: 0, messagesAfter: 0, again: [] });
    return read.type === 'read' ? read : undefined;
  }

  /** Waits until what the runner wrote fulfils a condition, and gives it. Rejects when no program is left to write it. */
  async until(condition: (contents: OutboundContents) => boolean): Promise<OutboundContents> {
    for (;;) {
      const isOver = this.#programs.every(({ exitCode, signalCode }) => exitCode !== null || signalCode !== null);
      const contents = await this.written();
      if (contents && condition(contents)) return contents;
      if (contents && isOver) {
        const codes = this.#programs.map(({ exitCode }) => exitCode);
        throw new Error(`The programs have ended with ${codes.join(', ')}, without what was waited for.`);
      }
      await sleep(5);
    }
  }

  async close(): Promise<void> {
    for (const program of this.#programs) program.kill('SIGKILL');
    await Promise.all(this.#programs.map((program) => program.exited));
    this.host[Symbol.dispose]();
    rmSync(this.root, { recursive: true });
  }
}

/** What the world would see: texts, or the operation of what has none. */
export function texts(contents: OutboundContents): unknown[] {
  return contents.messages.map((message) => message.content['text'] ?? message.content['operation']);
}

/** How a program ended and what it said about it. */
export async function outcome(program: Program): Promise<{ code: number; said: string }> {
  const said = await new Response(program.stderr).text();
  return { code: await program.exited, said };
}

/** A write of the host's: again, while the run is just reading. */
function again(write: () => void): void {
  for (;;) {
    try {
      return write();
    } catch (error) {
      if (!isBusy(error)) throw error;
      Bun.sleepSync(5);
    }
  }
}
