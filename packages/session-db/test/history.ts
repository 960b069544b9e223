/**
 * A history of one session: what platforms, hosts, runs and the clock may do, in any order, through the real files; and
 * after each step a look at both files for what must always hold.
 *
 * A crash comes before any one statement: from there on nothing that the process does reaches the file, until it has
 * been started again.
 */
import { type Arbitrary, constant, constantFrom, integer, nat, oneof, record } from 'fast-check';
import { expect } from 'vitest';
import {
  type Claim,
  type OpenSqlite,
  type OutboundContents,
  type Outcome,
  type RetryPolicy,
  type RunnerSession,
  runId,
} from '../src/index.ts';
import { RUN_DIED } from '../src/lifecycle.ts';
import type { Settlement } from '../src/protocol.ts';
import { ADDRESS, chat, LIMITS, reply, TestSession } from './support.ts';

const POLICY: RetryPolicy = { triesMax: 3, backoffBaseMs: 1_000, backoffMaxMs: 3_000 };

const COMPLETED: Outcome = { type: 'completed' };
const DEFERRED: Outcome = { type: 'deferred', kind: 'unavailable', reason: 'the model is away', retryAfterMs: 1_000 };

/** One thing that happens. */
export type Operation =
  | { readonly type: 'enqueue'; readonly what: 'chat' | 'context' | 'command' | 'later' | 'on-wake' }
  | { readonly type: 'redeliver' | 'finish-some'; readonly which: number }
  | { readonly type: 'wait'; readonly ms: number }
  | { readonly type: 'crash-before'; readonly side: 'host' | 'runner'; readonly statement: number }
  | {
      readonly type:
        | 'start-run'
        | 'claim'
        | 'finish'
        | 'fail'
        | 'defer'
        | 'zombie-finishes'
        | 'send'
        | 'kill-run'
        | 'confirm-exit'
        | 'settle'
        | 'settle-old-read'
        | 'take-in'
        | 'restart-host'
        | 'schedule'
        | 'pause'
        | 'resume'
        | 'cancel';
    };

export const operations: Arbitrary<Operation> = oneof(
  {
    weight: 4,
    arbitrary: record({
      type: constant('enqueue' as const),
      what: constantFrom('chat', 'chat', 'context', 'command', 'later', 'on-wake'),
    }),
  },
  record({ type: constantFrom('redeliver', 'finish-some'), which: nat(20) }),
  {
    weight: 2,
    arbitrary: record({ type: constant('wait' as const), ms: constantFrom(1, 900, 1_100, 5_000) }),
  },
  {
    weight: 2,
    arbitrary: record({
      type: constant('crash-before' as const),
      side: constantFrom('host', 'runner'),
      statement: integer({ min: 1, max: 12 }),
    }),
  },
  {
    weight: 14,
    arbitrary: record({
      type: constantFrom(
        ...([
          'start-run',
          'claim',
          'claim',
          'finish',
          'fail',
          'defer',
          'zombie-finishes',
          'send',
          'kill-run',
          'confirm-exit',
        ] as const),
        ...(['settle', 'settle', 'settle-old-read', 'take-in', 'restart-host'] as const),
        ...(['schedule', 'pause', 'resume', 'cancel'] as const),
      ),
    }),
  },
);

/** The process is gone. */
class Crash extends Error {}

interface MessageRow {
  readonly id: string;
  readonly seq: number;
  readonly status: string;
  readonly tries: number;
  readonly tries_before: number;
}

interface AckRow {
  readonly message_id: string;
  readonly attempt: number;
  readonly run_id: string;
  readonly status: string;
  readonly status_changed: number;
}

interface Run {
  readonly side: RunnerSession;
  readonly claims: Claim[];
}

export class History implements Disposable {
  readonly #openSqlite: OpenSqlite;
  readonly #session: TestSession;
  /** Statements left until the crash; `undefined`: none is to come. */
  readonly #crashAfter = new Map<'host' | 'runner', number>();
  #now = 1_000;
  #count = 0;
  #run: Run | undefined;
  #zombie: Run | undefined;
  #oldRead: OutboundContents | undefined;
  readonly #enqueued = new Set<string>();
  readonly #claimed = new Set<string>();
  readonly #settled = new Set<string>();
  readonly #charged = new Set<string>();
  #messages: readonly MessageRow[] = [];
  #acks: readonly AckRow[] = [];
  #sent: readonly number[] = [];

  constructor(openSqlite: OpenSqlite) {
    this.#openSqlite = openSqlite;
    this.#session = new TestSession((path, mode) => {
      const db = openSqlite(path, mode);
      const side = path.endsWith('inbound.db') === (mode !== 'read') ? 'host' : 'runner';
      const live = <T>(action: () => T): T => {
        const left = this.#crashAfter.get(side);
        if (left === 0) throw new Crash();
        if (left !== undefined) this.#crashAfter.set(side, left - 1);
        return action();
      };
      return {
        exec: (sql) => live(() => db.exec(sql)),
        run: (sql, params) => live(() => db.run(sql, params)),
        all: (sql, params) => live(() => db.all(sql, params)),
        close: () => db.close(),
      };
    });
  }

  [Symbol.dispose](): void {
    this.#run?.side[Symbol.dispose]();
    this.#zombie?.side[Symbol.dispose]();
    this.#session[Symbol.dispose]();
  }

  /** Lets one thing happen, survives a crash that it meets, and looks at both files. */
  step(operation: Operation): void {
    try {
      this.#do(operation);
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      this.#recover();
    }
    this.#check();
  }

  /** Trouble is over: everything that was accepted must now end. */
  drain(): void {
    this.#crashAfter.clear();
    this.#recover();
    for (let round = 0; round < 40 && this.#session.host.nextDueAt() !== undefined; round++) {
      for (const type of ['confirm-exit', 'settle', 'resume', 'start-run', 'claim', 'finish', 'settle'] as const) {
        this.step({ type });
      }
      this.#now = Math.max(this.#now, this.#session.host.nextDueAt() ?? 0);
    }
    // Context is read along with the next message that wakes the agent.
    for (const type of ['start-run', 'resume'] as const) this.step({ type });
    for (let round = 0; round < 40 && this.#open('context').length > 0; round++) {
      this.step({ type: 'enqueue', what: 'chat' });
      for (const type of ['claim', 'finish', 'settle'] as const) this.step({ type });
      this.#now += POLICY.backoffMaxMs;
    }
    expect(this.#messages.map((row) => row.id).toSorted()).toEqual([...this.#enqueued].toSorted());
    expect(this.#messages.filter((row) => row.status === 'pending' || row.status === 'paused')).toEqual([]);
    for (const row of this.#messages) {
      if (row.status === 'failed') expect(triesSpent(row), `tries of ${row.id}`).toBe(POLICY.triesMax);
    }
  }

  #do(operation: Operation): void {
    const { host } = this.#session;
    const now = this.#now;
    switch (operation.type) {
      case 'enqueue':
        return this.#enqueue(operation.what);
      case 'redeliver': {
        const id = [...this.#enqueued].filter((each) => !each.includes('@'))[operation.which];
        if (id !== undefined) expect(host.enqueue(newMessage(id), now)).toBe('duplicate');
        return;
      }
      case 'wait':
        this.#now += operation.ms;
        return;
      case 'crash-before':
        this.#crashAfter.set(operation.side, operation.statement);
        return;
      case 'start-run':
        return this.#startRun();
      case 'claim':
        return this.#claim();
      case 'finish':
        return this.#finish(this.#run, this.#run?.claims ?? [], COMPLETED);
      case 'fail':
        return this.#finish(this.#run, this.#run?.claims ?? [], { type: 'failed', reason: 'the model cannot' });
      case 'defer':
        return this.#finish(this.#run, this.#run?.claims ?? [], DEFERRED);
      case 'finish-some':
        return this.#finish(this.#run, this.#run?.claims.slice(0, operation.which) ?? [], COMPLETED);
      case 'zombie-finishes':
        return this.#finish(this.#zombie, this.#zombie?.claims ?? [], COMPLETED);
      case 'send':
        this.#run?.side.send(reply(`o${++this.#count}`, 'm0'), now);
        return;
      case 'kill-run':
        this.#run?.side[Symbol.dispose]();
        this.#run = undefined;
        return;
      case 'confirm-exit': {
        const live = host.liveRun();
        if (live === undefined) return;
        this.#run?.side[Symbol.dispose]();
        this.#run = undefined;
        host.endRun(live);
        return;
      }
      case 'settle':
        return this.#settle(this.#read());
      case 'settle-old-read':
        return this.#settle(this.#oldRead);
      case 'take-in': {
        const read = this.#read();
        if (read === undefined) return;
        const taken = read.messages.map((message) => ({ message, address: ADDRESS }));
        host.deliveries.accept(taken, read.messagesThrough, now);
        return;
      }
      case 'restart-host':
        this.#session.restartHost();
        return;
      case 'schedule':
        return this.#schedule();
      case 'pause':
        return host.series.edit(now, (edit) => host.series.open('s').forEach((each) => edit.hold(each)));
      case 'resume':
        return host.series.edit(now, (edit) => host.series.open('s').forEach((each) => edit.release(each)));
      case 'cancel': {
        const [first] = host.series.open('s');
        if (first !== undefined) host.series.edit(now, (edit) => edit.cancel(first, 'no longer wanted', now));
      }
    }
  }

  #enqueue(what: Extract<Operation, { type: 'enqueue' }>['what']): void {
    const id = `${what}-${this.#count++}`;
    const message = newMessage(id);
    const write = () =>
      this.#session.host.enqueue(
        what === 'later' ? { ...message, processAfter: this.#now + 2_000 } : message,
        this.#now,
      );
    try {
      write();
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      // It was not acknowledged, so the platform gives it again.
      this.#recover();
      write();
    }
    this.#enqueued.add(id);
  }

  #startRun(): void {
    this.#zombie?.side[Symbol.dispose]();
    this.#zombie = this.#run;
    this.#run = undefined;
    this.#run = { side: this.#session.startRun(runId(`run-${++this.#count}`), this.#now), claims: [] };
  }

  #claim(): void {
    // A run that is not the live one gets nothing.
    if (this.#zombie !== undefined) {
      expect(this.#zombie.side.claim(this.#now, LIMITS)).not.toMatchObject({ type: 'claimed' });
    }
    const result = this.#run?.side.claim(this.#now, LIMITS);
    if (result?.type !== 'claimed') return;
    for (const one of result.claimed) {
      this.#once(this.#claimed, `attempt ${one.claim.attempt} at ${one.claim.messageId} was claimed`);
      this.#run?.claims.push(one.claim);
    }
  }

  #finish(run: Run | undefined, claims: readonly Claim[], outcome: Outcome): void {
    if (run === undefined || claims.length === 0) return;
    const replies = claims.map((each) => reply(`o${++this.#count}`, each.messageId));
    const seqs = run.side.finish(claims, outcome, replies, this.#now);
    // The agent knows a message by its number: an answer has a later one than what it answers.
    for (const [i, each] of claims.entries()) {
      expect(seqs[i]).toBeGreaterThan(this.#messages.find((row) => row.id === each.messageId)?.seq ?? 0);
    }
    run.claims.splice(0, claims.length);
  }

  #read(): OutboundContents | undefined {
    const read = this.#session.read();
    if (read.type !== 'read') return undefined;
    this.#oldRead ??= read;
    return read;
  }

  #settle(read: OutboundContents | undefined): void {
    if (read === undefined) return;
    const settlements: Settlement[] = this.#session.host.settle(read, this.#now, POLICY);
    for (const settled of settlements) {
      this.#once(this.#settled, `attempt ${settled.attempt} at ${settled.messageId} was settled`);
      if (settled.to !== 'completed' && settled.error === RUN_DIED) {
        this.#once(this.#charged, `${settled.messageId} was charged for ${settled.runId}`);
      }
    }
    if (settlements.length > 0) this.#oldRead = read;
  }

  #schedule(): void {
    const { host } = this.#session;
    const slot = ++this.#count;
    const message = { ...newMessage(`s@${slot}`), kind: 'task' as const };
    host.enqueue(message, this.#now);
    this.#enqueued.add(message.id);
    const db = this.#openSqlite(this.#session.folder.inbound.database, 'write');
    db.run("UPDATE messages_in SET series_id = 's', slot = :slot WHERE id = :id", { slot, id: message.id });
    db.close();
  }

  /** A process that crashed starts again; a run that crashed stays the live one until its exit is confirmed. */
  #recover(): void {
    if (this.#crashAfter.get('runner') === 0) {
      this.#run?.side[Symbol.dispose]();
      this.#zombie?.side[Symbol.dispose]();
      this.#run = undefined;
      this.#zombie = undefined;
    }
    const hostCrashed = this.#crashAfter.get('host') === 0;
    this.#crashAfter.clear();
    if (hostCrashed) this.#session.restartHost();
  }

  #open(lane: string): readonly MessageRow[] {
    return this.#messages.filter(
      (row) => row.id.startsWith(lane) && (row.status === 'pending' || row.status === 'paused'),
    );
  }

  #once(seen: Set<string>, what: string): void {
    expect(seen.has(what), `${what} twice`).toBe(false);
    seen.add(what);
  }

  #check(): void {
    const messages = this.#rows<MessageRow>('inbound', 'SELECT * FROM messages_in ORDER BY seq');
    const acks = this.#rows<AckRow>('outbound', 'SELECT * FROM processing_ack ORDER BY message_id, attempt');
    const sent = this.#rows<{ seq: number }>('outbound', 'SELECT seq FROM messages_out ORDER BY seq').map(
      (row) => row.seq,
    );

    for (const before of this.#messages) {
      const row = messages.find((each) => each.id === before.id);
      const ended = before.status !== 'pending' && before.status !== 'paused';
      if (ended) expect(row, 'an ended message changed').toEqual(before);
      expect((row?.tries ?? -1) - before.tries, `tries added to ${before.id} by one step`).toBeOneOf([0, 1]);
    }
    for (const before of this.#acks.filter((each) => each.status !== 'processing')) {
      expect(acks, 'an ack that was done changed').toContainEqual(before);
    }
    for (const ack of acks) {
      const row = messages.find(({ id }) => id === ack.message_id);
      const tries = row?.tries ?? -1;
      const deferrals = acks.filter(({ message_id, status }) => message_id === ack.message_id && status === 'deferred');
      const isSettled = ({ attempt }: AckRow) => attempt <= tries;
      expect(row?.tries_before, `deferrals of ${ack.message_id}`).toBe(deferrals.filter(isSettled).length);
      expect(ack.attempt, `a claim of ${ack.message_id} is ahead of its tries`).toBeLessThanOrEqual(tries + 1);
    }
    expect(messages.filter((row) => row.seq % 2 !== 0)).toEqual([]);
    expect(sent.filter((seq) => seq % 2 !== 1)).toEqual([]);
    const known = new Set(this.#messages.map((row) => row.id));
    const highest = Math.max(0, ...this.#messages.map((row) => row.seq));
    for (const row of messages) if (!known.has(row.id)) expect(row.seq).toBeGreaterThan(highest);
    expect(sent.slice(0, this.#sent.length), 'a number was put in between').toEqual(this.#sent);

    this.#messages = messages;
    this.#acks = acks;
    this.#sent = sent;
  }

  #rows<Row>(side: 'inbound' | 'outbound', sql: string): Row[] {
    try {
      const db = this.#openSqlite(this.#session.folder[side].database, 'read');
      try {
        return db.all<Row>(sql);
      } finally {
        db.close();
      }
    } catch (error) {
      // Before the first run there is no outbound.db, and after one that died at its birth no table in it.
      if (side === 'outbound' && this.#acks.length + this.#sent.length === 0) return [];
      throw error;
    }
  }
}

function triesSpent({ tries, tries_before }: MessageRow): number {
  return tries - tries_before;
}

function newMessage(id: string) {
  return chat(id, {
    trigger: id.startsWith('context') ? 'context' : 'wakes',
    kind: id.startsWith('command') ? 'command' : 'chat',
    ...(id.startsWith('on-wake') ? { onWake: true } : {}),
  });
}
