/**
 * One pass of upkeep over a session: take acks over, continue series, judge the run, report. It starts and stops nothing
 * and waits for nothing; its caller acts on the verdict.
 *
 * It relies on what it is given being of one moment: `observe` takes the run's state before and after the read, so that
 * a claim of a run that ended in between is not taken for a dead one's.
 */
import {
  type Ack,
  type HostSession,
  isHostile,
  type Millis,
  type OutboundContents,
  type OutboundFinding,
  type OutboundRead,
  type OutboundReader,
  type TroubleRecord,
} from '@nanoclaw/session-db';
import {
  type SeriesEdit,
  type Settled,
  type Settlement,
  type TroubleKind,
  type TroublePolicy,
  troubleWaitMs,
} from '@nanoclaw/session-db/protocol';
import { afterEnd, apply, type PlanOptions, plan } from './occurrences.ts';
import { SWEEP_POLICY, type SweepPolicy } from './policy.ts';
import { type EndedRun, observed, type RunState, type Verdict, type Vitals, verdict } from './verdict.ts';

/** What the host knows of a session at one moment. */
export interface Observation {
  /** Whether there is a run, by the runtime's word. */
  readonly run: RunState;
  /** What the runner wrote, or why it was not read. */
  readonly read: OutboundRead;
  /** As the last pass reported them; `undefined` at the first since the host started. */
  readonly vitals: Vitals | undefined;
  /** Since when the host's clock has run evenly (`ClockWatch`). */
  readonly steadySince: Millis;
}

/** What came of a pass over one session. */
export interface SweepReport {
  /** What became of messages; those given up are to be told to their senders. */
  readonly settled: readonly Settlement[];
  /** Series that this pass paused because too many occurrences were given up. */
  readonly pausedSeries: readonly string[];
  /** What is to be done with the run, by the caller. */
  readonly verdict: Verdict;
  /** Why the container's file was not read; `undefined` when it was. */
  readonly finding: OutboundFinding | undefined;
  /** What the chat is to be told once; stays until `session.trouble.markNoticeSent` is called. */
  readonly notices: readonly TroubleRecord[];
  /** What the run works on: its open claims of messages that are there and open; none when the file could not be read. */
  readonly claims: readonly Ack[];
  /** When there is next something to do; `undefined` when only an event can bring it. */
  readonly lookAgainAt: Millis | undefined;
  /** To be handed to the next pass, whatever the run is then. */
  readonly vitals: Vitals | undefined;
}

/** What the first half of a pass came to. */
export interface Settling extends Pick<SweepReport, 'settled' | 'pausedSeries'> {
  /** The runner's file has more acks than one read gives. */
  readonly hasMoreAcks: boolean;
}

/** Does the upkeep that is due at `now`. A second time at the same `now` it writes nothing and judges the same. */
export function sweepSession(
  session: HostSession,
  seen: Observation,
  now: Millis,
  policy: SweepPolicy = SWEEP_POLICY,
): SweepReport {
  return judgeSession(session, seen, settleSession(session, seen, now, policy), now, policy);
}

/**
 * The first half of `sweepSession`, for a caller who gives others their turn in between: takes acks over. What it reports is
 * its last commit, so that it can be made again when the file is locked.
 */
export function settleSession(session: HostSession, seen: Observation, now: Millis, policy: SweepPolicy): Settling {
  const { run } = seen;
  const read = seen.read.type === 'read' ? seen.read : undefined;
  const liveRun = session.liveRun();
  if (run.type === 'none' && liveRun !== undefined && run.ended?.runId === liveRun) session.endRun(liveRun);

  session.cutWaits(now);
  const pausedSeries: string[] = [];
  const { acksAfter } = session.cursor();
  const settled = read ? settle(session, read, run, now, policy, pausedSeries) : [];
  // More messages than a read holds are delivery's to accept; more acks are not.
  const hasMoreAcks = read?.more === true && session.cursor().acksAfter > acksAfter;
  return { settled, pausedSeries, hasMoreAcks };
}

/** The second half of `sweepSession`: continues series, counts trouble, judges the run. Can be made again at any point. */
export function judgeSession(
  session: HostSession,
  seen: Observation,
  { settled, pausedSeries, hasMoreAcks }: Settling,
  now: Millis,
  policy: SweepPolicy,
): SweepReport {
  const { run } = seen;
  const claims = realClaims(session, seen);
  continueSeries(session, planOptions(session, seen.read, run, policy), now);
  recordTrouble(session, seen, now, policy);

  const nextDueAt = session.nextDueAt();
  const vitals = vitalsAfter(seen, claims, now, policy);
  const judged = {
    run,
    vitals,
    dueSince: nextDueAt !== undefined && nextDueAt <= now ? nextDueAt : undefined,
    held: held(session, now, policy),
    steadySince: seen.steadySince,
  };
  const decided = verdict(judged, now, policy.liveness);
  return {
    settled,
    pausedSeries,
    verdict: decided,
    finding: seen.read.type === 'read' ? undefined : seen.read,
    notices: TROUBLES.flatMap((kind) => owedNotice(session.trouble.get(kind)) ?? []),
    claims,
    lookAgainAt: hasMoreAcks ? now : lookAgainAt(session, seen.read, decided, nextDueAt, now, policy),
    vitals,
  };
}

/**
 * Reads what the container wrote, with the run's state taken before and after. When a run began or ended meanwhile, its
 * claims are left out: what the read says of them may be older than its end.
 */
export async function observe(
  session: Pick<HostSession, 'cursor'>,
  reader: OutboundReader,
  runState: () => RunState,
): Promise<{ readonly run: RunState; readonly read: OutboundRead }> {
  const before = runState();
  const read = await reader.read({ ...session.cursor(), again: [], runEnded: before.type === 'none' });
  const run = runState();
  if (read.type !== 'read' || sameRun(before, run)) return { run, read };
  const changed = new Set([runIdOf(before), runIdOf(run)]);
  return { run, read: { ...read, openClaims: read.openClaims.filter((ack) => !changed.has(ack.runId)), more: true } };
}

const TROUBLES: readonly TroubleKind[] = ['wake', 'outbound'];

function sameRun(a: RunState, b: RunState): boolean {
  return (a.type === 'none') === (b.type === 'none') && runIdOf(a) === runIdOf(b);
}

function runIdOf(run: RunState): string | undefined {
  return run.type === 'none' ? run.ended?.runId : run.runId;
}

function settle(
  session: HostSession,
  read: OutboundContents,
  run: RunState,
  now: Millis,
  policy: SweepPolicy,
  pausedSeries: string[],
): Settlement[] {
  // A claim is dead only when the runtime says that its run is, whatever this file says of the live one.
  const openClaims = read.openClaims.filter((ack) => run.type === 'none' || ack.runId !== run.runId);
  const continuation = (settled: readonly Settled[], edit: SeriesEdit): void => {
    for (const one of settled)
      endOccurrence(session, edit, one, planOptions(session, read, run, policy), now, pausedSeries);
  };
  return session.settle({ ...read, openClaims }, now, policy.retry, continuation, policy.deferral);
}

/** Counts an occurrence that has ended, and writes the one that follows it. */
function endOccurrence(
  session: HostSession,
  edit: SeriesEdit,
  { settlement, message, statusChanged }: Settled,
  options: PlanOptions,
  now: Millis,
  pausedSeries: string[],
): void {
  if (message.occurrence === null || settlement.to === 'retry' || settlement.to === 'deferred') return;
  const before = session.series.get(message.occurrence.seriesId);
  if (before === undefined) return;
  const series = afterEnd(before, settlement.to, now);
  edit.put(series);
  const open = session.series.open(series.id);
  if (series.status === 'paused' && before.status === 'active') {
    for (const occurrence of open) edit.hold(occurrence);
    edit.owePaused(series.id, now);
    pausedSeries.push(series.id);
  }
  // The runner's clock is a stranger's: it cannot have ended before its slot or after now.
  const endedAt = Math.min(Math.max(statusChanged, message.occurrence.slot), now);
  const planned = plan(series, open, { ...options, endedAt }, now);
  if (planned !== undefined) apply(planned, edit, now);
}

function continueSeries(session: HostSession, options: PlanOptions, now: Millis): void {
  const live = session.series.live();
  if (live.length === 0) return;
  const open = Map.groupBy(session.series.open(), (occurrence) => occurrence.seriesId);
  const plans = live.flatMap((series) => plan(series, open.get(series.id) ?? [], options, now) ?? []);
  if (plans.length === 0) return;
  session.series.edit(now, (edit) => {
    for (const planned of plans) apply(planned, edit, now);
  });
}

function planOptions(session: HostSession, read: OutboundRead, run: RunState, policy: SweepPolicy): PlanOptions {
  const contents = read.type === 'read' ? read : undefined;
  // Where no run has ever written, none has taken anything.
  const allSeen = read.type === 'absent' || contents?.more === false;
  const working = run.type === 'none' ? undefined : run.runId;
  return {
    claimable: !(allSeen && run.type === 'none' && session.liveRun() === undefined),
    claimed: new Set(contents?.openClaims.filter((ack) => ack.runId === working).map((ack) => ack.messageId)),
    openClaims: allSeen ? new Set(contents?.openClaims.map((ack) => ack.messageId)) : undefined,
    endedAt: undefined,
    missedAfterMs: policy.missedAfterMs,
  };
}

function recordTrouble(session: HostSession, seen: Observation, now: Millis, policy: SweepPolicy): void {
  const { trouble } = session;
  const { run, read } = seen;
  if (read.type === 'read') trouble.resolve('outbound', now);
  else if (isHostile(read)) {
    const before = trouble.get('outbound');
    const isKnown = before !== undefined && heldUntil(before, now, policy.quarantine) !== undefined;
    if (!isKnown) trouble.recordFailure('outbound', `${read.type} ${now}`, detail(read), now, policy.quarantine);
  }

  if (run.type === 'live' && proves(seen, now, policy)) trouble.resolve('wake', now);
  if (run.type !== 'none' || run.ended === undefined || counted(seen)) return;
  if (worked(read, run.ended.runId)) trouble.resolve('wake', now);
  else if (isFailedWake(run.ended, session, now, policy)) {
    const { runId, how } = run.ended;
    const reason = how.type === 'failed' ? how.reason : 'The run left at once without taking a message.';
    trouble.recordFailure('wake', runId, reason, now, policy.wake);
  }
}

/**
 * The open claims that the host's own file bears out. A container can claim what there is not, or what is long over, and so
 * seem at work for ever.
 */
function realClaims(session: HostSession, { read }: Observation): readonly Ack[] {
  if (read.type !== 'read') return [];
  return read.openClaims.filter(({ messageId, attempt }) => {
    const message = session.message(messageId);
    const isOpen = message?.status === 'pending' || message?.status === 'paused';
    return message !== undefined && isOpen && attempt === message.tries + 1;
  });
}

/** The vitals for the next pass; those of a run that is over say that it has been counted. */
function vitalsAfter(
  seen: Observation,
  openClaims: readonly Ack[],
  now: Millis,
  policy: SweepPolicy,
): Vitals | undefined {
  const { run, read, vitals } = seen;
  if (run.type === 'live') {
    const wrote = read.type === 'read' ? { openClaims, container: read.container } : undefined;
    return observed(vitals, { run, wrote, proves: proves(seen, now, policy) }, now);
  }
  if (run.type !== 'none' || run.ended === undefined || counted(seen)) return vitals;
  const never = { said: undefined, at: now };
  const { runId } = run.ended;
  return { runId, proved: true, heartbeat: never, progress: never, claims: {}, tools: {}, busyAt: now };
}

/** Whether the live run shows that runs can be started. */
function proves({ run, read }: Observation, now: Millis, policy: SweepPolicy): boolean {
  return run.type === 'live' && (worked(read, run.runId) || now - run.since >= policy.liveness.graceMs);
}

/** Whether the run that is over has shown what it was in an earlier pass. */
function counted({ run, vitals }: Observation): boolean {
  return run.type === 'none' && vitals?.proved === true && vitals.runId === run.ended?.runId;
}

/** Whether a run that never took a message counts as one that could not be started. */
function isFailedWake(ended: EndedRun, session: HostSession, now: Millis, policy: SweepPolicy): boolean {
  if (ended.how.type === 'failed') return true;
  return ended.livedMs < policy.liveness.graceMs && session.dueCount(now) > 0;
}

function worked(read: OutboundRead, runId: string): boolean {
  return read.type === 'read' && [...read.acks, ...read.openClaims].some((ack) => ack.runId === runId);
}

function detail(finding: OutboundFinding): string {
  return 'detail' in finding ? finding.detail : `outbound.db is ${finding.type}.`;
}

/** What keeps a run from being started; the later one when there are two. */
function held(session: HostSession, now: Millis, policy: SweepPolicy) {
  const holds = [
    { reason: 'wake-backoff', record: session.trouble.get('wake'), backoff: policy.wake },
    { reason: 'quarantine', record: session.trouble.get('outbound'), backoff: policy.quarantine },
  ] as const;
  return holds
    .flatMap(({ reason, record, backoff }) => {
      const until = record && heldUntil(record, now, backoff);
      return until === undefined ? [] : [{ reason, until }];
    })
    .toSorted((a, b) => b.until - a.until)[0];
}

/** Until when nothing is tried; `undefined`: it may be tried. */
function heldUntil({ failures, retryAt }: TroubleRecord, now: Millis, policy: TroublePolicy): Millis | undefined {
  if (failures === 0 || retryAt <= now) return undefined;
  // Further ahead than its wait: the clock was set back since, and that time means nothing.
  return retryAt - now > troubleWaitMs(failures, policy) ? undefined : retryAt;
}

function owedNotice(record: TroubleRecord | undefined): TroubleRecord | undefined {
  return record?.noticeOwed === null ? undefined : record;
}

function lookAgainAt(
  session: HostSession,
  read: OutboundRead,
  decided: Verdict,
  nextDueAt: Millis | undefined,
  now: Millis,
  policy: SweepPolicy,
): Millis | undefined {
  const times: Millis[] = [];
  if (read.type === 'busy') times.push(now + BUSY_RETRY_MS);
  if (read.type === 'hot-journal') times.push(now + HOT_JOURNAL_RETRY_MS);
  if (nextDueAt !== undefined && nextDueAt > now) times.push(nextDueAt);
  if (decided.type !== 'nothing') times.push(now + policy.liveness.graceMs);
  else if (decided.until !== undefined) times.push(decided.until);
  const open = session.series.open();
  for (const series of session.series.live()) {
    const own = open.filter((one) => one.seriesId === series.id);
    // Its next occurrence is written when the one before comes due, not when that has ended.
    if (series.overlap === 'allow') times.push(...own.map((one) => one.processAfter).filter((at) => at > now));
    if (own.length === 0 && series.status === 'active' && series.nextSlot !== null) {
      times.push(Math.max(series.nextSlot, now));
    }
  }
  return times.length === 0 ? undefined : Math.min(...times);
}

/** The runner's commits take milliseconds. */
const BUSY_RETRY_MS = 20;
/** While a run may live, a journal that looks left behind is mostly one in use. */
const HOT_JOURNAL_RETRY_MS = 1_000;
