/**
 * What an agent may ask of its schedule: `schedule_task`, `update_task`, `cancel_task`, `pause_task`, `resume_task`, from
 * the content of a `system` row to the series it changes. The row is a stranger's request: everything in it is checked,
 * and what is wrong is an answer to the agent that wrote it.
 *
 * A task's id is the id of the row that asked for it. Each row is applied once, in one transaction with its result.
 */
import type { Address, HostSession, Json, JsonObject, Millis, SeriesRecord } from '@nanoclaw/session-db';
import { type CatchUp, type Occurrence, OVERLAPS, type Overlap, type SeriesEdit } from '@nanoclaw/session-db/protocol';
import { cut } from '@nanoclaw/session-db/text';
import { withBeginning } from './expression.ts';
import { apply, plan } from './occurrences.ts';
import { checkTiming, instantOf, nextSlot, type TimingLimits, zoneRefusal } from './recurrence.ts';

export const SCHEDULING_ACTIONS = ['schedule_task', 'update_task', 'cancel_task', 'pause_task', 'resume_task'] as const;
/** What an agent may ask for about its tasks. */
export type SchedulingAction = (typeof SCHEDULING_ACTIONS)[number];

/** What came of a request. It is stored, and given again for the same row. */
export type SchedulingResult =
  | {
      readonly type: 'scheduled';
      /** Names the task in later requests. */
      readonly taskId: string;
      /** The next occurrence; `null`: there is none left. */
      readonly nextAt: Millis | null;
    }
  | {
      readonly type: 'updated';
      /** The task that was changed. */
      readonly taskId: string;
      /** The next occurrence; `null`: there is none left. */
      readonly nextAt: Millis | null;
    }
  | {
      readonly type: 'resumed';
      /** The task that goes on. */
      readonly taskId: string;
      /** The next occurrence; `null`: there is none left. */
      readonly nextAt: Millis | null;
    }
  | {
      readonly type: 'cancelled';
      /** The task that is at an end. */
      readonly taskId: string;
      /** The messages that were cancelled; one that a run works on may still be stopped by its run. */
      readonly occurrences: readonly string[];
    }
  | {
      readonly type: 'paused';
      /** The task that waits now. */
      readonly taskId: string;
      /** The messages that were paused; one that a run works on may still be stopped by its run. */
      readonly occurrences: readonly string[];
    }
  | {
      readonly type: 'refused';
      /** Why, for programs. */
      readonly reason: SchedulingRefusal;
      /** Why, as one sentence for the agent. */
      readonly message: string;
    };

/** Why a request about a task was refused; the sentence beside it says more. */
export type SchedulingRefusal = 'malformed' | 'bad-time' | 'bad-recurrence' | 'unknown-task' | 'too-many' | 'too-long';

/** Who asks, and what a request without an address or a zone means. */
export interface SchedulingOptions {
  /** The id of the outbound row. */
  readonly actionId: string;
  /** Where the task's answers go: resolved by the host, never taken from the row. */
  readonly address: Address | null;
  /** The zone of times and expressions that name none; IANA. */
  readonly timeZone: string;
}

/** What an agent's requests about tasks must keep to. */
export interface SchedulingLimits extends TimingLimits {
  /** Tasks of a session that have not ended. */
  readonly seriesMax: number;
  /** In characters. */
  readonly promptLengthMax: number;
  /** In characters. */
  readonly scriptLengthMax: number;
  /** The most missed slots that a series may ask for, and what it gets when it names no number. */
  readonly catchUpMax: number;
  /** The most by which occurrences may be shifted, in milliseconds. */
  readonly jitterMaxMs: number;
  /** The most occurrences after which a series may be told to end. */
  readonly countMax: number;
  /** How far in the past a time may lie and still mean "now". */
  readonly pastMaxMs: number;
  /** How far ahead a time may lie, in milliseconds. */
  readonly aheadMaxMs: number;
}

/** 50 tasks (SECURITY.md, rule 5), expressions of 100 characters and at least a minute apart. */
export const SCHEDULING_LIMITS: SchedulingLimits = {
  expressionLengthMax: 100,
  intervalMinMs: 60_000,
  seriesMax: 50,
  promptLengthMax: 20_000,
  scriptLengthMax: 65_536,
  catchUpMax: 100,
  jitterMaxMs: 3_600_000,
  countMax: 1_000_000,
  pastMaxMs: 600_000,
  aheadMaxMs: 5 * 366 * 86_400_000,
};

/** Whether a `system` row's content is one of the requests of this file. */
export function isSchedulingAction(content: JsonObject): boolean {
  return SCHEDULING_ACTIONS.some((action) => action === content['action']);
}

/**
 * Does what a `system` row asks for, once: the same `actionId` again changes nothing and gives the same result. `content`
 * is the row's, `{ action, … }`.
 */
export function applyScheduling(
  session: HostSession,
  content: JsonObject,
  options: SchedulingOptions,
  now: Millis,
  limits: SchedulingLimits = SCHEDULING_LIMITS,
): SchedulingResult {
  return session.series.once(options.actionId, now, (edit) => {
    try {
      return applied(session, edit, content, options, now, limits);
    } catch (error) {
      // Nothing has been written yet: every check comes before the first write.
      if (error instanceof Refusal) return { type: 'refused', reason: error.reason, message: error.message };
      throw error;
    }
  });
}

/** What is wrong with a request, on its way out of the checks. */
class Refusal extends Error {
  readonly reason: SchedulingRefusal;

  constructor(reason: SchedulingRefusal, message: string) {
    super(message);
    this.reason = reason;
  }
}

function applied(
  session: HostSession,
  edit: SeriesEdit,
  content: JsonObject,
  options: SchedulingOptions,
  now: Millis,
  limits: SchedulingLimits,
): SchedulingResult {
  const action = SCHEDULING_ACTIONS.find((known) => known === content['action']);
  switch (action) {
    case 'schedule_task':
      return schedule(session, edit, content, options, now, limits);
    case 'update_task':
      return update(session, edit, content, options, now, limits);
    case 'cancel_task':
      return cancel(session, edit, liveTask(session, content), now);
    case 'pause_task':
      return pause(session, edit, liveTask(session, content), now);
    case 'resume_task':
      return resume(session, edit, liveTask(session, content), now);
    case undefined:
      throw new Refusal('malformed', `${JSON.stringify(content['action'] ?? null)} is not a scheduling action.`);
  }
}

function schedule(
  session: HostSession,
  edit: SeriesEdit,
  content: JsonObject,
  options: SchedulingOptions,
  now: Millis,
  limits: SchedulingLimits,
): SchedulingResult {
  if (options.actionId.length > 200) throw new Refusal('malformed', 'The id of this request is too long for a task.');
  if (session.series.live().length >= limits.seriesMax) {
    throw new Refusal(
      'too-many',
      `There are ${limits.seriesMax} tasks already, which is the most. Nothing was changed; cancel one first.`,
    );
  }
  const prompt = text(content, 'prompt', limits.promptLengthMax);
  if (prompt === undefined) throw new Refusal('malformed', 'A task needs a prompt. Nothing was changed; give one.');
  const blank: SeriesRecord = {
    id: options.actionId,
    status: 'active',
    reason: null,
    recurrence: null,
    content: {},
    address: options.address,
    catchUp: { type: 'latest' },
    overlap: 'skip',
    jitterMs: 0,
    startAt: now,
    endAt: null,
    countMax: null,
    pauseAfter: 5,
    nextSlot: null,
    owed: [],
    fired: 0,
    failures: 0,
    createdAt: now,
    updatedAt: now,
  };
  const series = withTiming(withDetails(blank, content, options, limits), content, options, now, limits);
  write(session, edit, series, now);
  return { type: 'scheduled', taskId: series.id, nextAt: nextAt(session, series.id) };
}

function update(
  session: HostSession,
  edit: SeriesEdit,
  content: JsonObject,
  options: SchedulingOptions,
  now: Millis,
  limits: SchedulingLimits,
): SchedulingResult {
  const before = liveTask(session, content);
  const detailed = { ...withDetails(before, content, options, limits), updatedAt: now };
  const open = session.series.open(before.id);
  const timed = ['processAfter', 'recurrence', 'timeZone'].some((key) => given(content, key) !== undefined);
  const series = timed ? withTiming(detailed, content, options, now, limits) : detailed;
  if (timed) {
    // What is due or on its way keeps its time; what lies ahead is written anew.
    for (const ahead of open.filter((one) => isAhead(one, now))) edit.withdraw(ahead);
  }
  write(session, edit, series, now);
  for (const occurrence of session.series.open(series.id)) edit.refresh(occurrence, series);
  return { type: 'updated', taskId: series.id, nextAt: nextAt(session, series.id) };
}

function cancel(session: HostSession, edit: SeriesEdit, series: SeriesRecord, now: Millis): SchedulingResult {
  const open = session.series.open(series.id);
  for (const occurrence of open) edit.cancel(occurrence, 'Its task was cancelled.', now);
  edit.put({ ...series, status: 'cancelled', reason: 'It was cancelled.', nextSlot: null, owed: [], updatedAt: now });
  return { type: 'cancelled', taskId: series.id, occurrences: open.map(({ id }) => id) };
}

function pause(session: HostSession, edit: SeriesEdit, series: SeriesRecord, now: Millis): SchedulingResult {
  const open = session.series.open(series.id);
  for (const occurrence of open) edit.hold(occurrence);
  edit.put({ ...series, status: 'paused', reason: series.reason ?? 'It was paused.', updatedAt: now });
  return { type: 'paused', taskId: series.id, occurrences: open.map(({ id }) => id) };
}

/** Slots of the pause are not made up for; an occurrence that was under way, and a task that runs once, are. */
function resume(session: HostSession, edit: SeriesEdit, series: SeriesRecord, now: Millis): SchedulingResult {
  let held = false;
  for (const occurrence of session.series.open(series.id)) {
    const passed = series.recurrence !== null && occurrence.tries === 0 && !isAhead(occurrence, now);
    if (passed && occurrence.status === 'paused') edit.cancel(occurrence, 'Its time passed during a pause.', now);
    else edit.release(occurrence);
    held ||= !passed;
  }
  const passes = series.recurrence !== null && series.nextSlot !== null && series.nextSlot <= now;
  const nextOne = passes && series.recurrence !== null ? (nextSlot(series.recurrence, now) ?? null) : series.nextSlot;
  const next = nextOne !== null && series.endAt !== null && nextOne > series.endAt ? null : nextOne;
  const active: SeriesRecord = {
    ...series,
    status: 'active',
    reason: null,
    failures: 0,
    nextSlot: next,
    owed: [],
    updatedAt: now,
  };
  write(session, edit, active, now);
  return { type: 'resumed', taskId: series.id, nextAt: nextAt(session, series.id) };
}

/** Writes a series and, when it is active, the occurrence that follows from it. */
function write(session: HostSession, edit: SeriesEdit, series: SeriesRecord, now: Millis): void {
  edit.put(series);
  // The runner's file is not read here: what is due may be with a run.
  const unknown = { claimable: true, claimed: new Set<string>(), openClaims: undefined };
  const options = { ...unknown, endedAt: undefined, missedAfterMs: 0 };
  const planned = plan(series, session.series.open(series.id), options, now);
  if (planned !== undefined) apply(planned, edit, now);
}

function nextAt(session: HostSession, seriesId: string): Millis | null {
  return session.series.open(seriesId)[0]?.processAfter ?? null;
}

function isAhead(occurrence: Occurrence, now: Millis): boolean {
  return occurrence.tries === 0 && occurrence.processAfter > now;
}

function liveTask(session: HostSession, content: JsonObject): SeriesRecord {
  const taskId = text(content, 'taskId', 200);
  if (taskId === undefined) throw new Refusal('malformed', 'A taskId is needed. Nothing was changed; name the task.');
  const series = session.series.get(taskId);
  if (series !== undefined && (series.status === 'active' || series.status === 'paused')) return series;
  const what = series === undefined ? 'There is no task' : `It is over (${series.status}): task`;
  throw new Refusal(
    'unknown-task',
    `${what} ${JSON.stringify(taskId)}. Nothing was changed; list_tasks shows the tasks.`,
  );
}

/** The request's prompt, script and policies, in place of those of `series`. */
function withDetails(
  series: SeriesRecord,
  content: JsonObject,
  options: SchedulingOptions,
  limits: SchedulingLimits,
): SeriesRecord {
  const prompt = text(content, 'prompt', limits.promptLengthMax);
  const script = text(content, 'script', limits.scriptLengthMax);
  const timeZone = series.recurrence?.timeZone ?? options.timeZone;
  const endAt = time(content, 'end', zoneOf(content, timeZone));
  return {
    ...series,
    content: {
      ...series.content,
      ...(prompt === undefined ? {} : { prompt }),
      ...(script === undefined ? {} : { script }),
    },
    catchUp: catchUpOf(content, limits) ?? series.catchUp,
    overlap: overlapOf(content) ?? series.overlap,
    jitterMs: whole(content, 'jitterMs', 0, limits.jitterMaxMs) ?? series.jitterMs,
    endAt: endAt ?? series.endAt,
    countMax: whole(content, 'countMax', 1, limits.countMax) ?? series.countMax,
    pauseAfter: whole(content, 'pauseAfter', 1, 1_000) ?? series.pauseAfter,
  };
}

/** The request's times, in place of those of `series`, and the first slot that follows from them. */
function withTiming(
  series: SeriesRecord,
  content: JsonObject,
  options: SchedulingOptions,
  now: Millis,
  limits: SchedulingLimits,
): SeriesRecord {
  const timeZone = zoneOf(content, series.recurrence?.timeZone ?? options.timeZone);
  const written = text(content, 'recurrence', 1_000);
  const cron = written ?? series.recurrence?.cron;
  const at = time(content, 'processAfter', timeZone);
  if (at !== undefined && (at < now - limits.pastMaxMs || at > now + limits.aheadMaxMs)) {
    const [asked, present] = [at, now].map((instant) => new Date(instant).toISOString());
    const where = at < now ? 'in the past' : 'too far ahead';
    throw new Refusal(
      'bad-time',
      `${asked} is ${where}; it is now ${present}. Nothing was changed; give another time.`,
    );
  }
  if (cron === undefined) {
    if (at === undefined) {
      throw new Refusal(
        'bad-time',
        'A task needs a time (processAfter) or a recurrence. Nothing was changed; give one.',
      );
    }
    return { ...series, recurrence: null, startAt: at, nextSlot: at, owed: [] };
  }
  const recurrence = { cron: withBeginning(cron, at ?? now, written === undefined && at !== undefined), timeZone };
  const startAt = Math.max(at ?? now, now);
  // A start that is named may be the first slot; without one the first lies ahead.
  const check = checkTiming(recurrence, at !== undefined && at > now ? at - 1 : now, limits);
  if (check.type === 'refused') throw new Refusal('bad-recurrence', check.message);
  if (series.endAt !== null && check.next > series.endAt) {
    throw new Refusal(
      'bad-recurrence',
      'Its end comes before its first time. Nothing was changed; choose a later end.',
    );
  }
  return { ...series, recurrence, startAt, nextSlot: check.next, owed: [] };
}

function zoneOf(content: JsonObject, otherwise: string): string {
  const timeZone = text(content, 'timeZone', 100);
  if (timeZone === undefined) return otherwise;
  const problem = zoneRefusal(timeZone);
  if (problem !== undefined) throw new Refusal('bad-recurrence', problem);
  return timeZone;
}

function catchUpOf(content: JsonObject, limits: SchedulingLimits): CatchUp | undefined {
  const type = oneOf(content, 'catchUp', ['skip', 'latest', 'all'] as const);
  if (type !== 'all') return type && { type };
  return { type, max: whole(content, 'catchUpMax', 1, limits.catchUpMax) ?? limits.catchUpMax };
}

function overlapOf(content: JsonObject): Overlap | undefined {
  return oneOf(content, 'overlap', OVERLAPS);
}

/** A value that was given; absent and `null` are the same. */
function given(content: JsonObject, key: string): Json | undefined {
  return content[key] ?? undefined;
}

function text(content: JsonObject, key: string, lengthMax: number): string | undefined {
  const value = given(content, key);
  if (value === undefined) return undefined;
  if (typeof value !== 'string' || value.trim() === '') {
    throw new Refusal('malformed', `${key} must be a text that is not empty. Nothing was changed.`);
  }
  if (value.length > lengthMax) {
    throw new Refusal(
      'too-long',
      `${key} has ${value.length} characters; ${lengthMax} is the most. Nothing was changed.`,
    );
  }
  return value;
}

function whole(content: JsonObject, key: string, least: number, most: number): number | undefined {
  const value = given(content, key);
  if (value === undefined) return undefined;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= least && value <= most) return value;
  throw new Refusal('malformed', `${key} must be a whole number from ${least} to ${most}. Nothing was changed.`);
}

function oneOf<T extends string>(content: JsonObject, key: string, known: readonly T[]): T | undefined {
  const value = given(content, key);
  if (value === undefined) return undefined;
  const found = known.find((one) => one === value);
  if (found !== undefined) return found;
  throw new Refusal('malformed', `${key} must be one of ${known.join(', ')}. Nothing was changed.`);
}

/** A time as epoch milliseconds or ISO 8601; without an offset it is the wall-clock time of `timeZone`. */
function time(content: JsonObject, key: string, timeZone: string): Millis | undefined {
  const value = given(content, key);
  if (value === undefined) return undefined;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  const instant = typeof value === 'string' ? instantOfText(value.trim(), timeZone) : undefined;
  if (instant !== undefined) return instant;
  throw new Refusal(
    'bad-time',
    `${key} is ${cut(JSON.stringify(value), 60)}, which is not a time. Nothing was changed; write it as ` +
      '2026-01-31T09:00 (in the task’s time zone) or 2026-01-31T09:00:00Z.',
  );
}

function instantOfText(value: string, timeZone: string): Millis | undefined {
  const parts = /^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?(Z|[+-]\d\d:?\d\d)?$/i.exec(value);
  if (parts === null) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts
    .slice(1, 7)
    .map((part) => Number(part ?? 0));
  const wall = Date.UTC(year, month - 1, day, hour, minute, second);
  const back = new Date(wall);
  // Date rolls the 31st of a short month over to the next; that is a mistake and not a date.
  if (back.getUTCMonth() !== month - 1 || back.getUTCDate() !== day || back.getUTCHours() !== hour) return undefined;
  if (minute > 59 || second > 59) return undefined;
  const offset = parts[7];
  if (offset === undefined) return instantOf(wall, timeZone);
  if (offset.toUpperCase() === 'Z') return wall;
  const [sign, hours, minutes] = [offset[0], Number(offset.slice(1, 3)), Number(offset.slice(-2))];
  return wall - (sign === '-' ? -1 : 1) * (hours * 60 + minutes) * 60_000;
}
