import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSqlite } from '#driver';
import {
  createSession,
  HostSession,
  INBOUND_RETRY,
  inProcessReader,
  MessageConflictError,
  type NewInbound,
  type OutboundContents,
  RunnerSession,
  runId,
  type SessionFolder,
} from '../src/index.ts';
import { deliverySettlement } from '../src/protocol.ts';

const ADDRESS = { channelType: 'terminal', platformId: 'main', threadId: null };
const LIMITS = { work: 10, control: 10, context: 10 };
const RUN = runId('run-1');

let folder: SessionFolder;
let host: HostSession;

beforeEach(() => {
  folder = createSession(join(mkdtempSync(join(tmpdir(), 'nanoclaw-walk-')), 'session'));
  host = HostSession.open(folder, openSqlite);
});

afterEach(() => {
  host[Symbol.dispose]();
  rmSync(join(folder.root, '..'), { recursive: true });
});

function chat(id: string, text = 'hello'): NewInbound {
  return { id, kind: 'chat', timestamp: 1_000, trigger: 'wakes', address: ADDRESS, content: { text } };
}

function startRun(run = RUN, now = 1_000): RunnerSession {
  host.beginRun(run, now);
  return RunnerSession.open(folder, openSqlite, { runId: run, runnerVersion: '0', provider: 'offline' }, now);
}

async function read(again: number[] = []): Promise<OutboundContents> {
  const result = await inProcessReader(folder, openSqlite).read({ ...host.cursor(), again });
  if (result.type !== 'read') throw new Error(`not read: ${JSON.stringify(result)}`);
  return result;
}

describe('the walk of one message through the two files', () => {
  it('goes from enqueue to claim to answer to delivery to settlement, with even and odd numbers', async () => {
    expect(host.enqueue(chat('m1'), 1_000)).toBe('inserted');
    expect(host.dueCount(1_000)).toBe(1);
    expect(host.nextDueAt()).toBe(1_000);
    using runner = startRun();

    const result = runner.claim(1_100, LIMITS);
    if (result.type !== 'claimed') throw new Error(result.type);
    expect(result.claimed.map((one) => one.type === 'message' && one.message.seq)).toEqual([2]);

    const seqs = runner.finish(
      result.claimed.map((one) => one.claim),
      { type: 'completed' },
      [{ id: 'run-1/1', kind: 'chat', address: ADDRESS, inReplyTo: 'm1', content: { text: 'hi' } }],
      1_200,
    );
    expect(seqs).toEqual([3]);

    const seen = await read();
    expect(host.settle(seen, 1_300, INBOUND_RETRY)).toMatchObject([{ messageId: 'm1', attempt: 1, to: 'completed' }]);
    expect(host.settle(seen, 1_300, INBOUND_RETRY)).toEqual([]);
    expect(host.dueCount(1_300)).toBe(0);

    host.deliveries.accept(
      seen.messages.map((message) => ({ message, address: ADDRESS })),
      seen.messagesThrough,
      1_300,
    );
    const [attempt] = host.deliveries.begin(host.deliveries.due(1_300, 10), 1_300, INBOUND_RETRY);
    expect(attempt).toMatchObject({ seq: 3, part: 0, messageOutId: 'run-1/1', attempt: 1, uncertain: false });
    expect(host.deliveries.due(1_300, 10)).toEqual([]);
    if (attempt === undefined) throw new Error('no attempt');
    host.deliveries.record(
      attempt,
      deliverySettlement(1, { type: 'sent', platformMessageId: 'p1' }, 1_400, INBOUND_RETRY),
      1_400,
    );
    expect(host.deliveries.nextAt()).toBeUndefined();

    expect(host.enqueue(chat('m2'), 1_500)).toBe('inserted');
    const again = runner.claim(1_500, LIMITS);
    expect(again.type === 'claimed' && again.claimed.map((one) => one.type === 'message' && one.message.seq)).toEqual([
      4,
    ]);
  });

  it('takes a redelivered message once, and refuses another content under its id', () => {
    host.enqueue(chat('m1'), 1_000);
    expect(host.enqueue(chat('m1'), 2_000)).toBe('duplicate');
    expect(() => host.enqueue(chat('m1', 'other'), 2_000)).toThrow(MessageConflictError);
  });

  it('charges a crashed run one try, however often the host looks, and gives the message to the next run', async () => {
    host.enqueue(chat('m1'), 1_000);
    {
      using crashed = startRun();
      crashed.claim(1_100, LIMITS);
    }
    const whileLive = await read();
    expect(host.settle(whileLive, 99_000, INBOUND_RETRY)).toEqual([]);

    host.endRun(RUN);
    const seen = await read();
    expect(host.settle(seen, 2_000, INBOUND_RETRY)).toMatchObject([{ to: 'retry', attempt: 1, processAfter: 7_000 }]);
    expect(host.settle(seen, 3_000, INBOUND_RETRY)).toEqual([]);
    expect(host.message('m1')).toMatchObject({ status: 'pending', tries: 1, processAfter: 7_000 });

    using next = startRun(runId('run-2'), 7_000);
    const result = next.claim(7_000, LIMITS);
    expect(result.type === 'claimed' && result.claimed.map((one) => one.claim.attempt)).toEqual([2]);
  });

  it('stops a run that is not the live one', () => {
    host.enqueue(chat('m1'), 1_000);
    using old = startRun();
    host.beginRun(runId('run-2'), 2_000);
    expect(old.claim(2_000, LIMITS)).toEqual({ type: 'fenced', liveRunId: 'run-2' });
  });
});
