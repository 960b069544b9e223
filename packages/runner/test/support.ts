/**
 * A session in a temporary folder with a host at one end and runners at the other, under a clock that the test moves.
 * Runs under vitest on Node and under `bun test`.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Ack,
  type Address,
  type Clock,
  createSession,
  HostSession,
  INBOUND_RETRY,
  inProcessReader,
  type JsonObject,
  lastBeat,
  type Millis,
  type NewInbound,
  type OutboundContents,
  type OutboundMessage,
  type Params,
  RunnerSession,
  runId,
  type SessionFolder,
  type Sqlite,
} from '@nanoclaw/session-db';
import { openSqlite } from '#driver';
import type { Provider } from '../src/index.ts';
import { type RunEnd, Runner, type RunnerPolicy } from '../src/runner.ts';
import type { RunScript } from '../src/task-script.ts';

export const PLACE: Address = { channelType: 'terminal', platformId: 'main', threadId: null };
export const OTHER_PLACE: Address = { channelType: 'terminal', platformId: 'other', threadId: 't9' };

/** Time that passes only when the test says so. */
export class ManualClock implements Clock {
  #now: Millis = Date.UTC(2026, 10, 21, 9, 0);
  readonly #timers = new Map<number, { at: Millis; callback: () => void }>();
  #lastTimer = 0;

  now = (): Millis => this.#now;

  setTimer = (ms: Millis, callback: () => void): (() => void) => {
    this.#lastTimer += 1;
    const timer = this.#lastTimer;
    this.#timers.set(timer, { at: this.#now + ms, callback });
    return () => this.#timers.delete(timer);
  };

  advance(ms: Millis): void {
    this.#now += ms;
    for (const [timer, { at, callback }] of this.#timers) {
      if (at > this.#now) continue;
      this.#timers.delete(timer);
      callback();
    }
  }

  /** How many timers wait. */
  get pending(): number {
    return this.#timers.size;
  }
}

export interface Run {
  readonly runner: Runner;
  readonly session: RunnerSession;
  /** How the run ended; `undefined` while it goes on. */
  end(): RunEnd | undefined;
}

export class World {
  readonly root = mkdtempSync(join(tmpdir(), 'nanoclaw-runner-'));
  readonly agentFolder = join(this.root, 'agent');
  readonly folder: SessionFolder = createSession(join(this.root, 'session'));
  readonly clock = new ManualClock();
  readonly host: HostSession = HostSession.open(this.folder, openSqlite);
  readonly #sessions: RunnerSession[] = [];
  readonly #runners: { runner: Runner; ended: Promise<void> }[] = [];
  #lastMessage = 0;
  /** Kept open: conditions look at it after every step. */
  #outbound: Sqlite | undefined;

  constructor() {
    mkdirSync(this.agentFolder);
  }

  /** Begins a run with this provider, live unless told otherwise. */
  run(
    provider: Provider,
    {
      policy = {},
      runScript = noScripts,
      id = `run-${this.#sessions.length + 1}`,
    }: {
      policy?: Partial<RunnerPolicy>;
      runScript?: RunScript;
      id?: string;
    } = {},
  ): Run {
    this.host.beginRun(runId(id), this.clock.now());
    const handshake = { runId: runId(id), runnerVersion: '0', provider: provider.name };
    const session = RunnerSession.open(this.folder, openSqlite, handshake, this.clock.now());
    this.#sessions.push(session);
    const runner = new Runner({
      session,
      provider,
      agent: { assistantName: 'Nano', timeZone: 'UTC', cwd: this.agentFolder, model: undefined },
      clock: this.clock,
      bell: {
        listen: (heard) => {
          this.#heard.add(heard);
          return () => this.#heard.delete(heard);
        },
      },
      runScript,
      policy,
    });
    let end: RunEnd | undefined;
    const ended = (async () => {
      try {
        end = await runner.run();
      } catch (error) {
        this.#errors.push(error);
      }
    })();
    this.#runners.push({ runner, ended });
    return { runner, session, end: () => end };
  }

  readonly #errors: unknown[] = [];
  readonly #heard = new Set<() => void>();

  /** Lets the runners hear that the host has written something. */
  ring(): void {
    for (const heard of this.#heard) heard();
  }

  /** Writes a chat message of Ada's, or what `more` makes of it; returns its id. */
  say(text: string, more: Partial<NewInbound> = {}): string {
    return this.enqueue({ content: { text, sender: { id: 'u1', name: 'Ada' } }, ...more });
  }

  enqueue(more: Partial<NewInbound> & { content: JsonObject }): string {
    this.#lastMessage += 1;
    const id = more.id ?? `m${this.#lastMessage}`;
    const now = this.clock.now();
    this.host.enqueue({ kind: 'chat', timestamp: now, trigger: 'wakes', address: PLACE, ...more, id }, now);
    this.ring();
    return id;
  }

  /** Lets simulated time pass, in steps of some milliseconds, until the condition holds. */
  async until(condition: () => boolean, ms: Millis = 10_000): Promise<void> {
    for (let passed = 0; passed <= ms; passed += 5) {
      await this.settle();
      if (this.#errors.length > 0) throw this.#errors[0];
      if (condition()) return;
      this.clock.advance(5);
    }
    throw new Error(`It did not come to pass within ${ms} ms: ${String(condition)}`);
  }

  async pass(ms: Millis): Promise<void> {
    const end = this.clock.now() + ms;
    await this.until(() => this.clock.now() >= end, ms + 5);
  }

  /** Everything the runner has written. */
  async written(): Promise<OutboundContents> {
    const read = await inProcessReader(this.folder, openSqlite).read({ acksAfter: 0, messagesAfter: 0, again: [] });
    if (read.type !== 'read') throw new Error(`not read: ${JSON.stringify(read)}`);
    return read;
  }

  /** Sees to what the runner has written so far: settles acks, as the sweep does. */
  async sweep(): Promise<void> {
    this.host.settle(await this.written(), this.clock.now(), INBOUND_RETRY);
    this.ring();
  }

  async texts(): Promise<string[]> {
    const { messages } = await this.written();
    return messages.flatMap((message) =>
      typeof message.content['text'] === 'string' ? [message.content['text']] : [],
    );
  }

  async messages(): Promise<readonly OutboundMessage[]> {
    return (await this.written()).messages;
  }

  /** The ended claims as `<id> <status>`, with the reason of a failure, in the order in which they ended. */
  async acks(): Promise<string[]> {
    return (await this.written()).acks.map(ackText);
  }

  /** Whether this message's claim has ended. */
  isEnded(messageId: string): boolean {
    return (
      this.rows("SELECT 1 FROM processing_ack WHERE message_id = :messageId AND status <> 'processing'", { messageId })
        .length > 0
    );
  }

  /** How many messages the runner has written. */
  sentCount(): number {
    return this.rows('SELECT 1 FROM messages_out').length;
  }

  /** Rows of the runner's file. */
  rows(sql: string, params: Params = {}): unknown[] {
    this.#outbound ??= openSqlite(this.folder.outbound.database, 'read');
    return this.#outbound.all(sql, params);
  }

  /** Writes a row into the host's file whose content is no JSON object: what only a broken host would write. */
  plant(id: string, content: string): void {
    const db = openSqlite(this.folder.inbound.database, 'write');
    try {
      db.exec('PRAGMA ignore_check_constraints = 1');
      db.run(
        `INSERT INTO messages_in (seq, id, kind, timestamp, status, tries, process_after, trigger, on_wake, content)
         SELECT max(seq) + 2, :id, 'chat', 0, 'pending', 0, 0, 1, 0, :content FROM messages_in`,
        { id, content },
      );
    } finally {
      db.close();
    }
  }

  /** Changes one of the files behind everybody's back. */
  write(side: 'inbound' | 'outbound', sql: string): void {
    const db = openSqlite(this.folder[side].database, 'write');
    try {
      db.exec(sql);
    } finally {
      db.close();
    }
  }

  /** Locks one of the files, as a commit does, until the result is called. */
  lock(side: 'inbound' | 'outbound'): () => void {
    const db = openSqlite(this.folder[side].database, 'write');
    db.exec('BEGIN EXCLUSIVE');
    return () => db.close();
  }

  /** Names another run as the live one, as the host does before it starts one. */
  replaceRun(id: string): void {
    this.host.beginRun(runId(id), this.clock.now());
    this.ring();
  }

  lastBeat(): Millis | undefined {
    return lastBeat(this.folder.outbound.heartbeat, this.clock.now());
  }

  /** Lets what is under way go as far as it can without time passing: what waits for the disk gets it, however slow it is. */
  async settle(): Promise<void> {
    do {
      for (let i = 0; i < 3; i++) await new Promise<void>((resolve) => setImmediate(resolve));
    } while (process.getActiveResourcesInfo().some((name) => /^(FSReq|CloseReq)/.test(name)));
  }

  /** Ends the runs that are left, and removes everything. */
  async close(): Promise<void> {
    for (const { runner } of this.#runners) {
      runner.stop();
      runner.stop();
    }
    const all = Promise.all(this.#runners.map(({ ended }) => ended)).then(() => true);
    for (let i = 0; i < 400; i++) {
      this.clock.advance(50);
      if (await Promise.race([all, this.settle().then(() => false)])) break;
    }
    for (const session of this.#sessions) session[Symbol.dispose]();
    this.#outbound?.close();
    this.host[Symbol.dispose]();
    rmSync(this.root, { recursive: true });
    if (this.clock.pending > 0) throw new Error(`${this.clock.pending} timers were left behind`);
  }
}

function ackText(ack: Ack): string {
  return ack.error === null ? `${ack.messageId} ${ack.status}` : `${ack.messageId} ${ack.status}: ${ack.error}`;
}

const noScripts: RunScript = async () => ({ type: 'not-started', reason: 'no script was expected' });
