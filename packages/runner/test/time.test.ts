import { describe, expect, it } from 'vitest';
import { momentOf, zonedText } from '../src/time.ts';

const utc = (...parts: [number, number, number, number, number]): number => {
  const [year, month, day, hour, minute] = parts;
  return Date.UTC(year, month - 1, day, hour, minute);
};

describe('a time', () => {
  it.each([
    ['2026-11-21T15:00:00', 'UTC', utc(2026, 11, 21, 15, 0)],
    ['2026-11-21T15:00', 'Europe/Berlin', utc(2026, 11, 21, 14, 0)],
    ['2026-07-01 09:30:00', 'America/New_York', utc(2026, 7, 1, 13, 30)],
    ['2026-11-21T15:00:00Z', 'Europe/Berlin', utc(2026, 11, 21, 15, 0)],
    ['2026-11-21T15:00:00.250+05:30', 'UTC', utc(2026, 11, 21, 9, 30)],
    ['2026-11-21T15:00:00-0800', 'UTC', utc(2026, 11, 21, 23, 0)],
    // The gap of a spring change moves on by the gap; the fold of an autumn change is the first of the two.
    ['2026-03-29T02:30:00', 'Europe/Berlin', utc(2026, 3, 29, 1, 30)],
    ['2026-10-25T02:30:00', 'Europe/Berlin', utc(2026, 10, 25, 0, 30)],
    ['2026-10-04T02:15:00', 'Australia/Lord_Howe', utc(2026, 10, 3, 15, 45)],
    ['2028-02-29T00:00:00', 'Pacific/Kiritimati', utc(2028, 2, 28, 10, 0)],
  ])('written %s in %s is one moment', (text, zone, at) => {
    expect(momentOf(text, zone)).toBe(at);
  });

  it.each([
    'tomorrow',
    '',
    '2026-02-30T10:00',
    '2026-13-01T10:00',
    '2026-11-21T24:30',
    '2026-11-21',
    '12:00',
    '2026-11-21T15:00 CET',
  ])('is not what %j says', (text) => {
    expect(momentOf(text, 'UTC')).toBeUndefined();
  });

  it('is shown in its zone, with the day of the week', () => {
    expect(zonedText(utc(2026, 1, 1, 0, 5), 'America/Los_Angeles')).toBe('2025-12-31 16:05 Wed');
    expect(() => zonedText(0, 'Mars/Olympus')).toThrow(RangeError);
  });
});
