/**
 * Upkeep of NanoClaw sessions: settle what runs have done, continue scheduled tasks, judge the run. The public surface,
 * in reading order. A bot calls `sweepSession` when it likes, or leaves the when to `SessionLoop` of `session-db`. Cron
 * with zones, without sessions, is `@nanoclaw/sweep/schedule`.
 */

export { checkedPolicy, type LivenessPolicy, SWEEP_POLICY, type SweepPolicy } from './policy.ts';
export {
  applyScheduling,
  isSchedulingAction,
  type SchedulingAction,
  type SchedulingLimits,
  type SchedulingOptions,
  type SchedulingRefusal,
  type SchedulingResult,
} from './scheduling.ts';
export {
  judgeSession,
  type Observation,
  observe,
  type Settling,
  type SweepReport,
  settleSession,
  sweepSession,
} from './sweep.ts';
export type { EndedRun, KillReason, NothingReason, RunState, Verdict, Vitals } from './verdict.ts';
