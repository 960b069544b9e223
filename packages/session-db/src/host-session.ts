/**
 * The host's side of a session: the one writer of `inbound.db`. What the runner wrote comes in as plain values from an
 * `OutboundReader`; nothing here opens `outbound.db`.
 *
 * Every method is one synchronous block with at most one commit. Ring-after-commit is built in.
 */
import { dirname } from 'node:path';
import { InboundDeadLetters } from './dead-letters.ts';
import { Deferrals } from './deferrals.ts';
import { Deliveries } from './deliveries.ts';
import { ring } from './doorbell.ts';
import type { SessionFolder } from './folder.ts';
import {
  type Attemptable,
  type DeferralPolicy,
  type Deferred,
  INBOUND_DEFERRAL,
  type InboundStatus,
  type RetryPolicy,
  type Settlement,
  settlement,
} from './lifecycle.ts';
import { type Ack, type NewInbound, type RunId, runId } from './messages.ts';
import { OwedNotices } from './notices.ts';
import { inTransaction, isAtLeast, openOwnFile, openPeerFile, SQLITE_VERSION_MIN, sqliteVersion } from './open.ts';
import { type ReceivedRow, readInHand, readReceived } from './received.ts';
import { forgettable, pruneInbound, type Retention } from './retention.ts';
import { type Routing, readRouting, sameRouting, writeRouting } from './routing.ts';
import { INBOUND_MIGRATIONS, INBOUND_VERSION, migrate, userVersion, VersionError } from './schema.ts';
import { type OccurrenceOf, Series, type SeriesEdit } from './series.ts';
import type { OpenSqlite, Sqlite } from './sqlite/index.ts';
import type { Millis } from './time.ts';
import { type History, type HistoryPage, readHistory } from './timeline.ts';
import { Trouble } from './trouble.ts';
import type { OutboundCursor } from './untrusted.ts';

/** The same id was written before with another kind, place or content. Nothing was changed. */
export class MessageConflictError extends Error {
  /** Names the class, whatever a bundler makes of it. */
  override readonly name = 'MessageConflictError';
}

/** What settling needs of a message. */
export interface OpenMessage extends Attemptable {
  readonly id: string;
  readonly processAfter: Millis;
  /** The series that it is an occurrence of, and its slot there; `null` for any other message. */
  readonly occurrence: { readonly seriesId: string; readonly slot: Millis } | null;
}

/** What was settled, of which message, and when its run wrote the ack, by the runner's clock. */
export interface Settled {
  /** What was set. */
  readonly settlement: Settlement;
  /** The message as it was before. */
  readonly message: OpenMessage;
  /** When the run wrote the ack, by the runner's clock. */
  readonly statusChanged: Millis;
}

/** What follows from settlements for their series, to be written in the same transaction. */
export type Continuation = (settled: readonly Settled[], edit: SeriesEdit) => void;

/** A session opened for reading alone (`HostSession.view`). */
export interface SessionView
  extends Disposable,
    Pick<
      HostSession,
      | 'folder'
      | 'liveRun'
      | 'generation'
      | 'dueCount'
      | 'nextDueAt'
      | 'cursor'
      | 'message'
      | 'received'
      | 'inHand'
      | 'forgettable'
      | 'routing'
      | 'history'
    > {
  /** What is on its way to the world. */
  readonly deliveries: Pick<
    Deliveries,
    'nextAt' | 'parts' | 'stored' | 'target' | 'wasShown' | 'deadLetters' | 'deadLetterCount'
  >;
  /** Scheduled tasks. */
  readonly series: Pick<Series, 'live' | 'get' | 'open'>;
  /** What keeps the session from running. */
  readonly trouble: Pick<Trouble, 'get'>;
  /** What waits for its model. */
  readonly deferrals: Pick<Deferrals, 'get'>;
  /** Messages for the agent that were given up. */
  readonly deadLetters: Pick<InboundDeadLetters, 'list' | 'get' | 'count'>;
  /** What the host has still to say in a chat. */
  readonly notices: Pick<OwedNotices, 'owed'>;
}

/** How many changes of acks may be read again and again before the cursor moves past them. */
const CHANGES_READ_AGAIN_MAX = 100;

/** The host's side of one session. */
export class HostSession implements Disposable {
  /** Where its files lie. */
  readonly folder: SessionFolder;
  /** What is on its way to the world. */
  readonly deliveries: Deliveries;
  /** Scheduled tasks. */
  readonly series: Series;
  /** What keeps the session from running. */
  readonly trouble: Trouble;
  /** What waits for its model. */
  readonly deferrals: Deferrals;
  /** Messages for the agent that were given up. */
  readonly deadLetters: InboundDeadLetters;
  /** What the host has still to say in a chat. */
  readonly notices: OwedNotices;
  readonly #db: Sqlite;

  private constructor(folder: SessionFolder, db: Sqlite) {
    this.folder = folder;
    this.#db = db;
    const ringBell = (now: Millis) => ring(folder.inbound.bell, now);
    this.deliveries = new Deliveries(db);
    this.series = new Series(db, (message, now, of) => this.#insert(message, now, of), ringBell);
    this.trouble = new Trouble(db);
    this.deferrals = new Deferrals(db, ringBell);
    this.deadLetters = new InboundDeadLetters(db, ringBell);
    this.notices = new OwedNotices(db);
  }

  /**
   * Opens the session in `folder` (made by `createSession`), creating or migrating `inbound.db`.
   *
   * Throws `VersionError` when newer code wrote the file or this SQLite is too old to be trusted with a container's
   * files, and `SqliteError` when the file cannot be opened. The caller sees to it that it is the only host.
   */
  static open(folder: SessionFolder, openSqlite: OpenSqlite): HostSession {
    const db = openOwnFile(openSqlite, folder.inbound.database);
    try {
      requireSqliteVersion(db);
      migrate(db, INBOUND_MIGRATIONS);
      return new HostSession(folder, db);
    } catch (error) {
      db.close();
      throw error;
    }
  }

  /**
   * Opens the session for looking at it: the file is opened read-only, and the type has nothing that writes. For a
   * program that is not the host, or while there is none.
   *
   * Throws `VersionError` when the file is not of this version, and `SqliteError`: `SQLITE_CANTOPEN` where there is no
   * file, `SQLITE_READONLY_ROLLBACK` when the host died in mid-commit and has not started since, or busy.
   */
  static view(folder: SessionFolder, openSqlite: OpenSqlite): SessionView {
    const db = openPeerFile(openSqlite, folder.inbound.database);
    try {
      const version = userVersion(db);
      if (version !== INBOUND_VERSION) {
        throw new VersionError(
          `inbound.db has schema version ${version} and this program reads version ${INBOUND_VERSION}; nothing was ` +
            'changed. Start the host once, which brings an older file up to date.',
        );
      }
      return new HostSession(folder, db);
    } catch (error) {
      db.close();
      throw error;
    }
  }

  /** Closes the file. What was committed stays. */
  [Symbol.dispose](): void {
    this.#db.close();
  }

  /**
   * Writes a message for the agent. It is on disk when this returns. The same message a second time is `duplicate`
   * and changes nothing; the same id with another content throws `MessageConflictError`.
   *
   * One that wakes the agent asks its model, so what waits for the model is asked along with it, before it.
   */
  enqueue(message: NewInbound, now: Millis): 'inserted' | 'duplicate' {
    const result = inTransaction(this.#db, () => {
      const inserted = this.#insert(message, now);
      if (inserted === 'inserted' && message.trigger === 'wakes' && message.processAfter === undefined) {
        this.deferrals.retryNow(now);
      }
      return inserted;
    });
    if (result === 'inserted') ring(this.folder.inbound.bell, now);
    return result;
  }

  /** How many rows have been written since the file was opened: when it is the same again, nothing was. */
  rowsWritten(): number {
    return this.#db.all<{ rows: number }>('SELECT total_changes() AS rows')[0]?.rows ?? 0;
  }

  /** The run that may write `outbound.db`, as far as this file says; `undefined` when there is none. */
  liveRun(): RunId | undefined {
    const row = this.#db.all<{ run_id: string | null }>('SELECT run_id FROM host_state')[0];
    return row === undefined || row.run_id === null ? undefined : runId(row.run_id);
  }

  /** Names the live run, before its process starts. Any other run that reads this stops. */
  beginRun(run: RunId, now: Millis): void {
    this.#db.run('UPDATE host_state SET run_id = :run, run_started_at = :now', { run, now });
    ring(this.folder.inbound.bell, now);
  }

  /**
   * Records that the run has ended, as its runtime confirmed. Its open claims are then the next settlement's to charge.
   * Does nothing when another run is live.
   */
  endRun(run: RunId): void {
    this.#db.run('UPDATE host_state SET run_id = NULL, run_started_at = NULL WHERE run_id = :run', { run });
  }

  /** How many messages would wake the agent now. */
  dueCount(now: Millis): number {
    const rows = this.#db.all<{ due: number }>(
      `SELECT count(*) AS due FROM messages_in
       WHERE status = 'pending' AND lane IN ('work', 'control') AND process_after <= :now`,
      { now },
    );
    return rows[0]?.due ?? 0;
  }

  /** When the next message becomes due that wakes the agent, in the past too; `undefined` when none is pending. */
  nextDueAt(): Millis | undefined {
    const rows = this.#db.all<{ at: Millis | null }>(
      `SELECT min(at) AS at FROM (
         SELECT min(process_after) AS at FROM messages_in WHERE status = 'pending' AND lane = 'work'
         UNION ALL
         SELECT min(process_after) AS at FROM messages_in WHERE status = 'pending' AND lane = 'control'
       )`,
    );
    return rows[0]?.at ?? undefined;
  }

  /** From where the next read of `outbound.db` goes on. */
  cursor(): OutboundCursor {
    const rows = this.#db.all<OutboundCursor>(
      'SELECT acks_settled AS acksAfter, messages_taken AS messagesAfter FROM host_state',
    );
    return rows[0] ?? { acksAfter: 0, messagesAfter: 0 };
  }

  /**
   * Takes acks over into their messages, moves the cursor past them, and writes what `continuation` makes of that for
   * their series, all in one transaction; no transaction when nothing changes. Returns what was settled.
   *
   * `read` is what one read gave: the changes since the cursor up to `changesThrough`, and the claims still open.
   */
  settle(
    read: { readonly acks: readonly Ack[]; readonly openClaims: readonly Ack[]; readonly changesThrough: number },
    now: Millis,
    policy: RetryPolicy,
    continuation: Continuation = () => undefined,
    deferral: DeferralPolicy = INBOUND_DEFERRAL,
  ): Settlement[] {
    const liveRunId = this.liveRun();
    const settled: Settled[] = [];
    for (const ack of [...read.acks, ...read.openClaims]) {
      const message = this.message(ack.messageId);
      const decided = message && settlement(message, ack, liveRunId, now, policy, deferral);
      if (decided) settled.push({ settlement: decided, message, statusChanged: ack.statusChanged });
    }
    // Claims that are still open, and rows that are refused, move it only now and then: they are no reason for a commit,
    // and a file that begins with a limit's worth of them would never be read any further.
    const { acksAfter } = this.cursor();
    const isFarAhead = read.changesThrough - acksAfter >= CHANGES_READ_AGAIN_MAX;
    const moves = (read.acks.length > 0 || isFarAhead) && read.changesThrough > acksAfter;
    if (settled.length === 0 && !moves) return [];

    inTransaction(this.#db, () => {
      for (const one of settled) this.#setSettlement(one.settlement, now);
      if (settled.length > 0) continuation(settled, this.series.withinTransaction);
      this.#db.run('UPDATE host_state SET acks_settled = :through WHERE acks_settled < :through', {
        through: read.changesThrough,
      });
    });
    // A message that has ended is no news to the runner; one that is tried again or a next occurrence is.
    const isNews = ({ settlement: { to }, message }: Settled) =>
      to === 'retry' || to === 'deferred' || message.occurrence !== null;
    if (settled.some(isNews)) {
      ring(this.folder.inbound.bell, now);
    }
    return settled.map((one) => one.settlement);
  }

  /**
   * Ends the wait of whatever waits for longer than it was to: it was put off by a clock that was ahead, and would wait until that
   * time came. No write when there is none.
   */
  cutWaits(now: Millis): void {
    if (this.#db.all(`SELECT 1 FROM messages_in WHERE ${WAITS_TOO_LONG} LIMIT 1`, { now }).length === 0) return;
    this.#db.run(`UPDATE messages_in SET process_after = :now WHERE ${WAITS_TOO_LONG}`, { now });
    ring(this.folder.inbound.bell, now);
  }

  /**
   * How often the numbers of this session may have gone back, by a restore or an import: not a count, but never the same
   * again. With it, a number names one message for good.
   */
  generation(): number {
    return this.#db.all<{ generation: number }>('SELECT generation FROM host_state')[0]?.generation ?? 0;
  }

  /** One message as the host wrote it; `undefined` when there is none, or it is forgotten. */
  received(id: string): ReceivedRow | undefined {
    return readReceived(this.#db, id);
  }

  /** The messages that a run may be at work on, at most `limit`: those due that have not ended, context too. */
  inHand(now: Millis, limit: number): ReceivedRow[] {
    return readInHand(this.#db, now, limit);
  }

  /** What there is to know of one message; `undefined` when there is no such message. */
  message(id: string): OpenMessage | undefined {
    const row = this.#db.all<{
      id: string;
      status: InboundStatus;
      tries: number;
      tries_before: number;
      process_after: Millis;
      series_id: string | null;
      slot: Millis | null;
      deferred_since: Millis | null;
      deferred_wait_ms: number | null;
    }>(
      `SELECT id, status, tries, tries_before, process_after, series_id, slot, deferred_since, deferred_wait_ms
       FROM messages_in WHERE id = :id`,
      { id },
    )[0];
    if (row === undefined) return undefined;
    const { series_id: seriesId, slot, deferred_since: since, deferred_wait_ms: waitMs } = row;
    const deferred: Deferred | null = since !== null && waitMs !== null ? { since, waitMs } : null;
    return {
      id: row.id,
      status: row.status,
      tries: row.tries,
      triesBefore: row.tries_before,
      deferred,
      processAfter: row.process_after,
      occurrence: seriesId !== null && slot !== null ? { seriesId, slot } : null,
    };
  }

  /** Replaces the agent's destinations and default reply address. No write, and no new version, when nothing differs. */
  setRouting(routing: Routing, now: Millis): void {
    if (sameRouting(this.routing(), routing)) return;
    inTransaction(this.#db, () => writeRouting(this.#db, routing));
    ring(this.folder.inbound.bell, now);
  }

  /** Where this agent may write to, which is its permission to send, and where its answers go. */
  routing(): Routing {
    return readRouting(this.#db);
  }

  /** The newest messages of both directions as the host's file has them (`timeline` adds the agent's words). */
  history(page: HistoryPage): History {
    return readHistory(this.#db, this.deliveries, page);
  }

  /** The ids of the messages that `prune` would forget now; their files may be removed beforehand. */
  forgettable(now: Millis, retention: Retention): string[] {
    return forgettable(this.#db, now, retention);
  }

  /**
   * Forgets what ended longer ago than `retention.keepMs`, a batch of each table at most, and writes down what the runner may
   * forget. Gives how many rows were removed.
   */
  prune(now: Millis, retention: Retention): number {
    return pruneInbound(this.#db, this.deliveries, this.folder, now, retention);
  }

  #insert(message: NewInbound, now: Millis, of?: OccurrenceOf): 'inserted' | 'duplicate' {
    const content = JSON.stringify(message.content);
    const { address } = message;
    const inserted = this.#db.run(INSERT_MESSAGE, {
      id: message.id,
      kind: message.kind,
      timestamp: message.timestamp,
      processAfter: message.processAfter ?? now,
      waitMs: message.processAfter === undefined ? 0 : null,
      trigger: message.trigger === 'wakes' ? 1 : 0,
      onWake: message.onWake === true ? 1 : 0,
      channelType: address?.channelType ?? null,
      platformId: address?.platformId ?? null,
      threadId: address?.threadId ?? null,
      sourceSessionId: message.sourceSessionId ?? null,
      inReplyTo: message.inReplyTo ?? null,
      content,
      seriesId: of?.seriesId ?? null,
      slot: of?.slot ?? null,
      recurrence: of?.recurrence?.cron ?? null,
      timeZone: of?.recurrence?.timeZone ?? null,
    });
    if (inserted === 1) return 'inserted';
    // A slot is written once, whatever the series has become since.
    if (of !== undefined) return 'duplicate';

    const same = this.#db.all(
      `SELECT 1 FROM messages_in WHERE id = :id AND kind = :kind AND content = :content
         AND channel_type IS :channelType AND platform_id IS :platformId AND thread_id IS :threadId`,
      {
        id: message.id,
        kind: message.kind,
        content,
        channelType: address?.channelType ?? null,
        platformId: address?.platformId ?? null,
        threadId: address?.threadId ?? null,
      },
    );
    if (same.length === 1) return 'duplicate';
    throw new MessageConflictError(
      `Message ${JSON.stringify(message.id)} is in ${dirname(this.folder.inbound.root)} already, with another kind, ` +
        'place or content. The first one was kept; give the second an id of its own.',
    );
  }

  #setSettlement(settled: Settlement, now: Millis): void {
    const key = { id: settled.messageId, attempt: settled.attempt };
    const guard = "WHERE id = :id AND status IN ('pending', 'paused') AND tries = :attempt - 1";
    switch (settled.to) {
      case 'completed':
        this.#db.run(
          `UPDATE messages_in SET status = 'completed', tries = :attempt, error = NULL, settled_at = :now ${guard}`,
          { ...key, now },
        );
        return;
      case 'retry':
        this.#db.run(
          `UPDATE messages_in SET tries = :attempt, process_after = :at, wait_ms = :waitMs, error = :error,
             ${NOT_DEFERRED} ${guard}`,
          {
            ...key,
            at: settled.processAfter,
            waitMs: settled.processAfter - now,
            error: settled.error,
          },
        );
        return;
      case 'deferred':
        this.#db.run(
          `UPDATE messages_in SET tries = :attempt, tries_before = :triesBefore, process_after = :at, wait_ms = :waitMs,
             error = :error, deferral_notice = ${DEFERRAL_NOTICE}, deferral = :kind, deferred_since = :since,
             deferred_wait_ms = :deferredMs ${guard}`,
          {
            ...key,
            triesBefore: settled.triesBefore,
            at: settled.processAfter,
            waitMs: settled.processAfter - now,
            error: settled.error,
            isTold: settled.isTold ? 1 : 0,
            kind: settled.kind,
            since: settled.deferred.since,
            deferredMs: settled.deferred.waitMs,
          },
        );
        return;
      case 'failed':
        this.#db.run(
          `UPDATE messages_in SET status = 'failed', tries = :attempt, error = :error, settled_at = :now,
             notice_owed_at = ${NOTICE_OWED_AT} ${guard}`,
          { ...key, now, error: settled.error },
        );
    }
  }
}

function requireSqliteVersion(db: Sqlite): void {
  const version = sqliteVersion(db);
  if (isAtLeast(version, SQLITE_VERSION_MIN)) return;
  throw new VersionError(
    `This build of SQLite is ${version}, and the host needs ${SQLITE_VERSION_MIN} or newer to read what a ` +
      'container wrote. Nothing was changed; install a newer SQLite driver.',
  );
}

// A person waits for the answer to what wakes the agent, and none for a result of what the agent itself has asked for.
const NOTICE_OWED_AT = "CASE WHEN trigger = 1 AND kind <> 'system' THEN :now END";

const NOT_DEFERRED = 'deferral = NULL, deferred_since = NULL, deferred_wait_ms = NULL, deferral_notice = NULL';

// Once for all that wait in one chat, and once more when what was to pass by itself turns out to need a person. No person
// waits for the answer to an agent's mail.
const DEFERRAL_NOTICE = `CASE
  WHEN :isTold = 0 OR trigger = 0 OR kind = 'system' OR source_session_id IS NOT NULL OR EXISTS (
    SELECT 1 FROM messages_in AS told
    WHERE told.deferral IS NOT NULL AND told.status IN ('pending', 'paused') AND told.deferral_notice IS NOT NULL
      AND (told.deferral = 'refused' OR :kind = 'unavailable')
      AND told.channel_type IS messages_in.channel_type AND told.platform_id IS messages_in.platform_id
      AND told.thread_id IS messages_in.thread_id
  ) THEN deferral_notice ELSE 'owed' END`;

// The first condition is that of the index, which holds only what is open.
const WAITS_TOO_LONG = `status = 'pending' AND lane IN ('work', 'control', 'context') AND process_after > :now
  AND process_after > :now + wait_ms`;

const INSERT_MESSAGE = `
  INSERT INTO messages_in
    (seq, id, kind, timestamp, status, tries, process_after, wait_ms, series_id, slot, recurrence, time_zone,
     trigger, on_wake, channel_type, platform_id, thread_id, source_session_id, in_reply_to, content)
  SELECT highest + 2 - highest % 2, :id, :kind, :timestamp, 'pending', 0, :processAfter, :waitMs, :seriesId, :slot,
    :recurrence, :timeZone, :trigger, :onWake, :channelType, :platformId, :threadId, :sourceSessionId, :inReplyTo, :content
  FROM (
    SELECT max(coalesce((SELECT max(seq) FROM messages_in), 0), messages_taken) AS highest FROM host_state
  )
  WHERE true
  ON CONFLICT (id) DO NOTHING`;
