/**
 * The state machine: its decisions one by one, and then random histories through the real files of both sides, with
 * crashes before any statement.
 */

import { array, assert, property } from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSqlite } from '#driver';
import { type Ack, INBOUND_RETRY, type RetryPolicy, runId } from '../src/index.ts';
import { INBOUND_STATUSES, RUN_DIED, settlement } from '../src/lifecycle.ts';
import type { AckStatus } from '../src/messages.ts';
import { backoffMs } from '../src/protocol.ts';
import { History, operations } from './history.ts';
import { chat, claim, idsOf, LIMITS, RUN, reply, TestSession } from './support.ts';

/** `pnpm histories` makes it 2 000. */
const HISTORIES = Number(process.env['HISTORIES'] ?? 40);

const POLICY: RetryPolicy = { triesMax: 3, backoffBaseMs: 1_000, backoffMaxMs: 3_000 };

function ack(attempt: number, status: AckStatus, run = 'run-1', error: string | null = null): Ack {
  return { messageId: 'm1', attempt, runId: run, status, statusChanged: 0, error };
}

describe('backoff', () => {
  it('doubles from the base up to the maximum, for any number of tries', () => {
    const policy = { triesMax: 9, backoffBaseMs: 5_000, backoffMaxMs: 60_000 };
    expect([0, 1, 2, 3, 4, 5, 1e9].map((tries) => backoffMs(tries, policy))).toEqual([
      5_000, 5_000, 10_000, 20_000, 40_000, 60_000, 60_000,
    ]);
  });

  it('gives chance its share, and no more', () => {
    const policy = { ...POLICY, jitter: 0.5 };
    expect([0, 0.5, 0.998].map((chance) => backoffMs(1, policy, chance))).toEqual([1_000, 750, 501]);
  });
});

describe('settlement', () => {
  const open = { status: 'pending', tries: 0, triesBefore: 0 } as const;

  it('means nothing once the message has ended, whatever the ack', () => {
    for (const status of INBOUND_STATUSES.filter((each) => each !== 'pending' && each !== 'paused')) {
      expect(
        settlement({ status, tries: 0, triesBefore: 0 }, ack(1, 'completed'), undefined, 0, POLICY),
      ).toBeUndefined();
    }
  });

  it('means nothing for any attempt but the open one (failure 6)', () => {
    for (const attempt of [1, 3, 4]) {
      expect(settlement({ ...open, tries: 1 }, ack(attempt, 'completed'), undefined, 0, POLICY)).toBeUndefined();
    }
    expect(settlement({ ...open, tries: 1 }, ack(2, 'completed'), undefined, 0, POLICY)).toMatchObject({
      to: 'completed',
      attempt: 2,
    });
  });

  it('waits for a claim of the live run however old it is, and charges a claim of any other (failures 2 and 4)', () => {
    expect(settlement(open, ack(1, 'processing'), 'run-1', 1e15, POLICY)).toBeUndefined();
    for (const live of [undefined, 'run-2']) {
      expect(settlement(open, ack(1, 'processing'), live, 10, POLICY)).toMatchObject({
        to: 'retry',
        processAfter: 1_010,
        error: RUN_DIED,
      });
    }
  });

  it('takes a failure for a failure, with its reason, until the last attempt ends the message (failure 7)', () => {
    expect(settlement(open, ack(1, 'failed', 'run-1', 'no model'), 'run-1', 10, POLICY)).toMatchObject({
      to: 'retry',
      error: 'no model',
    });
    expect(settlement({ ...open, tries: 2 }, ack(3, 'failed', 'run-1', 'no model'), 'run-1', 10, POLICY)).toMatchObject(
      {
        to: 'failed',
        error: 'no model',
      },
    );
  });
});

describe('a random history of both sides', () => {
  it('ends every message, with one try per dead run, no attempt claimed or settled twice, and numbers that only grow', {
    timeout: 60_000 + HISTORIES * 500,
  }, () => {
    // A failure prints the seed and the path that replay it, and the shortest history that shows it.
    assert(
      property(array(operations, { minLength: 10, maxLength: 60 }), (history) => {
        using world = new History(openSqlite);
        for (const operation of history) world.step(operation);
        world.drain();
      }),
      { seed: 20_261_121, numRuns: HISTORIES },
    );
  });
});

describe('one step at a time', () => {
  let session: TestSession;
  beforeEach(() => {
    session = new TestSession(openSqlite);
  });
  afterEach(() => session[Symbol.dispose]());

  it('no number of sweeps before a run costs a message a try (failure 1)', () => {
    session.host.enqueue(chat('m1'), 1_000);
    session.startRun()[Symbol.dispose]();
    session.host.endRun(RUN);
    for (let sweep = 0; sweep < 20; sweep++) session.host.settle(session.contents(), 2_000 + sweep, INBOUND_RETRY);
    expect(session.host.message('m1')).toMatchObject({ status: 'pending', tries: 0 });
  });

  it('an orphaned claim says nothing against the next run, which takes the message anew (failure 2)', () => {
    session.host.enqueue(chat('m1'), 1_000);
    {
      using crashed = session.startRun();
      claim(crashed, 1_000);
    }
    using next = session.startRun(runId('run-2'), 2_000);
    expect(session.host.settle(session.contents(), 2_000, INBOUND_RETRY)).toMatchObject([{ runId: 'run-1' }]);
    for (let sweep = 0; sweep < 5; sweep++) {
      expect(session.host.settle(session.contents(), 3_000 + sweep, INBOUND_RETRY)).toEqual([]);
    }
    expect(idsOf(claim(next, 7_000))).toEqual(['m1']);
    expect(session.host.settle(session.contents(), 9_000, INBOUND_RETRY)).toEqual([]);
  });

  it("a killed run's late ack does not complete what a new run is working on (failure 6)", () => {
    session.host.enqueue(chat('m1'), 1_000);
    using zombie = session.startRun();
    const late = claim(zombie, 1_000).map((one) => one.claim);
    using next = session.startRun(runId('run-2'), 2_000);
    session.host.settle(session.contents(), 2_000, INBOUND_RETRY);
    const [second] = claim(next, 7_000);

    zombie.finish(late, { type: 'completed' }, [], 8_000);
    expect(session.host.settle(session.contents(), 8_000, INBOUND_RETRY)).toEqual([]);
    expect(session.host.message('m1')).toMatchObject({ status: 'pending', tries: 1 });
    expect(second?.claim.attempt).toBe(2);
  });

  it("a late claim does not overwrite an ack that is done: the runner's file has one row per attempt (failure 6)", () => {
    session.host.enqueue(chat('m1'), 1_000);
    using runner = session.startRun();
    const claims = claim(runner, 1_000).map((one) => one.claim);
    runner.finish(claims, { type: 'completed' }, [], 1_100);
    expect(claim(runner, 1_200)).toEqual([]);
    expect(() => runner.finish(claims, { type: 'failed', reason: 'late' }, [], 1_300)).toThrow(/not open/);
    expect(session.contents().acks).toMatchObject([{ status: 'completed', statusChanged: 1_100 }]);
  });

  it('a failed turn is a failure, tried again and at last given up with its reason (failure 7)', () => {
    session.host.enqueue(chat('m1'), 1_000);
    using runner = session.startRun();
    const tried: string[] = [];
    for (let attempt = 1, now = 1_000; attempt <= POLICY.triesMax; attempt++, now += 10_000) {
      const claims = claim(runner, now).map((one) => one.claim);
      runner.finish(claims, { type: 'failed', reason: `no ${attempt}` }, [], now);
      tried.push(...session.host.settle(session.contents(), now, POLICY).map((settled) => settled.to));
    }
    expect(tried).toEqual(['retry', 'retry', 'failed']);
    expect(session.host.message('m1')).toMatchObject({ status: 'failed', tries: 3 });
  });

  it('an ack and its replies are one: a turn that cannot be written whole is not written at all (failure 7)', () => {
    session.host.enqueue(chat('m1'), 1_000);
    using runner = session.startRun();
    const claims = claim(runner, 1_000).map((one) => one.claim);
    const twice = [reply('o1', 'm1'), reply('o1', 'm1')];
    expect(() => runner.finish(claims, { type: 'completed' }, twice, 1_100)).toThrow(/UNIQUE/);
    expect(session.contents()).toMatchObject({ messages: [], acks: [], openClaims: [{ messageId: 'm1' }] });
    expect(runner.finish(claims, { type: 'completed' }, [reply('o1', 'm1')], 1_200)).toEqual([3]);
  });

  it('tries survive the host: after a restart the count goes on where it was (failure 8)', () => {
    session.host.enqueue(chat('m1'), 1_000);
    for (let attempt = 1, now = 1_000; attempt <= POLICY.triesMax; attempt++, now += 10_000) {
      const run = runId(`run-${attempt}`);
      {
        using runner = session.startRun(run, now);
        claim(runner, now);
      }
      session.restartHost();
      session.host.endRun(run);
      session.host.settle(session.contents(), now, POLICY);
      session.restartHost();
      expect(session.host.message('m1')).toMatchObject({ tries: attempt });
    }
    expect(session.host.message('m1')).toMatchObject({ status: 'failed' });
  });

  it('no number of context, system or command rows hides an older due task (failure 26)', () => {
    session.host.enqueue(chat('task', { kind: 'task', address: null }), 1_000);
    for (let i = 0; i < 200; i++) {
      session.host.enqueue(chat(`context-${i}`, { trigger: 'context' }), 500);
      session.host.enqueue(chat(`system-${i}`, { kind: i % 2 === 0 ? 'system' : 'command' }), 500);
    }
    using runner = session.startRun();
    const limits = { work: 1, control: 2, context: 3 };
    const first = idsOf(claim(runner, 2_000, limits));
    expect(first).toEqual(['system-0', 'system-1', 'context-0', 'context-1', 'context-2', 'task']);
  });

  it('a lane full of messages that wait for their settlement does not hide the one behind them (failure 26)', () => {
    for (let i = 0; i < 120; i++) session.host.enqueue(chat(`m${i}`), 1_000);
    session.host.enqueue(chat('behind'), 1_001);
    using runner = session.startRun();
    claim(runner, 2_000, { ...LIMITS, work: 120 });
    expect(idsOf(claim(runner, 2_000, { ...LIMITS, work: 1 }))).toEqual(['behind']);
  });

  it('due is a comparison of numbers: at the millisecond, and not a day or an hour off (failure 21)', () => {
    const at = Date.UTC(2026, 2, 29, 0, 59, 59, 999);
    session.host.enqueue(chat('m1', { processAfter: at }), 1_000);
    using runner = session.startRun(RUN, 1_000);
    expect([session.host.dueCount(at - 1), session.host.dueCount(at)]).toEqual([0, 1]);
    expect(session.host.nextDueAt()).toBe(at);
    expect(idsOf(claim(runner, at - 1))).toEqual([]);
    expect(idsOf(claim(runner, at))).toEqual(['m1']);
  });

  it('the same platform id in two chats of one session loses neither, when its id says which chat (failure 30)', () => {
    const other = { channelType: 'terminal', platformId: 'other', threadId: null };
    expect(session.host.enqueue(chat('terminal:main:7'), 1_000)).toBe('inserted');
    expect(session.host.enqueue(chat('terminal:other:7', { address: other }), 1_000)).toBe('inserted');
    expect(session.host.enqueue(chat('terminal:main:7'), 9_000)).toBe('duplicate');
    expect(session.host.dueCount(9_000)).toBe(2);
  });

  it('a redelivery after the message has ended is still a duplicate (failure 30)', () => {
    session.host.enqueue(chat('m1'), 1_000);
    using runner = session.startRun();
    runner.finish(
      claim(runner, 1_000).map((one) => one.claim),
      { type: 'completed' },
      [],
      1_100,
    );
    session.host.settle(session.contents(), 1_200, INBOUND_RETRY);
    expect(session.host.enqueue(chat('m1'), 9_000)).toBe('duplicate');
    expect(session.host.dueCount(9_000)).toBe(0);
  });

  it('an answer to a question that comes late is worked off or given up like any message (failure 32)', () => {
    session.host.enqueue(chat('answer', { kind: 'system', inReplyTo: 'question-1' }), 1_000);
    for (let attempt = 1, now = 1_000; attempt <= POLICY.triesMax; attempt++, now += 10_000) {
      using runner = session.startRun(runId(`run-${attempt}`), now);
      const [one] = claim(runner, now);
      expect(one).toMatchObject({ type: 'message', message: { inReplyTo: 'question-1' } });
      runner.finish([one?.claim ?? []].flat(), { type: 'failed', reason: 'nobody asked' }, [], now);
      session.host.settle(session.contents(), now, POLICY);
    }
    expect(session.host.nextDueAt()).toBeUndefined();
    expect(session.host.dueCount(1e12)).toBe(0);
  });
});
