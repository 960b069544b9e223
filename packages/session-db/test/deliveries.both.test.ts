import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSqlite } from '#driver';
import type { Deliveries } from '../src/deliveries.ts';
import {
  type Address,
  addressKey,
  DELIVERY_RETRY,
  type OutboundMessage,
  type RetryPolicy,
  runId,
} from '../src/index.ts';
import { OFFLINE_RETRY_MS, OUTCOME_UNKNOWN } from '../src/lifecycle.ts';
import { type DeliveryAttempt, type DeliverySettlement, deliverySettlement, withoutAttempt } from '../src/protocol.ts';
import { ADDRESS, chat, TestSession } from './support.ts';

const POLICY: RetryPolicy = { triesMax: 3, backoffBaseMs: 1_000, backoffMaxMs: 60_000, jitter: 0.5 };
const NOW = 10_000;

let session: TestSession;
let deliveries: Deliveries;

beforeEach(() => {
  session = new TestSession(openSqlite);
  deliveries = session.host.deliveries;
});

afterEach(() => session[Symbol.dispose]());

function message(seq: number, more: Partial<OutboundMessage> = {}): OutboundMessage {
  return {
    id: `o${seq}`,
    seq,
    runId: runId('run-1'),
    kind: 'chat',
    timestamp: NOW,
    deliverAfter: null,
    address: ADDRESS,
    inReplyTo: null,
    content: { text: `text ${seq}` },
    ...more,
  };
}

function place(platformId: string): Address {
  return { channelType: 'terminal', platformId, threadId: null };
}

function lane(platformId: string): string {
  return addressKey(place(platformId));
}

function accept(seq: number, platformId = 'a', more: object = {}, of: Partial<OutboundMessage> = {}): void {
  deliveries.accept([{ message: message(seq, of), address: place(platformId), ...more }], seq, NOW);
}

/** Begins the first delivery that is due. */
function begin(now = NOW): DeliveryAttempt {
  const [attempt] = deliveries.begin(deliveries.due(now, 1), now, POLICY);
  if (attempt === undefined) throw new Error('Nothing is due.');
  return attempt;
}

function fail(attempt: DeliveryAttempt, now = NOW, error = 'No.'): void {
  deliveries.record(attempt, { to: 'failed', uncertain: false, error }, now, message(attempt.seq));
}

/** Up to where the runner may forget its messages. */
function settledThrough(): unknown {
  const db = openSqlite(session.folder.inbound.database, 'read');
  const rows = db.all<{ settled: number }>('SELECT messages_settled AS settled FROM host_state');
  db.close();
  return rows[0]?.settled;
}

const sent: DeliverySettlement = { to: 'delivered', platformMessageId: 'p' };

describe('what an outcome means for its row', () => {
  const retry = { to: 'retry', spent: true, uncertain: false, plain: false } as const;

  it('is delivered only by "sent"', () => {
    expect(deliverySettlement(3, { type: 'sent', platformMessageId: null }, NOW, POLICY)).toEqual({
      to: 'delivered',
      platformMessageId: null,
    });
  });

  it('spends no attempt on a channel that was offline, not even the last', () => {
    expect(deliverySettlement(3, { type: 'offline' }, NOW, POLICY)).toMatchObject({
      to: 'retry',
      spent: false,
      nextAttemptAt: NOW + OFFLINE_RETRY_MS,
    });
  });

  it('waits twice as long each time, less what chance takes off, and at least as long as the platform asks', () => {
    const failed = { type: 'failed', permanent: false, reason: '503' } as const;
    expect(deliverySettlement(1, failed, NOW, POLICY)).toEqual({ ...retry, nextAttemptAt: NOW + 1_000, error: '503' });
    expect(deliverySettlement(2, failed, NOW, POLICY)).toMatchObject({ nextAttemptAt: NOW + 2_000 });
    expect(deliverySettlement(2, failed, NOW, POLICY, 0.5)).toMatchObject({ nextAttemptAt: NOW + 1_500 });
    const throttled = { ...failed, retryAfterMs: 9_000 };
    expect(deliverySettlement(1, throttled, NOW, POLICY)).toMatchObject({ nextAttemptAt: NOW + 9_000 });
  });

  it('is a dead letter after the last attempt, or at once when the platform refuses for good', () => {
    const failed = { type: 'failed', permanent: false, reason: '503' } as const;
    expect(deliverySettlement(3, failed, NOW, POLICY)).toEqual({ to: 'failed', uncertain: false, error: '503' });
    expect(deliverySettlement(1, { ...failed, permanent: true }, NOW, POLICY)).toMatchObject({ to: 'failed' });
  });

  it('degrades to plain text once, at once', () => {
    const refused = { type: 'failed', permanent: true, refused: 'markup', reason: 'entities' } as const;
    expect(deliverySettlement(1, refused, NOW, POLICY)).toMatchObject({ ...retry, plain: true, nextAttemptAt: NOW });
    const plain = { plain: true, whenUncertain: 'again' } as const;
    expect(deliverySettlement(2, refused, NOW, POLICY, 0, plain)).toMatchObject({ to: 'failed' });
  });

  it.each([
    ['again', 1, { to: 'retry', spent: true, uncertain: true }],
    ['again', 3, { to: 'failed', uncertain: true }],
    ['hold', 1, { to: 'failed', uncertain: true }],
    ['drop', 1, { to: 'discarded' }],
  ] as const)('that is not known follows the rule "%s" (attempt %i)', (whenUncertain, tries, expected) => {
    const unknown = { type: 'unknown', reason: 'No answer.' } as const;
    const settled = deliverySettlement(tries, unknown, NOW, POLICY, 0, { plain: false, whenUncertain });
    expect(settled).toMatchObject(expected);
  });
});

describe('whether a due delivery is attempted', () => {
  it('is a question of the attempts that are left', () => {
    expect(withoutAttempt({ tries: 2, inFlight: false }, POLICY, 'hold')).toBeUndefined();
    expect(withoutAttempt({ tries: 3, inFlight: true }, POLICY, 'again')).toEqual({
      to: 'failed',
      uncertain: true,
      error: OUTCOME_UNKNOWN,
    });
  });

  it('follows the same rule for what a dead host left behind as for what ran out of time', () => {
    expect(withoutAttempt({ tries: 1, inFlight: true }, POLICY, 'again')).toBeUndefined();
    expect(withoutAttempt({ tries: 1, inFlight: true }, POLICY, 'hold')).toMatchObject({
      to: 'failed',
      uncertain: true,
    });
    expect(withoutAttempt({ tries: 1, inFlight: true }, POLICY, 'drop')).toMatchObject({ to: 'discarded' });
  });
});

describe('taking in', () => {
  it('twice is taking in once, and does not undo what happened since', () => {
    accept(1);
    deliveries.record(begin(), sent, NOW);
    accept(1);
    expect(deliveries.parts(1)).toMatchObject([{ status: 'delivered', attempts: 1 }]);
    expect(session.host.cursor().messagesAfter).toBe(1);
  });

  it('never moves the cursor back', () => {
    deliveries.accept([], 9, NOW);
    deliveries.accept([], 3, NOW);
    expect(session.host.cursor().messagesAfter).toBe(9);
  });
});

describe('lanes', () => {
  it('offer their first message only, and each lane its own', () => {
    accept(1, 'a');
    accept(3, 'a');
    accept(5, 'b');
    expect(deliveries.due(NOW, 10).map(({ seq }) => seq)).toEqual([1, 5]);
    expect(deliveries.unstored(lane('a'), 10)).toEqual([1, 3]);
    expect(deliveries.head(lane('c'))).toBeUndefined();
  });

  it('wait for a head that waits, also when it was given its attempt back', () => {
    accept(1, 'a');
    accept(3, 'a');
    deliveries.record(begin(), deliverySettlement(1, { type: 'offline' }, NOW, POLICY), NOW);
    expect(deliveries.due(NOW, 10)).toEqual([]);
    expect(deliveries.nextAt()).toBe(NOW + OFFLINE_RETRY_MS);
    expect(begin(NOW + OFFLINE_RETRY_MS)).toMatchObject({ seq: 1, attempt: 1, tries: 1 });
  });

  it('do not wait for a message that is for later, and get it in its time', () => {
    accept(1, 'a', {}, { deliverAfter: NOW + 500 });
    accept(3, 'a');
    expect(deliveries.due(NOW, 10).map(({ seq }) => seq)).toEqual([3]);
    deliveries.record(begin(), sent, NOW);
    expect(deliveries.nextAt()).toBe(NOW + 500);
    expect(deliveries.due(NOW + 500, 10).map(({ seq }) => seq)).toEqual([1]);
  });

  it('may be held until a time', () => {
    accept(1, 'a');
    accept(3, 'b');
    expect(deliveries.nextAt(new Map([[lane('a'), NOW + 7]]))).toBe(NOW);
    expect(
      deliveries.nextAt(
        new Map([
          [lane('a'), NOW + 7],
          [lane('b'), NOW + 9],
        ]),
      ),
    ).toBe(NOW + 7);
  });
});

describe('an attempt', () => {
  it('is on disk as failed so far before it is made: a host that dies leaves an ordinary retry', () => {
    accept(1);
    begin();
    session.restartHost();
    deliveries = session.host.deliveries;
    expect(deliveries.due(NOW, 10)).toEqual([]);
    expect(deliveries.due(NOW + 1_000, 10)).toMatchObject([{ inFlight: true, attempts: 1, uncertain: false }]);
    expect(begin(NOW + 1_000)).toMatchObject({ attempt: 2, uncertain: true });
  });

  it('can be settled once: a late or repeated result changes nothing', () => {
    accept(1);
    const first = begin();
    deliveries.record(first, deliverySettlement(1, { type: 'unknown', reason: 'x' }, NOW, POLICY), NOW);
    deliveries.record(first, sent, NOW);
    expect(deliveries.parts(1)).toMatchObject([{ status: 'pending', uncertain: true }]);
    const second = begin(NOW + 1_000);
    fail(first);
    deliveries.record(second, sent, NOW);
    fail(second);
    expect(deliveries.parts(1)).toMatchObject([{ status: 'delivered', attempts: 2, platformMessageId: 'p' }]);
  });

  it('is known again by the id that its place gave it, as long as it is one of the last', () => {
    for (const seq of [1, 3, 5]) accept(seq);
    deliveries.record(begin(), sent, NOW);
    expect(deliveries.wasShown('p', place('a'), 3)).toBe(true);
    expect(deliveries.wasShown('p', place('a'), 2)).toBe(false);
    expect(deliveries.wasShown('q', place('a'), 3)).toBe(false);
    expect(deliveries.wasShown('p', place('b'), 3)).toBe(false);
    expect(deliveries.wasShown('p', { ...place('a'), threadId: 'another' }, 3)).toBe(false);
    expect(deliveries.wasShown('p', { ...place('a'), channelType: 'another' }, 3)).toBe(false);
  });

  it('is not begun for a delivery that has changed since it was looked at', () => {
    accept(1);
    const due = deliveries.due(NOW, 10);
    begin();
    expect(deliveries.begin(due, NOW, POLICY)).toEqual([]);
  });
});

describe('a dead letter', () => {
  it('keeps its message, and starts over with all attempts when it is retried', () => {
    accept(1);
    fail(begin());
    expect(deliveries.deadLetters(10)).toMatchObject([{ seq: 1, error: 'No.', message: message(1) }]);
    expect(deliveries.retry(1, NOW)).toBe(true);
    expect(deliveries.retry(1, NOW)).toBe(false);
    expect(deliveries.due(NOW, 10)).toMatchObject([{ seq: 1, attempts: 1, tries: 0, isStored: true }]);
    expect(begin()).toMatchObject({ attempt: 2, tries: 1 });
    expect(deliveries.stored(1, 0)).toEqual(message(1));
  });

  it('takes the parts after it along, is one letter, and comes back as its missing parts', () => {
    accept(1, 'a', { parts: [{ text: 'x' }, { text: 'y' }, { text: 'z' }] });
    deliveries.record(begin(), sent, NOW);
    fail(begin());
    expect(deliveries.parts(1).map(({ status }) => status)).toEqual(['delivered', 'failed', 'failed']);
    expect(deliveries.deadLetters(10)).toMatchObject([{ seq: 1, part: 1, message: { content: { text: 'y' } } }]);
    deliveries.retry(1, NOW);
    expect(deliveries.due(NOW, 10)).toMatchObject([{ seq: 1, part: 1 }]);
  });

  it('is listed by number, a page at a time', () => {
    for (const seq of [1, 3, 5]) accept(seq);
    for (let i = 0; i < 3; i += 1) fail(begin());
    expect(deliveries.deadLetters(2).map(({ seq }) => seq)).toEqual([1, 3]);
    expect(deliveries.deadLetters(2, 3).map(({ seq }) => seq)).toEqual([5]);
  });

  it('is told until somebody says that it was', () => {
    accept(1);
    fail(begin());
    expect(deliveries.followUps(10).notify).toMatchObject([{ seq: 1 }]);
    expect(deliveries.followUps(10).notify).toMatchObject([{ seq: 1 }]);
    deliveries.markFollowedUp([{ seq: 1 }]);
    expect(deliveries.followUps(10).notify).toEqual([]);
    expect(deliveries.deadLetters(10)).toHaveLength(1);
  });

  it('from the start is decided anew after a retry, and only then', () => {
    deliveries.accept([{ message: message(1), refused: 'No such place.' }], 1, NOW);
    accept(1, 'a');
    expect(deliveries.due(NOW, 10)).toEqual([]);
    deliveries.retry(1, NOW);
    expect(deliveries.due(NOW, 10)).toEqual([]);
    expect(deliveries.unrouted(10)).toEqual([message(1)]);
    accept(1, 'a', { parts: [{ text: 'x' }, { text: 'y' }] });
    expect(deliveries.due(NOW, 10)).toMatchObject([{ seq: 1, part: 0, lane: lane('a') }]);
    expect(deliveries.parts(1)).toHaveLength(2);
  });
});

describe('clean-up', () => {
  it('is asked for when the last part is through, not before', () => {
    accept(1, 'a', { parts: [{ text: 'x' }, { text: 'y' }], cleansUp: true });
    deliveries.record(begin(), sent, NOW);
    expect(deliveries.followUps(10).cleanUp).toEqual([]);
    deliveries.record(begin(), sent, NOW);
    expect(deliveries.followUps(10).cleanUp).toEqual([{ seq: 1, messageOutId: 'o1' }]);
    deliveries.markFollowedUp([{ seq: 1 }]);
    expect(deliveries.followUps(10).cleanUp).toEqual([]);
  });

  it('waits for an operator with a dead letter', () => {
    accept(1, 'a', { cleansUp: true });
    fail(begin());
    deliveries.markFollowedUp([{ seq: 1 }]);
    expect(deliveries.discard(1, NOW)).toBe(true);
    expect(deliveries.followUps(10)).toMatchObject({ cleanUp: [{ seq: 1 }], notify: [] });
  });
});

describe('the target of an edit', () => {
  it('is found by its number, in either file', () => {
    session.host.enqueue(chat('m1'), NOW);
    accept(3);
    deliveries.record(begin(), sent, NOW);
    expect(deliveries.target(2)).toEqual({ type: 'person', messageId: 'm1', address: ADDRESS });
    expect(deliveries.target(3)).toMatchObject({ type: 'agent', parts: [{ platformMessageId: 'p' }] });
    expect(deliveries.target(4)).toBeUndefined();
    expect(deliveries.target(5)).toBeUndefined();
  });
});

describe('forgetting', () => {
  it('removes what ended long ago, and tells the runner up to where all has ended', () => {
    for (const seq of [1, 3, 5, 7]) accept(seq);
    deliveries.record(begin(), sent, NOW);
    fail(begin());
    deliveries.record(begin(), sent, NOW + 99);
    expect(deliveries.forget(NOW + 1, 100)).toBe(1);
    expect(settledThrough()).toBe(6);
    expect(deliveries.parts(1)).toEqual([]);
    expect(deliveries.parts(5)).toHaveLength(1);
    expect(deliveries.deadLetters(10)).toHaveLength(1);
    deliveries.record(begin(), sent, NOW);
    deliveries.forget(NOW, 100);
    expect(settledThrough()).toBe(7);
  });

  it('waits for what is still to be cleaned up, and for what is scheduled', () => {
    accept(1, 'a', { cleansUp: true });
    accept(3, 'a', {}, { deliverAfter: NOW + 1_000_000 });
    deliveries.record(begin(), sent, NOW);
    expect(deliveries.forget(NOW + 1, 100)).toBe(0);
    expect(settledThrough()).toBe(2);
    deliveries.markFollowedUp([{ seq: 1 }]);
    expect(deliveries.forget(NOW + 1, 100)).toBe(1);
  });
});

describe('moves made together', () => {
  it('are one commit, or none', () => {
    accept(1);
    expect(() =>
      deliveries.inOneCommit(() => {
        deliveries.record(begin(), sent, NOW);
        accept(3);
        throw new Error('stop');
      }),
    ).toThrow('stop');
    expect(deliveries.parts(1)).toMatchObject([{ status: 'pending', attempts: 0 }]);
    expect(deliveries.parts(3)).toEqual([]);
    deliveries.record(begin(), sent, NOW);
    expect(deliveries.parts(1)).toMatchObject([{ status: 'delivered' }]);
  });
});

describe('a clock that was ahead, and is set right', () => {
  const AHEAD = 86_400_000;

  it('leaves what was accepted meanwhile due at once, the whole queue', () => {
    const messages = [1, 3].map((seq) => ({ message: message(seq), address: ADDRESS }));
    deliveries.accept(messages, 3, NOW + AHEAD);
    expect(deliveries.due(NOW, 10)).toMatchObject([{ seq: 1 }]);
    deliveries.record(begin(), sent, NOW);
    expect(deliveries.due(NOW, 10)).toMatchObject([{ seq: 3 }]);
  });

  it('makes no attempt wait for longer than its backoff, or than the platform has asked for', () => {
    accept(1);
    const [attempt] = deliveries.begin(deliveries.due(NOW, 10), NOW + AHEAD, DELIVERY_RETRY);
    if (attempt === undefined) throw new Error('nothing was begun');
    expect(deliveries.due(NOW, 10)).toEqual([]);
    expect(deliveries.nextAt()).toBe(NOW + 15_000);
    const asked = { to: 'retry', spent: true, uncertain: false, plain: false, error: 'later' } as const;
    deliveries.record(attempt, { ...asked, nextAttemptAt: NOW + AHEAD + 7_200_000 }, NOW + AHEAD);
    expect(deliveries.due(NOW, 10)).toEqual([]);
    expect(deliveries.nextAt()).toBe(NOW + 7_200_000);
  });

  it('changes no time that a message was given; but one that has joined its lane holds that up no more', () => {
    accept(1, 'a', {}, { deliverAfter: NOW + 500 });
    expect(deliveries.due(NOW, 10)).toEqual([]);
    expect(deliveries.nextAt()).toBe(NOW + 500);
    expect(deliveries.due(NOW + 500, 10)).toMatchObject([{ seq: 1 }]);
    expect(deliveries.due(NOW, 10)).toMatchObject([{ seq: 1 }]);
  });
});
