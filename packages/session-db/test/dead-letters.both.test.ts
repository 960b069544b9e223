/** Messages given up: nobody goes untold, an operator's word revives them or puts them away, and looking changes nothing. */

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSqlite } from '#driver';
import {
  HostSession,
  type NewInbound,
  type OpenSqlite,
  type RetryPolicy,
  runId,
  type SeriesRecord,
  type SqliteError,
  VersionError,
} from '../src/index.ts';
import type { InboundKind } from '../src/messages.ts';
import { ADDRESS, chat, claim, idsOf, TestSession } from './support.ts';

const ONE_TRY: RetryPolicy = { triesMax: 1, backoffBaseMs: 1_000, backoffMaxMs: 60_000 };
const TWO_TRIES: RetryPolicy = { ...ONE_TRY, triesMax: 2 };

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
  pauseAfter: 1,
  nextSlot: 2_000,
  owed: [],
  fired: 0,
  failures: 0,
  createdAt: 1_000,
  updatedAt: 1_000,
};

let session: TestSession;
let runs: number;
beforeEach(() => {
  session = new TestSession(openSqlite);
  runs = 0;
});
afterEach(() => session[Symbol.dispose]());

/** A run takes everything that is due and fails at it. Gives the ids that it took. */
function failAll(now: number, policy = ONE_TRY): string[] {
  const run = runId(`run-${++runs}`);
  using runner = session.startRun(run, now);
  const claimed = claim(runner, now);
  const claims = claimed.map((one) => one.claim);
  if (claims.length > 0) runner.finish(claims, { type: 'failed', reason: 'no model' }, [], now);
  session.host.endRun(run);
  session.host.settle(session.contents(), now, policy);
  return idsOf(claimed);
}

function giveUp(message: NewInbound, now = 1_000): void {
  session.host.enqueue(message, now);
  failAll(now);
}

describe('a notice', () => {
  it('is owed from the transaction that gives the message up, and outlives the host', () => {
    giveUp(chat('m1'));
    session.restartHost();
    expect(session.host.notices.owed(10)).toEqual([
      {
        type: 'given-up',
        messageId: 'm1',
        seq: 2,
        kind: 'chat',
        seriesId: null,
        address: ADDRESS,
        reason: 'no model',
        at: 1_000,
      },
    ]);
  });

  it('is never lost, whichever statement of the settlement the host dies before', () => {
    session.host.enqueue(chat('m1'), 1_000);
    const run = runId('run-1');
    using runner = session.startRun(run);
    runner.finish(
      claim(runner, 1_000).map((one) => one.claim),
      { type: 'failed', reason: 'no model' },
      [],
      1_000,
    );
    const contents = session.contents();
    session.host[Symbol.dispose]();

    let diesBefore = 0;
    for (let isSettled = false; !isSettled; diesBefore++) {
      let left = diesBefore;
      using host = HostSession.open(
        session.folder,
        dyingAfter(() => left-- > 0),
      );
      try {
        host.settle(contents, 2_000, ONE_TRY);
        isSettled = true;
      } catch (error) {
        if (!(error instanceof Died)) throw error;
      }
      using after = HostSession.open(session.folder, openSqlite);
      const isGivenUp = after.message('m1')?.status === 'failed';
      expect(after.notices.owed(10)).toHaveLength(isGivenUp ? 1 : 0);
      expect(isGivenUp).toBe(isSettled);
    }
    expect(diesBefore).toBeGreaterThan(3);
    session.restartHost();
  });

  it('is owed no more once it has been given', () => {
    giveUp(chat('m1'));
    for (const notice of session.host.notices.owed(10)) session.host.notices.markSent(notice);
    expect(session.host.notices.owed(10)).toEqual([]);
    expect(session.host.message('m1')).toMatchObject({ status: 'failed' });
  });

  it('of a later failure stays owed when an earlier one is marked as given', () => {
    giveUp(chat('m1'));
    const [first] = session.host.notices.owed(10);
    if (first === undefined) throw new Error('Nobody is owed a notice.');
    session.host.deadLetters.retry('m1', 2_000);
    failAll(2_000);
    session.host.notices.markSent(first);
    expect(session.host.notices.owed(10)).toMatchObject([{ messageId: 'm1', at: 2_000 }]);
  });

  it.each<[string, 'owed' | 'not owed', Partial<NewInbound>]>([
    ...(['chat', 'chat-sdk', 'command', 'task', 'webhook'] as const).map(
      (kind: InboundKind): [string, 'owed', Partial<NewInbound>] => [`a ${kind} message`, 'owed', { kind }],
    ),
    ['a result of what the agent asked for', 'not owed', { kind: 'system' }],
    ['a message that is context only', 'not owed', { trigger: 'context' }],
  ])('of %s that is given up is %s', (_, expected, more) => {
    // Context is read along with what wakes the agent.
    session.host.enqueue(chat('waker'), 1_000);
    giveUp(chat('m1', more));
    expect(session.host.message('m1')).toMatchObject({ status: 'failed' });
    const owed = session.host.notices.owed(10).map((notice) => notice.type === 'given-up' && notice.messageId);
    expect(owed.includes('m1')).toBe(expected === 'owed');
  });

  it('of a message that is tried again or completed is not owed', () => {
    session.host.enqueue(chat('m1'), 1_000);
    failAll(1_000, TWO_TRIES);
    expect(session.host.message('m1')).toMatchObject({ status: 'pending', tries: 1 });
    expect(session.host.notices.owed(10)).toEqual([]);
  });

  it('of many comes in pages, oldest first', () => {
    for (const id of ['a', 'b', 'c']) session.host.enqueue(chat(id), 1_000);
    failAll(1_000);
    expect(session.host.notices.owed(2)).toMatchObject([{ messageId: 'a' }, { messageId: 'b' }]);
  });

  it('of a paused series is owed from the moment it is paused until it is given, or the series goes on', () => {
    session.host.series.edit(3_000, (edit) => {
      edit.put({ ...SERIES, status: 'paused', reason: 'It failed 3 times in a row.' });
      edit.owePaused('daily', 3_000);
    });
    session.restartHost();
    const owed = session.host.notices.owed(10);
    expect(owed).toEqual([
      { type: 'paused', seriesId: 'daily', address: ADDRESS, reason: 'It failed 3 times in a row.', at: 3_000 },
    ]);
    for (const notice of owed) session.host.notices.markSent(notice);
    expect(session.host.notices.owed(10)).toEqual([]);

    session.host.series.edit(4_000, (edit) => edit.owePaused('daily', 4_000));
    session.host.series.edit(5_000, (edit) => edit.put({ ...SERIES, updatedAt: 5_000 }));
    expect(session.host.notices.owed(10)).toEqual([]);
    session.host.series.edit(6_000, (edit) => edit.owePaused('daily', 6_000));
    expect(session.host.notices.owed(10)).toEqual([]);
  });
});

describe('a message given up', () => {
  it('is listed with all that an operator needs, oldest first and page by page', () => {
    for (const id of ['a', 'b', 'c']) session.host.enqueue(chat(id), 1_000);
    failAll(1_000);
    const { deadLetters } = session.host;
    expect(deadLetters.count()).toBe(3);
    const [first, second] = deadLetters.list(2);
    expect(first).toEqual({
      seq: 2,
      id: 'a',
      kind: 'chat',
      address: ADDRESS,
      timestamp: 1_000,
      tries: 1,
      error: 'no model',
      settledAt: 1_000,
      seriesId: null,
      content: { text: 'text of a' },
    });
    expect(deadLetters.list(2, second?.seq).map((letter) => letter.id)).toEqual(['c']);
    expect(deadLetters.get('b')).toEqual(second);
  });

  it('has all attempts before it again once it is revived, and is claimed under a number never used', () => {
    session.host.enqueue(chat('m1'), 1_000);
    failAll(1_000, TWO_TRIES);
    failAll(5_000, TWO_TRIES);
    expect(session.host.deadLetters.retry('m1', 10_000)).toBe(true);
    expect(session.host.notices.owed(10)).toEqual([]);
    expect(session.host.nextDueAt()).toBe(10_000);

    expect(failAll(10_000, TWO_TRIES)).toEqual(['m1']);
    // The first wait again, as after a first attempt.
    expect(session.host.message('m1')).toMatchObject({ status: 'pending', tries: 3, processAfter: 11_000 });
    expect(failAll(11_000, TWO_TRIES)).toEqual(['m1']);
    expect(session.host.message('m1')).toMatchObject({ status: 'failed', tries: 4 });
    expect(session.host.notices.owed(10)).toMatchObject([{ messageId: 'm1', at: 11_000 }]);
  });

  it('is put away for good by a discard, and nobody is told', () => {
    giveUp(chat('m1'));
    expect(session.host.deadLetters.discard('m1', 2_000)).toBe(true);
    expect(session.host.message('m1')).toMatchObject({ status: 'cancelled' });
    expect(session.host.notices.owed(10)).toEqual([]);
    expect(session.host.deadLetters.list(10)).toEqual([]);
    expect(session.host.deadLetters.retry('m1', 3_000)).toBe(false);
  });

  it.each(['pending', 'completed', 'unknown'])(
    'is the only thing that can be revived or put away: not a message that is %s',
    (what) => {
      session.host.enqueue(chat(what === 'unknown' ? 'other' : 'm1'), 1_000);
      if (what === 'completed') {
        using runner = session.startRun();
        runner.finish(
          claim(runner, 1_000).map((one) => one.claim),
          { type: 'completed' },
          [],
          1_000,
        );
        session.host.settle(session.contents(), 1_000, ONE_TRY);
      }
      const before = session.host.message('m1');
      expect(session.host.deadLetters.get('m1')).toBeUndefined();
      expect(session.host.deadLetters.retry('m1', 2_000)).toBe(false);
      expect(session.host.deadLetters.discard('m1', 2_000)).toBe(false);
      expect(session.host.message('m1')).toEqual(before);
    },
  );

  it('that was an occurrence comes back as a message of its own, and its slot is not written again', () => {
    const { host } = session;
    host.series.edit(1_000, (edit) => {
      edit.put(SERIES);
      edit.insert(SERIES, 2_000, 2_000, 1_000);
    });
    failAll(2_000);
    expect(host.deadLetters.get('daily@2000')).toMatchObject({ kind: 'task', seriesId: 'daily' });
    expect(host.deadLetters.retry('daily@2000', 3_000)).toBe(true);
    expect(host.series.open('daily')).toEqual([]);
    expect(host.message('daily@2000')).toMatchObject({ status: 'pending', occurrence: null });
    host.series.edit(3_000, (edit) => edit.insert(SERIES, 2_000, 2_000, 3_000));
    expect(host.series.open('daily')).toEqual([]);
    expect(failAll(3_000)).toEqual(['daily@2000']);
  });
});

describe('a view of a session', () => {
  it('shows what the host has written and changes no byte', () => {
    giveUp(chat('m1'));
    session.host.enqueue(chat('m2'), 2_000);
    session.host[Symbol.dispose]();
    const before = hash(session.folder.inbound.database);
    {
      using view = HostSession.view(session.folder, openSqlite);
      expect(view.deadLetters.list(10)).toMatchObject([{ id: 'm1' }]);
      expect(view.notices.owed(10)).toMatchObject([{ messageId: 'm1' }]);
      expect([view.dueCount(2_000), view.nextDueAt(), view.deliveries.deadLetterCount()]).toEqual([1, 2_000, 0]);
      expect(view.history({ limit: 10 }).entries.map((entry) => entry.id)).toEqual(['m1', 'm2']);
    }
    expect(hash(session.folder.inbound.database)).toBe(before);
    session.restartHost();
  });

  it('cannot write, whatever its caller makes of its type (failure 16)', () => {
    using view = HostSession.view(session.folder, openSqlite);
    if (!(view instanceof HostSession)) throw new Error('A view is a session without its methods that write.');
    expect(() => view.enqueue(chat('m1'), 1_000)).toThrow(/readonly/);
    expect(session.host.message('m1')).toBeUndefined();
  });

  it('sees what the host commits while it is open, and does not keep it from committing', () => {
    using view = HostSession.view(session.folder, openSqlite);
    session.host.enqueue(chat('m1'), 1_000);
    expect(view.message('m1')).toMatchObject({ status: 'pending' });
  });

  it('of a session without a file, or with one of another version, is refused in so many words', () => {
    const { database } = session.folder.inbound;
    const db = openSqlite(database, 'write');
    db.exec('PRAGMA user_version = 99');
    db.close();
    expect(() => HostSession.view(session.folder, openSqlite)).toThrow(VersionError);
    using other = new TestSession(openSqlite);
    const absent = { ...other.folder, inbound: { ...other.folder.inbound, database: `${database}.absent` } };
    expect(() => HostSession.view(absent, openSqlite)).toThrow(
      expect.objectContaining({ code: 'SQLITE_CANTOPEN' } satisfies Partial<SqliteError>),
    );
  });
});

function hash(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

class Died extends Error {}

/** SQLite in a process that dies before the first statement of `settle` for which `isAlive` is false. */
function dyingAfter(isAlive: () => boolean): OpenSqlite {
  // Opening the file is not what is tested here.
  let hasBegun = false;
  function live<T>(action: () => T): T {
    if (hasBegun && !isAlive()) throw new Died();
    return action();
  }
  return (path, mode) => {
    const db = openSqlite(path, mode);
    return {
      exec: (sql) => {
        hasBegun ||= sql === 'BEGIN IMMEDIATE';
        live(() => db.exec(sql));
      },
      run: (sql, params) => live(() => db.run(sql, params)),
      all: (sql, params) => live(() => db.all(sql, params)),
      close: () => db.close(),
    };
  };
}
