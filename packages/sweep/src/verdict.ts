/**
 * What should become of a session's run: nothing, a start, or a kill. Pure.
 *
 * Three signals, never confused: the process is alive (the runtime's word, the heartbeat), it makes progress (the
 * provider's and the tools' events), and how long its claims are open. What the container says of itself counts from
 * when the host saw it change, so that a false date shortens a life and never lengthens it.
 */
import type { Ack, Millis } from '@nanoclaw/session-db';
import type { ContainerState } from '@nanoclaw/session-db/protocol';
import type { LivenessPolicy } from './policy.ts';

/** What the host knows of a session's run, from the container runtime. */
export type RunState =
  /** The runtime confirms that there is none. */
  | {
      readonly type: 'none';
      /** The last run, where one is known. */
      readonly ended?: EndedRun;
    }
  /** It is being started; the runtime has not said yet that it runs. */
  | {
      readonly type: 'starting';
      /** The run that is being started. */
      readonly runId: string;
      /** When its start began. */
      readonly since: Millis;
    }
  | {
      readonly type: 'live';
      /** The run that is alive. */
      readonly runId: string;
      /** When it started, by the runtime's word. */
      readonly since: Millis;
      /**
       * The heartbeat file's time as it stands, also when that lies ahead (`lastBeat` up to infinity): a time cut off at
       * now would seem to advance with every look. `undefined` when there is no such file.
       */
      readonly heartbeatAt: Millis | undefined;
    }
  /** It is being stopped, and its end is not confirmed. */
  | {
      readonly type: 'stopping';
      /** The run that is being stopped. */
      readonly runId: string;
      /** When its stop began. */
      readonly since: Millis;
    };

/** A run whose end the runtime has confirmed. */
export interface EndedRun {
  /** Which run it was. */
  readonly runId: string;
  /** How long it lived, in milliseconds; 0 when it could not be started. */
  readonly livedMs: number;
  /** `left`: it ended as it should, or was stopped. `failed`: it could not be started, or ended with an error. */
  readonly how:
    | { readonly type: 'left' }
    | {
        readonly type: 'failed';
        /** What went wrong, as one sentence. */
        readonly reason: string;
      };
}

/** What the host has seen of a session's last run, carried from pass to pass. */
export interface Vitals {
  /** The run that it was seen of. */
  readonly runId: string;
  /** It has shown that runs can be started, by taking a message or by its age; or it is over and that is counted. */
  readonly proved: boolean;
  /** The time of its heartbeat file. */
  readonly heartbeat: Signal;
  /** The last sign of progress that it wrote. */
  readonly progress: Signal;
  /** Its open claims, by message and attempt, each as of when it was first seen. */
  readonly claims: Readonly<Record<string, ClaimSeen>>;
  /** The tools it waits for, by their use, each as of when it was first seen. */
  readonly tools: Readonly<Record<string, ToolSeen>>;
  /** When the run last held a claim; its start when it never has. */
  readonly busyAt: Millis;
}

/** What a container wrote, and when the host saw it advance. */
export interface Signal {
  readonly said: Millis | undefined;
  readonly at: Millis;
}

/** An open claim: when the run says that it took the message, and when the host first saw that. */
interface ClaimSeen {
  readonly said: Millis;
  readonly at: Millis;
}

export interface ToolSeen {
  readonly name: string;
  readonly at: Millis;
  /** What it declared it may take; `null` when it declared nothing. */
  readonly timeoutMs: number | null;
}

/** What the host is to do with a session's run. */
export type Verdict =
  | {
      readonly type: 'nothing';
      /** Why not. */
      readonly reason: NothingReason;
      /** When the reason may be over; `undefined`: only an event ends it. */
      readonly until?: Millis;
    }
  | { readonly type: 'wake' }
  | {
      readonly type: 'kill';
      /** The run to be ended. */
      readonly runId: string;
      /** Why, for the log and the sender. */
      readonly reason: KillReason;
      /** The tool that it waited for; `null`: none. */
      readonly tool: string | null;
    };

/** Why nothing is to be done. */
export type NothingReason = 'idle' | 'in-order' | 'starting' | 'stopping' | 'wake-backoff' | 'quarantine' | 'grace';

/** Why a run is ended. */
export type KillReason =
  /** A claim, and no progress since it. */
  | 'claim-stuck'
  /** No sign for too long: no progress of a run at work, no heartbeat of one that waits. */
  | 'silent'
  /** A claim open for longer than anything may take. */
  | 'claim-too-old'
  /** Nothing to do for too long: it should have left by itself. */
  | 'idle';

export interface VerdictOptions {
  readonly run: RunState;
  /** Of the live run; of an earlier one or `undefined` when there is none. */
  readonly vitals: Vitals | undefined;
  /** When the oldest message that is due became so; `undefined` when none is due. */
  readonly dueSince: Millis | undefined;
  /** No run is started before this time, and why. */
  readonly held: { readonly reason: 'wake-backoff' | 'quarantine'; readonly until: Millis } | undefined;
  /** Since when the clock has run evenly: the last jump or sleep, or the host's start. */
  readonly steadySince: Millis;
}

/** Decides what should become of the run at `now`. */
export function verdict(options: VerdictOptions, now: Millis, policy: LivenessPolicy): Verdict {
  const { run, dueSince, held } = options;
  switch (run.type) {
    case 'none':
      if (dueSince === undefined) return { type: 'nothing', reason: 'idle' };
      if (held !== undefined && held.until > now) return { type: 'nothing', ...held };
      return { type: 'wake' };
    case 'starting':
    case 'stopping':
      return { type: 'nothing', reason: run.type };
    case 'live':
      if (options.vitals?.runId !== run.runId) return { type: 'nothing', reason: 'grace' };
      return liveRunVerdict(options.vitals, run.since, options, now, policy);
  }
}

function liveRunVerdict(
  vitals: Vitals,
  since: Millis,
  options: VerdictOptions,
  now: Millis,
  policy: LivenessPolicy,
): Verdict {
  // After a jump every age starts anew: what happened while the machine slept is not the run's silence.
  // A start that lies ahead was by a clock that has been set back since.
  const from = since > now ? options.steadySince : Math.max(since, options.steadySince);
  if (now - from < policy.graceMs) return { type: 'nothing', reason: 'grace', until: from + policy.graceMs };

  const limits = killLimits(vitals, from, options.dueSince, policy);
  const over = limits.find((limit) => limit.at <= now);
  if (over !== undefined) return { type: 'kill', runId: vitals.runId, reason: over.reason, tool: waitedFor(vitals) };
  return { type: 'nothing', reason: 'in-order', until: Math.min(...limits.map((limit) => limit.at)) };
}

interface KillLimit {
  readonly reason: KillReason;
  /** From this time on the run is to be killed for it, if nothing changes. */
  readonly at: Millis;
}

function killLimits(vitals: Vitals, from: Millis, dueSince: Millis | undefined, policy: LivenessPolicy): KillLimit[] {
  const claims = Object.values(vitals.claims);
  if (claims.length === 0) {
    const idleFrom = Math.max(vitals.busyAt, from);
    // A message that has just become due is about to be claimed: no time-out may race with that.
    const idleAt = Math.max(idleFrom + policy.idleMaxMs, dueSince === undefined ? 0 : dueSince + policy.graceMs);
    return [
      { reason: 'silent', at: Math.max(vitals.heartbeat.at, vitals.progress.at, from) + policy.silenceMaxMs },
      { reason: 'idle', at: idleAt },
    ];
  }
  const since = claims.map((claim) => Math.max(claim.at, from));
  const toolsEnd = Math.max(0, ...Object.values(vitals.tools).map((tool) => toolEnd(tool, from, policy)));
  const lastSign = Math.max(vitals.progress.at, ...since);
  const limits: KillLimit[] = [
    { reason: 'silent', at: Math.max(lastSign + policy.silenceMaxMs, toolsEnd) },
    { reason: 'claim-too-old', at: Math.min(...since) + policy.claimMaxMs },
  ];
  // A turn that has shown progress for one message is at work: a follow-up must not get it killed while it thinks.
  if (claims.some((claim) => answered(claim, vitals.progress))) return limits;
  return [{ reason: 'claim-stuck', at: Math.max(Math.min(...since) + policy.claimStuckMs, toolsEnd) }, ...limits];
}

/** Whether there has been progress since a claim: by the container's dates, or seen to advance by the host. */
function answered(claim: ClaimSeen, progress: Signal): boolean {
  return progress.at > claim.at || (progress.said !== undefined && progress.said > claim.said);
}

function toolEnd(tool: ToolSeen, from: Millis, policy: LivenessPolicy): Millis {
  if (tool.timeoutMs === null) return 0;
  return Math.max(tool.at, from) + Math.min(Math.max(tool.timeoutMs, 0), policy.toolTimeoutMaxMs);
}

/** The tool that has been in flight longest, for the record of a kill. */
function waitedFor(vitals: Vitals): string | null {
  const tools = Object.values(vitals.tools).toSorted((a, b) => a.at - b.at);
  return tools[0]?.name ?? null;
}

/** What one pass saw of a live run. */
export interface Sighting {
  readonly run: RunState & { readonly type: 'live' };
  /** Its open claims and what it says of itself; `undefined` when the file could not be read just now. */
  readonly wrote: { readonly openClaims: readonly Ack[]; readonly container: ContainerState | undefined } | undefined;
  /** Whether this shows that the run works. */
  readonly proves: boolean;
}

/**
 * The vitals after one more sighting. A signal advances when the container wrote a newer one, and from then on dates
 * from when the host saw it. Only the first sighting takes the container's own dates, within the run's life and never in
 * the future, so that a host that starts again does not begin to wait anew.
 */
export function observed(before: Vitals | undefined, seen: Sighting, now: Millis): Vitals {
  const { run, wrote, proves } = seen;
  const known = before?.runId === run.runId ? before : undefined;
  const own = (ack: Ack): boolean => ack.runId === run.runId;
  const firstSeen = (said: Millis): Millis => (known ? now : Math.min(Math.max(said, run.since), now));
  const container = wrote?.container?.runId === run.runId ? wrote.container : undefined;

  const claims = wrote
    ? Object.fromEntries(
        wrote.openClaims.filter(own).map((ack) => {
          const key = `${ack.messageId}#${ack.attempt}`;
          const at = Math.min(known?.claims[key]?.at ?? firstSeen(ack.statusChanged), now);
          return [key, { said: ack.statusChanged, at }];
        }),
      )
    : (known?.claims ?? {});
  const tools = wrote
    ? Object.fromEntries(
        (container?.tools ?? []).map(({ toolUseId, name, timeoutMs, startedAt }) => [
          toolUseId,
          { name, timeoutMs, at: Math.min(known?.tools[toolUseId]?.at ?? firstSeen(startedAt), now) },
        ]),
      )
    : (known?.tools ?? {});
  const busy = Object.keys(claims).length > 0;
  return {
    runId: run.runId,
    proved: proves || known?.proved === true,
    heartbeat: advanced(known?.heartbeat, run.heartbeatAt, firstSeen, run.since, now),
    progress: advanced(known?.progress, container?.progressAt, firstSeen, run.since, now),
    claims,
    tools,
    busyAt: busy || known === undefined ? now : Math.min(known.busyAt, now),
  };
}

function advanced(
  before: Signal | undefined,
  said: Millis | undefined,
  firstSeen: (said: Millis) => Millis,
  since: Millis,
  now: Millis,
): Signal {
  if (said === undefined) return before ?? { said, at: Math.min(since, now) };
  // What lies in the future proves nothing by staying there; when it does because the host's clock was set back, any
  // change is a sign.
  const advances = before?.said === undefined || said > before.said || (before.said > now && said !== before.said);
  if (before !== undefined && !advances) return { said: before.said, at: Math.min(before.at, now) };
  return { said, at: firstSeen(said) };
}
