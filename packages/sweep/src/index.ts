/**
 * Upkeep of NanoClaw sessions: settle what runs have done, continue scheduled tasks, judge the run. The public surface,
 * in reading order. A bot calls `sweepSession` when it likes, or leaves the when to `SessionLoop` of `session-db`.
 */

export { afterEnd, type Facts, jitterOf, OPEN_MAX, plan, type SeriesPlan } from './occurrences.ts';
export { checkedPolicy, type LivenessPolicy, SWEEP_POLICY, type SweepPolicy } from './policy.ts';
export {
  checkTiming,
  instantOf,
  lastSlots,
  nextSlot,
  type Timing,
  type TimingCheck,
  type TimingLimits,
  zoneProblem,
} from './recurrence.ts';
export {
  applyScheduling,
  isSchedulingAction,
  SCHEDULING_ACTIONS,
  SCHEDULING_LIMITS,
  type SchedulingAction,
  type SchedulingContext,
  type SchedulingLimits,
  type SchedulingRefusal,
  type SchedulingResult,
} from './scheduling.ts';
export { type Observation, observe, type SweepReport, sweepSession } from './sweep.ts';
export {
  type Because,
  type EndedRun,
  type Judged,
  type KillReason,
  observed,
  type RunState,
  type Sighting,
  type Signal,
  type ToolSeen,
  type Verdict,
  type Vitals,
  verdict,
} from './verdict.ts';
