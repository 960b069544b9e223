/**
 * The figures that a sweep goes by, and the check that they make sense together. All times in milliseconds.
 */
import { type DeferralPolicy, INBOUND_DEFERRAL, INBOUND_RETRY, type RetryPolicy } from '@nanoclaw/session-db';
import { DEFERRAL_KINDS, type TroublePolicy } from '@nanoclaw/session-db/protocol';

/** When a run is given up. */
export interface LivenessPolicy {
  /** A run younger than this is not killed, nor is any run for so long after a jump of the clock. */
  readonly graceMs: number;
  /** A claim older than this, with no progress since it, is stuck. */
  readonly claimStuckMs: number;
  /** A run without any sign for so long is silent. */
  readonly silenceMaxMs: number;
  /** The most that a tool's declared time-out stretches either limit. */
  readonly toolTimeoutMaxMs: number;
  /** A claim older than this ends its run, whatever the container says of its progress. */
  readonly claimMaxMs: number;
  /** A run that has held no claim for so long should have left by itself. */
  readonly idleMaxMs: number;
}

/** When the host tries again, ends runs, and leaves a session alone. */
export interface SweepPolicy {
  /** Attempts at a message. */
  readonly retry: RetryPolicy;
  /** Messages whose model is in the way. */
  readonly deferral: DeferralPolicy;
  /** When a run counts as stuck. */
  readonly liveness: LivenessPolicy;
  /** Runs that cannot be started. */
  readonly wake: TroublePolicy;
  /** Files of a container that cannot be read. */
  readonly quarantine: TroublePolicy;
  /** An occurrence that no run could take for so long after its time is missed, for series that skip those. */
  readonly missedAfterMs: number;
}

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/**
 * 60 s of grace, 60 s for a claim without progress, 30 min of silence, either stretched by a tool's time-out of up to
 * 2 h; 6 h for one claim; 1 h idle. A wake that fails is tried again after 5 s, 10 s, 20 s, 40 s, then every 15 min,
 * and the chat is told after the third.
 */
export const SWEEP_POLICY: SweepPolicy = {
  retry: INBOUND_RETRY,
  deferral: INBOUND_DEFERRAL,
  liveness: {
    graceMs: MINUTE,
    claimStuckMs: MINUTE,
    silenceMaxMs: 30 * MINUTE,
    toolTimeoutMaxMs: 2 * HOUR,
    claimMaxMs: 6 * HOUR,
    idleMaxMs: HOUR,
  },
  wake: { backoffBaseMs: 5 * SECOND, backoffMaxMs: 15 * MINUTE, breakAfter: 5, noticeAfter: 3 },
  quarantine: { backoffBaseMs: MINUTE, backoffMaxMs: HOUR, breakAfter: 7, noticeAfter: 3 },
  missedAfterMs: MINUTE,
};

/**
 * Returns the policy, or throws `RangeError` that names the first figure out of its range or order. To be called once,
 * at start: a policy whose limits stand in the wrong order kills what it should wait for.
 */
export function checkedPolicy(policy: SweepPolicy): SweepPolicy {
  const { liveness, retry, deferral, wake, quarantine } = policy;
  const DAY = 24 * HOUR;
  inRange('liveness.graceMs', liveness.graceMs, SECOND, HOUR);
  inRange('liveness.claimStuckMs', liveness.claimStuckMs, 10 * SECOND, HOUR);
  inRange('liveness.silenceMaxMs', liveness.silenceMaxMs, MINUTE, DAY);
  inRange('liveness.toolTimeoutMaxMs', liveness.toolTimeoutMaxMs, SECOND, DAY);
  inRange('liveness.claimMaxMs', liveness.claimMaxMs, MINUTE, 7 * DAY);
  inRange('liveness.idleMaxMs', liveness.idleMaxMs, MINUTE, 7 * DAY);
  inRange('retry.triesMax', retry.triesMax, 1, 100);
  inRange('retry.backoffBaseMs', retry.backoffBaseMs, 1, HOUR);
  inRange('retry.backoffMaxMs', retry.backoffMaxMs, 1, DAY);
  for (const kind of DEFERRAL_KINDS) {
    inRange(`deferral.waitBaseMs.${kind}`, deferral.waitBaseMs[kind], SECOND, DAY);
    inRange(`deferral.waitMaxMs.${kind}`, deferral.waitMaxMs[kind], SECOND, DAY);
    inOrder(
      `deferral.waitBaseMs.${kind}`,
      deferral.waitBaseMs[kind],
      `deferral.waitMaxMs.${kind}`,
      deferral.waitMaxMs[kind],
    );
  }
  inRange('deferral.retryAfterMaxMs', deferral.retryAfterMaxMs, SECOND, DAY);
  inRange('deferral.totalMaxMs', deferral.totalMaxMs, HOUR, 365 * DAY);
  inRange('deferral.noticeAfterMs', deferral.noticeAfterMs, 0, DAY);
  inRange('missedAfterMs', policy.missedAfterMs, SECOND, DAY);
  for (const [name, trouble] of Object.entries({ wake, quarantine })) {
    inRange(`${name}.backoffBaseMs`, trouble.backoffBaseMs, SECOND, HOUR);
    inRange(`${name}.backoffMaxMs`, trouble.backoffMaxMs, SECOND, DAY);
    inRange(`${name}.breakAfter`, trouble.breakAfter, 1, 100);
    inRange(`${name}.noticeAfter`, trouble.noticeAfter, 1, 100);
    inOrder(`${name}.backoffBaseMs`, trouble.backoffBaseMs, `${name}.backoffMaxMs`, trouble.backoffMaxMs);
  }
  inOrder('retry.backoffBaseMs', retry.backoffBaseMs, 'retry.backoffMaxMs', retry.backoffMaxMs);
  inOrder('liveness.graceMs', liveness.graceMs, 'liveness.silenceMaxMs', liveness.silenceMaxMs);
  inOrder('liveness.claimStuckMs', liveness.claimStuckMs, 'liveness.silenceMaxMs', liveness.silenceMaxMs);
  inOrder('liveness.silenceMaxMs', liveness.silenceMaxMs, 'liveness.claimMaxMs', liveness.claimMaxMs);
  inOrder('liveness.toolTimeoutMaxMs', liveness.toolTimeoutMaxMs, 'liveness.claimMaxMs', liveness.claimMaxMs);
  inOrder('liveness.graceMs', liveness.graceMs, 'liveness.idleMaxMs', liveness.idleMaxMs);
  return policy;
}

function inRange(name: string, value: number, least: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return;
  throw new RangeError(`The sweep's ${name} is ${value}, and must be a whole number from ${least} to ${most}.`);
}

function inOrder(name: string, value: number, otherName: string, other: number): void {
  if (value <= other) return;
  throw new RangeError(`The sweep's ${name} (${value}) must not be above its ${otherName} (${other}).`);
}
