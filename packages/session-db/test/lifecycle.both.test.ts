/**
 * The state machine: its decisions one by one, and then random histories through the real files of both sides, with
 * crashes before any statement.
 */

import { array, assert, property } from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSqlite } from '#driver';
import {
  type Ack,
  type DeferralKind,
  INBOUND_DEFERRAL,
  INBOUND_RETRY,
  type Outcome,
  type RetryPolicy,
  type RunnerSession,
  runId,
} from '../src/index.ts';
import { type Attemptable, INBOUND_STATUSES, RUN_DIED, settlement } from '../src/lifecycle.ts';
import type { AckStatus } from '../src/messages.ts';
import { backoffMs } from '../src/protocol.ts';
import { History, operations } from './history.ts';
import { ADDRESS, chat, claim, idsOf, LIMITS, RUN, reply, TestSession } from './support.ts';

/** `pnpm histories` makes it 2 000. */
const HISTORIES = Number(process.env['HISTORIES'] ?? 40);

const POLICY: RetryPolicy = { triesMax: 3, backoffBaseMs: 1_000, backoffMaxMs: 3_000 };

function ack(attempt: number, status: Exclude<AckStatus, 'deferred'>, run = 'run-1', error: string | null = null): Ack {
  return { messageId: 'm1', attempt, runId: run, status, statusChanged: 0, error };
}

function deferredAck(attempt: number, kind: DeferralKind, retryAfterMs: number | null = null): Ack {
  const error = 'The model is away.';
  return { messageId: 'm1', attempt, runId: 'run-1', status: 'deferred', statusChanged: 0, error, kind, retryAfterMs };
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
  const open = { status: 'pending', tries: 0, triesBefore: 0, deferred: null } as const;

  it('means nothing once the message has ended, whatever the ack', () => {
    for (const status of INBOUND_STATUSES.filter((each) => each !== 'pending' && each !== 'paused')) {
      expect(settlement({ ...open, status }, ack(1, 'completed'), undefined, 0, POLICY)).toBeUndefined();
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

/** The message after one more deferral, and its settlement; the next attempt is made as soon as it is due. */
function deferred(message: Attemptable, kind: DeferralKind, now: number, retryAfterMs: number | null = null) {
  const settled = settlement(message, deferredAck(message.tries + 1, kind, retryAfterMs), 'run-1', now, POLICY);
  if (settled?.to !== 'deferred') return { settled, message, now };
  const { attempt: tries, triesBefore, deferred: since, processAfter } = settled;
  return { settled, message: { ...message, tries, triesBefore, deferred: since }, now: processAfter };
}

describe('a deferral', () => {
  const open: Attemptable = { status: 'pending', tries: 0, triesBefore: 0, deferred: null };
  const HOUR = 3_600_000;

  it('costs no try, however often: the message has all of them when its model is back', () => {
    let state = { message: open, now: 1_000 };
    for (let i = 0; i < 50; i++) {
      const next = deferred(state.message, i % 7 === 0 ? 'refused' : 'unavailable', state.now);
      expect(next.settled).toMatchObject({ to: 'deferred', attempt: i + 1, triesBefore: i + 1 });
      state = next;
    }
    const ends = [1, 2, 3].map((nth) => {
      const message = { ...state.message, tries: 49 + nth };
      return settlement(message, ack(50 + nth, 'failed'), 'run-1', state.now, POLICY);
    });
    expect(ends.map((end) => end?.to)).toEqual(['retry', 'retry', 'failed']);
    expect(ends[0]).toMatchObject({ processAfter: state.now + POLICY.backoffBaseMs });
  });

  it.each([
    ['unavailable', [5_000, 5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]],
    ['refused', [300_000, 300_000, 600_000, 1_200_000, 2_400_000, HOUR, HOUR]],
  ] as const)('that is %s waits as long as it has waited, up to its longest', (kind, waits) => {
    let state = { message: open, now: 1_000 };
    const found = waits.map(() => {
      const next = deferred(state.message, kind, state.now);
      const wait = next.now - state.now;
      state = next;
      return wait;
    });
    expect(found).toEqual(waits);
  });

  it('waits for as long as its model asks for, an hour at most whatever a container says', () => {
    const waits = [null, 0, 4_000, 60_000, HOUR + 1, Number.MAX_SAFE_INTEGER].map(
      (retryAfterMs) => deferred(open, 'unavailable', 0, retryAfterMs).now,
    );
    expect(waits).toEqual([5_000, 5_000, 5_000, 60_000, HOUR, HOUR]);
  });

  it.each(['unavailable', 'refused'] as const)(
    'that is %s for three days gives the message up, with its reason',
    (kind) => {
      let state: ReturnType<typeof deferred> = { settled: undefined, message: open, now: 1_000 };
      let count = 0;
      for (; state.settled?.to !== 'failed' && count < 2_000; count++) {
        state = deferred(state.message, kind, state.now);
      }
      expect(state.settled).toMatchObject({ to: 'failed', error: expect.stringContaining('The model is away.') });
      expect(state.now).toBeGreaterThanOrEqual(INBOUND_DEFERRAL.totalMaxMs);
      expect(state.now).toBeLessThan(INBOUND_DEFERRAL.totalMaxMs + 2 * HOUR);
    },
  );

  it('gives nothing up for a clock that jumps ahead, nor for being asked for early again and again', () => {
    const once = deferred(open, 'refused', 1_000);
    expect(deferred(once.message, 'refused', 1e15).settled).toMatchObject({ to: 'deferred' });
    let { message } = once;
    for (let i = 0; i < 200; i++) message = deferred(message, 'refused', 2_000 + i).message;
    expect(deferred(message, 'refused', 3_000).settled).toMatchObject({ to: 'deferred' });
  });

  it('tells the chat of a refusal at once, and of an absence when it lasts', () => {
    expect(deferred(open, 'refused', 0).settled).toMatchObject({ isTold: true });
    expect(deferred(open, 'unavailable', 0, 60_000).settled).toMatchObject({ isTold: true });
    let state = deferred(open, 'unavailable', 0);
    const told = [state.settled];
    for (let i = 0; i < 2; i++) {
      state = deferred(state.message, 'unavailable', state.now);
      told.push(state.settled);
    }
    expect(told).toMatchObject([{ isTold: false }, { isTold: false }, { isTold: true }]);
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

  /** Takes what is due and ends it with one outcome. */
  function attempted(runner: RunnerSession, outcome: Outcome, now: number): readonly string[] {
    const claims = claim(runner, now).map((one) => one.claim);
    if (claims.length > 0) runner.finish(claims, outcome, [], now);
    session.host.settle(session.contents(), now, INBOUND_RETRY);
    return claims.map(({ messageId }) => messageId);
  }

  const away: Outcome = { type: 'deferred', kind: 'unavailable', reason: 'It is away.', retryAfterMs: null };
  const refused: Outcome = { type: 'deferred', kind: 'refused', reason: 'The key is wrong.', retryAfterMs: null };

  it('a model that is away for longer than all tries makes no dead letter, and then answers', () => {
    session.host.enqueue(chat('m1'), 1_000);
    using runner = session.startRun();
    let now = 1_000;
    for (let i = 0; i < 20; i++) {
      expect(attempted(runner, away, now)).toEqual(['m1']);
      // Looking again changes nothing, and nothing is taken before its time.
      session.host.settle(session.contents(), now, INBOUND_RETRY);
      expect(idsOf(claim(runner, now))).toEqual([]);
      now = session.host.nextDueAt() ?? 0;
    }
    expect(session.host.deferrals.get()).toMatchObject({
      messages: 1,
      kind: 'unavailable',
      since: 1_000,
      retryAt: now,
    });
    expect(attempted(runner, { type: 'completed' }, now)).toEqual(['m1']);
    expect(session.host.message('m1')).toMatchObject({ status: 'completed' });
    expect(session.host.deferrals.get()).toBeUndefined();
    expect(session.host.deadLetters.count()).toBe(0);
  });

  it('the runner knows how many of the tries of a message count, whatever the number of its attempt', () => {
    session.host.enqueue(chat('m1'), 1_000);
    using runner = session.startRun();
    attempted(runner, { type: 'failed', reason: 'no' }, 1_000);
    attempted(runner, refused, 10_000);
    const [one] = claim(runner, 10_000_000);
    expect(one).toMatchObject({ claim: { attempt: 3 }, message: { tries: 2, triesSpent: 1 } });
  });

  it('a message that comes while others wait for their model takes them along, in their order', () => {
    for (const id of ['m1', 'm2']) session.host.enqueue(chat(id), 1_000);
    using runner = session.startRun();
    attempted(runner, refused, 1_000);
    session.host.enqueue(chat('context', { trigger: 'context' }), 2_000);
    expect(idsOf(claim(runner, 2_000))).toEqual([]);
    session.host.enqueue(chat('m3'), 3_000);
    expect(attempted(runner, refused, 3_000)).toEqual(['context', 'm1', 'm2', 'm3']);
  });

  it('a chat is told once of a model that is in the way, and once more when a person turns out to be needed', () => {
    const other = { ...ADDRESS, platformId: 'other' };
    for (const id of ['m1', 'm2']) session.host.enqueue(chat(id), 1_000);
    session.host.enqueue(chat('elsewhere', { address: other }), 1_000);
    session.host.enqueue(chat('result', { kind: 'system' }), 1_000);
    using runner = session.startRun();
    const told: unknown[] = [];
    for (const [outcome, now] of [
      [away, 1_000],
      [away, 100_000],
      [{ ...away, retryAfterMs: 60_000 }, 200_000],
      [away, 1_000_000],
      [refused, 2_000_000],
      [refused, 9_000_000],
      [away, 20_000_000],
    ] as const) {
      session.host.deferrals.retryNow(now);
      attempted(runner, outcome, now);
      for (const notice of session.host.notices.owed(10)) {
        told.push([notice.type === 'deferred' && notice.kind, notice.address?.platformId, now]);
        session.host.notices.markSent(notice);
      }
    }
    expect(told).toEqual([
      ['unavailable', 'main', 200_000],
      ['unavailable', 'other', 200_000],
      ['refused', 'main', 2_000_000],
      ['refused', 'other', 2_000_000],
    ]);
  });

  it('a notice that a message waits is not sent any more once it has its answer', () => {
    session.host.enqueue(chat('m1'), 1_000);
    using runner = session.startRun();
    attempted(runner, refused, 1_000);
    expect(session.host.notices.owed(10)).toMatchObject([
      { type: 'deferred', messageId: 'm1', reason: refused.reason },
    ]);
    attempted(runner, { type: 'completed' }, 10_000_000);
    expect(session.host.notices.owed(10)).toEqual([]);
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
