/**
 * The runner's side of a session: the one writer of `outbound.db`, for one run. It only ever reads `inbound.db`, which
 * it opens, uses and closes within one synchronous block.
 *
 * A claim is an insertion with a number of its own, so there is nothing to clean up at a start, and no order in which
 * host and runner must do things.
 */
import { mkdirSync } from 'node:fs';
import { ring } from './doorbell.ts';
import type { InboundFolder, OutboundFolder } from './folder.ts';
import { beat } from './heartbeat.ts';
import {
  type Address,
  type Claim,
  type Effect,
  INBOUND_KINDS,
  type InboundKind,
  type InboundMessage,
  type JsonObject,
  type NewOutbound,
  OUTBOUND_KINDS,
  type Outcome,
  type PastEffect,
  type Recurrence,
  type RunId,
  type SentRow,
  type ToolInFlight,
  type TurnRecord,
} from './messages.ts';
import { inTransaction, openOwnFile, openPeerFile } from './open.ts';
import { hostProgress, pruneOutbound, type Retention } from './retention.ts';
import { type Routing, readRouting } from './routing.ts';
import {
  INBOUND_VERSION,
  migrate,
  OUTBOUND_MIGRATIONS,
  PROTOCOL_VERSION,
  READER_VERSION_MIN,
  userVersion,
  VersionError,
} from './schema.ts';
import { isBusy, type OpenSqlite, type Sqlite, SqliteError } from './sqlite/index.ts';
import type { Millis } from './time.ts';

/** What a run says of itself at its start. */
export interface Handshake {
  readonly runId: RunId;
  readonly runnerVersion: string;
  readonly provider: string;
}

/** What a claim draws from, each with its own limit, so that none hides another. */
export interface ClaimLimits {
  /** Chat, tasks and webhooks. Messages that are context only are taken along with them, up to `context`. */
  readonly work: number;
  /** Commands and results of requests. */
  readonly control: number;
  /** Messages that are context only. */
  readonly context: number;
}

/** A message claimed, or one that cannot be worked on (`poison`), which is to be failed alone. */
export type Claimed =
  | {
      readonly type: 'message';
      /** What acknowledges it. */
      readonly claim: Claim;
      /** As it lies in `inbound.db`. */
      readonly message: InboundMessage;
    }
  | {
      readonly type: 'poison';
      /** What acknowledges it. */
      readonly claim: Claim;
      /** Why it cannot be worked on, as one sentence. */
      readonly reason: string;
    };

/** What came of `RunnerSession.claim`. */
export type ClaimResult =
  | {
      readonly type: 'claimed';
      /** In the order of their numbers; empty when nothing was due. */
      readonly claimed: readonly Claimed[];
      /** When the next message that wakes the agent becomes due, after now; `undefined` when none waits. */
      readonly nextDueAt: Millis | undefined;
    }
  /** Another run is live, or none: this one must stop at once. */
  | {
      readonly type: 'fenced';
      /** The run that is live; `undefined`: none is. */
      readonly liveRunId: string | undefined;
    }
  /** `inbound.db` could not be read just now: look again in a moment. */
  | {
      readonly type: 'unreadable';
      /** What SQLite or the system said. */
      readonly reason: string;
    };

/** A message by its number, for an edit or a reaction. */
export interface MessageRef {
  /** The message's id. */
  readonly id: string;
  /** Where it came from or goes; `null` for what has no place. */
  readonly address: Address | null;
}

/** A task that is not over, as the agent sees it. */
export interface OpenTask {
  /** The series' id. */
  readonly taskId: string;
  /** `paused`: no occurrence becomes due until it is resumed. */
  readonly status: 'active' | 'paused';
  /** Why it is paused; `null` when no reason was given. */
  readonly reason: string | null;
  /** `null`: no time is set any more. */
  readonly nextAt: Millis | null;
  /** `null`: it runs once. */
  readonly recurrence: Omit<Recurrence, 'seriesId'> | null;
  /** How many of its last times were given up in a row. */
  readonly failures: number;
  /** Its prompt; empty when the row has none. */
  readonly prompt: string;
}

/** This run's claim is no longer open: another hand has ended it. Nothing of the transaction was written. */
export class ClaimLostError extends Error {
  /** Names the class, whatever a bundler makes of it. */
  override readonly name = 'ClaimLostError';
}

/** The runner's side of one session, for one run. */
export class RunnerSession implements Disposable {
  /** The run that this is. */
  readonly runId: RunId;
  /** Where its files lie. */
  readonly folders: {
    /** The host's, which this side only reads. */
    readonly inbound: InboundFolder;
    /** This side's own. */
    readonly outbound: OutboundFolder;
  };
  readonly #openSqlite: OpenSqlite;
  readonly #db: Sqlite;
  /**
   * Where the host stands, as of the last read of `inbound.db`; `undefined` before the first. New numbers go above it: in a
   * new `outbound.db` beside an old `inbound.db` lower ones would lie behind the host's cursors, and never be read.
   */
  #host: HostNumbers | undefined;
  #firstClaim = true;

  private constructor(
    inbound: InboundFolder,
    outbound: OutboundFolder,
    openSqlite: OpenSqlite,
    db: Sqlite,
    run: RunId,
  ) {
    this.folders = { inbound, outbound };
    this.#openSqlite = openSqlite;
    this.#db = db;
    this.runId = run;
  }

  /**
   * Opens the session for one run: creates or migrates `outbound.db` and writes the run's handshake row.
   *
   * Throws `VersionError` when newer code wrote one of the files, and `SqliteError` when a file cannot be opened.
   */
  static open(
    folders: { readonly inbound: InboundFolder; readonly outbound: OutboundFolder },
    openSqlite: OpenSqlite,
    handshake: Handshake,
    now: Millis,
  ): RunnerSession {
    mkdirSync(folders.outbound.files, { recursive: true });
    const db = openOwnFile(openSqlite, folders.outbound.database);
    try {
      migrate(db, OUTBOUND_MIGRATIONS);
      db.run(
        `INSERT INTO container_state
           (one, run_id, protocol_version, reader_version_min, runner_version, provider, started_at, progress_at,
            tools, updated_at)
         VALUES (1, :runId, ${PROTOCOL_VERSION}, ${READER_VERSION_MIN}, :runnerVersion, :provider, :now, :now, '[]', :now)
         ON CONFLICT (one) DO UPDATE SET run_id = excluded.run_id, protocol_version = excluded.protocol_version,
           reader_version_min = excluded.reader_version_min, runner_version = excluded.runner_version,
           provider = excluded.provider, started_at = excluded.started_at, progress_at = excluded.progress_at,
           tools = excluded.tools, updated_at = excluded.updated_at`,
        { ...handshake, now },
      );
      beat(folders.outbound.heartbeat, now);
      ring(folders.outbound.bell, now);
      return new RunnerSession(folders.inbound, folders.outbound, openSqlite, db, handshake.runId);
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
   * Claims what is due, oldest first, up to the limits: the next attempt at each message, unless a run has claimed that
   * attempt before. Context is claimed only together with work. One commit, and none when there is nothing.
   *
   * Throws `VersionError` when the host is newer than this runner can read.
   */
  claim(now: Millis, limits: ClaimLimits): ClaimResult {
    const due = this.#fromInbound((inbound) => this.#due(inbound, now, limits));
    if (due.type !== 'read') return due;
    const { liveRunId, rows, nextDueAt } = due.value;
    if (liveRunId !== this.runId) return { type: 'fenced', liveRunId };
    this.#firstClaim = false;
    if (rows.length === 0) return { type: 'claimed', claimed: [], nextDueAt };

    inTransaction(this.#db, () => {
      for (const row of rows) {
        this.#db.run(
          `INSERT INTO processing_ack (change, message_id, attempt, run_id, status, status_changed)
           VALUES ((SELECT max(coalesce(max(change), 0), :settled) + 1 FROM processing_ack), :messageId, :attempt, :runId,
             'processing', :now)`,
          { messageId: row.id, attempt: row.tries + 1, runId: this.runId, settled: this.#numbers().acksSettled, now },
        );
      }
    });
    ring(this.folders.outbound.bell, now);
    return { type: 'claimed', claimed: rows.map((row) => claimed(row, this.runId)), nextDueAt };
  }

  /**
   * Ends claims, with the replies of their turn, in one transaction: either all of it is on disk when this returns, or
   * nothing. Gives the numbers of the replies, in their order.
   *
   * Throws `ClaimLostError` when one of the claims is not open any more; nothing is written then.
   */
  finish(
    claims: readonly Claim[],
    outcome: Outcome,
    replies: readonly NewOutbound[],
    now: Millis,
    turn?: TurnRecord,
  ): number[] {
    const seqs = inTransaction(this.#db, () => {
      for (const claim of claims) this.#setAck(claim, outcome, now);
      if (turn) this.#insertTurn(turn);
      return replies.map((reply) => this.#insert(reply, now).seq);
    });
    ring(this.folders.outbound.bell, now);
    return seqs;
  }

  /**
   * Writes a message in mid-turn, and gives its row: its number is that by which the agent may later edit it or react to
   * it. An `effect` that an attempt at one of its causes has had before is the row of that time, and nothing is written.
   */
  send(message: NewOutbound, now: Millis, effect?: Effect): SentRow {
    const sent = inTransaction(this.#db, () => {
      const row = (effect && this.#acted(effect)) ?? this.#insert(message, now);
      if (effect) this.#own(effect, row.seq);
      return row;
    });
    ring(this.folders.outbound.bell, now);
    return sent;
  }

  /** What attempts at these messages have done, in its order; of each message the first `limit`. */
  effects(messageIds: readonly string[], limit: number): PastEffect[] {
    const bySeq = new Map<number, PastEffect>();
    for (const messageId of messageIds) {
      for (const row of this.#db.all<EffectRow>(SELECT_EFFECTS, { messageId, limit })) {
        const causes = [...(bySeq.get(row.seq)?.causes ?? []), messageId];
        const { seq, id, timestamp } = row;
        const kind = OUTBOUND_KINDS.find((known) => known === row.kind) ?? 'chat';
        bySeq.set(seq, {
          seq,
          id,
          timestamp,
          causes,
          kind,
          address: address(row),
          content: contentObject(row.content) ?? {},
        });
      }
    }
    return [...bySeq.values()].toSorted((a, b) => a.seq - b.seq);
  }

  /**
   * What the host has written in answer to a row of ours, the first of it, whatever has become of that since; `none`: nothing
   * yet. `undefined`: unreadable just now.
   */
  answerTo(row: Pick<SentRow, 'seq' | 'id'>): InboundMessage | 'none' | undefined {
    const result = this.#fromInbound((inbound) => {
      const found = inbound.all<InboundRow>(SELECT_ANSWER, { seq: row.seq, id: row.id })[0];
      const one = found && claimed(found, this.runId);
      return one?.type === 'message' ? one.message : 'none';
    });
    return result.type === 'read' ? result.value : undefined;
  }

  /** Gives a sign of life. No commit: it touches the heartbeat file. */
  beat(now: Millis): void {
    beat(this.folders.outbound.heartbeat, now);
  }

  /** Records that the provider works, and which tools it waits for: the whole list, set and not added to. */
  progress(tools: readonly ToolInFlight[], now: Millis): void {
    this.#db.run('UPDATE container_state SET progress_at = :now, updated_at = :now, tools = :tools', {
      now,
      tools: JSON.stringify(tools),
    });
    ring(this.folders.outbound.bell, now);
  }

  /** The provider's token to resume with; `undefined` when it must start afresh. */
  continuation(provider: string): string | undefined {
    return this.#db.all<{ value: string }>('SELECT value FROM session_state WHERE key = :key', {
      key: `continuation:${provider}`,
    })[0]?.value;
  }

  /** Keeps the provider's token, or with `undefined` forgets it. */
  setContinuation(provider: string, token: string | undefined, now: Millis): void {
    const key = `continuation:${provider}`;
    if (token === undefined) {
      this.#db.run('DELETE FROM session_state WHERE key = :key', { key });
      return;
    }
    this.#db.run(
      `INSERT INTO session_state (key, value, updated_at) VALUES (:key, :token, :now)
       ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at
       WHERE value <> excluded.value`,
      { key, token, now },
    );
  }

  /**
   * Puts the provider's token aside, because it proved dead: the next turn starts afresh, and an operator can still
   * see which conversation it was. One commit; does nothing without a token.
   */
  quarantineContinuation(provider: string, now: Millis): void {
    const keys = { key: `continuation:${provider}`, dead: `dead-continuation:${provider}` };
    inTransaction(this.#db, () => {
      this.#db.run(
        `INSERT INTO session_state (key, value, updated_at)
         SELECT :dead, value, :now FROM session_state WHERE key = :key
         ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at`,
        { ...keys, now },
      );
      this.#db.run('DELETE FROM session_state WHERE key = :key', { key: keys.key });
    });
  }

  /**
   * The message with this number and where it came from or goes: an even number is the host's, an odd one ours. A
   * message that was pruned is `unknown`, as is a number never given. `undefined`: unreadable just now.
   */
  messageAt(seq: number): MessageRef | 'unknown' | undefined {
    if (seq % 2 === 1)
      return messageRef(this.#db.all<RefRow>(`${SELECT_REF} messages_out WHERE seq = :seq`, { seq })[0]);
    const result = this.#fromInbound((inbound) =>
      messageRef(inbound.all<RefRow>(`${SELECT_REF} messages_in WHERE seq = :seq`, { seq })[0]),
    );
    return result.type === 'read' ? result.value : undefined;
  }

  /** The agent's tasks that are not over, next first, at most `limit`; `undefined`: unreadable just now. */
  tasks(limit: number): OpenTask[] | undefined {
    const result = this.#fromInbound((inbound) => inbound.all<TaskRow>(SELECT_TASKS, { limit }).map(openTask));
    return result.type === 'read' ? result.value : undefined;
  }

  /** Where this agent may write to, and where an answer goes that names no place; `undefined`: unreadable just now. */
  routing(): Routing | undefined {
    const result = this.#fromInbound(readRouting);
    return result.type === 'read' ? result.value : undefined;
  }

  /**
   * Forgets what the host has taken over longer ago than `retention.keepMs`, a batch of each table at most. Gives how many
   * rows were removed; `undefined` when `inbound.db` cannot be read just now.
   */
  prune(now: Millis, retention: Retention): number | undefined {
    const host = this.#fromInbound(hostProgress);
    return host.type === 'read' ? pruneOutbound(this.#db, host.value, now, retention) : undefined;
  }

  /**
   * What is due and not claimed, with filters before limits. Rows that a run has claimed and the host has not yet settled
   * still look due here, so the lane is read on, page by page, until its limit is full.
   */
  #due(
    inbound: Sqlite,
    now: Millis,
    limits: ClaimLimits,
  ): { liveRunId: string | undefined; rows: InboundRow[]; nextDueAt: Millis | undefined } {
    const state = hostNumbers(inbound);
    this.#host = state;
    const work = this.#lane(inbound, 'work', now, limits.work);
    const control = this.#lane(inbound, 'control', now, limits.control);
    const context = work.length > 0 ? this.#lane(inbound, 'context', now, limits.context) : [];
    return {
      liveRunId: state.liveRunId,
      rows: [...control, ...context, ...work],
      nextDueAt: inbound.all<{ at: Millis | null }>(NEXT_DUE, { now })[0]?.at ?? undefined,
    };
  }

  #lane(inbound: Sqlite, lane: string, now: Millis, limit: number): InboundRow[] {
    const taken: InboundRow[] = [];
    let after = { at: Number.MIN_SAFE_INTEGER, seq: 0 };
    while (taken.length < limit) {
      const page = inbound.all<InboundRow>(DUE_IN_LANE, {
        lane,
        now,
        first: this.#firstClaim ? 1 : 0,
        afterAt: after.at,
        afterSeq: after.seq,
        page: PAGE,
      });
      for (const row of page) {
        if (taken.length < limit && !this.#isClaimed(row)) taken.push(row);
      }
      const last = page.at(-1);
      if (page.length < PAGE || last === undefined) break;
      after = { at: last.process_after, seq: last.seq };
    }
    return taken;
  }

  #isClaimed(row: InboundRow): boolean {
    const rows = this.#db.all('SELECT 1 FROM processing_ack WHERE message_id = :id AND attempt = :attempt', {
      id: row.id,
      attempt: row.tries + 1,
    });
    return rows.length > 0;
  }

  /** Where the host stands. Throws `SqliteError` with `SQLITE_BUSY` while that cannot be read: the caller tries again. */
  #numbers(): HostNumbers {
    if (this.#host === undefined) {
      const read = this.#fromInbound(hostNumbers);
      if (read.type !== 'read') throw new SqliteError('SQLITE_BUSY', `inbound.db cannot be read: ${read.reason}`);
      this.#host = read.value;
    }
    return this.#host;
  }

  #setAck(claim: Claim, outcome: Outcome, now: Millis): void {
    const changed = this.#db.run(
      `UPDATE processing_ack SET status = :status, status_changed = :now, error = :error, deferral = :deferral,
         retry_after_ms = :retryAfterMs,
         change = (SELECT max(max(change), :acksSettled) + 1 FROM processing_ack)
       WHERE message_id = :messageId AND attempt = :attempt AND run_id = :runId AND status = 'processing'`,
      {
        ...claim,
        acksSettled: this.#numbers().acksSettled,
        status: outcome.type,
        error: outcome.type === 'completed' ? null : outcome.reason,
        deferral: outcome.type === 'deferred' ? outcome.kind : null,
        retryAfterMs: outcome.type === 'deferred' ? outcome.retryAfterMs : null,
        now,
      },
    );
    if (changed === 1) return;
    throw new ClaimLostError(
      `Attempt ${claim.attempt} at message ${claim.messageId} is not open for run ${claim.runId} any more. ` +
        'Nothing of this turn was written; the host or another run has ended the attempt.',
    );
  }

  /** The row of an effect that an attempt at one of its causes has had before: in the same place among its equals. */
  #acted({ causes, key, nth }: Effect): SentRow | undefined {
    const equals = new Map<number, SentRow>();
    for (const messageId of causes) {
      for (const row of this.#db.all<SentRow>(SELECT_EQUALS, { messageId, key })) equals.set(row.seq, row);
    }
    return [...equals.values()].toSorted((a, b) => a.seq - b.seq)[nth];
  }

  #own({ causes, key }: Effect, seq: number): void {
    for (const messageId of causes) this.#db.run(INSERT_EFFECT, { messageId, key, seq });
  }

  #insert(message: NewOutbound, now: Millis): SentRow {
    const row = this.#db.all<SentRow>(
      `INSERT INTO messages_out
         (seq, id, run_id, in_reply_to, timestamp, deliver_after, kind, channel_type, platform_id, thread_id, content)
       SELECT highest + 1 + highest % 2, :id, :runId, :inReplyTo, :now, :deliverAfter, :kind, :channelType, :platformId,
         :threadId, :content
       FROM (SELECT max(coalesce((SELECT max(seq) FROM messages_out), 0), :inboundSeq) AS highest)
       RETURNING seq, id, timestamp`,
      {
        id: message.id,
        runId: this.runId,
        inReplyTo: message.inReplyTo,
        now,
        deliverAfter: message.deliverAfter ?? null,
        kind: message.kind,
        channelType: message.address?.channelType ?? null,
        platformId: message.address?.platformId ?? null,
        threadId: message.address?.threadId ?? null,
        content: JSON.stringify(message.content),
        inboundSeq: this.#numbers().highest,
      },
    )[0];
    if (row === undefined) throw new SqliteError('SQLITE_INTERNAL', 'An insertion returned no number.');
    return row;
  }

  #insertTurn(turn: TurnRecord): void {
    this.#db.run(
      `INSERT INTO turns (run_id, started_at, ended_at, outcome, reason, message_count, input_tokens, output_tokens,
         cache_read_tokens, cost_usd)
       VALUES (:runId, :startedAt, :endedAt, :outcome, :reason, :messageCount, :inputTokens, :outputTokens,
         :cacheReadTokens, :costUsd)`,
      {
        runId: this.runId,
        startedAt: turn.startedAt,
        endedAt: turn.endedAt,
        // The table has no word of its own for a turn whose model was in the way.
        outcome: turn.outcome.type === 'completed' ? 'completed' : 'failed',
        reason: turn.outcome.type === 'completed' ? null : turn.outcome.reason,
        messageCount: turn.messageCount,
        inputTokens: turn.inputTokens,
        outputTokens: turn.outputTokens,
        cacheReadTokens: turn.cacheReadTokens,
        costUsd: turn.costUsd,
      },
    );
  }

  /** Opens `inbound.db`, reads in one transaction and closes it again. */
  #fromInbound<T>(read: (inbound: Sqlite) => T): { type: 'read'; value: T } | { type: 'unreadable'; reason: string } {
    let inbound: Sqlite | undefined;
    try {
      inbound = openPeerFile(this.#openSqlite, this.folders.inbound.database);
      inbound.exec('BEGIN');
      const unread = checkInbound(inbound);
      if (unread !== undefined) return { type: 'unreadable', reason: unread };
      return { type: 'read', value: read(inbound) };
    } catch (error) {
      if (isBusy(error)) return { type: 'unreadable', reason: 'The host is writing.' };
      if (error instanceof SqliteError) return { type: 'unreadable', reason: `${error.code}: ${error.message}` };
      throw error;
    } finally {
      inbound?.close();
    }
  }
}

/** What a runner must know of the host before it gives a number. */
interface HostNumbers {
  readonly liveRunId: string | undefined;
  /** The highest number in `inbound.db`, or of ours that the host has accepted. */
  readonly highest: number;
  readonly acksSettled: number;
}

function hostNumbers(inbound: Sqlite): HostNumbers {
  const row = inbound.all<{ run_id: string | null; highest: number; acks_settled: number }>(
    `SELECT run_id, max(coalesce((SELECT max(seq) FROM messages_in), 0), messages_taken) AS highest, acks_settled
     FROM host_state`,
  )[0];
  return { liveRunId: row?.run_id ?? undefined, highest: row?.highest ?? 0, acksSettled: row?.acks_settled ?? 0 };
}

/** Rows of a page in a lane: above the usual claim, and small enough to stop early. */
const PAGE = 50;

const SELECT_MESSAGES = `
  SELECT seq, id, kind, timestamp, tries, tries_before, process_after, recurrence, time_zone, series_id, trigger, channel_type,
    platform_id, thread_id, source_session_id, in_reply_to, content
  FROM messages_in`;

const DUE_IN_LANE = `${SELECT_MESSAGES}
  WHERE status = 'pending' AND lane = :lane AND process_after <= :now AND (on_wake = 0 OR :first = 1)
    AND (process_after, seq) > (:afterAt, :afterSeq)
  ORDER BY process_after, seq LIMIT :page`;

// One seek in each lane's index of what is due.
const NEXT_DUE = `
  SELECT min(at) AS at FROM (
    SELECT min(process_after) AS at FROM messages_in
    WHERE status = 'pending' AND lane = 'work' AND process_after > :now
    UNION ALL
    SELECT min(process_after) AS at FROM messages_in
    WHERE status = 'pending' AND lane = 'control' AND process_after > :now
  )`;

// An answer is younger than what it answers, and so above it.
const SELECT_ANSWER = `${SELECT_MESSAGES} WHERE seq > :seq AND in_reply_to = :id ORDER BY seq LIMIT 1`;

const SELECT_EQUALS = `
  SELECT messages_out.seq, messages_out.id, messages_out.timestamp
  FROM effects JOIN messages_out ON messages_out.seq = effects.seq
  WHERE effects.message_id = :messageId AND effects.key = :key`;

const SELECT_EFFECTS = `
  SELECT messages_out.seq, messages_out.id, timestamp, kind, channel_type, platform_id, thread_id, content
  FROM effects JOIN messages_out ON messages_out.seq = effects.seq
  WHERE effects.message_id = :messageId ORDER BY effects.seq LIMIT :limit`;

const INSERT_EFFECT = `
  INSERT INTO effects (message_id, key, nth, seq)
  SELECT :messageId, :key, (SELECT count(*) FROM effects WHERE message_id = :messageId AND key = :key), :seq
  WHERE NOT EXISTS (SELECT 1 FROM effects WHERE seq = :seq AND message_id = :messageId)`;

const SELECT_REF = 'SELECT id, channel_type, platform_id, thread_id FROM';

// An occurrence that was put off or is tried again says better than its series when the task is next.
const SELECT_TASKS = `
  SELECT id, status, reason, recurrence, time_zone, failures, json_extract(content, '$.prompt') AS prompt,
    coalesce(
      (SELECT min(process_after) FROM messages_in
       WHERE series_id = series.id AND messages_in.status IN ('pending', 'paused')),
      next_slot
    ) AS next_at
  FROM series WHERE status IN ('active', 'paused') ORDER BY next_at, id LIMIT :limit`;

interface TaskRow {
  readonly id: string;
  readonly status: 'active' | 'paused';
  readonly reason: string | null;
  readonly recurrence: string | null;
  readonly time_zone: string | null;
  readonly failures: number;
  readonly prompt: string | number | null;
  readonly next_at: Millis | null;
}

interface EffectRow extends SentRow, AddressRow {
  readonly kind: string;
  readonly content: string;
}

interface RefRow extends AddressRow {
  readonly id: string;
}

interface AddressRow {
  readonly channel_type: string | null;
  readonly platform_id: string | null;
  readonly thread_id: string | null;
}

interface InboundRow extends AddressRow {
  readonly seq: number;
  readonly id: string;
  readonly kind: string;
  readonly timestamp: Millis;
  readonly tries: number;
  readonly tries_before: number;
  readonly process_after: Millis;
  readonly recurrence: string | null;
  readonly time_zone: string | null;
  readonly series_id: string | null;
  readonly trigger: number;
  readonly source_session_id: string | null;
  readonly in_reply_to: string | null;
  readonly content: string;
}

/** Why the inbound file cannot be read yet; throws when it never can. */
function checkInbound(inbound: Sqlite): string | undefined {
  const version = userVersion(inbound);
  if (version === 0) return 'The host has not written its schema yet.';
  // Nothing that a runner reads has changed since version 1, so an older file is read as a newer one is.
  if (version <= INBOUND_VERSION) return undefined;
  const readerMin = inbound.all<{ reader_version_min: number }>('SELECT reader_version_min FROM host_state')[0];
  const min = readerMin?.reader_version_min ?? version;
  if (min <= INBOUND_VERSION) return undefined;
  throw new VersionError(
    `inbound.db has schema version ${version} (readable from version ${min}), and this runner reads version ` +
      `${INBOUND_VERSION}. Nothing was changed; use a runner image of the host's version.`,
  );
}

function claimed(row: InboundRow, run: RunId): Claimed {
  const claim: Claim = { messageId: row.id, attempt: row.tries + 1, runId: run };
  const kind = INBOUND_KINDS.find((known) => known === row.kind);
  const content = contentObject(row.content);
  if (kind === undefined)
    return { type: 'poison', claim, reason: `Its kind ${JSON.stringify(row.kind)} is not known.` };
  if (content === undefined) return { type: 'poison', claim, reason: 'Its content is not a JSON object.' };
  return { type: 'message', claim, message: inboundMessage(row, kind, content) };
}

function inboundMessage(row: InboundRow, kind: InboundKind, content: JsonObject): InboundMessage {
  const { recurrence: cron, time_zone: timeZone, series_id: seriesId } = row;
  return {
    id: row.id,
    seq: row.seq,
    kind,
    timestamp: row.timestamp,
    trigger: row.trigger === 1 ? 'wakes' : 'context',
    tries: row.tries,
    triesSpent: row.tries - row.tries_before,
    address: address(row),
    sourceSessionId: row.source_session_id,
    inReplyTo: row.in_reply_to,
    content,
    recurrence: cron !== null && timeZone !== null && seriesId !== null ? { cron, timeZone, seriesId } : null,
  };
}

function openTask(row: TaskRow): OpenTask {
  const { recurrence: cron, time_zone: timeZone } = row;
  return {
    taskId: row.id,
    status: row.status,
    reason: row.reason,
    nextAt: row.next_at,
    recurrence: cron !== null && timeZone !== null ? { cron, timeZone } : null,
    failures: row.failures,
    prompt: typeof row.prompt === 'string' ? row.prompt : '',
  };
}

function messageRef(row: RefRow | undefined): MessageRef | 'unknown' {
  return row === undefined ? 'unknown' : { id: row.id, address: address(row) };
}

function contentObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RangeError) return undefined;
    throw error;
  }
}

function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function address(row: AddressRow | undefined): Address | null {
  if (row === undefined || row.channel_type === null || row.platform_id === null) return null;
  return { channelType: row.channel_type, platformId: row.platform_id, threadId: row.thread_id };
}
