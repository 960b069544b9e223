import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HOUR, iso, MINUTE, NOON, SECOND, World } from './session.ts';

let world: World;

beforeEach(() => {
  world = new World();
});

afterEach(() => {
  world[Symbol.dispose]();
});

/** The slots of the messages taken, as times. */
function slots(messageIds: readonly string[]): string[] {
  return messageIds.map((id) => iso(Number(id.split('@')[1])));
}

const QUARTERS = '*/15 * * * *';

/** The open occurrence fails until it is given up. */
async function giveUp(at: number): Promise<readonly string[]> {
  world.start(at);
  for (let tries = 0, now = at; tries < 5; tries++, now += 2 * MINUTE) {
    world.work(now, 'failed');
    const { pausedSeries } = await world.sweep(now);
    if (pausedSeries.length > 0) return pausedSeries;
  }
  world.end('left');
  await world.sweep(at + 15 * MINUTE);
  return [];
}

describe('a series', () => {
  it('stands ahead of its time, so that a live run takes the occurrence without the host', () => {
    const id = world.task({ recurrence: QUARTERS }, NOON);
    expect(world.open(id)).toEqual(['12:15 pending']);
    world.start(NOON);
    expect(world.claim(NOON + 14 * MINUTE)).toEqual([]);
    expect(slots(world.claim(NOON + 15 * MINUTE))).toEqual(['12:15']);
  });

  it('failure 22: goes on in the transaction that ends an occurrence, from its slot and not from its end', async () => {
    const id = world.task({ recurrence: QUARTERS }, NOON);
    world.start(NOON);
    world.work(NOON + 16 * MINUTE);
    await world.sweep(NOON + 17 * MINUTE);
    expect(world.open(id)).toEqual(['12:30 pending']);
  });

  it('failure 23: survives an occurrence that is given up', async () => {
    const id = world.task({ recurrence: '0 * * * *', pauseAfter: 2 }, NOON);
    await giveUp(NOON + HOUR);
    expect(world.open(id)).toEqual(['14:00 pending']);
    expect(world.session.series.get(id)).toMatchObject({ failures: 1, fired: 1, status: 'active' });
  });

  it('failure 23: is paused after so many given up in a row, and says so', async () => {
    const id = world.task({ recurrence: '0 * * * *', pauseAfter: 2 }, NOON);
    await giveUp(NOON + HOUR);
    expect(await giveUp(NOON + 2 * HOUR)).toEqual([id]);
    expect(world.session.series.get(id)).toMatchObject({
      status: 'paused',
      reason: '2 occurrences in a row were given up.',
    });
    expect(world.open(id)).toEqual([]);
    world.act({ action: 'resume_task', taskId: id }, NOON + 5 * HOUR + MINUTE);
    expect(world.open(id)).toEqual(['18:00 pending']);
  });

  it('is not paused for failures with one between them that ended well (failure 92)', async () => {
    const id = world.task({ recurrence: '0 * * * *', pauseAfter: 2 }, NOON);
    await giveUp(NOON + HOUR);
    world.start(NOON + 2 * HOUR);
    world.work(NOON + 2 * HOUR);
    await world.sweep(NOON + 2 * HOUR + MINUTE);
    expect(world.session.series.get(id)).toMatchObject({ failures: 0, fired: 2 });
    world.end('left');
    expect(await giveUp(NOON + 3 * HOUR)).toEqual([]);
    expect(world.session.series.get(id)).toMatchObject({ failures: 1, fired: 3, status: 'active' });
  });

  it('that is paused for its failures holds back the occurrence that stands ahead', async () => {
    const id = world.task({ recurrence: '0 * * * *', overlap: 'allow', pauseAfter: 1 }, NOON);
    await world.sweep(NOON + HOUR);
    expect(await giveUp(NOON + HOUR)).toEqual([id]);
    expect(world.open(id)).toEqual(['14:00 paused']);
  });

  it('ends with its count', async () => {
    const id = world.task({ recurrence: QUARTERS, countMax: 2 }, NOON);
    world.start(NOON);
    const taken: string[] = [];
    for (let i = 1; i <= 4; i++) {
      taken.push(...world.work(NOON + i * 15 * MINUTE));
      await world.sweep(NOON + i * 15 * MINUTE);
    }
    expect(slots(taken)).toEqual(['12:15', '12:30']);
    expect(world.session.series.get(id)).toMatchObject({ status: 'ended', fired: 2 });
  });

  it('begins no earlier than its start and ends with its end', async () => {
    const id = world.task({ recurrence: QUARTERS, processAfter: '2026-11-21T13:00', end: '2026-11-21T13:15' }, NOON);
    expect(world.open(id)).toEqual(['13:00 pending']);
    world.start(NOON);
    const taken: string[] = [];
    for (let i = 4; i <= 7; i++) {
      taken.push(...world.work(NOON + i * 15 * MINUTE));
      await world.sweep(NOON + i * 15 * MINUTE);
    }
    expect(slots(taken)).toEqual(['13:00', '13:15']);
    expect(world.session.series.get(id)?.status).toBe('ended');
  });

  it('puts each occurrence off by less than its jitter, and always by the same', () => {
    const id = world.task({ recurrence: QUARTERS, jitterMs: 5 * MINUTE }, NOON);
    const [one] = world.session.series.open(id);
    expect(one?.slot).toBe(NOON + 15 * MINUTE);
    expect(one?.processAfter).toBeGreaterThan(NOON + 15 * MINUTE);
    expect(one?.processAfter).toBeLessThanOrEqual(NOON + 20 * MINUTE);
    const again = new World();
    again.act({ action: 'schedule_task', prompt: 'say hi', recurrence: QUARTERS, jitterMs: 5 * MINUTE }, NOON, id);
    expect(again.session.series.open(id)[0]?.processAfter).toBe(one?.processAfter);
    again[Symbol.dispose]();
  });

  it('that runs once runs late rather than never', async () => {
    const id = world.task({ processAfter: '2026-11-21T12:05', catchUp: 'skip' }, NOON);
    expect(await world.sweep(NOON)).toMatchObject({ lookAgainAt: NOON + 5 * MINUTE });
    expect((await world.sweep(NOON + 5 * HOUR)).verdict).toEqual({ type: 'wake' });
    world.start(NOON + 5 * HOUR);
    expect(slots(world.work(NOON + 5 * HOUR))).toEqual(['12:05']);
    await world.sweep(NOON + 5 * HOUR);
    expect(world.session.series.get(id)).toMatchObject({ status: 'ended' });
  });

  it('failure 11: goes on from now when the clock was a year ahead for a moment', async () => {
    const id = world.task({ recurrence: QUARTERS }, NOON);
    const nextYear = NOON + 365 * 24 * HOUR;
    await world.sweep(nextYear);
    expect(world.open(id)).toEqual(['2027-11-21 12:00 pending']);
    await world.sweep(NOON + MINUTE);
    await world.sweep(NOON + 2 * MINUTE);
    // 12:15 was missed by the clock of then, and a slot is decided once.
    expect(world.open(id)).toEqual(['12:30 pending']);
  });
});

it('failure 11: slots that were not decided when the clock was set back are still decided', async () => {
  const id = world.task({ recurrence: QUARTERS, catchUp: 'all' }, NOON);
  const series = world.session.series.get(id);
  if (series === undefined) throw new Error('no series');
  // Counted by a clock three hours ahead, which decided nothing.
  world.session.series.edit(NOON, (edit) => edit.put({ ...series, updatedAt: NOON + 3 * HOUR }));
  await world.sweep(NOON + 46 * MINUTE);
  expect(world.open(id)).toEqual(['12:15 pending']);
  expect(world.session.series.get(id)?.owed.map(iso)).toEqual(['12:30', '12:45']);
});

describe('failure 11: an occurrence that a run has in hand when the clock is set back', () => {
  const BACK = NOON - 3 * HOUR;
  let id: string;
  let endTurn: (at: number) => void;
  beforeEach(async () => {
    id = world.task({ recurrence: QUARTERS }, NOON);
    const runner = world.start(NOON);
    await world.sweep(NOON + MINUTE);
    const taken = runner.claim(NOON + 15 * MINUTE, { work: 10, control: 10, context: 10 });
    if (taken.type !== 'claimed') throw new Error(`The claim is ${taken.type}.`);
    const claims = taken.claimed.map((one) => one.claim);
    expect(claims).toHaveLength(1);
    endTurn = (at) => void runner.finish(claims, { type: 'completed' }, [], at);
  });

  it('stays, ends with its run, and the series goes on with the first slot that is to come', async () => {
    await world.sweep(BACK);
    expect(world.open(id)).toEqual(['12:15 pending']);
    endTurn(BACK + MINUTE);
    await world.sweep(BACK + MINUTE);
    expect(world.open(id)).toEqual(['12:00 pending']);
    expect(world.session.series.get(id)).toMatchObject({ fired: 1 });
  });

  it('stays when its task is given another time meanwhile', async () => {
    await world.sweep(BACK);
    world.act({ action: 'update_task', taskId: id, recurrence: '0 * * * *' }, BACK + SECOND);
    expect(world.open(id)).toContain('12:15 pending');
  });

  it('stays while what is claimed cannot be seen, and the series is looked at again', async () => {
    const read = world.unreadable();
    await world.sweep(BACK);
    expect(world.open(id)).toEqual(['12:15 pending']);
    read();
    await world.sweep(BACK + MINUTE);
    endTurn(BACK + 2 * MINUTE);
    await world.sweep(BACK + 2 * MINUTE);
    expect(world.open(id)).toEqual(['12:00 pending']);
  });
});

it('failure 25: a zone that this machine does not know pauses its own series and no other', async () => {
  const bad = world.task({ recurrence: QUARTERS }, NOON);
  const good = world.task({ recurrence: QUARTERS }, NOON);
  const series = world.session.series.get(bad);
  if (series === undefined) throw new Error('no series');
  world.session.series.edit(NOON, (edit) =>
    edit.put({ ...series, recurrence: { cron: QUARTERS, timeZone: 'Gone/Zone' } }),
  );
  const { verdict } = await world.sweep(NOON + HOUR);
  expect(verdict).toEqual({ type: 'wake' });
  expect(world.session.series.get(bad)).toMatchObject({
    status: 'paused',
    reason: expect.stringContaining('Gone/Zone'),
  });
  expect(world.open(good)).toEqual(['13:00 pending']);
});

describe('failure 25: after a downtime of an hour and a half', () => {
  // 12:15 was written ahead; 12:30, 12:45, 13:00, 13:15, 13:30 have passed as well.
  const BACK = NOON + 91 * MINUTE;

  async function runAll(): Promise<string[]> {
    const taken: string[] = [];
    world.start(BACK);
    for (let i = 0; i < 10; i++) {
      taken.push(...world.work(BACK + i * SECOND));
      await world.sweep(BACK + i * SECOND);
    }
    return slots(taken);
  }

  it('`latest` runs the last slot alone', async () => {
    const id = world.task({ recurrence: QUARTERS }, NOON);
    expect((await world.sweep(BACK)).verdict).toEqual({ type: 'wake' });
    expect(await runAll()).toEqual(['13:30']);
    expect(world.open(id)).toEqual(['13:45 pending']);
  });

  it('`skip` runs none that is late', async () => {
    const id = world.task({ recurrence: QUARTERS, catchUp: 'skip' }, NOON);
    expect(await world.sweep(BACK + MINUTE)).toMatchObject({ verdict: { type: 'nothing', reason: 'idle' } });
    expect(world.open(id)).toEqual(['13:45 pending']);
  });

  it('`skip` still runs one that has only just passed', async () => {
    world.task({ recurrence: QUARTERS, catchUp: 'skip' }, NOON);
    await world.sweep(NOON + 90 * MINUTE + 30 * SECOND);
    expect(await runAll()).toEqual(['13:30']);
  });

  it('`all` runs every one, in order, one after the other', async () => {
    world.task({ recurrence: QUARTERS, catchUp: 'all' }, NOON);
    await world.sweep(BACK);
    expect(world.session.series.open()).toHaveLength(1);
    expect(await runAll()).toEqual(['12:15', '12:30', '12:45', '13:00', '13:15', '13:30']);
  });

  it('`all` with a maximum runs the last ones', async () => {
    world.task({ recurrence: QUARTERS, catchUp: 'all', catchUpMax: 3 }, NOON);
    await world.sweep(BACK);
    expect(await runAll()).toEqual(['13:00', '13:15', '13:30']);
  });

  it('an occurrence that a dead run had begun is tried again, whatever the policy', async () => {
    world.task({ recurrence: QUARTERS, catchUp: 'skip' }, NOON);
    world.start(NOON);
    world.claim(NOON + 15 * MINUTE);
    world.end();
    await world.sweep(BACK);
    await world.sweep(BACK + 5 * SECOND);
    world.start(BACK + 5 * SECOND);
    expect(slots(world.work(BACK + 5 * SECOND))).toEqual(['12:15']);
  });

  it('failure 23: a minutely series that slept for a year costs no more than its maximum', async () => {
    world.task({ recurrence: '* * * * *', catchUp: 'all', catchUpMax: 3 }, NOON);
    const yearOn = NOON + 365 * 24 * HOUR;
    await world.sweep(yearOn);
    const [series] = world.session.series.live();
    expect(world.session.series.open().map((one) => one.slot)).toEqual([yearOn - 2 * MINUTE]);
    expect(series?.owed).toEqual([yearOn - MINUTE, yearOn]);
  });
});

// 12:15 is at work until 12:50; 12:30 and 12:45 pass meanwhile.
async function longRun(content: { overlap: string }): Promise<string> {
  const id = world.task({ recurrence: QUARTERS, ...content }, NOON);
  world.start(NOON);
  expect(slots(world.claim(NOON + 15 * MINUTE))).toEqual(['12:15']);
  for (const at of [16, 30, 31, 45, 46]) await world.sweep(NOON + at * MINUTE);
  return id;
}

function finish(): void {
  const claims = [{ messageId: `action-1@${NOON + 15 * MINUTE}`, attempt: 1, runId: world.session.liveRun() }];
  world.runner?.finish(
    claims.flatMap(({ runId, ...claim }) => (runId === undefined ? [] : [{ ...claim, runId }])),
    { type: 'completed' },
    [],
    NOON + 50 * MINUTE,
  );
}

describe('while an occurrence takes longer than its interval', () => {
  it('`skip` leaves the others out', async () => {
    const id = await longRun({ overlap: 'skip' });
    expect(world.open(id)).toEqual(['12:15 pending']);
    finish();
    await world.sweep(NOON + 51 * MINUTE);
    expect(world.open(id)).toEqual(['13:00 pending']);
  });

  it('`skip` leaves them out also when nobody looked meanwhile', async () => {
    const id = world.task({ recurrence: QUARTERS, overlap: 'skip' }, NOON);
    world.start(NOON);
    world.claim(NOON + 15 * MINUTE);
    finish();
    await world.sweep(NOON + 51 * MINUTE);
    expect(world.open(id)).toEqual(['13:00 pending']);
  });

  it('`buffer-one` runs one of them afterwards', async () => {
    const id = await longRun({ overlap: 'buffer-one' });
    expect(world.open(id)).toEqual(['12:15 pending']);
    finish();
    await world.sweep(NOON + 51 * MINUTE);
    expect(world.open(id)).toEqual(['12:30 pending']);
    expect(slots(world.work(NOON + 51 * MINUTE))).toEqual(['12:30']);
    await world.sweep(NOON + 52 * MINUTE);
    expect(world.open(id)).toEqual(['13:00 pending']);
  });

  it('`allow` runs each in its time', async () => {
    const id = await longRun({ overlap: 'allow' });
    expect(world.open(id)).toEqual(['12:15 pending', '12:30 pending', '12:45 pending', '13:00 pending']);
    expect(slots(world.work(NOON + 46 * MINUTE))).toEqual(['12:30', '12:45']);
  });
});
