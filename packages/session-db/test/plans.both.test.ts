/**
 * No statement of either side walks through the history. The statements are those that the code has run, so none can be
 * forgotten here: a method that this walk does not call fails the last test.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSqlite } from '#driver';
import {
  addressKey,
  DELIVERY_RETRY,
  HostSession,
  INBOUND_RETRY,
  type OpenSqlite,
  RunnerSession,
  runId,
  type SeriesRecord,
} from '../src/index.ts';
import { INBOUND_MIGRATIONS, migrate, OUTBOUND_MIGRATIONS } from '../src/schema.ts';
import { ADDRESS, chat, claim, handshake, LIMITS, reply, TestSession } from './support.ts';

/** The texts of all statements that were run on each file. */
const statements = { inbound: new Set<string>(), outbound: new Set<string>() };
/** `Class.method` of everything that was called. */
const called = new Set<string>();

const recording: OpenSqlite = (path, mode) => {
  const db = openSqlite(path, mode);
  const texts = path.endsWith('inbound.db') ? statements.inbound : statements.outbound;
  return {
    ...db,
    run: (sql, params) => {
      texts.add(sql);
      return db.run(sql, params);
    },
    all: (sql, params) => {
      texts.add(sql);
      return db.all(sql, params);
    },
  };
};

/** `target`, noting down each of its methods and properties that is used. */
function watched<T extends object>(name: string, target: T): T {
  return new Proxy(target, {
    get(_, property) {
      const value: unknown = Reflect.get(target, property, target);
      called.add(`${name}.${String(property)}`);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

const SERIES: SeriesRecord = {
  id: 'daily',
  status: 'active',
  reason: null,
  recurrence: { cron: '0 8 * * *', timeZone: 'Europe/Berlin' },
  content: { prompt: 'good morning' },
  address: ADDRESS,
  catchUp: { type: 'latest' },
  overlap: 'skip',
  jitterMs: 0,
  startAt: 0,
  endAt: null,
  countMax: null,
  pauseAfter: null,
  nextSlot: 90_000,
  owed: [],
  fired: 0,
  failures: 0,
  createdAt: 1_000,
  updatedAt: 1_000,
};

const KEEP = { keepMs: 0, batch: 100 };
const TROUBLE = { breakAfter: 5, noticeAfter: 1, backoffBaseMs: 1_000, backoffMaxMs: 9_000 };

let session: TestSession;

beforeAll(() => {
  session = new TestSession(recording);
  const host = watched('HostSession', session.host);
  walkInbound(host);
  walkTurns(host);
  walkDeliveries(host);
  walkSeriesAndTrouble(host);
  host.forgettable(900_000, KEEP);
  host.prune(900_000, KEEP);
});
afterAll(() => session[Symbol.dispose]());

function walkInbound(host: HostSession): void {
  for (const id of ['m1', 'm2', 'm3']) host.enqueue(chat(id), 1_000);
  host.enqueue(chat('m1'), 1_000);
  host.enqueue(chat('context', { trigger: 'context' }), 1_000);
  host.enqueue(chat('c1', { kind: 'command' }), 1_000);
  const place = { name: 'team', displayName: 'Team', type: 'channel', channelType: 'x', platformId: 'y' } as const;
  host.setRouting({ destinations: [place], replyTo: ADDRESS }, 1_000);
  host.setRouting({ destinations: [place], replyTo: ADDRESS }, 1_000);
  host.routing();
  host.dueCount(2_000);
  host.nextDueAt();
  host.message('m1');
  host.received('m1');
  host.inHand(2_000, 10);
}

function walkTurns(host: HostSession): void {
  host.beginRun(runId('run-1'), 1_000);
  host.liveRun();
  using stack = new DisposableStack();
  const runner = watched(
    'RunnerSession',
    stack.use(RunnerSession.open(session.folder, recording, handshake(runId('run-1')), 1_000)),
  );
  const claims = claim(runner, 2_000).map((one) => one.claim);
  const ofOne = (id: string) => claims.filter((one) => one.messageId === id);
  const turn = {
    startedAt: 1,
    endedAt: 2,
    messageCount: 1,
    inputTokens: 1,
    outputTokens: 1,
    cacheReadTokens: 1,
    costUsd: 1,
  };
  runner.finish(ofOne('m1'), { type: 'completed' }, [reply('o1', 'm1'), reply('o2', 'm1')], 2_000, {
    ...turn,
    outcome: { type: 'completed' },
  });
  runner.finish(ofOne('m2'), { type: 'failed', reason: 'no' }, [], 2_000);
  const deferred = { type: 'deferred', kind: 'refused', reason: 'no', retryAfterMs: 1 } as const;
  runner.finish(ofOne('m3'), deferred, [], 2_000);
  runner.send({ ...reply('o3', 'm1'), deliverAfter: 50_000 }, 2_000);
  runner.send(reply('o4', 'm1'), 2_000);
  const effect = { causes: ['m1', 'm2'], key: 'key', nth: 0 };
  const acted = runner.send(reply('o5', 'm1'), 2_000, effect);
  runner.send(reply('o6', 'm1'), 2_000, effect);
  runner.effects(['m1'], 10);
  runner.answerTo(acted);
  runner.beat(2_000);
  runner.progress([], 2_000);
  runner.setContinuation('offline', 'token', 2_000);
  runner.continuation('offline');
  runner.quarantineContinuation('offline', 2_000);
  runner.setContinuation('offline', undefined, 2_000);
  runner.messageAt(2);
  runner.messageAt(3);
  runner.tasks(10);
  runner.routing();
  runner.claim(2_000, LIMITS);
  host.rowsWritten();
  host.settle(session.contents(), 3_000, { ...INBOUND_RETRY, triesMax: 1 });
  walkDeferrals(host);
  walkDeadLetters(host);
  host.endRun(runId('run-1'));
  host.settle(session.contents([3]), 3_000, INBOUND_RETRY);
  // As though the clock had gone back: what waits for its retry is stranded far ahead.
  host.cutWaits(0);
  host.generation();
  runner.prune(900_000, KEEP);
}

/** `m3` waits for its model. */
function walkDeferrals(host: HostSession): void {
  const deferrals = watched('Deferrals', host.deferrals);
  if (deferrals.get() === undefined) throw new Error('Nothing waits for its model.');
  deferrals.retryNow(3_000);
  for (const notice of host.notices.owed(10)) if (notice.type === 'deferred') host.notices.markSent(notice);
}

/** `m2` was given up. */
function walkDeadLetters(host: HostSession): void {
  const notices = watched('OwedNotices', host.notices);
  const [notice] = notices.owed(10);
  if (notice === undefined) throw new Error('Nobody is owed a notice.');
  notices.markSent(notice);
  const letters = watched('InboundDeadLetters', host.deadLetters);
  const [letter] = letters.list(10);
  if (letter === undefined) throw new Error('Nothing was given up.');
  letters.get(letter.id);
  letters.count();
  letters.retry(letter.id, 3_000);
  letters.discard(letter.id, 3_000);
}

function walkDeliveries(host: HostSession): void {
  const deliveries = watched('Deliveries', host.deliveries);
  const { messages, messagesThrough } = session.contents();
  deliveries.accept(
    messages.map((message) => ({ message, address: ADDRESS, cleansUp: true })),
    messagesThrough,
    3_000,
  );
  deliveries.nextAt();
  const [attempt] = deliveries.begin(deliveries.due(3_000, 10), 3_000, DELIVERY_RETRY);
  if (attempt === undefined) throw new Error('There is nothing to deliver.');
  deliveries.record(attempt, { to: 'delivered', platformMessageId: 'p' }, 3_000);
  const head = deliveries.head(addressKey(ADDRESS));
  const message = messages.find(({ seq }) => seq === head?.seq);
  if (head === undefined || message === undefined) throw new Error('There is only one message to deliver.');
  const refused = { to: 'failed', uncertain: false, error: 'no' } as const;
  deliveries.inOneCommit(() => deliveries.end(head, refused, 3_000, message));
  deliveries.stored(head.seq, head.part);
  deliveries.unstored(addressKey(ADDRESS), 10);
  const { cleanUp, notify } = deliveries.followUps(10);
  deliveries.markFollowedUp([...cleanUp, ...notify]);
  deliveries.target(head.seq);
  deliveries.parts(head.seq);
  deliveries.wasShown('p', ADDRESS, 20);
  deliveries.target(2);
  deliveries.deadLetters(10);
  deliveries.deadLetterCount();
  deliveries.isFull(1_000);
  deliveries.retry(head.seq, 3_000);
  deliveries.accept([{ message: { ...message, seq: 101 }, refused: 'no' }], 101, 3_000);
  deliveries.retry(101, 3_000);
  deliveries.unrouted(10);
  const [again] = deliveries.begin(deliveries.due(3_000, 10), 3_000, DELIVERY_RETRY);
  if (again === undefined) throw new Error('There is nothing to deliver again.');
  const retry = { to: 'retry', spent: true, nextAttemptAt: 3_000, uncertain: true, plain: true, error: 'no' } as const;
  deliveries.record(again, retry, 3_000);
  deliveries.end({ ...again, attempts: again.attempt }, { to: 'discarded', error: 'no' }, 3_000);
  deliveries.accept([{ message: { ...message, seq: 103 }, refused: 'no' }], 103, 3_000);
  deliveries.discard(103, 3_000);
  deliveries.forget(1_000, 10);
}

function walkSeriesAndTrouble(host: HostSession): void {
  const series = watched('Series', host.series);
  series.once('action-1', 4_000, (edit) => {
    edit.put(SERIES);
    edit.insert(SERIES, 90_000, 90_000, 4_000);
    return null;
  });
  series.live();
  series.get('daily');
  const [occurrence] = series.open('daily');
  if (occurrence === undefined) throw new Error('The series has no occurrence.');
  series.open();
  series.edit(4_000, (edit) => {
    edit.hold(occurrence);
    edit.release(occurrence);
    edit.refresh(occurrence, SERIES);
    edit.withdraw(occurrence);
    edit.insert(SERIES, 90_000, 90_000, 4_000);
    edit.cancel(occurrence, 'enough', 4_000);
  });
  series.edit(4_000, (edit) => {
    edit.put({ ...SERIES, status: 'paused', reason: 'It failed.' });
    edit.owePaused('daily', 4_000);
  });
  for (const notice of host.notices.owed(10)) host.notices.markSent(notice);
  host.history({ limit: 10 });
  series.prune(900_000);

  const trouble = watched('Trouble', host.trouble);
  trouble.recordFailure('wake', 'run-1', 'no image', 5_000, TROUBLE);
  trouble.get('wake');
  trouble.retryNow('wake', 5_500);
  trouble.markNoticeSent('wake', 'began');
  trouble.resolve('wake', 6_000);
}

/** Tables of which a scan is no walk through the history, and why. */
const SMALL = new Map([
  ['host_state', 'one row'],
  ['session_routing', 'one row'],
  ['container_state', 'one row'],
  ['destinations', 'what one agent may write to'],
  ['trouble', 'two rows'],
]);

/** Statements that may walk through a table, because they run seldom and keep it small. */
const RETENTION = ['DELETE FROM scheduling WHERE at <', "DELETE FROM series WHERE status IN ('ended', 'cancelled')"];

describe.each(['inbound', 'outbound'] as const)('every statement on %s.db', (side) => {
  it('finds its rows by a key, or in an index that holds only what is open', () => {
    const db = openSqlite(':memory:', 'create');
    migrate(db, side === 'inbound' ? INBOUND_MIGRATIONS : OUTBOUND_MIGRATIONS);
    const partial = new Set(
      db
        .all<{ name: string }>("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql LIKE '% WHERE %'")
        .map((index) => index.name),
    );
    const tables = new Set(
      db.all<{ name: string }>("SELECT name FROM sqlite_schema WHERE type = 'table'").map((table) => table.name),
    );
    const inLoops = [...statements[side]].filter((sql) => !RETENTION.some((each) => sql.startsWith(each)));
    const offending = inLoops.flatMap((sql) => {
      const steps = db.all<{ detail: string }>(`EXPLAIN QUERY PLAN ${sql}`, parametersOf(sql));
      const scans = steps.filter(({ detail }) => isScan(detail, tables, partial));
      return scans.map(({ detail }) => `${detail}: ${sql.trim()}`);
    });
    db.close();
    expect(statements[side].size).toBeGreaterThan(10);
    expect(offending).toEqual([]);
  });
});

function isScan(detail: string, tables: ReadonlySet<string>, partial: ReadonlySet<string>): boolean {
  // A search without a condition looks for the least or greatest row that the rest of the statement lets pass.
  if (/^SEARCH \w+ USING PRIMARY KEY$/.test(detail)) return true;
  const [, name = '', index] = /^SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?/.exec(detail) ?? [];
  if (index !== undefined) return !partial.has(index);
  return name !== '' && tables.has(name) && !SMALL.has(name);
}

function parametersOf(sql: string): Record<string, number> {
  return Object.fromEntries([...sql.matchAll(/:([A-Za-z]\w*)/g)].map(([, name = '']) => [name, 1]));
}

describe('the walk above', () => {
  it('calls every method of both sides', () => {
    const {
      deliveries: Deliveries,
      series: Series,
      trouble: Trouble,
      deferrals: Deferrals,
      notices: OwedNotices,
      deadLetters,
    } = session.host;
    const parts = { Deliveries, Series, Trouble, Deferrals, OwedNotices, InboundDeadLetters: deadLetters };
    const all = Object.entries({ HostSession, RunnerSession, ...parts }).flatMap(([name, one]) =>
      Object.getOwnPropertyNames(typeof one === 'function' ? one.prototype : Object.getPrototypeOf(one))
        .filter((method) => method !== 'constructor')
        .map((method) => `${name}.${method}`),
    );
    // Read by `settle` itself, and by whoever reads outbound.db.
    const fromWithin = ['HostSession.cursor', 'Series.withinTransaction'];
    expect(all.filter((method) => !called.has(method) && !fromWithin.includes(method))).toEqual([]);
  });
});
