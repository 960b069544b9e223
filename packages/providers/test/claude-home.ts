/**
 * What a test of the `claude` provider needs: a home of its own, a fake of the model's API, and the SDK's real program,
 * which `NANOCLAW_CLAUDE_BINARY` names. Closing it tells which of the programs it started still run.
 */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Prompt, Provider, StartOptions, Turn, TurnEvent } from '@nanoclaw/runner';
import type { InboundMessage } from '@nanoclaw/session-db';
import { claudeProvider } from '../src/claude/claude.ts';
import { type FakeMessagesApi, type FakeRequest, type FakeRules, startFakeMessagesApi } from './fake-messages-api.ts';

/** What one turn of the program may take on a loaded machine with two cores. */
export const TURN_MAX_MS = 60_000;

export function setTimer(delayMs: number, action: () => void): () => void {
  const timer = setTimeout(action, delayMs);
  return () => clearTimeout(timer);
}

export class ClaudeHome {
  readonly home = mkdtempSync(join(tmpdir(), 'nanoclaw-claude-'));
  /** The agent's folder. */
  readonly cwd = join(this.home, 'agent');
  /** What the provider has reported. */
  readonly reports: string[] = [];
  #api: FakeMessagesApi | undefined;

  constructor() {
    mkdirSync(this.cwd);
  }

  /** A turn of a fresh provider against a fake API with these rules; the fake stays for `nextTurn`. */
  async startTurn(rules: FakeRules, prompt: string | Prompt, options: Partial<StartOptions> = {}): Promise<Turn> {
    await this.serve(rules);
    return this.nextTurn(prompt, options);
  }

  nextTurn(prompt: string | Prompt, options: Partial<StartOptions> = {}): Turn {
    return this.provider().start(typeof prompt === 'string' ? says(prompt) : prompt, {
      ...this.startOptions(),
      ...options,
    });
  }

  /** Puts a fake API with these rules in place of the one before. */
  async serve(rules: FakeRules): Promise<void> {
    await this.#api?.stop();
    this.#api = await startFakeMessagesApi(rules);
  }

  /** Nothing answers any more where the fake was. */
  async stopApi(): Promise<void> {
    await this.#api?.stop();
  }

  provider(executable = recordingExecutable(this.home), env: Readonly<Record<string, string>> = {}): Provider {
    return claudeProvider({
      executable,
      env: {
        HOME: this.home,
        PATH: '/usr/local/bin:/usr/bin:/bin',
        ANTHROPIC_API_KEY: 'no-key-is-needed',
        ANTHROPIC_BASE_URL: this.#api?.url ?? '',
        ...env,
      },
      uid: process.getuid?.() ?? -1,
      newId: () => crypto.randomUUID(),
      setTimer,
      report: (trouble) => this.reports.push(trouble),
    });
  }

  startOptions(): StartOptions {
    return {
      continuation: undefined,
      cwd: this.cwd,
      instructions: 'You are Andy.',
      model: undefined,
      effort: undefined,
      tools: [],
      mcpServers: {},
      skills: [],
    };
  }

  get requests(): readonly FakeRequest[] {
    return this.#api?.requests ?? [];
  }

  request(index: number): FakeRequest {
    const found = this.requests[index];
    if (found !== undefined) return found;
    throw new Error(`The API got ${this.requests.length} requests and not number ${index + 1}.`);
  }

  startedPids(): number[] {
    return startedPids(this.home);
  }

  /** Removes everything, and gives the pids of the programs that still run: a test that leaves one has failed. */
  async close(): Promise<number[]> {
    await this.#api?.stop().catch(() => undefined);
    const left = this.startedPids().filter(isAlive);
    rmSync(this.home, { recursive: true, force: true });
    return left;
  }
}

/** The program, behind a script in `folder` that writes down the pid it runs as and then does what `prepare` says, in shell. */
export function recordingExecutable(folder: string, prepare = ''): string {
  const script = join(folder, 'claude');
  writeFileSync(script, `#!/bin/sh\necho $$ >> '${join(folder, 'pids')}'\n${prepare}\nexec '${claudeBinary()}' "$@"\n`);
  chmodSync(script, 0o755);
  return script;
}

/** The pids of all programs that the script in `folder` has started. */
export function startedPids(folder: string): number[] {
  const file = join(folder, 'pids');
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').map(Number) : [];
}

/** The path of the SDK's native program; throws when `NANOCLAW_CLAUDE_BINARY` names none. */
function claudeBinary(): string {
  const binary = process.env['NANOCLAW_CLAUDE_BINARY'];
  if (binary !== undefined && existsSync(binary)) return binary;
  throw new Error(
    "These tests run the agent SDK's native program, and NANOCLAW_CLAUDE_BINARY does not name one. " +
      '`npm test` fetches it and sets the variable.',
  );
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    // No such process: the answer that is hoped for.
    return false;
  }
}

export function says(text: string): Prompt {
  return { text, messages: [], done: [] };
}

/** A prompt that is a command, which the host has let through. */
export function command(text: string): Prompt {
  return { text, messages: [inbound('command')], done: [] };
}

export function inbound(kind: 'chat' | 'command'): InboundMessage {
  return {
    id: 'm1',
    seq: 2,
    kind,
    timestamp: 0,
    trigger: 'wakes',
    tries: 0,
    triesSpent: 0,
    address: null,
    sourceSessionId: null,
    inReplyTo: null,
    content: {},
    recurrence: null,
  };
}

export async function eventsOf(turn: Turn): Promise<TurnEvent[]> {
  const events: TurnEvent[] = [];
  for await (const event of turn.events) events.push(event);
  return events;
}

export function isEnd(event: TurnEvent): boolean {
  return event.type === 'result' || event.type === 'error';
}

export function ends(events: readonly TurnEvent[]): TurnEvent[] {
  return events.filter(isEnd);
}

export function tokenOf(events: readonly TurnEvent[]): string {
  const tokens = events.flatMap((event) => (event.type === 'continuation' ? [event.token] : []));
  return tokens.at(-1) ?? 'no continuation was given';
}
