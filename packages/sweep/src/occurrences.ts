/**
 * Which occurrences of a series should stand: what has passed is decided by its policies, and the next one is written
 * before its time. Pure, and repeatable: planned again at the same `now`, what was written is found and nothing follows.
 *
 * Every slot is decided once, in order, and `nextSlot` is the first that is not. A slot that comes while an earlier
 * occurrence is not done falls under the series' overlap policy; one whose time passed while no run could take it, under catch-up.
 */
import type { Millis, SeriesRecord } from '@nanoclaw/session-db';
import type { Occurrence, SeriesEdit } from '@nanoclaw/session-db/protocol';
import { lastSlots, nextSlot, TimingError } from './recurrence.ts';

/** What a plan needs to know besides the rows. */
export interface PlanOptions {
  /**
   * Whether a run may have taken an occurrence that still looks untouched. Only when none can is a due occurrence
   * missed; otherwise it is with a run.
   */
  readonly claimable: boolean;
  /** The occurrences that a live run is known to work on, by id. */
  readonly claimed: ReadonlySet<string>;
  /** All that is claimed and has not ended, by whatever run, by id; `undefined` when that is not known. */
  readonly openClaims: ReadonlySet<string> | undefined;
  /** When an occurrence ended in this very pass; slots up to then came while it was open. */
  readonly endedAt: Millis | undefined;
  readonly missedAfterMs: number;
}

/** The rows to write, and the series as it then stands. */
export interface SeriesPlan {
  /** Written ahead for a time that is not to come. */
  readonly withdraw: readonly Occurrence[];
  /** In a run's hands, though by a clock that was set back their time has not come. */
  readonly begun: readonly Occurrence[];
  readonly cancel: readonly { readonly occurrence: Occurrence; readonly reason: string }[];
  readonly insert: readonly { readonly slot: Millis; readonly processAfter: Millis }[];
  readonly series: SeriesRecord;
}

/** How far clocks may differ without having been set, in milliseconds. */
const CLOCK_SLACK_MS = 60_000;

/** An occurrence beyond this many open ones waits, however much a series allows overlap. */
const OPEN_MAX = 20;

/**
 * Decides what should stand; `undefined` when it stands already. `open` are the series' own open occurrences. A series
 * whose expression or zone this machine cannot read is paused with that reason, and no other notices.
 */
export function plan(
  series: SeriesRecord,
  open: readonly Occurrence[],
  options: PlanOptions,
  now: Millis,
): SeriesPlan | undefined {
  if (series.status !== 'active') return undefined;
  try {
    return planned(series, open, options, now);
  } catch (error) {
    if (!(error instanceof TimingError)) throw error;
    const paused: SeriesRecord = { ...series, status: 'paused', reason: error.message, updatedAt: now };
    return { withdraw: [], begun: [], cancel: [], insert: [], series: paused };
  }
}

function planned(
  series: SeriesRecord,
  open: readonly Occurrence[],
  options: PlanOptions,
  now: Millis,
): SeriesPlan | undefined {
  const isSetBack = clockWasSetBack(series, now);
  // What a run may be at work on must not be withdrawn under it.
  if (isSetBack && options.openClaims === undefined) return undefined;
  const set = isSetBack
    ? setBack(series, open, options.openClaims ?? new Set(), now)
    : { series, withdraw: [], begun: [] };
  const standing = without(open, set.withdraw).map((one) =>
    set.begun.includes(one) ? { ...one, processAfter: now } : one,
  );
  const decided = decidedSlots(set.series, standing, options, now);
  const kept = without(
    standing,
    decided.cancel.map(({ occurrence }) => occurrence),
  );
  const { insert, owed, nextSlot: next } = nextOccurrences({ ...set.series, ...decided }, kept, now);

  const over = kept.length + insert.length + owed.length === 0;
  const { cancel } = decided;
  const moved = set.withdraw.length + cancel.length + insert.length > 0 || set.series !== series;
  if (!moved && !over && next === series.nextSlot && owed.length === series.owed.length) return undefined;
  const ended = over ? { status: 'ended' as const, reason: 'Its last occurrence has ended.' } : {};
  const after = { ...series, ...ended, nextSlot: next, owed, updatedAt: now };
  return { withdraw: set.withdraw, begun: set.begun, cancel, insert, series: after };
}

/** Writes a plan down, within a transaction. */
export function apply(changes: SeriesPlan, edit: SeriesEdit, now: Millis): void {
  for (const occurrence of changes.withdraw) edit.withdraw(occurrence);
  for (const occurrence of changes.begun) edit.begun(occurrence, now);
  for (const { occurrence, reason } of changes.cancel) edit.cancel(occurrence, reason, now);
  for (const { slot, processAfter } of changes.insert) edit.insert(changes.series, slot, processAfter, now);
  edit.put(changes.series);
}

/** The series after an occurrence has ended: counted, and paused when too many in a row were given up. */
export function afterEnd(series: SeriesRecord, to: 'completed' | 'failed', now: Millis): SeriesRecord {
  const failures = to === 'failed' ? series.failures + 1 : 0;
  const counted: SeriesRecord = { ...series, fired: series.fired + 1, failures, updatedAt: now };
  if (series.status !== 'active' || series.pauseAfter === null || failures < series.pauseAfter) return counted;
  return { ...counted, status: 'paused', reason: `${failures} occurrences in a row were given up.` };
}

/** Whether the series was last written at a time that has not come yet. */
function clockWasSetBack(series: SeriesRecord, now: Millis): boolean {
  return series.recurrence !== null && series.updatedAt > now + CLOCK_SLACK_MS;
}

/**
 * The slots from now on, again: a clock that was wrong for a moment must not silence a series until that moment comes.
 * What has run under a slot's name does not run again.
 */
function setBack(
  series: SeriesRecord,
  open: readonly Occurrence[],
  openClaims: ReadonlySet<string>,
  now: Millis,
): { series: SeriesRecord; withdraw: Occurrence[]; begun: Occurrence[] } {
  const next = slotAfter(series, Math.max(now, series.startAt - 1));
  const ahead = open.filter((one) => one.tries === 0 && one.processAfter > now);
  const undecided = series.nextSlot !== null && next !== null && series.nextSlot < next;
  return {
    series: {
      ...series,
      nextSlot: undecided ? series.nextSlot : next,
      owed: series.owed.filter((slot) => slot <= now),
    },
    withdraw: ahead.filter(({ id }) => !openClaims.has(id)),
    begun: ahead.filter(({ id }) => openClaims.has(id)),
  };
}

function without(occurrences: readonly Occurrence[], gone: readonly Occurrence[]): Occurrence[] {
  return occurrences.filter((one) => !gone.some(({ id }) => id === one.id));
}

type Decided = Pick<SeriesRecord, 'nextSlot' | 'owed'> & Pick<SeriesPlan, 'cancel'>;

/** Decides every slot up to `now`, as far as it can be known whether it was overlapped or missed. */
function decidedSlots(series: SeriesRecord, open: readonly Occurrence[], options: PlanOptions, now: Millis): Decided {
  const undecided: Decided = { nextSlot: series.nextSlot, owed: series.owed, cancel: [] };
  const started = open.filter((one) => one.tries > 0 || options.claimed.has(one.id));
  const due = open.filter((one) => !started.includes(one) && one.processAfter <= now);
  const passed = series.nextSlot !== null && series.nextSlot <= now;

  // With a run that may be about to take it, an occurrence is not missed: that shows when the run is gone.
  const untaken = options.claimable ? [] : due;
  if (series.overlap === 'allow')
    return passed || untaken.length > 0 ? caughtUp(series, untaken, options, now) : undecided;
  if (started.length > 0) return passed ? overlapped(series, now) : undecided;
  if (due.length > 0) return options.claimable ? undecided : caughtUp(series, untaken, options, now);
  if (!passed) return undecided;
  const rest =
    options.endedAt === undefined ? series : { ...series, ...overlapped(series, Math.min(options.endedAt, now)) };
  return caughtUp(rest, [], options, now);
}

/** The slots up to `until` came while an earlier occurrence was open. */
function overlapped(series: SeriesRecord, until: Millis): Decided {
  const { nextSlot: first, owed } = series;
  if (first === null || first > until) return { nextSlot: first, owed, cancel: [] };
  const buffered = series.overlap === 'buffer-one' && owed.length === 0 && withinEnd(series, first);
  return { nextSlot: slotAfter(series, until), owed: buffered ? [first] : owed, cancel: [] };
}

/** The slots up to `now`, what is owed, and the due occurrences that no run has taken, were missed. */
function caughtUp(series: SeriesRecord, untaken: readonly Occurrence[], options: PlanOptions, now: Millis): Decided {
  // What runs once is never skipped: late is better than not at all.
  const policy = series.recurrence === null ? ({ type: 'latest' } as const) : series.catchUp;
  const most = policy.type === 'all' ? policy.max : 1;
  const passes = series.nextSlot !== null && series.nextSlot <= now;
  const waiting = [...series.owed, ...(passes ? passedSlots(series, now, most) : [])];
  const missed = [...untaken.map((one) => one.slot), ...waiting];
  const wanted = policy.type === 'skip' ? missed.filter((slot) => !isLate(slot, series, options, now)) : missed;
  const keep = new Set(wanted.slice(-most));
  return {
    nextSlot: passes ? slotAfter(series, now) : series.nextSlot,
    owed: waiting.filter((slot) => keep.has(slot)),
    cancel: untaken
      .filter((one) => !keep.has(one.slot))
      .map((occurrence) => ({ occurrence, reason: 'Its time passed while no run could take it.' })),
  };
}

function isLate(slot: Millis, series: SeriesRecord, options: PlanOptions, now: Millis): boolean {
  return now - (slot + jitterOf(series, slot)) > options.missedAfterMs;
}

/** The rows to write next: what is owed, one at a time unless overlap is allowed, then the first slot ahead. */
function nextOccurrences(
  series: SeriesRecord,
  open: readonly Occurrence[],
  now: Millis,
): Pick<SeriesPlan, 'insert'> & Pick<SeriesRecord, 'owed' | 'nextSlot'> {
  const left = series.countMax === null ? OPEN_MAX : Math.min(Math.max(series.countMax - series.fired, 0), OPEN_MAX);
  const most = series.overlap === 'allow' ? left : Math.min(left, 1);
  const free = Math.max(most - open.length, 0);
  const slots = series.owed.slice(0, free);
  const owed = left === 0 ? [] : series.owed.slice(free);
  const ahead = open.some((one) => one.tries === 0 && one.processAfter > now);
  let next = series.nextSlot;
  if (next !== null && withinEnd(series, next) && !ahead && slots.length < free) {
    slots.push(next);
    next = slotAfter(series, next);
  }
  return { insert: slots.map((slot) => ({ slot, processAfter: slot + jitterOf(series, slot) })), owed, nextSlot: next };
}

/** Of the slots that have not been decided and have passed, the last `most`. */
function passedSlots(series: SeriesRecord, now: Millis, most: number): Millis[] {
  const { nextSlot: first, recurrence, endAt } = series;
  if (first === null) return [];
  return recurrence === null ? [first] : lastSlots(recurrence, first - 1, Math.min(now, endAt ?? now), most);
}

function slotAfter(series: SeriesRecord, slot: Millis): Millis | null {
  const next = series.recurrence === null ? undefined : nextSlot(series.recurrence, slot);
  return next !== undefined && withinEnd(series, next) ? next : null;
}

function withinEnd(series: SeriesRecord, slot: Millis): boolean {
  return series.endAt === null || slot <= series.endAt;
}

/**
 * How far an occurrence is put off, in milliseconds: by chance, but the same whenever one asks, so it is drawn from the
 * occurrence's own name (FNV-1a).
 */
function jitterOf(series: Pick<SeriesRecord, 'id' | 'jitterMs'>, slot: Millis): number {
  if (series.jitterMs === 0) return 0;
  let hash = 0x811c9dc5;
  for (const char of `${series.id}@${slot}`) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193) >>> 0;
  return hash % (series.jitterMs + 1);
}
