/**
 * Upkeep of NanoClaw sessions: settle what runs have done, continue scheduled tasks, judge the run. The public surface,
 * in reading order. A bot calls `sweepSession` when it likes, or leaves the when to `SweepLoop`.
 */

export { type ClockFigures, type ClockReading, type ClockState, clockLook } from './clock.js';
export {
  SWEEP_LOOP,
  SweepLoop,
  type SweepLoopFigures,
  type SweepLoopPorts,
  type VisitTrouble,
} from './loop.js';
export { afterEnd, type Facts, jitterOf, OPEN_MAX, plan, type SeriesPlan } from './occurrences.js';
export { checkedPolicy, type LivenessPolicy, SWEEP_POLICY, type SweepPolicy } from './policy.js';
export {
  checkTiming,
  instantOf,
  lastSlots,
  nextSlot,
  type Timing,
  type TimingCheck,
  type TimingLimits,
  zoneProblem,
} from './recurrence.js';
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
} from './scheduling.js';
export { type Observation, observe, type SweepReport, sweepSession } from './sweep.js';
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
} from './verdict.js';
