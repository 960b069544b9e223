import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkTiming, nextSlot } from '../src/recurrence.ts';
import { SCHEDULING_LIMITS } from '../src/scheduling.ts';
import { HOUR, iso, MINUTE, NOON, World } from './session.ts';

const check = (cron: string, timeZone = 'UTC') => checkTiming({ cron, timeZone }, NOON, SCHEDULING_LIMITS);

/** The first two times after noon of the 27th of March 2026, before the clocks change on the 29th. */
function inBerlin(cron: string): string[] {
  const timing = { cron, timeZone: 'Europe/Berlin' };
  const first = nextSlot(timing, Date.parse('2026-03-27T12:00Z')) ?? 0;
  return [first, nextSlot(timing, first) ?? 0].map((at) => new Date(at).toISOString().slice(0, 16));
}

describe('a recurrence that would mean something else than it says', () => {
  it.each([
    ['*/90 * * * *', 'would come once an hour', 'write every 90 minutes'],
    ['*/60 * * * *', 'would come once an hour', 'write every 60 minutes'],
    ['5/90 * * * *', 'would come once an hour', 'write every 90 minutes'],
    ['10-20/15 * * * *', 'has a step beyond its minutes', 'write every 15 minutes'],
    ['0 */36 * * *', 'would come once a day', 'write every 36 hours'],
    ['0 0 */40 * *', 'would come once a month', 'write every 40 days'],
    ['0 0 1 */13 *', 'would come once a year', 'name the months'],
    ['0 0 * * */8', 'would come once a week', 'write every 8 days'],
    ['*/0 * * * *', 'a step of 0', 'write five fields'],
    ['0-30/0 * * * *', 'a step of 0', 'write five fields'],
    ['50-10 * * * *', 'runs backwards', 'write 50-59,0-10'],
    ['0 22-6 * * *', 'runs backwards', 'write 22-23,0-6'],
    ['0 0 * * FRI-MON', 'runs backwards', 'write 5-6,0-1'],
    ['0 0 31 2 *', 'never comes', 'check its day and month'],
    ['0 0 31 4,6,9,11 *', 'never comes', 'check its day and month'],
    ['0 0 30 FEB *', 'never comes', 'check its day and month'],
    ['75 * * * *', 'which is from 0 to 59', 'write five fields'],
    ['0 24 * * *', 'which is from 0 to 23', 'write five fields'],
    ['0 0 0 * *', 'which is from 1 to 31', 'write five fields'],
    ['0 0 * * 8', 'which is from 0 to 7', 'write five fields'],
    ['MON * * * *', '"MON" is not a cron field for its minute', 'write five fields'],
    ['0 0 * MOON *', '"MOON" is not a cron field for its month', 'write five fields'],
    ['? * * * *', '"?" is not a cron field', 'write five fields'],
    ['1,,2 * * * *', '"" is not a cron field', 'write five fields'],
    ['*-5 * * * *', '"*-5" is not a cron field', 'write five fields'],
    ['0 0 9 * * 1-5', 'because there are no seconds', 'write five fields'],
    ['@hourly', 'is a nickname', 'write 0 * * * *'],
    ['@reboot', 'is a nickname', 'write five fields'],
    ['every 0 minutes', 'is not an interval', 'every 90 minutes'],
    ['every 30 seconds', 'is not an interval', 'every 90 minutes'],
    ['every 1.5 hours', 'is not an interval', 'every 90 minutes'],
    ['every 2 months', 'is not an interval', 'months as cron'],
    ['every other day', 'is not an interval', 'every 10 days'],
    ['PT90M', 'is not an interval', 'every 90 minutes'],
    ['every 90 minutes from 2026-13-01T00:00:00Z', 'is not an interval', 'every 90 minutes'],
    ['every 9999 weeks', 'in more than ten years', 'choose a shorter interval'],
  ])('is refused in one sentence, with the right way: %s', (cron, what, instead) => {
    const result = check(cron);
    expect(result).toMatchObject({ type: 'refused' });
    const message = result.type === 'refused' ? result.message : '';
    expect(message).toContain(what);
    expect(message).toContain('Nothing was changed');
    expect(message).toContain(instead);
  });

  it.each([
    '0 9 * * 1-5',
    '*/59 * * * *',
    '*/7 * * * *',
    '0 0 * * 7',
    '0 0 * * 5-7',
    '0 0 * JAN-mar SUN',
    '0 0 L * *',
    '0 0 * * 5L',
    '0 12 * * 0#1',
    '0 0 ? * 1',
    '0 0 29 2 *',
    '0 0 15 * 1',
    '00 09 * * *',
    'every 1 minute',
    'every 1 minutes',
    'Every 36 Hours',
    'every 90 minutes from 2026-11-21T09:00:00Z',
  ])('is not what this is: %s', (cron) => {
    expect(check(cron)).toMatchObject({ type: 'fine' });
  });
});

describe('an interval', () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });
  afterEach(() => world[Symbol.dispose]());

  it('begins when it was written, and is kept with its beginning', () => {
    const id = world.task({ recurrence: 'every 90 minutes' }, NOON + 400);
    expect(world.open(id)).toEqual(['13:30 pending']);
    expect(world.session.series.get(id)?.recurrence?.cron).toBe('every 90 minutes from 2026-11-21T12:00:00Z');
  });

  it('begins with the first time that was asked for', () => {
    const id = world.task({ recurrence: 'every 90 minutes', processAfter: '2026-11-21T13:10' }, NOON);
    expect(world.open(id)).toEqual(['13:10 pending']);
    expect(
      nextSlot({ cron: world.session.series.get(id)?.recurrence?.cron ?? '', timeZone: 'UTC' }, NOON + 2 * HOUR),
    ).toBe(NOON + 2 * HOUR + 40 * MINUTE);
  });

  it('does not drift, however late it runs and however often the host starts', async () => {
    const id = world.task({ recurrence: 'every 90 minutes' }, NOON);
    const taken: string[] = [];
    for (let n = 1; n <= 6; n += 1) {
      const late = NOON + n * 90 * MINUTE + n * 7 * MINUTE;
      world.restart(late);
      world.start(late);
      taken.push(...world.work(late + MINUTE).map((message) => iso(Number(message.split('@')[1]))));
      await world.sweep(late + 2 * MINUTE);
      world.end('left');
      await world.sweep(late + 3 * MINUTE);
    }
    expect(taken).toEqual(['13:30', '15:00', '16:30', '18:00', '19:30', '21:00']);
    expect(world.open(id)).toEqual(['22:30 pending']);
  });

  it('that was missed for days is caught up on once, and goes on in its time', async () => {
    const id = world.task({ recurrence: 'every 90 minutes' }, NOON);
    const back = NOON + 50 * HOUR;
    world.restart(back);
    await world.sweep(back);
    world.start(back);
    const taken = [...world.work(back), ...world.work(back + MINUTE)];
    expect(taken).toHaveLength(1);
    await world.sweep(back + 2 * MINUTE);
    expect(world.session.series.open(id).map(({ slot }) => (slot - NOON) / MINUTE / 90)).toEqual([34]);
  });

  it('of days and weeks keeps its time of day when the clocks change, and one of hours its distance', () => {
    expect(inBerlin('every 2 days from 2026-03-25T08:00:00Z')).toEqual(['2026-03-29T07:00', '2026-03-31T07:00']);
    expect(inBerlin('every 1 week from 2026-03-21T01:30:00Z')).toEqual(['2026-03-28T01:30', '2026-04-04T00:30']);
    expect(inBerlin('every 48 hours from 2026-03-25T08:00:00Z')).toEqual(['2026-03-29T08:00', '2026-03-31T08:00']);
  });

  it('that is changed begins anew, and one whose prompt is changed does not', () => {
    const id = world.task({ recurrence: 'every 90 minutes' }, NOON);
    world.act({ action: 'update_task', taskId: id, prompt: 'say ho' }, NOON + 10 * MINUTE);
    expect(world.open(id)).toEqual(['13:30 pending']);
    world.act({ action: 'update_task', taskId: id, recurrence: 'every 2 hours' }, NOON + 20 * MINUTE);
    expect(world.open(id)).toEqual(['14:20 pending']);
    world.act({ action: 'update_task', taskId: id, processAfter: '2026-11-21T15:05' }, NOON + 20 * MINUTE);
    expect(world.open(id)).toEqual(['15:05 pending']);
    expect(world.session.series.get(id)?.recurrence?.cron).toBe('every 2 hours from 2026-11-21T15:05:00Z');
  });
});
