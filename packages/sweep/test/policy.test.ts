import { describe, expect, it } from 'vitest';
import { checkedPolicy, SWEEP_POLICY, type SweepPolicy } from '../src/index.ts';
import { HOUR, MINUTE, SECOND } from './session.ts';

const liveness = (change: Partial<SweepPolicy['liveness']>): SweepPolicy => ({
  ...SWEEP_POLICY,
  liveness: { ...SWEEP_POLICY.liveness, ...change },
});

describe('the policy', () => {
  it('of the protocol is in order', () => {
    expect(checkedPolicy(SWEEP_POLICY)).toBe(SWEEP_POLICY);
    expect(SWEEP_POLICY.liveness).toMatchObject({ claimStuckMs: 60 * SECOND, silenceMaxMs: 30 * MINUTE });
    expect(SWEEP_POLICY.retry).toMatchObject({ triesMax: 5, backoffBaseMs: 5 * SECOND });
  });

  it.each<[string, SweepPolicy, RegExp]>([
    ['a grace of nothing', liveness({ graceMs: 0 }), /graceMs is 0/],
    ['a figure that is none', liveness({ claimStuckMs: Number.NaN }), /claimStuckMs is NaN/],
    [
      'a claim stuck later than silence',
      liveness({ claimStuckMs: HOUR }),
      /claimStuckMs .* must not be above its liveness.silenceMaxMs/,
    ],
    ['a tool longer than a claim', liveness({ toolTimeoutMaxMs: 7 * HOUR }), /toolTimeoutMaxMs .* must not be above/],
    [
      'an idle time within the grace',
      liveness({ graceMs: HOUR, silenceMaxMs: HOUR, idleMaxMs: MINUTE }),
      /graceMs .* above its liveness.idleMaxMs/,
    ],
    ['no tries', { ...SWEEP_POLICY, retry: { ...SWEEP_POLICY.retry, triesMax: 0 } }, /triesMax is 0/],
    [
      'a wait that shrinks',
      { ...SWEEP_POLICY, wake: { ...SWEEP_POLICY.wake, backoffMaxMs: SECOND } },
      /wake.backoffBaseMs .* must not be above/,
    ],
  ])('is refused with %s', (_name, policy, message) => {
    expect(() => checkedPolicy(policy)).toThrow(message);
  });
});
