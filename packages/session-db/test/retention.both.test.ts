import { existsSync, rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSqlite } from '#driver';
import { INBOUND_RETRY, runId, storeAttachments } from '../src/index.ts';
import { deliverySettlement, messageFiles } from '../src/protocol.ts';
import { ADDRESS, chat, claim, RUN, reply, TestSession } from './support.ts';

let session: TestSession;
beforeEach(() => {
  session = new TestSession(openSqlite);
});
afterEach(() => session[Symbol.dispose]());

/** Messages m0, m1 … are asked at 1 000, answered, delivered and settled. */
function history(count: number): void {
  for (let i = 0; i < count; i++) session.host.enqueue(chat(`m${i}`), 1_000);
  using runner = session.startRun();
  for (let i = 0; i < count; i++) {
    const [next] = claim(runner, 1_000, { work: 1, control: 0, context: 0 });
    if (next) runner.finish([next.claim], { type: 'completed' }, [reply(`r${i}`, `m${i}`)], 1_000);
  }
  const { host } = session;
  const seen = session.contents();
  host.settle(seen, 1_000, INBOUND_RETRY);
  host.deliveries.accept(
    seen.messages.map((message) => ({ message, address: ADDRESS })),
    seen.messagesThrough,
    1_000,
  );
  for (let due = host.deliveries.due(1_000, 1); due.length > 0; due = host.deliveries.due(1_000, 1)) {
    for (const attempt of host.deliveries.begin(due, 1_000, INBOUND_RETRY)) {
      const sent = { type: 'sent', platformMessageId: null } as const;
      host.deliveries.record(attempt, deliverySettlement(1, sent, 1_000, INBOUND_RETRY), 1_000);
    }
  }
}

function rowsOf(side: 'inbound' | 'outbound', table: string): number {
  const db = openSqlite(session.folder[side].database, 'read');
  try {
    return db.all<{ n: number }>(`SELECT count(*) AS n FROM ${table}`)[0]?.n ?? -1;
  } finally {
    db.close();
  }
}

describe('retention (FAILURES 52)', () => {
  it('forgets on both sides what has ended long enough ago, in bounded batches, and keeps the highest row', () => {
    history(6);
    using runner = session.startRun(runId('run-2'), 2_000);
    expect(session.host.prune(2_000, { keepMs: 1_001, batch: 4 })).toBe(0);
    expect(runner.prune(2_000, { keepMs: 1_001, batch: 4 })).toBe(0);

    // Of messages and deliveries: four each, then what is left of each but the last message.
    expect(session.host.prune(2_000, { keepMs: 500, batch: 4 })).toBe(8);
    expect(session.host.prune(2_000, { keepMs: 500, batch: 4 })).toBe(3);
    expect(session.host.prune(2_000, { keepMs: 500, batch: 4 })).toBe(0);
    expect(runner.prune(2_000, { keepMs: 500, batch: 100 })).toBe(10);
    expect(runner.prune(2_000, { keepMs: 500, batch: 100 })).toBe(0);
    expect([
      rowsOf('inbound', 'messages_in'),
      rowsOf('outbound', 'messages_out'),
      rowsOf('outbound', 'processing_ack'),
    ]).toEqual([1, 1, 1]);

    session.host.enqueue(chat('new'), 3_000);
    const [next] = claim(runner, 3_000);
    expect(next?.type === 'message' && next.message.seq).toBe(24);
    expect(runner.send(reply('r-new', 'new'), 3_000).seq).toBe(25);
  });

  it('forgets the files of a message with it', async () => {
    const stored = await storeAttachments(session.folder, 'm0', [{ name: 'a.txt', bytes: [Buffer.from('a')] }]);
    history(2);
    session.host.prune(2_000, { keepMs: 1_001, batch: 10 });
    expect(stored.map((file) => file.type === 'stored' && existsSync(file.path))).toEqual([true]);
    session.host.prune(2_000, { keepMs: 500, batch: 10 });
    expect(session.host.message('m0')).toBeUndefined();
    expect(existsSync(messageFiles(session.folder.inbound.files, 'm0'))).toBe(false);
  });

  it('forgets nothing that the other side has not taken over', () => {
    history(2);
    for (const id of ['open-1', 'open-2']) session.host.enqueue(chat(id), 1_000);
    using runner = session.startRun(runId('run-2'), 2_000);
    const claims = claim(runner, 2_000).map((one) => one.claim);
    runner.finish(claims, { type: 'completed' }, [reply('r-1', 'open-1'), reply('r-2', 'open-2')], 2_000);
    session.host.prune(9_000, { keepMs: 0, batch: 100 });
    runner.prune(9_000, { keepMs: 0, batch: 100 });
    expect(session.contents()).toMatchObject({
      acks: [{ messageId: 'open-1' }, { messageId: 'open-2' }],
      messages: [{ id: 'r-1' }, { id: 'r-2' }],
    });
    expect(session.host.message('open-1')).toMatchObject({ status: 'pending' });
  });

  it('keeps the claims of the run that works, and forgets those of the dead once they have been charged', () => {
    session.host.enqueue(chat('m1'), 1_000);
    session.host.enqueue(chat('m2'), 1_000);
    {
      using dead = session.startRun();
      claim(dead, 1_000, { work: 1, control: 0, context: 0 });
    }
    session.host.endRun(RUN);
    using runner = session.startRun(runId('run-2'), 2_000);
    const [open] = claim(runner, 2_000, { work: 1, control: 0, context: 0 });
    if (open === undefined) throw new Error('nothing was claimed');
    runner.finish([open.claim], { type: 'completed' }, [], 2_000);
    session.host.enqueue(chat('m3'), 2_000);
    const [working] = claim(runner, 2_000, { work: 1, control: 0, context: 0 });
    if (working === undefined) throw new Error('nothing was claimed');
    session.host.settle(session.contents(), 2_500, INBOUND_RETRY);
    // Another change, so that the open claim is not the highest row, which is kept anyway.
    session.host.enqueue(chat('m4'), 2_600);
    const rest = claim(runner, 2_600);
    runner.finish(
      rest.map((one) => one.claim),
      { type: 'completed' },
      [],
      2_600,
    );
    session.host.settle(session.contents(), 2_700, INBOUND_RETRY);

    runner.prune(9_000, { keepMs: 0, batch: 100 });
    expect(session.contents().openClaims).toMatchObject([{ messageId: working.claim.messageId, runId: 'run-2' }]);
    expect(() => runner.finish([working.claim], { type: 'completed' }, [], 9_000)).not.toThrow();
  });

  it('keeps dead letters until somebody has decided on them', () => {
    history(1);
    using runner = session.startRun(runId('run-2'), 2_000);
    runner.send(reply('lost', 'm0'), 2_000);
    const seen = session.contents();
    session.host.deliveries.accept(
      seen.messages.map((message) => ({ message, refused: 'no such place' })),
      seen.messagesThrough,
      2_000,
    );
    session.host.prune(9_000, { keepMs: 0, batch: 100 });
    runner.prune(9_000, { keepMs: 0, batch: 100 });
    expect(session.host.deliveries.deadLetters(10)).toMatchObject([{ messageOutId: 'lost' }]);
  });
});

describe('a runner’s file that was lost', () => {
  it('is made anew with numbers above those that the host has read, so that nothing of it is overlooked', () => {
    history(3);
    rmSync(session.folder.outbound.database);
    session.host.enqueue(chat('next'), 2_000);
    using runner = session.startRun(runId('run-2'), 2_000);
    const claims = claim(runner, 2_000).map((one) => one.claim);
    runner.finish(claims, { type: 'completed' }, [reply('r-next', 'next')], 2_000);
    const seen = session.contents();
    expect(session.host.settle(seen, 2_000, INBOUND_RETRY)).toMatchObject([{ messageId: 'next', to: 'completed' }]);
    expect(seen.messages).toMatchObject([{ id: 'r-next', seq: 13 }]);
  });
});
