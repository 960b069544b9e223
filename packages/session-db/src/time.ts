/** Time as every package takes it: an argument. Declared here once, for all of them. */

/** Epoch milliseconds, UTC: the only form of time. */
export type Millis = number;

/**
 * Calls `action` once after `delayMs` milliseconds and returns what cancels it. It belongs to the program that owns the process;
 * libraries never wait by themselves.
 */
export type SetTimer = (delayMs: Millis, action: () => void) => () => void;

/** The time and timers of a process, for code that reacts between two calls. */
export interface Clock {
  /** The time now. */
  now(): Millis;
  /** Calls back once, later. */
  readonly setTimer: SetTimer;
}
