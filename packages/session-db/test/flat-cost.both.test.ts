/**
 * What is done over and over costs the same however much has been done before (failure 43). Counted in bytes that this
 * thread has read, on connections that have nothing in their caches; times are the benchmark's.
 */

import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSqlite } from '#driver';
import { DELIVERY_RETRY, HostSession, INBOUND_RETRY, RunnerSession, runId } from '../src/index.ts';
import { fillHistory } from './fill-history.ts';
import { ADDRESS, chat, claim, handshake, LIMITS, reply, TestSession } from './support.ts';

const COUNTER = '/proc/thread-self/io';
const PAGE = 4_096;

const FEW = 10;
const MANY = 100_000;
/** A deeper tree costs a page or two of each table and index that is touched; a walk through it hundreds. */
const DEEPER = 40;

interface Sides {
  readonly session: TestSession;
  readonly host: HostSession;
  readonly runner: RunnerSession;
}

/** What is counted, each on connections of its own; `before` is not counted. */
const WORK: Record<string, { before?: (sides: Sides) => void; counted: (sides: Sides) => void }> = {
  'asking what is due': {
    counted: ({ host }) => [host.dueCount(5_000), host.nextDueAt(), host.liveRun(), host.cursor()],
  },
  enqueueing: { counted: ({ host }) => host.enqueue(chat('new'), 5_000) },
  'enqueueing what was enqueued before': { counted: ({ host }) => host.enqueue(chat('new'), 5_000) },
  'polling with nothing due': { counted: ({ runner }) => runner.claim(1, LIMITS) },
  claiming: { counted: ({ runner }) => expect(claim(runner, 5_000)).toHaveLength(1) },
  finishing: {
    counted: ({ runner }) =>
      runner.finish(
        [{ messageId: 'new', attempt: 1, runId: runner.runId }],
        { type: 'completed' },
        [reply('r1', 'new')],
        5_000,
      ),
  },
  'reading what the runner wrote': { counted: ({ session }) => session.contents() },
  settling: {
    counted: ({ host, session }) => expect(host.settle(session.contents(), 5_000, INBOUND_RETRY)).toHaveLength(1),
  },
  'settling with nothing new': {
    counted: ({ host, session }) => expect(host.settle(session.contents(), 5_000, INBOUND_RETRY)).toEqual([]),
  },
  'taking deliveries in': {
    counted: ({ host, session }) => {
      const { messages, messagesThrough } = session.contents();
      expect(messages).toHaveLength(1);
      host.deliveries.accept(
        messages.map((message) => ({ message, address: ADDRESS })),
        messagesThrough,
        5_000,
      );
    },
  },
  'polling for deliveries': { counted: ({ host }) => [host.deliveries.due(1, 10), host.deliveries.nextAt()] },
  delivering: {
    counted: ({ host }) => {
      const [attempt] = host.deliveries.begin(host.deliveries.due(5_000, 10), 5_000, DELIVERY_RETRY);
      if (attempt === undefined) throw new Error('There is nothing to deliver.');
      host.deliveries.record(attempt, { to: 'delivered', platformMessageId: 'p' }, 5_000);
    },
  },
  'asking what is left to do': {
    counted: ({ host }) => [host.deliveries.followUps(10), host.deliveries.deadLetters(10)],
  },
  'looking for series': { counted: ({ host }) => [host.series.live(), host.series.open()] },
  'forgetting, where nothing is old enough': {
    counted: ({ host, runner }) => {
      host.prune(5_000, { keepMs: 5_000, batch: 10 });
      runner.prune(5_000, { keepMs: 5_000, batch: 10 });
    },
  },
};

/** Pages that each piece of work reads, after `finished` messages have gone all the way. */
function pagesRead(finished: number): Record<string, number> {
  using session = new TestSession(openSqlite);
  const run = runId('run-1');
  session.startRun(run)[Symbol.dispose]();
  fillHistory(session.folder, openSqlite, finished);
  const pages: Record<string, number> = {};
  for (const [name, work] of Object.entries(WORK)) {
    using host = HostSession.open(session.folder, openSqlite);
    using runner = RunnerSession.open(session.folder, openSqlite, handshake(run), 1_000);
    const before = bytesRead();
    work.counted({ session, host, runner });
    pages[name] = Math.round((bytesRead() - before) / PAGE);
  }
  return pages;
}

function bytesRead(): number {
  return Number(/rchar: (\d+)/.exec(readFileSync(COUNTER, 'utf8'))?.[1]);
}

describe.skipIf(!existsSync(COUNTER))('the pages read', () => {
  let few: Record<string, number>;
  let many: Record<string, number>;
  beforeAll(() => {
    few = pagesRead(FEW);
    many = pagesRead(MANY);
  }, 60_000);
  afterAll(() => expect(Object.keys(many)).toEqual(Object.keys(WORK)));

  it.each(Object.keys(WORK))(`by %s are as many after ${MANY} messages as after ${FEW}`, (name) => {
    expect(many[name]).toBeLessThanOrEqual((few[name] ?? 0) + DEEPER);
  });
});
