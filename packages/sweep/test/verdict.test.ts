import type { Ack, ToolInFlight } from '@nanoclaw/session-db';
import type { ContainerState } from '@nanoclaw/session-db/protocol';
import { describe, expect, it } from 'vitest';
import { type RunState, SWEEP_POLICY, type Verdict, type Vitals } from '../src/index.ts';
import { observed, type VerdictOptions, verdict } from '../src/verdict.ts';
import { HOUR, MINUTE, NOON, SECOND } from './session.ts';

const POLICY = SWEEP_POLICY.liveness;
const NONE: RunState = { type: 'none' };

function judged(given: Partial<VerdictOptions>): VerdictOptions {
  return { run: NONE, vitals: undefined, dueSince: undefined, held: undefined, steadySince: 0, ...given };
}

describe('the verdict without a live run', () => {
  const held = { reason: 'wake-backoff', until: NOON + MINUTE } as const;
  it.each<[string, Partial<VerdictOptions>, Verdict]>([
    ['nothing is due', {}, { type: 'nothing', reason: 'idle' }],
    ['something is due', { dueSince: NOON }, { type: 'wake' }],
    ['something is due, and wakes have failed', { dueSince: NOON, held }, { type: 'nothing', ...held }],
    ['the wait after failures is over', { dueSince: NOON, held: { ...held, until: NOON } }, { type: 'wake' }],
    ['nothing is due, and wakes have failed', { held }, { type: 'nothing', reason: 'idle' }],
    [
      'a run is being started',
      { dueSince: NOON, run: { type: 'starting', runId: 'r', since: NOON - HOUR } },
      { type: 'nothing', reason: 'starting' },
    ],
    [
      'failure 9: a run is being stopped',
      { dueSince: NOON, run: { type: 'stopping', runId: 'r', since: NOON - HOUR } },
      { type: 'nothing', reason: 'stopping' },
    ],
  ])('when %s', (_name, given, expected) => {
    expect(verdict(judged(given), NOON, POLICY)).toEqual(expected);
  });
});

/** What happens to a run over time; times are from NOON on. */
interface Step {
  readonly at: number;
  readonly heartbeat?: number;
  /** Claims by message, with the time the runner wrote. */
  readonly claims?: Record<string, number>;
  readonly progress?: number;
  readonly tools?: Record<string, { startedAt: number; timeoutMs: number | null }>;
  /** The file could not be read. */
  readonly unread?: boolean;
  readonly steadySince?: number;
  readonly dueSince?: number;
}

/** Walks a run that began at NOON − `age` through steps, and gives the last verdict in short. */
function walk(steps: readonly Step[], age = HOUR): string {
  let vitals: Vitals | undefined;
  let last: Verdict | undefined;
  for (const step of steps) {
    const now = NOON + step.at;
    const run = {
      type: 'live',
      runId: 'r',
      since: NOON - age,
      heartbeatAt: step.heartbeat === undefined ? undefined : NOON + step.heartbeat,
    } as const;
    vitals = observed(vitals, { run, wrote: step.unread ? undefined : wrote(step), proves: false }, now);
    const steadySince = step.steadySince === undefined ? 0 : NOON + step.steadySince;
    const dueSince = step.dueSince === undefined ? undefined : NOON + step.dueSince;
    last = verdict(judged({ run, vitals, steadySince, dueSince }), now, POLICY);
  }
  if (last?.type === 'kill') return last.tool === null ? last.reason : `${last.reason} (${last.tool})`;
  return last?.type === 'nothing' ? last.reason : 'wake';
}

function wrote(step: Step): { openClaims: Ack[]; container: ContainerState } {
  const openClaims = Object.entries(step.claims ?? {}).map(
    ([messageId, at]): Ack => ({
      messageId,
      attempt: 1,
      runId: 'r',
      status: 'processing',
      statusChanged: NOON + at,
      error: null,
    }),
  );
  const tools = Object.entries(step.tools ?? {}).map(
    ([name, tool]): ToolInFlight => ({
      toolUseId: name,
      name,
      startedAt: NOON + tool.startedAt,
      timeoutMs: tool.timeoutMs,
    }),
  );
  const container = {
    runId: 'r',
    protocolVersion: 1,
    runnerVersion: '0',
    provider: 'test',
    startedAt: NOON,
    progressAt: NOON + (step.progress ?? -HOUR),
    tools,
  };
  return { openClaims, container };
}

describe('the verdict over a live run', () => {
  it.each<[string, Step[], string]>([
    [
      'a claim without progress for under a minute',
      [
        { at: 0, claims: { m: 0 } },
        { at: 59 * SECOND, claims: { m: 0 } },
      ],
      'in-order',
    ],
    [
      'a claim without progress for a minute',
      [
        { at: 0, claims: { m: 0 } },
        { at: MINUTE, claims: { m: 0 } },
      ],
      'claim-stuck',
    ],
    [
      'a claim with progress since it',
      [
        { at: 0, claims: { m: 0 } },
        { at: 10 * MINUTE, claims: { m: 0 }, progress: SECOND },
      ],
      'in-order',
    ],
    ['progress before the first look', [{ at: 5 * MINUTE, claims: { m: 0 }, progress: SECOND }], 'in-order'],
    [
      'an old claim at the first look of a host that starts again',
      [{ at: 5 * MINUTE, claims: { m: 0 } }],
      'claim-stuck',
    ],
    [
      'failure 4: a model that thinks for 29 minutes after its last sign',
      [
        { at: 0, claims: { m: 0 }, progress: SECOND },
        { at: 29 * MINUTE, claims: { m: 0 }, progress: SECOND },
      ],
      'in-order',
    ],
    [
      'half an hour of silence at work, though the heart beats',
      [
        { at: 0, claims: { m: 0 }, progress: SECOND, heartbeat: 0 },
        { at: 31 * MINUTE, claims: { m: 0 }, progress: SECOND, heartbeat: 31 * MINUTE },
      ],
      'silent',
    ],
    [
      'failure 4: a follow-up to a turn that is at work does not make it stuck',
      [
        { at: 0, claims: { m: 0 }, progress: SECOND },
        { at: MINUTE, claims: { m: 0, n: MINUTE }, progress: SECOND },
        { at: 5 * MINUTE, claims: { m: 0, n: MINUTE }, progress: SECOND },
      ],
      'in-order',
    ],
    [
      'failure 4: a tool that declared an hour, after 50 minutes',
      [
        { at: 0, claims: { m: 0 }, progress: SECOND, tools: { Bash: { startedAt: SECOND, timeoutMs: HOUR } } },
        {
          at: 50 * MINUTE,
          claims: { m: 0 },
          progress: SECOND,
          tools: { Bash: { startedAt: SECOND, timeoutMs: HOUR } },
        },
      ],
      'in-order',
    ],
    [
      'a tool beyond what it declared',
      [
        { at: 0, claims: { m: 0 }, progress: SECOND, tools: { Bash: { startedAt: SECOND, timeoutMs: HOUR } } },
        {
          at: 61 * MINUTE,
          claims: { m: 0 },
          progress: SECOND,
          tools: { Bash: { startedAt: SECOND, timeoutMs: HOUR } },
        },
      ],
      'silent (Bash)',
    ],
    [
      'failure 4: of two tools at once the longer one counts',
      [
        {
          at: 40 * MINUTE,
          claims: { m: 0 },
          progress: SECOND,
          tools: { Grep: { startedAt: SECOND, timeoutMs: SECOND }, Bash: { startedAt: SECOND, timeoutMs: HOUR } },
        },
      ],
      'in-order',
    ],
    [
      'a tool that declared a year is held to two hours',
      [
        {
          at: 0,
          claims: { m: 0 },
          progress: SECOND,
          tools: { Bash: { startedAt: SECOND, timeoutMs: 365 * 24 * HOUR } },
        },
        {
          at: 2 * HOUR + 2 * SECOND,
          claims: { m: 0 },
          progress: SECOND,
          tools: { Bash: { startedAt: SECOND, timeoutMs: 365 * 24 * HOUR } },
        },
      ],
      'silent (Bash)',
    ],
    [
      'a claim made while a tool of the turn before still runs',
      [
        { at: 0, claims: { m: 0 }, tools: { Bash: { startedAt: -MINUTE, timeoutMs: 10 * MINUTE } } },
        { at: 5 * MINUTE, claims: { m: 0 }, tools: { Bash: { startedAt: -MINUTE, timeoutMs: 10 * MINUTE } } },
      ],
      'in-order',
    ],
    [
      'progress that never ends, on one claim for six hours',
      [
        { at: 0, claims: { m: 0 }, progress: SECOND },
        { at: 6 * HOUR, claims: { m: 0 }, progress: 6 * HOUR - SECOND },
      ],
      'claim-too-old',
    ],
    [
      'a heart that beats, with nothing to do',
      [
        { at: 0, heartbeat: 0 },
        { at: 40 * MINUTE, heartbeat: 40 * MINUTE - SECOND },
      ],
      'in-order',
    ],
    [
      'a heart that has stopped, with nothing to do',
      [
        { at: 0, heartbeat: 0 },
        { at: 31 * MINUTE, heartbeat: 0 },
      ],
      'silent',
    ],
    [
      'failure 3: a heartbeat dated in the future, that stays there',
      [
        { at: 0, heartbeat: 365 * 24 * HOUR },
        { at: 31 * MINUTE, heartbeat: 365 * 24 * HOUR },
      ],
      'silent',
    ],
    [
      'failure 3: progress dated in the future, that stays there',
      [
        { at: 0, claims: { m: 0 }, progress: 365 * 24 * HOUR },
        { at: 31 * MINUTE, claims: { m: 0 }, progress: 365 * 24 * HOUR },
      ],
      'silent',
    ],
    [
      'a claim dated in the future',
      [
        { at: 0, claims: { m: 365 * 24 * HOUR } },
        { at: MINUTE, claims: { m: 365 * 24 * HOUR } },
      ],
      'claim-stuck',
    ],
    [
      'failure 5: an hour without a claim',
      [
        { at: 0, heartbeat: 0 },
        { at: 61 * MINUTE, heartbeat: 61 * MINUTE },
      ],
      'idle',
    ],
    [
      'failure 5: an hour without a claim, and a message that has just become due',
      [
        { at: 0, heartbeat: 0 },
        { at: 61 * MINUTE, heartbeat: 61 * MINUTE, dueSince: 61 * MINUTE - SECOND },
      ],
      'in-order',
    ],
    [
      'failure 11: half an hour of silence that the machine slept through',
      [
        { at: 0, claims: { m: 0 }, progress: SECOND },
        { at: 8 * HOUR, claims: { m: 0 }, progress: SECOND, steadySince: 8 * HOUR },
      ],
      'grace',
    ],
    [
      'failure 11: a minute after a jump a claim from before it is not stuck yet by what it is now',
      [
        { at: 0, claims: { m: 0 }, progress: SECOND },
        { at: 8 * HOUR + 2 * MINUTE, claims: { m: 0 }, progress: SECOND, steadySince: 8 * HOUR },
      ],
      'in-order',
    ],
    [
      'failure 11: after the clock was set back, signs count though they are dated before the last ones',
      [
        { at: 5 * HOUR, claims: { m: 0 }, heartbeat: 5 * HOUR, progress: 5 * HOUR },
        { at: HOUR, claims: { m: 0 }, heartbeat: HOUR, progress: HOUR, steadySince: HOUR },
        { at: HOUR + 40 * MINUTE, claims: { m: 0 }, heartbeat: 0, progress: HOUR + 39 * MINUTE, steadySince: HOUR },
      ],
      'in-order',
    ],
    [
      'a file that cannot be read, and a heart that beats',
      [
        { at: 0, claims: { m: 0 }, progress: SECOND, heartbeat: 0 },
        { at: 20 * MINUTE, unread: true, heartbeat: 20 * MINUTE },
      ],
      'in-order',
    ],
  ])('%s', (_name, steps, expected) => {
    expect(walk(steps)).toBe(expected);
  });

  it('failure 3: is grace for a run younger than that, whatever it says and whatever was left of the one before', () => {
    expect(walk([{ at: 0, claims: { m: -HOUR }, heartbeat: -30 * 24 * HOUR }], 59 * SECOND)).toBe('grace');
    expect(walk([{ at: 0, heartbeat: -30 * 24 * HOUR }], 2 * MINUTE)).toBe('in-order');
  });

  it('says until when it holds if nothing changes', () => {
    const run = { type: 'live', runId: 'r', since: NOON - HOUR, heartbeatAt: undefined } as const;
    const vitals = observed(undefined, { run, wrote: wrote({ at: 0, claims: { m: 0 } }), proves: false }, NOON);
    expect(verdict(judged({ run, vitals }), NOON, POLICY)).toEqual({
      type: 'nothing',
      reason: 'in-order',
      until: NOON + MINUTE,
    });
  });
});
