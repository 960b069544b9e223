import { rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSqlite } from '#driver';
import { INBOUND_RETRY, RunnerSession, type SeriesRecord } from '../src/index.ts';
import { ADDRESS, chat, handshake, LIMITS, RUN, reply, TestSession } from './support.ts';

let session: TestSession;
let runner: RunnerSession;

beforeEach(() => {
  session = new TestSession(openSqlite);
  session.host.beginRun(RUN, 1_000);
  runner = RunnerSession.open(session.folder, openSqlite, handshake(RUN), 1_000);
});

afterEach(() => {
  runner[Symbol.dispose]();
  session[Symbol.dispose]();
});

describe('a claim', () => {
  it('tells when the next message that wakes the agent is due, whatever its lane', () => {
    expect(nextDueAt(1_000)).toBeUndefined();
    session.host.enqueue({ ...chat('m1'), processAfter: 9_000 }, 1_000);
    session.host.enqueue({ ...chat('m2'), kind: 'system', processAfter: 5_000 }, 1_000);
    session.host.enqueue({ ...chat('m3'), trigger: 'context', processAfter: 2_000 }, 1_000);
    expect(nextDueAt(1_000)).toBe(5_000);
    expect(nextDueAt(5_000)).toBe(9_000);
    expect(nextDueAt(9_000)).toBeUndefined();
  });
});

describe('a new outbound.db beside an old inbound.db', () => {
  it('counts on from where the host stands, from its first message and its first claim on', () => {
    session.host.enqueue(chat('m1'), 1_000);
    claimAndFinish('m1');
    settleAndAccept();
    runner[Symbol.dispose]();
    rmSync(session.folder.outbound.root, { recursive: true });
    runner = RunnerSession.open(session.folder, openSqlite, handshake(RUN), 3_000);

    // Before any claim: a lower number would lie behind the host's cursor, and never be read.
    expect(runner.send(reply('early', 'm1'), 3_000).seq).toBeGreaterThan(session.host.cursor().messagesAfter);
    session.host.enqueue(chat('m2'), 3_000);
    claimAndFinish('m2');
    settleAndAccept();
    expect(session.host.message('m2')).toMatchObject({ status: 'completed' });
  });
});

describe('a message by its number', () => {
  it('is found on either side, with its address, and is otherwise unknown', () => {
    session.host.enqueue(chat('m1'), 1_000);
    runner.claim(1_000, LIMITS);
    const { seq } = runner.send({ ...reply('r1', 'm1'), address: null }, 1_000);
    expect(runner.messageAt(2)).toEqual({ id: 'm1', address: ADDRESS });
    expect(runner.messageAt(seq)).toEqual({ id: 'r1', address: null });
    expect(runner.messageAt(4)).toBe('unknown');
    expect(runner.messageAt(5)).toBe('unknown');
  });

  it('is not looked up while the host holds its file', () => {
    const writer = openSqlite(session.folder.inbound.database, 'write');
    writer.exec('BEGIN EXCLUSIVE');
    expect(runner.messageAt(2)).toBeUndefined();
    expect(runner.tasks(10)).toBeUndefined();
    writer.close();
    expect(runner.messageAt(2)).toBe('unknown');
  });
});

function effect(nth: number, ...causes: string[]) {
  return { causes, key: 'key', nth };
}

describe('an effect', () => {
  it('of a later attempt is the row of the first, by its place among its equals, for each of its causes', () => {
    const first = runner.send(reply('r1', 'm1'), 1_000, effect(0, 'm1', 'm2'));
    const second = runner.send(reply('r2', 'm1'), 1_000, effect(1, 'm1', 'm2'));
    expect(runner.send(reply('r3', 'm2'), 2_000, effect(0, 'm2', 'm3'))).toEqual(first);
    expect(runner.send(reply('r4', 'm3'), 3_000, effect(0, 'm3'))).toEqual(first);
    expect(runner.send(reply('r5', 'm1'), 3_000, effect(1, 'm1'))).toEqual(second);
    expect(runner.send(reply('r6', 'm1'), 3_000, effect(2, 'm1')).id).toBe('r6');
    expect(runner.send(reply('r7', 'm4'), 3_000, effect(0, 'm4')).id).toBe('r7');
    expect(session.contents().messages.map(({ id }) => id)).toEqual(['r1', 'r2', 'r6', 'r7']);
    expect(runner.effects(['m3', 'm1'], 10).map(({ id, causes }) => [id, causes])).toEqual([
      ['r1', ['m3', 'm1']],
      ['r2', ['m1']],
      ['r6', ['m1']],
    ]);
  });

  it('is forgotten with its row', () => {
    session.host.enqueue(chat('m1'), 1_000);
    const [one] = [runner.claim(1_000, LIMITS)];
    expect(one.type).toBe('claimed');
    runner.send(reply('r1', 'm1'), 1_000, effect(0, 'm1'));
    runner.send(reply('r2', 'm1'), 1_000);
    settleAndAccept();
    session.host.deliveries.begin(session.host.deliveries.due(1_000, 10), 1_000, INBOUND_RETRY).forEach((attempt) => {
      session.host.deliveries.record(attempt, { to: 'delivered', platformMessageId: null }, 1_000);
    });
    session.host.prune(9_000, { keepMs: 500, batch: 10 });
    runner.prune(9_000, { keepMs: 500, batch: 10 });
    expect(runner.effects(['m1'], 10)).toEqual([]);
    expect(runner.messageAt(3)).toBe('unknown');
  });
});

describe('the answer to a row', () => {
  it('is the first that the host has written since, ended or not; and nothing is known while the host writes', () => {
    session.host.enqueue(chat('before', { inReplyTo: 'r1' }), 1_000);
    runner.claim(1_000, LIMITS);
    const row = runner.send(reply('r1', 'before'), 1_000);
    expect(runner.answerTo(row)).toBe('none');
    session.host.enqueue(chat('answer', { inReplyTo: 'r1' }), 1_000);
    session.host.enqueue(chat('again', { inReplyTo: 'r1' }), 1_000);
    expect(runner.answerTo(row)).toMatchObject({ id: 'answer', content: { text: 'text of answer' } });
    const writer = openSqlite(session.folder.inbound.database, 'write');
    writer.exec('BEGIN EXCLUSIVE');
    expect(runner.answerTo(row)).toBeUndefined();
    writer.close();
  });
});

describe('the tasks', () => {
  it('are the series that are not over, next first, each with the time of its open occurrence', () => {
    session.host.series.edit(1_000, (edit) => {
      const hourly = series('hourly', { recurrence: { cron: '0 * * * *', timeZone: 'UTC' }, nextSlot: 9_000 });
      edit.put(hourly);
      edit.insert(hourly, 3_000, 4_000, 1_000);
      edit.put(series('once', { nextSlot: 2_000 }));
      edit.put(series('held', { status: 'paused', reason: 'It was paused.', nextSlot: null, failures: 3 }));
      edit.put(series('gone', { status: 'cancelled' }));
      edit.put(series('done', { status: 'ended' }));
    });
    const held = { taskId: 'held', status: 'paused', reason: 'It was paused.', nextAt: null, failures: 3 };
    const once = { taskId: 'once', status: 'active', reason: null, nextAt: 2_000, recurrence: null, prompt: 'do it' };
    const hourly = { taskId: 'hourly', nextAt: 4_000, recurrence: { cron: '0 * * * *', timeZone: 'UTC' } };
    expect(runner.tasks(10)).toMatchObject([held, once, hourly]);
    expect(runner.tasks(1)).toMatchObject([held]);
  });
});

describe('a continuation', () => {
  it('that is put aside starts the next turn afresh and is kept for whoever looks', () => {
    runner.setContinuation('claude', 'token-1', 1_000);
    runner.quarantineContinuation('claude', 2_000);
    expect(runner.continuation('claude')).toBeUndefined();
    expect(runner.continuation('offline')).toBeUndefined();
    const file = openSqlite(session.folder.outbound.database, 'read');
    expect(file.all('SELECT key, value, updated_at FROM session_state')).toEqual([
      { key: 'dead-continuation:claude', value: 'token-1', updated_at: 2_000 },
    ]);
    file.close();
    runner.quarantineContinuation('claude', 3_000);
    runner.setContinuation('claude', 'token-2', 4_000);
    expect(runner.continuation('claude')).toBe('token-2');
  });
});

function series(id: string, more: Partial<SeriesRecord>): SeriesRecord {
  return {
    id,
    status: 'active',
    reason: null,
    recurrence: null,
    content: { prompt: 'do it' },
    address: ADDRESS,
    catchUp: { type: 'latest' },
    overlap: 'skip',
    jitterMs: 0,
    startAt: 1_000,
    endAt: null,
    countMax: null,
    pauseAfter: null,
    nextSlot: null,
    owed: [],
    fired: 0,
    failures: 0,
    createdAt: 1_000,
    updatedAt: 1_000,
    ...more,
  };
}

function nextDueAt(now: number): unknown {
  const result = runner.claim(now, LIMITS);
  return result.type === 'claimed' ? result.nextDueAt : result.type;
}

function settleAndAccept(): void {
  const read = session.contents();
  session.host.settle(read, 3_000, INBOUND_RETRY);
  session.host.deliveries.accept([], read.messagesThrough, 3_000);
}

function claimAndFinish(id: string): void {
  const result = runner.claim(3_000, LIMITS);
  if (result.type !== 'claimed') throw new Error(result.type);
  const claims = result.claimed.map((one) => one.claim);
  expect(claims.map((claim) => claim.messageId)).toEqual([id]);
  runner.finish(claims, { type: 'completed' }, [reply(`answer to ${id}`, id)], 3_000);
}
