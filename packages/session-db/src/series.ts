/**
 * Scheduled tasks: the table `series` of `inbound.db` and the occurrences of each in `messages_in`. Reached through
 * `HostSession.series`. Here is only what is stored; when a series runs is decided by `@nanoclaw/sweep`.
 *
 * An occurrence's id is its series and its slot, so one slot cannot be written twice; the row stands before its time,
 * so that a live run takes it without the host.
 */
import type { Address, Json, JsonObject, NewInbound, Recurrence } from './messages.ts';
import { inTransaction } from './open.ts';
import type { Sqlite } from './sqlite/index.ts';
import type { Millis } from './time.ts';

export const SERIES_STATUSES = ['active', 'paused', 'ended', 'cancelled'] as const;
export type SeriesStatus = (typeof SERIES_STATUSES)[number];

/** What becomes of slots that passed while no host ran: none, the last one, or the last `max`, one after the other. */
export type CatchUp =
  | { readonly type: 'skip' }
  | { readonly type: 'latest' }
  | {
      readonly type: 'all';
      /** How many slots at most. */
      readonly max: number;
    };

/** The values of `Overlap`. */
export const OVERLAPS = ['skip', 'buffer-one', 'allow'] as const;
/** What becomes of slots that come while an earlier occurrence is not done. */
export type Overlap = (typeof OVERLAPS)[number];

/** A scheduled task: what it is, when it runs, and how far it has come. */
export interface SeriesRecord {
  /** The task's id: 1 to 200 characters. */
  readonly id: string;
  /** Whether it goes on. */
  readonly status: SeriesStatus;
  /** Why it is paused or has ended. */
  readonly reason: string | null;
  /** `null`: it runs once. */
  readonly recurrence: Omit<Recurrence, 'seriesId'> | null;
  /** What the agent gets each time. */
  readonly content: JsonObject;
  /** Where its answers go; `null`: where the session answers. */
  readonly address: Address | null;
  /** What becomes of slots that passed while no host ran. */
  readonly catchUp: CatchUp;
  /** What becomes of slots that come while an earlier occurrence is not done. */
  readonly overlap: Overlap;
  /** How far an occurrence may be put off from its slot, in milliseconds. */
  readonly jitterMs: number;
  /** No slot before this time. */
  readonly startAt: Millis;
  /** No slot after this time. */
  readonly endAt: Millis | null;
  /** At most so many occurrences; `null`: without an end. */
  readonly countMax: number | null;
  /** Paused after so many occurrences in a row that were given up. */
  readonly pauseAfter: number | null;
  /** The first slot that has not been decided; `null`: there is none any more. */
  readonly nextSlot: Millis | null;
  /** Slots that have passed and will still be run, oldest first. */
  readonly owed: readonly Millis[];
  /** How many occurrences have ended, completed or given up. */
  readonly fired: number;
  /** How many of the last were given up in a row. */
  readonly failures: number;
  /** When it was made. */
  readonly createdAt: Millis;
  /** When it was last changed. */
  readonly updatedAt: Millis;
}

/** An occurrence that has not ended. */
export interface Occurrence {
  /** The message's id: the series and the slot. */
  readonly id: string;
  /** Its series. */
  readonly seriesId: string;
  /** The time that the series gave it; it never changes. */
  readonly slot: Millis;
  /** `paused`: held until it is released. */
  readonly status: 'pending' | 'paused';
  /** How many attempts have been settled. */
  readonly tries: number;
  /** Not before this time: its slot and jitter, later the wait for a retry. */
  readonly processAfter: Millis;
}

/** The id of the message that is a series' occurrence at a slot. */
export function occurrenceId(seriesId: string, slot: Millis): string {
  return `${seriesId}@${slot}`;
}

/** Moves within one transaction of `inbound.db`, which `Series.edit` has begun. */
export interface SeriesEdit {
  /** Writes a series as a whole, new or not. */
  put(record: SeriesRecord): void;
  /** Owes the chat the notice that a series was paused by its failures; taken back when it is no longer paused. */
  owePaused(seriesId: string, now: Millis): void;
  /** Writes an occurrence. Its slot having been written before, nothing happens. */
  insert(record: SeriesRecord, slot: Millis, processAfter: Millis, now: Millis): void;
  /** Ends an occurrence without a run, for the record; an ack that still comes for it means nothing. */
  cancel(occurrence: Occurrence, reason: string, now: Millis): void;
  /** Takes back an occurrence whose time has not come, as though it had never been: its slot may be written again. */
  withdraw(occurrence: Occurrence): void;
  /** Says of an occurrence in a run's hands, which the clock of now has not come to, that its time has come. */
  begun(occurrence: Occurrence, now: Millis): void;
  /** No new attempt until it is released; one that runs may end. */
  hold(occurrence: Occurrence): void;
  /** Lets an occurrence that was held be attempted again. */
  release(occurrence: Occurrence): void;
  /** Gives an occurrence the series' present content, for its next attempt. */
  refresh(occurrence: Occurrence, record: SeriesRecord): void;
}

/** The recurring tasks of a session; `HostSession.series`. */
export class Series {
  readonly #db: Sqlite;
  readonly #ring: (now: Millis) => void;
  readonly #edit: SeriesEdit;

  /** For `HostSession`, which owns the file, writes messages and rings its bell. */
  constructor(
    db: Sqlite,
    insert: (message: NewInbound, now: Millis, of: OccurrenceOf) => unknown,
    ring: (now: Millis) => void,
  ) {
    this.#db = db;
    this.#ring = ring;
    this.#edit = seriesEdit(db, insert);
  }

  /** The series that have not ended, active or paused, by id. */
  live(): SeriesRecord[] {
    return this.#db.all<SeriesRow>(SELECT_LIVE).map(record);
  }

  /** One series, ended ones too while they are remembered; `undefined` when there is none of this id. */
  get(id: string): SeriesRecord | undefined {
    return this.#db.all<SeriesRow>('SELECT * FROM series WHERE id = :id', { id }).map(record)[0];
  }

  /** The occurrences that have not ended, of one series or of all, by slot. */
  open(seriesId?: string): Occurrence[] {
    return seriesId === undefined
      ? this.#db.all<Occurrence>(`${SELECT_OPEN} ORDER BY series_id, slot`)
      : this.#db.all<Occurrence>(`${SELECT_OPEN} AND series_id = :seriesId ORDER BY slot`, { seriesId });
  }

  /** Changes series and occurrences in one transaction, and rings the bell. Returns what `action` returns. */
  edit<T>(now: Millis, action: (edit: SeriesEdit) => T): T {
    const result = inTransaction(this.#db, () => action(this.#edit));
    this.#ring(now);
    return result;
  }

  /**
   * Does what the outbound row `actionId` asks for, once: the changes and the result are one transaction, and the same
   * id again gives the result of the first time.
   */
  once<T extends Json>(actionId: string, now: Millis, action: (edit: SeriesEdit) => T): T {
    const before = this.#db.all<{ result: string }>('SELECT result FROM scheduling WHERE action_id = :actionId', {
      actionId,
    })[0];
    if (before !== undefined) return JSON.parse(before.result);
    return this.edit(now, (edit) => {
      const result = action(edit);
      this.#db.run('INSERT INTO scheduling (action_id, at, result) VALUES (:actionId, :at, :result)', {
        actionId,
        at: now,
        result: JSON.stringify(result),
      });
      return result;
    });
  }

  /**
   * Forgets, up to `before`, what came of requests and the series that have ended. An action row that has been
   * delivered is never accepted again, so what is older than the oldest open delivery may go.
   */
  prune(before: Millis): void {
    inTransaction(this.#db, () => {
      this.#db.run('DELETE FROM scheduling WHERE at < :before', { before });
      this.#db.run(
        `DELETE FROM series WHERE status IN ('ended', 'cancelled') AND updated_at < :before
           AND NOT EXISTS (SELECT 1 FROM messages_in
             WHERE series_id = series.id AND series_id IS NOT NULL AND messages_in.status IN ('pending', 'paused'))`,
        { before },
      );
    });
  }

  /** For `HostSession.settle`, which has begun the transaction. */
  get withinTransaction(): SeriesEdit {
    return this.#edit;
  }
}

/** What makes a message an occurrence, in its row. */
export interface OccurrenceOf {
  readonly seriesId: string;
  readonly slot: Millis;
  readonly recurrence: SeriesRecord['recurrence'];
}

const SELECT_LIVE = "SELECT * FROM series WHERE status IN ('active', 'paused') ORDER BY id";

const SELECT_OPEN = `
  SELECT id, series_id AS seriesId, slot, status, tries, process_after AS processAfter FROM messages_in
  WHERE series_id IS NOT NULL AND status IN ('pending', 'paused')`;

function seriesEdit(db: Sqlite, insert: (message: NewInbound, now: Millis, of: OccurrenceOf) => unknown): SeriesEdit {
  const open = "WHERE id = :id AND status IN ('pending', 'paused')";
  return {
    put: (series) => void db.run(PUT_SERIES, asRow(series)),
    owePaused: (seriesId, now) =>
      void db.run("UPDATE series SET notice_owed_at = :now WHERE id = :seriesId AND status = 'paused'", {
        seriesId,
        now,
      }),
    insert: (series, slot, processAfter, now) =>
      void insert(
        {
          id: occurrenceId(series.id, slot),
          kind: 'task',
          timestamp: slot,
          trigger: 'wakes',
          processAfter,
          address: series.address,
          content: series.content,
        },
        now,
        { seriesId: series.id, slot, recurrence: series.recurrence },
      ),
    cancel: ({ id }, reason, now) =>
      void db.run(`UPDATE messages_in SET status = 'cancelled', error = :reason, settled_at = :now ${open}`, {
        id,
        reason,
        now,
      }),
    withdraw: ({ id }) => void db.run(`DELETE FROM messages_in ${open} AND tries = 0`, { id }),
    begun: ({ id }, now) =>
      void db.run(`UPDATE messages_in SET process_after = :now, wait_ms = 0 ${open} AND tries = 0`, { id, now }),
    hold: ({ id }) =>
      void db.run("UPDATE messages_in SET status = 'paused' WHERE id = :id AND status = 'pending'", { id }),
    release: ({ id }) =>
      void db.run("UPDATE messages_in SET status = 'pending' WHERE id = :id AND status = 'paused'", { id }),
    refresh: ({ id }, series) =>
      void db.run(
        `UPDATE messages_in SET content = :content, recurrence = :recurrence, time_zone = :timeZone ${open}`,
        {
          id,
          content: JSON.stringify(series.content),
          recurrence: series.recurrence?.cron ?? null,
          timeZone: series.recurrence?.timeZone ?? null,
        },
      ),
  };
}

interface SeriesRow {
  readonly [column: string]: string | number | null;
  readonly id: string;
  readonly status: SeriesStatus;
  readonly reason: string | null;
  readonly recurrence: string | null;
  readonly time_zone: string | null;
  readonly content: string;
  readonly channel_type: string | null;
  readonly platform_id: string | null;
  readonly thread_id: string | null;
  readonly catch_up: CatchUp['type'];
  readonly catch_up_max: number;
  readonly overlap: Overlap;
  readonly jitter_ms: number;
  readonly start_at: Millis;
  readonly end_at: Millis | null;
  readonly count_max: number | null;
  readonly pause_after: number | null;
  readonly next_slot: Millis | null;
  readonly owed: string;
  readonly fired: number;
  readonly failures: number;
  readonly created_at: Millis;
  readonly updated_at: Millis;
}

const PUT_SERIES = `
  INSERT INTO series
    (id, status, reason, recurrence, time_zone, content, channel_type, platform_id, thread_id, catch_up, catch_up_max,
     overlap, jitter_ms, start_at, end_at, count_max, pause_after, next_slot, owed, fired, failures, created_at, updated_at)
  VALUES
    (:id, :status, :reason, :recurrence, :time_zone, :content, :channel_type, :platform_id, :thread_id, :catch_up,
     :catch_up_max, :overlap, :jitter_ms, :start_at, :end_at, :count_max, :pause_after, :next_slot, :owed, :fired, :failures,
     :created_at, :updated_at)
  ON CONFLICT (id) DO UPDATE SET status = excluded.status, reason = excluded.reason, recurrence = excluded.recurrence,
    time_zone = excluded.time_zone, content = excluded.content, channel_type = excluded.channel_type,
    platform_id = excluded.platform_id, thread_id = excluded.thread_id, catch_up = excluded.catch_up,
    catch_up_max = excluded.catch_up_max, overlap = excluded.overlap, jitter_ms = excluded.jitter_ms,
    start_at = excluded.start_at,
    end_at = excluded.end_at, count_max = excluded.count_max, pause_after = excluded.pause_after,
    next_slot = excluded.next_slot, owed = excluded.owed, fired = excluded.fired, failures = excluded.failures,
    updated_at = excluded.updated_at,
    notice_owed_at = CASE WHEN excluded.status = 'paused' THEN series.notice_owed_at END`;

function asRow(series: SeriesRecord): SeriesRow {
  return {
    id: series.id,
    status: series.status,
    reason: series.reason,
    recurrence: series.recurrence?.cron ?? null,
    time_zone: series.recurrence?.timeZone ?? null,
    content: JSON.stringify(series.content),
    channel_type: series.address?.channelType ?? null,
    platform_id: series.address?.platformId ?? null,
    thread_id: series.address?.threadId ?? null,
    catch_up: series.catchUp.type,
    catch_up_max: series.catchUp.type === 'all' ? series.catchUp.max : 1,
    overlap: series.overlap,
    jitter_ms: series.jitterMs,
    start_at: series.startAt,
    end_at: series.endAt,
    count_max: series.countMax,
    pause_after: series.pauseAfter,
    next_slot: series.nextSlot,
    owed: JSON.stringify(series.owed),
    fired: series.fired,
    failures: series.failures,
    created_at: series.createdAt,
    updated_at: series.updatedAt,
  };
}

function record(of: SeriesRow): SeriesRecord {
  const { recurrence: cron, time_zone: timeZone, channel_type: channelType, platform_id: platformId } = of;
  return {
    id: of.id,
    status: of.status,
    reason: of.reason,
    recurrence: cron !== null && timeZone !== null ? { cron, timeZone } : null,
    content: JSON.parse(of.content),
    address: channelType !== null && platformId !== null ? { channelType, platformId, threadId: of.thread_id } : null,
    catchUp: of.catch_up === 'all' ? { type: 'all', max: of.catch_up_max } : { type: of.catch_up },
    overlap: of.overlap,
    jitterMs: of.jitter_ms,
    startAt: of.start_at,
    endAt: of.end_at,
    countMax: of.count_max,
    pauseAfter: of.pause_after,
    nextSlot: of.next_slot,
    owed: JSON.parse(of.owed),
    fired: of.fired,
    failures: of.failures,
    createdAt: of.created_at,
    updatedAt: of.updated_at,
  };
}
