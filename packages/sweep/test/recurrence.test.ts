import { Cron } from 'croner';
import { describe, expect, it } from 'vitest';
import { checkTiming, lastSlots, nextSlot } from '../src/recurrence.ts';
import { SCHEDULING_LIMITS } from '../src/scheduling.ts';
import { HOUR, MINUTE, NOON } from './session.ts';

/** The next slots after a time, as ISO texts without seconds. */
function slots(cron: string, timeZone: string, after: string, count: number): string[] {
  const found: string[] = [];
  for (let at: number | undefined = Date.parse(after); found.length < count; ) {
    at = nextSlot({ cron, timeZone }, at);
    if (at === undefined) break;
    found.push(new Date(at).toISOString().slice(0, 16));
  }
  return found;
}

describe('the slots of a series', () => {
  it('in the spring gap run once, shifted by the gap', () => {
    expect(slots('30 2 * * *', 'Europe/Berlin', '2026-03-28T00:00Z', 3)).toEqual([
      '2026-03-28T01:30',
      '2026-03-29T01:30',
      '2026-03-30T00:30',
    ]);
  });

  it('in the autumn fold run once, at the first passing', () => {
    expect(slots('30 2 * * *', 'Europe/Berlin', '2026-10-24T12:00Z', 2)).toEqual([
      '2026-10-25T00:30',
      '2026-10-26T01:30',
    ]);
  });

  it('of every hour run in both passings of the fold: a task of each minute does not rest for an hour', () => {
    expect(slots('30 * * * *', 'Europe/Berlin', '2026-10-24T23:00Z', 4)).toEqual([
      '2026-10-24T23:30',
      '2026-10-25T00:30',
      '2026-10-25T01:30',
      '2026-10-25T02:30',
    ]);
  });

  it('in a half-hour gap are shifted by half an hour', () => {
    expect(slots('15 2 * * *', 'Australia/Lord_Howe', '2026-10-02T20:00Z', 2)).toEqual([
      '2026-10-03T15:45',
      '2026-10-04T15:15',
    ]);
  });

  it('are the same whenever one asks, also from within a gap and a fold', () => {
    for (const [cron, from] of [
      ['30 2 * * *', '2026-03-28T22:00Z'],
      ['30 2 * * *', '2026-10-24T22:00Z'],
      ['20,40 * * * *', '2026-10-24T22:00Z'],
    ] as const) {
      const timing = { cron, timeZone: 'Europe/Berlin' };
      const start = Date.parse(from);
      const all = new Set<number>();
      for (let at = start; at < start + 8 * HOUR; at += 7 * MINUTE) all.add(nextSlot(timing, at) ?? 0);
      const once = new Set<number>();
      for (let at = nextSlot(timing, start) ?? 0; at <= Math.max(...all); at = nextSlot(timing, at) ?? Infinity)
        once.add(at);
      expect([...all].toSorted((a, b) => a - b)).toEqual([...once]);
    }
  });

  it('are refused where no date fits', () => {
    expect(checkTiming({ cron: '0 0 30 2 *', timeZone: 'UTC' }, NOON, SCHEDULING_LIMITS)).toMatchObject({
      type: 'refused',
    });
  });
});

describe('the last slots of a span', () => {
  it('are at most as many as asked for, oldest first', () => {
    const timing = { cron: '0 * * * *', timeZone: 'UTC' };
    expect(lastSlots(timing, NOON - 10 * HOUR, NOON, 3)).toEqual([NOON - 2 * HOUR, NOON - HOUR, NOON]);
    expect(lastSlots(timing, NOON - 2 * HOUR, NOON, 3)).toEqual([NOON - HOUR, NOON]);
    expect(lastSlots(timing, NOON, NOON + MINUTE, 3)).toEqual([]);
  });

  it('of rare slots are found however far back they lie', () => {
    const years = lastSlots({ cron: '0 0 29 2 *', timeZone: 'UTC' }, Date.UTC(2000, 0), NOON, 2);
    expect(years).toEqual([Date.UTC(2020, 1, 29), Date.UTC(2024, 1, 29)]);
  });
});

/** The slots of a day and a half, or the next one where they are rarer. */
function within(from: number, next: (after: number) => number | undefined): number[] {
  const found: number[] = [];
  for (let at = next(from); at !== undefined; at = next(at)) {
    if (at > from + 36 * HOUR && found.length > 0) break;
    found.push(at);
  }
  return found;
}

/** Every change of a zone's clocks in 2026 to 2028: when, by how much (positive: a gap), and half a day before. */
function changes(timeZone: string): { from: number; at: number; change: number }[] {
  const format = new Intl.DateTimeFormat('en-US', { timeZone, timeZoneName: 'longOffset' });
  const offset = (at: number): number => {
    const [, sign, hours, minutes] = /GMT([+-])(\d+):(\d+)/.exec(format.format(at)) ?? [];
    return (sign === '-' ? -1 : 1) * (Number(hours ?? 0) * 60 + Number(minutes ?? 0)) * MINUTE;
  };
  const found: { from: number; at: number; change: number }[] = [];
  for (let day = Date.UTC(2026, 0); day < Date.UTC(2029, 0); day += 24 * HOUR) {
    if (offset(day) === offset(day + 24 * HOUR)) continue;
    let at = day;
    while (offset(at) === offset(day)) at += 15 * MINUTE;
    found.push({ from: at - 12 * HOUR, at, change: offset(at) - offset(day) });
  }
  return found;
}

/**
 * croner as the oracle, around every change of the clocks of three years in zones with changes of all kinds. Away from
 * the changes both give the same; at a change the two follow different rules, and ours are these: what is ours alone
 * lies within a gap's length after the gap, what is croner's alone in a fold's second passing or at the end of a gap.
 */
describe('croner, as an oracle, agrees', () => {
  const ZONES = [
    'UTC',
    'Europe/Berlin',
    'America/New_York',
    'America/St_Johns',
    'America/Havana',
    'America/Santiago',
    'Africa/Cairo',
    'Africa/Casablanca',
    'Asia/Beirut',
    'Asia/Kathmandu',
    'Australia/Lord_Howe',
    'Pacific/Chatham',
    'Pacific/Auckland',
    'Antarctica/Troll',
  ];
  const EXPRESSIONS = [
    '*/30 * * * *',
    '7 * * * *',
    '0 0 * * *',
    '30 0 * * *',
    '30 1 * * *',
    '30 2 * * *',
    '15 2 * * 0',
    '0 3 * * *',
    '*/20 1-3 * * *',
    '0 9 * * 1-5',
    '0 0 1 * *',
    '30 2 L * *',
    '0 12 * * 0#1',
    '0 0 13 * 5',
  ];

  it.each(ZONES)('in %s', (timeZone) => {
    const windows = [{ from: Date.UTC(2026, 5, 1), at: 0, change: 0 }, ...changes(timeZone)];
    for (const { from, at, change } of windows) {
      for (const cron of EXPRESSIONS) {
        const ours = within(from, (after) => nextSlot({ cron, timeZone }, after));
        const oracle = new Cron(cron, { timezone: timeZone, paused: true });
        const theirs = within(from, (after) => oracle.nextRun(new Date(after))?.getTime());
        const oursAlone = ours.filter((slot) => !theirs.includes(slot));
        const theirsAlone = theirs.filter((slot) => !ours.includes(slot));
        const where = `${cron} in ${timeZone} around ${new Date(at).toISOString()}`;
        for (const slot of oursAlone) expect(change > 0 && slot >= at && slot <= at + change, where).toBe(true);
        for (const slot of theirsAlone) {
          const inSecondPassing = change < 0 && slot >= at && slot < at - change;
          expect(inSecondPassing || (change > 0 && slot === at), where).toBe(true);
        }
      }
    }
  });
});
