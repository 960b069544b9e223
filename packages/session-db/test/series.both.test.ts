import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSqlite } from '#driver';
import {
  changeToken,
  createSession,
  HostSession,
  INBOUND_RETRY,
  inProcessReader,
  RunnerSession,
  runId,
  type SeriesRecord,
  type SessionFolder,
} from '../src/index.ts';
import type { TroublePolicy } from '../src/protocol.ts';

const RUN = runId('run-1');
const SERIES: SeriesRecord = {
  id: 'task-1',
  status: 'active',
  reason: null,
  recurrence: { cron: '* * * * *', timeZone: 'Europe/Berlin' },
  content: { prompt: 'say hi' },
  address: { channelType: 'terminal', platformId: 'main', threadId: 't1' },
  catchUp: { type: 'all', max: 7 },
  overlap: 'buffer-one',
  jitterMs: 5,
  startAt: 900,
  endAt: 9_000_000,
  countMax: 10,
  pauseAfter: 3,
  nextSlot: 120_000,
  owed: [60_000],
  fired: 2,
  failures: 1,
  createdAt: 1_000,
  updatedAt: 1_000,
};

let folder: SessionFolder;
let host: HostSession;

beforeEach(() => {
  folder = createSession(join(mkdtempSync(join(tmpdir(), 'nanoclaw-series-')), 'session'));
  host = HostSession.open(folder, openSqlite);
});

afterEach(() => {
  host[Symbol.dispose]();
  rmSync(join(folder.root, '..'), { recursive: true });
});

function write(series: SeriesRecord, ...slots: number[]): void {
  host.series.edit(1_000, (edit) => {
    edit.put(series);
    for (const slot of slots) edit.insert(series, slot, slot + 5, 1_000);
  });
}

describe('a series', () => {
  it('is read as it was written', () => {
    write(SERIES);
    expect(host.series.get('task-1')).toEqual(SERIES);
    expect(host.series.live()).toEqual([SERIES]);
    const once: SeriesRecord = {
      ...SERIES,
      recurrence: null,
      address: null,
      catchUp: { type: 'skip' },
      endAt: null,
      countMax: null,
      pauseAfter: null,
      nextSlot: null,
      owed: [],
    };
    write(once);
    expect(host.series.get('task-1')).toEqual(once);
  });

  it('that has ended is remembered and not among the live ones, until it is pruned', () => {
    write({ ...SERIES, status: 'ended' });
    expect(host.series.live()).toEqual([]);
    expect(host.series.get('task-1')?.status).toBe('ended');
    host.series.prune(1_000);
    expect(host.series.get('task-1')).toBeDefined();
    host.series.prune(1_001);
    expect(host.series.get('task-1')).toBeUndefined();
  });

  it('writes a slot once, whatever has become of it and of the series', () => {
    write(SERIES, 60_000);
    const [occurrence] = host.series.open('task-1');
    if (occurrence === undefined) throw new Error('no occurrence');
    expect(occurrence).toEqual({
      id: 'task-1@60000',
      seriesId: 'task-1',
      slot: 60_000,
      status: 'pending',
      tries: 0,
      processAfter: 60_005,
    });
    host.series.edit(2_000, (edit) => edit.cancel(occurrence, 'missed', 2_000));
    write({ ...SERIES, content: { prompt: 'another' } }, 60_000);
    expect(host.series.open()).toEqual([]);
    expect(host.message('task-1@60000')).toMatchObject({ status: 'cancelled' });
  });

  it('writes a slot again that was taken back before its time', () => {
    write(SERIES, 60_000);
    host.series.edit(2_000, (edit) => {
      for (const one of host.series.open()) edit.withdraw(one);
    });
    expect(host.series.open()).toEqual([]);
    write(SERIES, 60_000);
    expect(host.series.open()).toHaveLength(1);
  });

  it('hands its occurrence to a run with what the series is', () => {
    write(SERIES, 60_000);
    host.beginRun(RUN, 1_000);
    using runner = RunnerSession.open(folder, openSqlite, { runId: RUN, runnerVersion: '0', provider: 'test' }, 1_000);
    expect(runner.claim(60_000, { work: 1, control: 1, context: 1 })).toMatchObject({ claimed: [] });
    expect(runner.claim(60_005, { work: 1, control: 1, context: 1 })).toMatchObject({
      claimed: [
        {
          message: {
            id: 'task-1@60000',
            kind: 'task',
            timestamp: 60_000,
            content: { prompt: 'say hi' },
            address: SERIES.address,
            recurrence: { seriesId: 'task-1', ...SERIES.recurrence },
          },
        },
      ],
    });
  });

  it('failure 22: is continued in the transaction that settles an occurrence, or neither is written', async () => {
    write(SERIES, 60_000);
    host.beginRun(RUN, 1_000);
    using runner = RunnerSession.open(folder, openSqlite, { runId: RUN, runnerVersion: '0', provider: 'test' }, 1_000);
    const result = runner.claim(61_000, { work: 1, control: 1, context: 1 });
    if (result.type !== 'claimed') throw new Error(result.type);
    runner.finish(
      result.claimed.map((one) => one.claim),
      { type: 'completed' },
      [],
      61_000,
    );
    const read = await inProcessReader(folder, openSqlite).read({ ...host.cursor(), again: [] });
    if (read.type !== 'read') throw new Error(read.type);

    const crash = () =>
      host.settle(read, 62_000, INBOUND_RETRY, (_settled, edit) => {
        edit.insert(SERIES, 120_000, 120_000, 62_000);
        throw new Error('the host dies here');
      });
    expect(crash).toThrow('dies here');
    expect(host.message('task-1@60000')).toMatchObject({ status: 'pending' });
    expect(host.message('task-1@120000')).toBeUndefined();

    host.settle(read, 62_000, INBOUND_RETRY, (settled, edit) => {
      expect(settled).toMatchObject([{ message: { occurrence: { seriesId: 'task-1', slot: 60_000 } } }]);
      edit.insert(SERIES, 120_000, 120_000, 62_000);
    });
    expect(host.message('task-1@60000')).toMatchObject({ status: 'completed' });
    expect(host.message('task-1@120000')).toMatchObject({ status: 'pending' });
  });

  it('held back is taken by no run, and released it is', () => {
    write(SERIES, 60_000);
    host.beginRun(RUN, 1_000);
    using runner = RunnerSession.open(folder, openSqlite, { runId: RUN, runnerVersion: '0', provider: 'test' }, 1_000);
    const [occurrence] = host.series.open();
    if (occurrence === undefined) throw new Error('no occurrence');
    host.series.edit(1_000, (edit) => edit.hold(occurrence));
    expect(runner.claim(61_000, { work: 1, control: 1, context: 1 })).toMatchObject({ claimed: [] });
    host.series.edit(1_000, (edit) => edit.release(occurrence));
    expect(runner.claim(61_000, { work: 1, control: 1, context: 1 })).toMatchObject({ claimed: [{}] });
  });

  it('rings the bell when it changes, so that a waiting run looks', () => {
    const before = changeToken(folder.inbound);
    write(SERIES, 60_000);
    expect(changeToken(folder.inbound)).not.toBe(before);
  });
});

describe('a request', () => {
  it('is done once, with its result in the same transaction', () => {
    let times = 0;
    const request = () =>
      host.series.once('row-1', 1_000, (edit) => {
        edit.put(SERIES);
        return { done: ++times };
      });
    expect(request()).toEqual({ done: 1 });
    expect(request()).toEqual({ done: 1 });
    expect(times).toBe(1);
  });

  it('that fails leaves nothing, and may be done again', () => {
    const fails = () =>
      host.series.once('row-1', 1_000, (edit) => {
        edit.put(SERIES);
        throw new Error('the host dies here');
      });
    expect(fails).toThrow('dies here');
    expect(host.series.live()).toEqual([]);
    expect(host.series.once('row-1', 1_000, () => 'done')).toBe('done');
  });
});

describe('trouble', () => {
  const POLICY: TroublePolicy = { backoffBaseMs: 1_000, backoffMaxMs: 60_000, breakAfter: 4, noticeAfter: 2 };
  const fail = (name: string, now: number) => host.trouble.recordFailure('wake', name, `error of ${name}`, now, POLICY);

  it('counts each failure once under its name, and waits longer each time until it is broken', () => {
    expect(fail('run-1', 0)).toMatchObject({ failures: 1, retryAt: 1_000 });
    expect(fail('run-1', 500)).toMatchObject({ failures: 1, retryAt: 1_000 });
    expect(fail('run-2', 1_000)).toMatchObject({ failures: 2, retryAt: 3_000 });
    expect(fail('run-3', 3_000)).toMatchObject({ failures: 3, retryAt: 7_000 });
    expect(fail('run-4', 7_000)).toMatchObject({ failures: 4, retryAt: 67_000, since: 0, error: 'error of run-4' });
  });

  it('failure 8: outlives the host', () => {
    fail('run-1', 0);
    host[Symbol.dispose]();
    host = HostSession.open(folder, openSqlite);
    expect(fail('run-2', 1_000)).toMatchObject({ failures: 2 });
  });

  it('failure 59: owes the chat one notice that it began and one that it ended', () => {
    expect(fail('run-1', 0)?.noticeOwed).toBeNull();
    expect(fail('run-2', 0)?.noticeOwed).toBe('began');
    expect(fail('run-3', 0)?.noticeOwed).toBe('began');
    host.trouble.markNoticeSent('wake', 'began');
    expect(fail('run-4', 0)?.noticeOwed).toBeNull();
    host.trouble.resolve('wake', 1_000);
    expect(host.trouble.get('wake')).toMatchObject({ failures: 0, noticeOwed: 'ended' });
    host.trouble.markNoticeSent('wake', 'ended');
    expect(host.trouble.get('wake')).toBeUndefined();
  });

  it('that the chat was never told of ends without a word', () => {
    fail('run-1', 0);
    fail('run-2', 0);
    host.trouble.resolve('wake', 1_000);
    expect(host.trouble.get('wake')).toBeUndefined();
  });

  it('that comes back before its end was told is still the same trouble', () => {
    fail('run-1', 0);
    fail('run-2', 0);
    host.trouble.markNoticeSent('wake', 'began');
    host.trouble.resolve('wake', 1_000);
    expect(fail('run-3', 2_000)).toMatchObject({ failures: 1, noticeOwed: null });
    host.trouble.resolve('wake', 3_000);
    expect(host.trouble.get('wake')).toMatchObject({ noticeOwed: 'ended' });
  });

  it('of one kind is not that of the other', () => {
    fail('run-1', 0);
    expect(host.trouble.get('outbound')).toBeUndefined();
    host.trouble.resolve('outbound', 0);
    expect(host.trouble.get('wake')).toBeDefined();
  });
});
