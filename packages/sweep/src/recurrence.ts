/**
 * When a series runs: cron expressions and intervals in time zones, as pure functions.
 *
 * cron-parser does the arithmetic, on wall-clock time alone; what a wall-clock time means in a zone is decided here.
 * (Given a zone, cron-parser 5.10 loses a slot in a half-hour gap, loses one when asked from within a gap, and fires
 * twice when asked from within a fold. So a slot would depend on when one asks.)
 *
 * A time in the spring gap runs once, shifted by the gap. One in the autumn fold runs once, at its first passing; an
 * expression for every hour runs in both passings, because it means "each hour" and not "at two o'clock".
 */
import type { Millis } from '@nanoclaw/session-db';
import { cut, zoneProblem } from '@nanoclaw/session-db/text';
import { type CronExpression, CronExpressionParser } from 'cron-parser';
import { expressionProblem, type Interval, intervalOf } from './expression.ts';

/** A cron expression of five fields or an interval, read in an IANA zone. */
export interface Timing {
  /**
   * Minute, hour, day of the month, month, day of the week; or `every 90 minutes from 2026-01-31T09:00:00Z`, an interval
   * from its first time on, of minutes, hours, days or weeks. One that does not say where it begins does so in 1970.
   */
  readonly cron: string;
  /** By its name in the IANA database, such as `Europe/Berlin`. */
  readonly timeZone: string;
}

/** The first slot after `after`; `undefined` when there is none. Throws `TimingError`. */
export function nextSlot(timing: Timing, after: Millis): Millis | undefined {
  const offsetAt = zoneOffsets(timing.timeZone);
  const interval = intervalOf(timing.cron);
  if (interval !== undefined) return nextOfInterval(interval, offsetAt, after);
  // Near a change of the clocks, wall-clock times of up to the change ago may still lie ahead.
  const change = clockChangeMs(offsetAt, after);
  const walls = wallTimes(timing.cron, after + offsetAt(after) - change);
  let best: { readonly slot: Millis; readonly wallsUpTo: Millis } | undefined;
  for (let wall = walls.next(); wall !== undefined; wall = walls.next()) {
    if (best !== undefined && wall > best.wallsUpTo) break;
    for (const slot of instants(wall, offsetAt, walls.everyHour)) {
      if (slot <= after || (best !== undefined && slot >= best.slot)) continue;
      best = { slot, wallsUpTo: slot + offsetAt(slot) + clockChangeMs(offsetAt, slot) };
      if (clockChangeMs(offsetAt, slot) === 0) return slot;
    }
  }
  return best?.slot;
}

/**
 * The first time of an interval after `after`. Minutes and hours are counted as they pass; days and weeks keep the time of
 * day that they began at, whatever the clocks do. Each is computed from the beginning, so nothing adds up.
 */
function nextOfInterval({ count, unit, from = 0 }: Interval, offsetAt: (at: Millis) => number, after: Millis): Millis {
  const step = count * UNIT_MS[unit];
  if (unit === 'minute' || unit === 'hour') return from + Math.max(0, Math.floor((after - from) / step) + 1) * step;
  const wall = from + offsetAt(from);
  for (let index = Math.max(0, Math.floor((after + offsetAt(after) - wall) / step) - 1); ; index += 1) {
    const [slot = from] = instants(wall + index * step, offsetAt, false);
    if (slot > after) return slot;
  }
}

/** An expression or a zone cannot be read. Of one that was checked when it was written: this machine does not know it. */
export class TimingError extends Error {
  override readonly name = 'TimingError';
  /** It was read, and no date fits it. */
  readonly isNever: boolean;

  constructor(message: string, { isNever = false, ...options }: ErrorOptions & { isNever?: boolean } = {}) {
    super(message, options);
    this.isNever = isNever;
  }
}

/**
 * The last slots with `after` < slot ≤ `until`, at most `max`, oldest first. Its cost follows `max` and not the span, so
 * a minutely series that slept for a year costs as much as one that slept for an hour.
 */
export function lastSlots(timing: Timing, after: Millis, until: Millis, max: number): Millis[] {
  for (let span = Math.max(max, 1) * MINUTE_MS; ; span *= 4) {
    const from = Math.max(after, until - span);
    const slots: Millis[] = [];
    for (let slot = nextSlot(timing, from); slot !== undefined && slot <= until; slot = nextSlot(timing, slot)) {
      slots.push(slot);
    }
    if (slots.length >= max || from === after) return slots.slice(-max);
  }
}

/** What a series' timing must keep to. */
export interface TimingLimits {
  /** In characters. */
  readonly expressionLengthMax: number;
  /** The least time between two slots, in milliseconds. */
  readonly intervalMinMs: number;
}

/** Whether a timing can be used. */
export type TimingCheck =
  | {
      readonly type: 'fine';
      /** The first slot after now. */
      readonly next: Millis;
    }
  | {
      readonly type: 'refused';
      /** Why it cannot be used, as one sentence for the agent that wrote it. */
      readonly message: string;
    };

/**
 * Whether an expression and a zone may be scheduled: five fields or an interval of bounded length, a known zone, a slot after `now`,
 * and no two slots closer than the least interval among the next 64 or those of the next year.
 */
export function checkTiming(timing: Timing, now: Millis, limits: TimingLimits): TimingCheck {
  const problem = zoneRefusal(timing.timeZone) ?? expressionProblem(timing.cron, limits.expressionLengthMax);
  if (problem !== undefined) return { type: 'refused', message: problem };
  const first = firstSlot(timing, now);
  if (typeof first === 'string') return { type: 'refused', message: first };
  let slot = first;
  for (let looked = 0; looked < 64 && slot < first + YEAR_MS; looked++) {
    const then = nextSlot(timing, slot);
    if (then === undefined) break;
    if (then - slot < limits.intervalMinMs) {
      return {
        type: 'refused',
        message:
          `${quoted(timing.cron)} comes again after ${(then - slot) / 1000} s, and ` +
          `${limits.intervalMinMs / 1000} s is the least here. Nothing was changed; choose a longer interval.`,
      };
    }
    slot = then;
  }
  return { type: 'fine', next: first };
}

/** The first slot after `now`, or why there is none. */
function firstSlot(timing: Timing, now: Millis): Millis | string {
  const never = `${quoted(timing.cron)} never comes: no date fits it. Nothing was changed; check its day and month.`;
  try {
    const first = nextSlot(timing, now);
    if (first !== undefined && first > now + AHEAD_MAX_MS) {
      return `${quoted(timing.cron)} comes first in more than ten years. Nothing was changed; choose a shorter interval.`;
    }
    return first ?? never;
  } catch (error) {
    if (!(error instanceof TimingError)) throw error;
    return error.isNever ? never : `${error.message} Nothing was changed; write it in another way.`;
  }
}

/**
 * The instant of a wall-clock time in a zone: in a gap, shifted by the gap; in a fold, its first passing. `wall` is the
 * time as though it were UTC, in milliseconds. Throws `TimingError` on an unknown zone.
 */
export function instantOf(wall: Millis, timeZone: string): Millis {
  const [first] = instants(wall, zoneOffsets(timeZone), false);
  return first ?? wall;
}

/** What is wrong with a zone's name, as a sentence for the agent that wrote it; `undefined`: nothing. */
export function zoneRefusal(timeZone: string): string | undefined {
  const problem = zoneProblem(timeZone);
  return problem === undefined ? undefined : `${problem} Nothing was changed.`;
}

/** The wall-clock times of an expression after `after`, as though UTC. */
function wallTimes(cron: string, after: Millis): { readonly everyHour: boolean; next(): Millis | undefined } {
  const expression = parsed(cron, after);
  return { everyHour: expression.fields.hour.values.length === 24, next: () => following(expression) };
}

function parsed(cron: string, after: Millis): CronExpression {
  try {
    return CronExpressionParser.parse(cron, { tz: 'UTC', currentDate: new Date(after) });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const isNever = reason.includes('day of month definition');
    throw new TimingError(`${quoted(cron)} cannot be read as cron: ${reason}.`, { cause: error, isNever });
  }
}

function following(expression: CronExpression): Millis | undefined {
  try {
    return expression.next().getTime();
  } catch (error) {
    // It has looked years ahead and found nothing; the expression itself was read before.
    if (error instanceof Error && error.message.includes('loop limit')) return undefined;
    throw error;
  }
}

/** The instants at which a zone's clocks show `wall`: one as a rule; in a fold both, if asked for; in a gap, shifted. */
function instants(wall: Millis, offsetAt: (at: Millis) => number, bothPassings: boolean): Millis[] {
  const before = wall - offsetAt(wall - DAY_MS);
  const after = wall - offsetAt(wall + DAY_MS);
  if (before === after) return [before];
  const shown = [before, after].filter((at) => at + offsetAt(at) === wall).toSorted((a, b) => a - b);
  if (shown.length === 0) return [before];
  return bothPassings ? shown : shown.slice(0, 1);
}

/** How far the clocks are moved within a day or so around `at`, in milliseconds; mostly 0. */
function clockChangeMs(offsetAt: (at: Millis) => number, at: Millis): number {
  const offsets = [offsetAt(at - DAY_MS - HOUR_MS), offsetAt(at), offsetAt(at + DAY_MS + HOUR_MS)];
  return Math.max(...offsets) - Math.min(...offsets);
}

/** A zone's offset from UTC at an instant, in milliseconds. */
function zoneOffsets(timeZone: string): (at: Millis) => number {
  if (timeZone === 'UTC') return () => 0;
  const format = zoneFormat(timeZone);
  return (at) => {
    // Such as "2026, GMT+05:30", or "GMT" alone for none.
    const [, sign, hours, minutes, seconds] = /GMT([+-])(\d+):(\d+)(?::(\d+))?/.exec(format.format(at)) ?? [];
    const size = Number(hours ?? 0) * HOUR_MS + Number(minutes ?? 0) * MINUTE_MS + Number(seconds ?? 0) * 1000;
    return sign === '-' ? -size : size;
  };
}

/** Shows an instant's year and offset in a zone. */
function zoneFormat(timeZone: string): Intl.DateTimeFormat {
  try {
    return new Intl.DateTimeFormat('en-US', { timeZone, timeZoneName: 'longOffset', year: 'numeric' });
  } catch (error) {
    throw new TimingError(`${quoted(timeZone)} is not a time zone that this machine knows.`, { cause: error });
  }
}

function quoted(text: string): string {
  return JSON.stringify(cut(text, 60));
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const YEAR_MS = 366 * DAY_MS;
const AHEAD_MAX_MS = 10 * YEAR_MS;
const UNIT_MS: Readonly<Record<Interval['unit'], Millis>> = {
  minute: MINUTE_MS,
  hour: HOUR_MS,
  day: DAY_MS,
  week: 7 * DAY_MS,
};
