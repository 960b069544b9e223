/** Whether the clock can be believed: jumps of the wall clock and sleeps of the machine, from two clocks compared. */
import type { Millis } from './time.ts';

/** The two clocks at one moment. */
export interface ClockReading {
  /** The wall clock: epoch milliseconds. */
  readonly wall: Millis;
  /** A clock that is never set, in milliseconds from anywhere. */
  readonly monotonic: number;
}

/** The clocks as of the last reading. */
export interface ClockState extends ClockReading {
  /** Since when, by the wall clock, both have run evenly: the last jump or sleep, or the first reading. */
  readonly steadySince: Millis;
}

/** What is taken for an even clock. */
export interface ClockLimits {
  /** The clocks may differ by this between two readings, in milliseconds: what is adjusted smoothly, not set. */
  readonly jumpMs: number;
  /** Two readings further apart than this, in milliseconds, had a sleep between them. */
  readonly gapMs: number;
}

/**
 * The state after one more reading. A set clock shows as a difference between the two; a sleep does where the monotonic
 * clock stands still meanwhile, and as a gap between readings where it does not.
 */
export function nextClockState(
  before: ClockState | undefined,
  reading: ClockReading,
  { jumpMs, gapMs }: ClockLimits,
): ClockState {
  if (before === undefined) return { ...reading, steadySince: reading.wall };
  const wallMs = reading.wall - before.wall;
  const monotonicMs = reading.monotonic - before.monotonic;
  const isUneven = Math.abs(wallMs - monotonicMs) > jumpMs || monotonicMs > gapMs;
  return { ...reading, steadySince: isUneven ? reading.wall : before.steadySince };
}
