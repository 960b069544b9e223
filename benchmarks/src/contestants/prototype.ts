/**
 * The same two files with nothing around them: what the protocol costs when a program does only what it must. The message and the
 * settlement of the former one in one commit, the answer and its ack in one commit, a line in a pipe after each. No routing,
 * no people, no guard, no retries.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { createSession, HostSession, isBusy, RunnerSession, runId, type Sqlite } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { lines } from '@nanoclaw/session-db/text';
import type { Contestant, Opened } from '../contestant.ts';

const WORKER = fileURLToPath(new URL('./prototype-worker.ts', import.meta.url));

/** One worker process for each session, as the product has. */
export const PROTOTYPE: Contestant = {
  name: 'prototype, two files',
  group: 'prototype',
  open: async (folder, sessions) => {
    const opened: PrototypeSession[] = [];
    for (let i = 0; i < sessions; i += 1) opened.push(new PrototypeSession(join(folder, `${i}`)));
    return {
      ask: (session) => {
        const one = opened[session];
        if (one === undefined) throw new RangeError(`There are ${opened.length} sessions.`);
        return one.ask();
      },
      pids: () => opened.map(({ pid }) => pid),
      [Symbol.asyncDispose]: async () => {
        for (const session of opened) session.close();
      },
    } satisfies Opened;
  },
};

interface Answer {
  readonly seq: number;
  readonly id: string;
  readonly inReplyTo: string;
}

class PrototypeSession {
  readonly #inbound: Sqlite;
  readonly #outbound: Sqlite;
  readonly #worker: ChildProcessByStdio<Writable, Readable, null>;
  readonly #waiting = new Map<string, () => void>();
  #queued: string[] = [];
  #answered: Answer[] = [];
  #isPlanned = false;
  #seq = 0;
  #taken = 0;

  constructor(folder: string) {
    const session = createSession(folder);
    const handshake = { runId: runId('run-1'), runnerVersion: '0', provider: 'instant' };
    HostSession.open(session, openSqlite)[Symbol.dispose]();
    RunnerSession.open(session, openSqlite, handshake, Date.now())[Symbol.dispose]();
    this.#inbound = openSqlite(session.inbound.database, 'write');
    this.#inbound.exec('PRAGMA synchronous = extra');
    this.#outbound = openSqlite(session.outbound.database, 'read');
    this.#worker = spawn('bun', [WORKER, session.inbound.database, session.outbound.database], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    void this.#listen();
  }

  get pid(): number {
    return this.#worker.pid ?? 0;
  }

  ask(): Promise<void> {
    this.#seq += 2;
    const id = `m${this.#seq}`;
    this.#queued.push(id);
    this.#plan();
    return new Promise((resolve) => this.#waiting.set(id, resolve));
  }

  close(): void {
    this.#worker.kill('SIGKILL');
    this.#inbound.close();
    this.#outbound.close();
  }

  async #listen(): Promise<void> {
    for await (const line of lines(this.#worker.stdout, 100)) if (line !== '') this.#take();
  }

  /** What comes in the same turn of the event loop is one commit. */
  #plan(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    setImmediate(() => {
      this.#isPlanned = false;
      this.#commit();
    });
  }

  #take(): void {
    let rows: Answer[];
    try {
      rows = this.#outbound.all<Answer>(
        'SELECT seq, id, in_reply_to AS inReplyTo FROM messages_out WHERE seq > :after ORDER BY seq',
        { after: this.#taken },
      );
    } catch (error) {
      // The worker is committing again, and rings once more after it.
      if (isBusy(error)) return;
      throw error;
    }
    this.#taken = rows.at(-1)?.seq ?? this.#taken;
    this.#answered.push(...rows);
    if (rows.length > 0) this.#plan();
  }

  #commit(): void {
    const [queued, answered] = [this.#queued, this.#answered];
    if (queued.length === 0 && answered.length === 0) return;
    [this.#queued, this.#answered] = [[], []];
    const now = Date.now();
    this.#inbound.exec('BEGIN IMMEDIATE');
    for (const id of queued) {
      this.#inbound.run(
        `INSERT INTO messages_in (seq, id, kind, timestamp, status, tries, process_after, trigger, on_wake, content)
         VALUES (:seq, :id, 'chat', :now, 'pending', 0, :now, 1, 0, :content)`,
        { seq: Number(id.slice(1)), id, now, content: '{"text":"a message of the usual size, or nearly so"}' },
      );
    }
    for (const { seq, id, inReplyTo } of answered) {
      this.#inbound.run(
        `INSERT INTO delivered (seq, part, message_out_id, lane, status, attempts, attempts_before, in_flight, uncertain,
           plain, cleans_up, next_attempt_at, settled_at)
         VALUES (:seq, 0, :id, 'chat', 'delivered', 1, 0, 0, 0, 0, 0, :now, :now)`,
        { seq, id, now },
      );
      this.#inbound.run(`UPDATE messages_in SET status = 'completed', tries = 1, settled_at = :now WHERE id = :id`, {
        id: inReplyTo,
        now,
      });
    }
    committed(this.#inbound);
    if (queued.length > 0) this.#worker.stdin.write('\n.\n');
    for (const { inReplyTo } of answered) {
      this.#waiting.get(inReplyTo)?.();
      this.#waiting.delete(inReplyTo);
    }
  }
}

/** The worker may be reading just now; it is done within a moment. */
function committed(db: Sqlite): void {
  for (;;) {
    try {
      return db.exec('COMMIT');
    } catch (error) {
      if (!isBusy(error)) throw error;
    }
  }
}
