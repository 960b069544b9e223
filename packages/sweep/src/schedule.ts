/** Schedules alone: cron expressions in IANA zones, and the slots they name. */
export { checkTiming, nextSlot, type Timing, type TimingCheck, type TimingLimits } from './recurrence.ts';
