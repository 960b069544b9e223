/**
 * Times as people and models write them: wall-clock times of a zone. Pure; the zone's rules are the runtime's.
 */
import type { Millis } from '@nanoclaw/session-db';

/** A time as `2026-11-21 09:51 Sat` in an IANA zone. Throws `RangeError` for a zone that the runtime does not know. */
export function zonedText(at: Millis, timeZone: string): string {
  const { year, month, day, hour, minute } = wallClock(at, timeZone);
  const weekday = new Intl.DateTimeFormat('en-GB', { timeZone, weekday: 'short' }).format(at);
  return `${pad(year, 4)}-${pad(month, 2)}-${pad(day, 2)} ${pad(hour, 2)}:${pad(minute, 2)} ${weekday}`;
}

const ISO = /^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:\.\d{1,9})?)?\s*(Z|[+-]\d\d:?\d\d)?$/i;

/**
 * The moment that an ISO 8601 text names: `2026-11-21T09:51:00`, read in `timeZone` unless it ends in `Z` or an offset.
 * `undefined` for anything else, and for a day or hour that does not exist. In the gap of a spring change the time
 * moves on by the gap; in the fold of an autumn change it is the first of the two.
 */
export function momentOf(text: string, timeZone: string): Millis | undefined {
  const [matched, ...parts] = ISO.exec(text.trim()) ?? [];
  if (matched === undefined) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts
    .slice(0, 6)
    .map((part) => Number(part ?? 0));
  const asUtc = Date.UTC(year, month - 1, day, hour, minute, second);
  const back = new Date(asUtc);
  if (back.getUTCMonth() !== month - 1 || back.getUTCDate() !== day || hour > 23 || minute > 59 || second > 59) {
    return undefined;
  }
  const offset = parts[6]?.toUpperCase();
  if (offset === undefined) return zonedMoment(asUtc, timeZone);
  return asUtc - offsetMs(offset);
}

function offsetMs(offset: string): Millis {
  if (offset === 'Z') return 0;
  const minutes = Number(offset.slice(1, 3)) * 60 + Number(offset.slice(-2));
  return (offset.startsWith('-') ? -minutes : minutes) * 60_000;
}

/** The moment at which the zone's clock shows what a UTC clock shows at `asUtc`. */
function zonedMoment(asUtc: Millis, timeZone: string): Millis {
  // The offset a day before and a day after are the two that can hold; both fit in a fold, neither in a gap.
  const before = offsetAt(asUtc - 86_400_000, timeZone);
  const after = offsetAt(asUtc + 86_400_000, timeZone);
  const candidates = [asUtc - before, asUtc - after];
  const fitting = candidates.filter((at) => at + offsetAt(at, timeZone) === asUtc);
  return fitting.length > 0 ? Math.min(...fitting) : asUtc - before;
}

function offsetAt(at: Millis, timeZone: string): Millis {
  const { year, month, day, hour, minute, second } = wallClock(at, timeZone);
  return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(at / 1000) * 1000;
}

interface WallClock {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
}

function wallClock(at: Millis, timeZone: string): WallClock {
  const parts = new Intl.DateTimeFormat('en-GB', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  }).formatToParts(at);
  const part = (type: string): number => Number(parts.find((one) => one.type === type)?.value ?? 0);
  return {
    year: part('year'),
    month: part('month'),
    day: part('day'),
    hour: part('hour'),
    minute: part('minute'),
    second: part('second'),
  };
}

function pad(value: number, width: number): string {
  return String(value).padStart(width, '0');
}
