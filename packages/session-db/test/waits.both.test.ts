/** What waits, under a clock that was wrong when the wait began. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSqlite } from '#driver';
import { changeToken, INBOUND_RETRY, runId } from '../src/index.ts';
import { chat, claim, idsOf, TestSession } from './support.ts';

let session: TestSession;

beforeEach(() => {
  session = new TestSession(openSqlite);
});

afterEach(() => session[Symbol.dispose]());

describe('a clock that was ahead, and is set right', () => {
  const HOUR = 3_600_000;
  const DAY = 24 * HOUR;

  it.each([HOUR, DAY])('by %i ms keeps nothing that was to be worked on at once from that', (ahead) => {
    session.host.enqueue(chat('m1'), 1_000 + ahead);
    session.host.enqueue(chat('context', { trigger: 'context' }), 1_000 + ahead);
    session.host.enqueue(chat('result', { kind: 'system' }), 1_000 + ahead);
    expect(session.host.dueCount(1_000)).toBe(0);
    session.host.cutWaits(1_000);
    expect(session.host.dueCount(1_000)).toBe(2);
    using runner = session.startRun();
    expect(idsOf(claim(runner, 1_000)).toSorted()).toEqual(['context', 'm1', 'result']);
  });

  it('makes no retry wait until the time that the clock had then', () => {
    session.host.enqueue(chat('m1'), 1_000);
    for (let attempt = 1; attempt <= 3; attempt++) {
      const ahead = 1_000 + DAY * attempt;
      using runner = session.startRun(runId(`run-${attempt}`), ahead);
      const [one] = claim(runner, ahead);
      runner.finish(one ? [one.claim] : [], { type: 'failed', reason: 'no' }, [], ahead);
      session.host.settle(session.contents(), ahead, INBOUND_RETRY);
      const now = ahead - DAY;
      session.host.cutWaits(now);
      expect(session.host.nextDueAt()).toBe(now);
      expect(session.host.message('m1')).toMatchObject({ tries: attempt });
    }
  });

  it('changes no time that was given: such a message is due then, and not before', () => {
    session.host.enqueue(chat('later', { processAfter: HOUR }), 1_000);
    session.host.cutWaits(1_000);
    expect(session.host.nextDueAt()).toBe(HOUR);
  });

  it('writes nothing and rings nobody where nothing waits too long', () => {
    session.host.enqueue(chat('m1'), 1_000);
    const before = changeToken(session.folder.inbound);
    session.host.cutWaits(1_000);
    expect(changeToken(session.folder.inbound)).toBe(before);
  });
});
