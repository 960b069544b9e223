/** Whether the clock can be believed: jumps of the wall clock and sleeps of the machine, from two clocks compared. */
import type { Millis } from '@nanoclaw/session-db';

/** The two clocks at one moment. */
export interface ClockReading {
  /** The wall clock: epoch milliseconds. */
  readonly wall: Millis;
  /** A clock that is never set, in milliseconds from anywhere. */
  readonly monotonic: number;
}

export interface ClockState extends ClockReading {
  /** Since when, by the wall clock, both have run evenly: the last jump or sleep, or the first look. */
  readonly steadySince: Millis;
}

export interface ClockFigures {
  /** The clocks may differ by this between two looks, in milliseconds: what is adjusted smoothly, not set. */
  readonly jumpMs: number;
  /** Two looks further apart than this, in milliseconds, had a sleep between them. */
  readonly gapMs: number;
}

/**
 * The state after one more look. A set clock shows as a difference between the two; a sleep does where the monotonic
 * clock stands still meanwhile, and as a gap between looks where it does not.
 */
export function clockLook(before: ClockState | undefined, reading: ClockReading, figures: ClockFigures): ClockState {
  if (before === undefined) return { ...reading, steadySince: reading.wall };
  const wallMs = reading.wall - before.wall;
  const monotonicMs = reading.monotonic - before.monotonic;
  const uneven = Math.abs(wallMs - monotonicMs) > figures.jumpMs || monotonicMs > figures.gapMs;
  return { ...reading, steadySince: uneven ? reading.wall : before.steadySince };
}
