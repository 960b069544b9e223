/** Both files as one history that a person can read. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSqlite } from '#driver';
import {
  HostSession,
  INBOUND_RETRY,
  inProcessReader,
  type OutboundReader,
  type TimelineEntry,
  timeline,
} from '../src/index.ts';
import type { Timeline } from '../src/timeline.ts';
import { ADDRESS, chat, claim, reply, TestSession } from './support.ts';

let session: TestSession;
let reader: OutboundReader;
beforeEach(() => {
  session = new TestSession(openSqlite);
  reader = inProcessReader(session.folder, openSqlite);
});
afterEach(() => session[Symbol.dispose]());

/** Two questions, the first answered and its answer delivered; the second taken by the run. */
function converse(): void {
  const { host } = session;
  host.enqueue(chat('m1'), 1_000);
  using runner = session.startRun();
  const claims = claim(runner, 1_000).map((one) => one.claim);
  runner.finish(claims, { type: 'completed' }, [reply('o1', 'm1')], 1_100);
  const read = session.contents();
  host.settle(read, 1_200, INBOUND_RETRY);
  const taken = read.messages.map((message) => ({ message, address: ADDRESS }));
  host.deliveries.accept(taken, read.messagesThrough, 1_200);
  for (const attempt of host.deliveries.begin(host.deliveries.due(1_200, 1), 1_200, INBOUND_RETRY)) {
    host.deliveries.record(attempt, { to: 'delivered', platformMessageId: 'p1' }, 1_300);
  }
  host.enqueue(chat('m2'), 2_000);
  claim(runner, 2_000);
  runner.send(reply('o2', 'm2'), 2_100);
}

function texts({ entries }: Pick<Timeline, 'entries'>): unknown[] {
  return entries.map((entry) => textOf(entry));
}

function textOf(entry: TimelineEntry): unknown {
  const content = entry.type === 'in' ? entry.content : entry.message?.content;
  return content?.['text'];
}

describe('a timeline', () => {
  it('has the messages of both files in one order, each with what became of it', async () => {
    converse();
    const shown = await timeline(session.host, reader, { limit: 10 });
    expect(texts(shown)).toEqual(['text of m1', 'answer to m1', 'text of m2', 'answer to m2']);
    expect(shown.entries).toMatchObject([
      { type: 'in', seq: 2, id: 'm1', status: 'completed', tries: 1 },
      { type: 'out', seq: 3, id: 'o1', parts: [{ status: 'delivered', platformMessageId: 'p1' }] },
      { type: 'in', seq: 4, id: 'm2', status: 'pending', tries: 0 },
      // Written, and not accepted yet.
      { type: 'out', seq: 5, id: 'o2', parts: [] },
    ]);
    expect(shown.openClaims).toMatchObject([{ messageId: 'm2', attempt: 1, runId: 'run-1' }]);
    expect(shown.finding).toBeUndefined();
  });

  it('is the same from a view that can only read', async () => {
    converse();
    using view = HostSession.view(session.folder, openSqlite);
    expect(await timeline(view, reader, { limit: 10 })).toEqual(await timeline(session.host, reader, { limit: 10 }));
  });

  it('is the newest page, or the one before a number, and never more', async () => {
    converse();
    expect(texts(await timeline(session.host, reader, { limit: 2 }))).toEqual(['text of m2', 'answer to m2']);
    expect(texts(await timeline(session.host, reader, { limit: 2, before: 4 }))).toEqual([
      'text of m1',
      'answer to m1',
    ]);
    expect(texts(await timeline(session.host, reader, { limit: 10, before: 2 }))).toEqual([]);
  });

  it("keeps the host's record where the runner's file cannot be read, and says why", async () => {
    converse();
    const corrupt: OutboundReader = { read: async () => ({ type: 'corrupt', detail: 'no database' }) };
    const shown = await timeline(session.host, corrupt, { limit: 10 });
    expect(shown.entries).toMatchObject([{ id: 'm1' }, { id: 'o1', message: undefined }, { id: 'm2' }]);
    expect(shown.finding).toEqual({ type: 'corrupt', detail: 'no database' });
  });

  it('shows a dead letter with the words that the host has kept', async () => {
    converse();
    const { host } = session;
    const [message] = session.contents().messages;
    if (message === undefined) throw new Error('There is no message.');
    host.deliveries.accept([{ message, refused: 'It may not write there.' }], message.seq, 3_000);
    const gone: OutboundReader = { read: async () => ({ type: 'absent' }) };
    const shown = await timeline(host, gone, { limit: 1 });
    expect(shown.entries).toMatchObject([
      { id: 'o2', message: { content: { text: 'answer to m2' } }, parts: [{ status: 'failed' }] },
    ]);
  });
});
