import { writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chat, HOUR, MINUTE, NOON, SECOND, World } from './session.ts';

let world: World;

beforeEach(() => {
  world = new World();
});

afterEach(() => {
  world[Symbol.dispose]();
});

describe('one pass over a session', () => {
  it('wakes for a due message, and not for one that is ahead', async () => {
    world.session.enqueue({ ...chat('m1', NOON), processAfter: NOON + MINUTE }, NOON);
    expect(await world.sweep(NOON)).toMatchObject({
      verdict: { type: 'nothing', reason: 'idle' },
      lookAgainAt: NOON + MINUTE,
    });
    expect(await world.sweep(NOON + MINUTE)).toMatchObject({ verdict: { type: 'wake' } });
  });

  it('settles what a run has done, and then has nothing to do', async () => {
    world.session.enqueue(chat('m1', NOON), NOON);
    world.start(NOON);
    world.work(NOON);
    const report = await world.sweep(NOON + 1);
    expect(report.settled).toMatchObject([{ messageId: 'm1', to: 'completed' }]);
    world.end('left');
    expect(await world.sweep(NOON + 2)).toMatchObject({
      settled: [],
      verdict: { type: 'nothing', reason: 'idle' },
      lookAgainAt: undefined,
    });
  });

  it('writes nothing a second time at the same time, and judges the same', async () => {
    world.session.enqueue(chat('m1', NOON), NOON);
    world.task({ recurrence: '* * * * *' }, NOON);
    world.start(NOON);
    world.claim(NOON);
    world.end();
    const first = await world.sweep(NOON + 5 * MINUTE);
    expect(first.settled).toHaveLength(1);
    const before = [world.session.message('m1'), world.session.series.live(), world.session.series.open()];
    const second = await world.sweep(NOON + 5 * MINUTE);
    expect(second).toEqual({ ...first, settled: [] });
    expect([world.session.message('m1'), world.session.series.live(), world.session.series.open()]).toEqual(before);
  });

  it('failure 1: a message pays one try per dead run, however often the sweep looks', async () => {
    world.session.enqueue(chat('m1', NOON), NOON);
    world.start(NOON);
    world.claim(NOON);
    world.end();
    for (let i = 0; i < 5; i++) await world.sweep(NOON + i);
    expect(world.session.message('m1')).toMatchObject({ tries: 1, status: 'pending' });
  });

  it('failure 2: the claim of a dead run does not get the next run killed', async () => {
    world.session.enqueue(chat('m1', NOON), NOON);
    world.start(NOON);
    world.claim(NOON);
    world.end();
    await world.sweep(NOON + HOUR);
    world.start(NOON + HOUR);
    const report = await world.sweep(NOON + HOUR + 2 * MINUTE);
    expect(report.verdict).toMatchObject({ type: 'nothing', reason: 'in-order' });
  });

  it('failure 3: a heartbeat file dated a year ahead does not keep an idle run alive', async () => {
    world.start(NOON);
    world.runner?.beat(NOON + 365 * 24 * HOUR);
    for (let at = NOON; at < NOON + 30 * MINUTE; at += MINUTE) {
      expect((await world.sweep(at)).verdict.type).toBe('nothing');
    }
    expect((await world.sweep(NOON + 30 * MINUTE)).verdict).toEqual({
      type: 'kill',
      runId: 'run-1',
      reason: 'silent',
      tool: null,
    });
  });

  it('failure 13: what a container put in place of its file holds this session back, with a growing wait', async () => {
    world.session.enqueue(chat('m1', NOON), NOON);
    writeFileSync(world.folder.outbound.database, 'not a database, but long enough to look like one'.repeat(30));
    const first = await world.sweep(NOON);
    expect(first.finding).toMatchObject({ type: 'corrupt' });
    expect(first.verdict).toEqual({ type: 'nothing', reason: 'quarantine', until: NOON + MINUTE });
    expect(first.lookAgainAt).toBe(NOON + MINUTE);
    expect((await world.sweep(NOON + SECOND)).verdict).toEqual(first.verdict);
    const second = await world.sweep(NOON + MINUTE);
    expect(second.verdict).toEqual({ type: 'nothing', reason: 'quarantine', until: NOON + 3 * MINUTE });
    const third = await world.sweep(NOON + 3 * MINUTE);
    expect(third.notices).toMatchObject([{ kind: 'outbound', noticeOwed: 'began' }]);
  });

  it('does not charge the claim of a run that ends while its file is being read', async () => {
    world.session.enqueue(chat('m1', NOON), NOON);
    world.start(NOON);
    world.claim(NOON);
    // The state after the read is not the one before it: the run has ended in between, and may have answered.
    const run = world.run;
    let asked = 0;
    Object.defineProperty(world, 'run', { get: () => (asked++ === 0 ? run : { type: 'none', ended: ENDED }) });
    const report = await world.sweep(NOON + SECOND);
    expect(report.settled).toEqual([]);
    expect(world.session.message('m1')).toMatchObject({ tries: 0 });
  });

  it('does not charge the claim of a run that the runtime says is alive, whatever the file says', async () => {
    world.session.enqueue(chat('m1', NOON), NOON);
    world.start(NOON);
    world.claim(NOON);
    const live = world.session.liveRun();
    if (live !== undefined) world.session.endRun(live);
    expect((await world.sweep(NOON + SECOND)).settled).toEqual([]);
  });

  it('failure 11: a retry put off by a clock that was wrong comes back when the clock is set right', async () => {
    const nextYear = NOON + 365 * 24 * HOUR;
    world.session.enqueue(chat('m1', NOON), NOON);
    world.start(nextYear);
    world.work(nextYear, 'failed');
    await world.sweep(nextYear);
    world.end('left');
    expect(world.session.message('m1')?.processAfter).toBeGreaterThan(nextYear);
    expect(await world.sweep(NOON + MINUTE)).toMatchObject({ verdict: { type: 'wake' } });
  });
});

const ENDED = { runId: 'run-1', livedMs: HOUR, how: { type: 'left' } };

async function failedWake(at: number, livedMs = 0) {
  world.start(at);
  world.end('failed', livedMs);
  return world.sweep(at);
}

describe('failure 53: runs that cannot be started', () => {
  it('wait longer each time, also over a restart of the host', async () => {
    world.session.enqueue(chat('m1', NOON), NOON);
    const waits: number[] = [];
    for (let at = NOON, i = 0; i < 7; i++) {
      const { verdict } = await failedWake(at);
      const until = verdict.type === 'nothing' ? (verdict.until ?? at) : at;
      waits.push((until - at) / SECOND);
      at = until;
    }
    expect(waits).toEqual([5, 10, 20, 40, 900, 900, 900]);
    expect(world.session.message('m1')).toMatchObject({ tries: 0, status: 'pending' });
  });

  it('count once per run, however often the sweep looks', async () => {
    world.session.enqueue(chat('m1', NOON), NOON);
    await failedWake(NOON);
    await world.sweep(NOON + 1);
    await world.sweep(NOON + 6 * SECOND);
    expect(world.session.trouble.get('wake')).toMatchObject({ failures: 1, error: 'exit code 137' });
  });

  it('do not hold the session until the time that a clock had which was ahead', async () => {
    world.session.enqueue(chat('m1', NOON), NOON);
    await failedWake(NOON + 30 * SECOND);
    expect((await world.sweep(NOON)).verdict).toEqual({ type: 'wake' });
    expect((await world.sweep(NOON + 30 * SECOND)).verdict).toMatchObject({ reason: 'wake-backoff' });
  });

  it('owe the chat one notice after three in a row, and one when it is over', async () => {
    world.session.enqueue(chat('m1', NOON), NOON);
    expect((await failedWake(NOON)).notices).toEqual([]);
    expect((await failedWake(NOON + MINUTE)).notices).toEqual([]);
    const third = await failedWake(NOON + 2 * MINUTE);
    expect(third.notices).toMatchObject([{ kind: 'wake', noticeOwed: 'began', failures: 3 }]);
    // Owed until it has been given, and then not again.
    expect((await world.sweep(NOON + 2 * MINUTE)).notices).toHaveLength(1);
    world.session.trouble.markNoticeSent('wake', 'began');
    expect((await failedWake(NOON + 4 * MINUTE)).notices).toEqual([]);

    world.start(NOON + HOUR);
    world.work(NOON + HOUR);
    const over = await world.sweep(NOON + HOUR);
    expect(over.notices).toMatchObject([{ kind: 'wake', noticeOwed: 'ended' }]);
    world.session.trouble.markNoticeSent('wake', 'ended');
    expect((await world.sweep(NOON + HOUR)).notices).toEqual([]);
    expect(world.session.trouble.get('wake')).toBeUndefined();
  });

  it('are forgotten without a word when the chat was never told', async () => {
    world.session.enqueue(chat('m1', NOON), NOON);
    await failedWake(NOON);
    world.start(NOON + MINUTE);
    world.work(NOON + MINUTE);
    expect((await world.sweep(NOON + MINUTE)).notices).toEqual([]);
    expect(world.session.trouble.get('wake')).toBeUndefined();
  });

  it('are not what a run is that took a message and then died', async () => {
    world.session.enqueue(chat('m1', NOON), NOON);
    world.start(NOON);
    world.claim(NOON);
    world.end();
    await world.sweep(NOON + 1);
    expect(world.session.trouble.get('wake')).toBeUndefined();
  });

  it('are not what a run was that worked and left, when the next message comes', async () => {
    world.session.enqueue(chat('m1', NOON), NOON);
    world.start(NOON);
    world.work(NOON);
    await world.sweep(NOON);
    world.end('left', 10 * SECOND);
    await world.sweep(NOON + 10 * SECOND);
    world.session.enqueue(chat('m2', NOON + MINUTE), NOON + MINUTE);
    expect((await world.sweep(NOON + MINUTE)).verdict).toEqual({ type: 'wake' });
  });

  it('are not what a short run was that nothing was due for, when the next message comes', async () => {
    world.start(NOON);
    world.end('left', 10 * SECOND);
    await world.sweep(NOON + 10 * SECOND);
    world.session.enqueue(chat('m1', NOON + MINUTE), NOON + MINUTE);
    expect((await world.sweep(NOON + MINUTE)).verdict).toEqual({ type: 'wake' });
  });

  it('include a run that leaves at once, again and again, without taking what is due', async () => {
    world.session.enqueue(chat('m1', NOON), NOON);
    world.start(NOON);
    world.end('left', SECOND);
    expect((await world.sweep(NOON)).verdict).toMatchObject({ reason: 'wake-backoff' });
  });
});
