/**
 * What the host knows of each outbound message on its way to the world: the table `delivered` of `inbound.db`.
 * Reached through `HostSession.deliveries`.
 *
 * The pessimistic outcome is written first: an attempt stands as failed, and due again, before it is made. So a crash
 * leaves an ordinary retry, and there is no recovery code. What is due is found lane by lane through an index of what
 * is open, so the history costs nothing.
 */
import {
  backoffMs,
  type DeliveryAttempt,
  type DeliverySettlement,
  type DeliveryStatus,
  type RetryPolicy,
} from './lifecycle.ts';
import { type Address, addressKey, type JsonObject, type OutboundMessage } from './messages.ts';
import { inTransaction } from './open.ts';
import type { Sqlite } from './sqlite/index.ts';
import type { Millis } from './time.ts';

/** An outbound message as the host has decided on it. */
export type AcceptedMessage = {
  /** As the runner wrote it. */
  readonly message: OutboundMessage;
} & (
  | {
      /**
       * Where it goes, as the host has resolved it; `null` for what goes to no address, such as a request to the host.
       * Messages of one address are one lane, and so are those of none: they go out one after the other, in order.
       */
      readonly address: Address | null;
      /** The contents it is split into; as one, with its own content, when left out. Decided once and stored. */
      readonly parts?: readonly JsonObject[];
      /** Something is to be removed once all of it has been delivered. */
      readonly cleansUp?: boolean;
    }
  /** Not to be delivered: a dead letter from the start. */
  | {
      /** Why, as one sentence for the agent and the operator. */
      readonly refused: string;
    }
);

/** One part of a message on its way. */
export interface Delivery {
  /** The outbound message's number. */
  readonly seq: number;
  /** From 0. */
  readonly part: number;
  /** The outbound message's id. */
  readonly messageOutId: string;
  /** What it keeps its order in: the key of its address, or one for all that goes to no address. */
  readonly lane: string;
  /** The number of the last attempt begun. */
  readonly attempts: number;
  /** Attempts since it was accepted, or last revived by an operator. */
  readonly tries: number;
  /** An attempt was begun and its outcome never written. */
  readonly inFlight: boolean;
  /** The platform may have it from an earlier attempt. */
  readonly uncertain: boolean;
  /** The platform has refused its markup: it goes as plain text. */
  readonly plain: boolean;
  /** Not attempted before this time. */
  readonly nextAttemptAt: Millis;
  /** Its message is in `stored`; otherwise it is the row of `outbound.db`. */
  readonly isStored: boolean;
}

/** What became of one part. */
export interface DeliveredPart {
  /** From 0. */
  readonly part: number;
  /** Where it goes; `null` for what goes to no address, and for what was refused. */
  readonly address: Address | null;
  /** How far it has come. */
  readonly status: DeliveryStatus;
  /** The number of the last attempt begun. */
  readonly attempts: number;
  /** The platform may have it from an attempt without a result. */
  readonly uncertain: boolean;
  /** The platform has refused its markup: it goes as plain text. */
  readonly plain: boolean;
  /** `null` until it is delivered, and on platforms that give none. */
  readonly platformMessageId: string | null;
  /** Not attempted before this time. */
  readonly nextAttemptAt: Millis;
  /** When it ended; `null` while it has not. */
  readonly settledAt: Millis | null;
  /** What its last failed attempt ended with. */
  readonly error: string | null;
}

/** A message given up: kept until an operator retries or discards it. */
export interface DeadLetter {
  /** The outbound message's number. */
  readonly seq: number;
  /** The first part that did not get through; those before it did. */
  readonly part: number;
  /** The outbound message's id. */
  readonly messageOutId: string;
  /** The number of the last attempt begun. */
  readonly attempts: number;
  /** The platform may have it all the same. */
  readonly uncertain: boolean;
  /** Why it was given up. */
  readonly error: string;
  /** When it was given up. */
  readonly settledAt: Millis;
  /** `undefined` only when the runner's file no longer had it. */
  readonly message: OutboundMessage | undefined;
}

/** The earlier message that an edit or a reaction is about. */
export type Target =
  | {
      readonly type: 'agent';
      /** What has been delivered of the agent's message, part by part. */
      readonly parts: readonly DeliveredPart[];
    }
  | {
      readonly type: 'person';
      /** The person's message, by the id that it came in with. */
      readonly messageId: string;
      /** Where it came from; `null`: from no chat. */
      readonly address: Address | null;
    };

/** What is left to do about messages that have ended. */
export interface FollowUps {
  /** All parts delivered or discarded: their files may be removed. */
  readonly cleanUp: readonly { readonly seq: number; readonly messageOutId: string }[];
  /** Given up, and neither agent nor operator has been notified. */
  readonly notify: readonly DeadLetter[];
}

/** What was accepted and what became of it; `HostSession.deliveries`. */
export class Deliveries {
  readonly #db: Sqlite;
  #isInCommit = false;

  /** For `HostSession`, which owns the file. */
  constructor(db: Sqlite) {
    this.#db = db;
  }

  /** Makes all moves of `moves` in one commit, or none when it throws. */
  inOneCommit<T>(moves: () => T): T {
    if (this.#isInCommit) return moves();
    this.#isInCommit = true;
    try {
      return inTransaction(this.#db, moves);
    } finally {
      this.#isInCommit = false;
    }
  }

  /**
   * Accepts outbound messages: from here on the host knows each by rows of its own, and `due` finds it in its time. Moves
   * the cursor to `through`. Accepting a message a second time changes nothing, unless it was refused and an operator has
   * revived it: then it is decided anew.
   */
  accept(messages: readonly AcceptedMessage[], through: number, now: Millis): void {
    if (messages.length === 0 && through <= this.#messagesTaken()) return;
    this.inOneCommit(() => {
      for (const accepted of messages) this.#acceptOne(accepted, now);
      this.#db.run('UPDATE host_state SET messages_taken = :through WHERE messages_taken < :through', { through });
    });
  }

  /** Revived messages that were refused before: to be decided anew by `accept`. */
  unrouted(limit: number): OutboundMessage[] {
    return this.#db
      .all<{ message: string }>(UNROUTED, { limit })
      .map((row): OutboundMessage => JSON.parse(row.message));
  }

  /**
   * The first delivery of each lane that is due at `now`, those first that have waited longest. One that is not due holds
   * back the others of its lane, so that order is kept. What was scheduled joins its lane here once its time has come, and
   * what a clock that was ahead has put off for longer than it was to wait is cut to that.
   */
  due(now: Millis, limit: number): Delivery[] {
    const scheduledAt = this.#db.all<{ at: Millis | null }>(SCHEDULED_AT)[0]?.at ?? undefined;
    if (scheduledAt !== undefined && scheduledAt <= now) this.#db.run(RELEASE_SCHEDULED, { now });
    if (this.#db.all(`SELECT 1 FROM delivered WHERE ${WAITS_TOO_LONG} LIMIT 1`, { now }).length > 0) {
      this.#db.run(`UPDATE delivered SET next_attempt_at = :now + wait_ms WHERE ${WAITS_TOO_LONG}`, { now });
    }
    return this.#db
      .all<DeliveryRow>(HEADS)
      .map(delivery)
      .filter((head) => head.nextAttemptAt <= now)
      .toSorted((a, b) => a.nextAttemptAt - b.nextAttemptAt || a.seq - b.seq)
      .slice(0, limit);
  }

  /** The first delivery of one lane; `undefined` when it has none. */
  head(lane: string): Delivery | undefined {
    return this.#db.all<DeliveryRow>(HEAD_OF_LANE, { lane }).map(delivery)[0];
  }

  /**
   * When there is next something to deliver, in the past when there is something already; `undefined` when nothing is
   * open. A queue behind a delivery that waits for its retry does not count: it is not due before its head.
   * `heldUntil` has lanes that are not to be looked at before a time.
   */
  nextAt(heldUntil: ReadonlyMap<string, Millis> = new Map()): Millis | undefined {
    let next = this.#db.all<{ at: Millis | null }>(SCHEDULED_AT)[0]?.at ?? undefined;
    for (const { lane, nextAttemptAt } of this.#db.all<DeliveryRow>(HEADS)) {
      const at = Math.max(nextAttemptAt, heldUntil.get(lane) ?? nextAttemptAt);
      if (next === undefined || at < next) next = at;
    }
    return next;
  }

  /** The numbers of the first messages of a lane that are sent as the runner's file has them. */
  unstored(lane: string, limit: number): number[] {
    return this.#db.all<{ seq: number }>(UNSTORED, { lane, limit }).map((row) => row.seq);
  }

  /** A message as this file has it: a part of a split, or a dead letter. `undefined`: the runner's file has it. */
  stored(seq: number, part: number): OutboundMessage | undefined {
    const row = this.#db.all<{ message: string | null }>(
      'SELECT message FROM delivered WHERE seq = :seq AND part = :part',
      { seq, part },
    )[0];
    return parsed(row?.message ?? null);
  }

  /**
   * Writes down attempts before they are made: each as failed so far and due again after its backoff, so that a crash
   * from here on leaves an ordinary retry. Whether there is to be one is decided before (`withoutAttempt`). What is
   * no longer as `due` has it is not in the result.
   */
  begin(due: readonly Delivery[], now: Millis, policy: RetryPolicy, chance = 0): DeliveryAttempt[] {
    if (due.length === 0) return [];
    return this.inOneCommit(() =>
      due.flatMap(({ seq, part, messageOutId, attempts, tries, plain }) => {
        const attempt = attempts + 1;
        const waitMs = backoffMs(tries + 1, policy, chance);
        const begun = this.#db.all<{ uncertain: number; generation: number }>(BEGIN, {
          seq,
          part,
          attempt,
          at: now + waitMs,
          waitMs,
        })[0];
        if (begun === undefined) return [];
        const { generation } = begun;
        return [
          { seq, generation, part, messageOutId, attempt, tries: tries + 1, uncertain: begun.uncertain === 1, plain },
        ];
      }),
    );
  }

  /**
   * Writes down what came of an attempt. Changes nothing once the delivery has ended or begun a later attempt.
   * `message` is kept with a dead letter, so that it can be shown and retried whatever becomes of the runner's file.
   */
  record(attempt: DeliveryAttempt, settled: DeliverySettlement, now: Millis, message?: OutboundMessage): void {
    this.inOneCommit(() => this.#set(attempt, attempt.attempt, settled, now, message));
  }

  /** Ends a delivery without an attempt. Changes nothing when it has ended or begun another attempt meanwhile. */
  end(
    { seq, part, attempts }: Pick<Delivery, 'seq' | 'part' | 'attempts'>,
    settled: Extract<DeliverySettlement, { to: 'failed' | 'discarded' }>,
    now: Millis,
    message?: OutboundMessage,
  ): void {
    this.inOneCommit(() => this.#set({ seq, part }, attempts, settled, now, message));
  }

  /** What is left to do about messages that have ended, oldest first. Each is given again until `markFollowedUp`. */
  followUps(limit: number): FollowUps {
    const rows = this.#db.all<DeadLetterRow & { todo: 'clean-up' | 'tell' }>(TODO, { limit });
    return {
      cleanUp: rows.filter((row) => row.todo === 'clean-up').map(({ seq, messageOutId }) => ({ seq, messageOutId })),
      notify: rows.filter((row) => row.todo === 'tell').map(deadLetter),
    };
  }

  /** Records that what `followUps` asked for has been done for these messages. */
  markFollowedUp(messages: readonly { readonly seq: number }[]): void {
    if (messages.length === 0) return;
    this.inOneCommit(() => {
      for (const { seq } of messages) {
        this.#db.run('UPDATE delivered SET todo = NULL WHERE seq = :seq AND todo IS NOT NULL', { seq });
      }
    });
  }

  /** All parts of a message and what became of each; empty when it was never accepted. */
  parts(seq: number): DeliveredPart[] {
    return this.#db.all<DeliveredPartRow>(PARTS, { seq }).map(({ channelType, platformId, threadId, ...row }) => ({
      ...row,
      address: addressOf({ channelType, platformId, threadId }),
      uncertain: row.uncertain === 1,
      plain: row.plain === 1,
    }));
  }

  /**
   * Whether one of the agent's last `lastMax` messages, of those that the host has taken in, was shown at this address under this id
   * of the platform's.
   */
  wasShown(platformMessageId: string, { channelType, platformId, threadId }: Address, lastMax: number): boolean {
    const place = { channelType, platformId, threadId };
    return this.#db.all(SHOWN_LATELY, { platformMessageId, ...place, numbers: 2 * lastMax }).length > 0;
  }

  /** The message by its number, of the agent (odd) or of a person (even); `undefined` when there is none. */
  target(seq: number): Target | undefined {
    if (seq % 2 === 1) {
      const parts = this.parts(seq);
      return parts.length === 0 ? undefined : { type: 'agent', parts };
    }
    const row = this.#db.all<AddressRow & { readonly id: string }>(PERSON, { seq })[0];
    return row && { type: 'person', messageId: row.id, address: addressOf(row) };
  }

  /** Messages given up, oldest first, from the one after number `after`. One entry per message. */
  deadLetters(limit: number, after = 0): DeadLetter[] {
    return this.#db.all<DeadLetterRow>(DEAD_LETTERS, { limit, after }).map(deadLetter);
  }

  /** Whether so many rows wait to be delivered, or to be decided on by an operator. A bounded look, whatever there is. */
  isFull(rowsMax: number): boolean {
    return (this.#db.all<{ rows: number }>(COUNT_UP_TO, { rowsMax })[0]?.rows ?? 0) >= rowsMax;
  }

  /** How many messages were given up. */
  deadLetterCount(): number {
    return this.#db.all<{ letters: number }>(COUNT_DEAD_LETTERS)[0]?.letters ?? 0;
  }

  /**
   * Revives a message given up: its undelivered parts are due at once, with all attempts of the policy before them.
   * One that the platform may have already says so in its next attempt. Returns whether there was one.
   */
  retry(seq: number, now: Millis): boolean {
    return this.#db.run(RETRY_DEAD_LETTER, { seq, now }) > 0;
  }

  /** Ends a message given up: it is not delivered, and its files may be removed. Returns whether there was one. */
  discard(seq: number, now: Millis): boolean {
    return this.inOneCommit(() => {
      const discarded = this.#db.run(DISCARD_DEAD_LETTER, { seq, now });
      if (discarded > 0) this.#db.run(CLEAN_UP, { seq });
      return discarded > 0;
    });
  }

  /**
   * Retention: writes down up to where the runner may forget its messages, and forgets up to `limit` rows of messages
   * delivered or discarded before `settledBefore`. Nothing can be edited or reacted to any more that is forgotten; dead
   * letters stay. Returns how many rows were removed; fewer than `limit` means that none are left.
   */
  forget(settledBefore: Millis, limit: number): number {
    return this.inOneCommit(() => {
      this.#db.run(ADVANCE_SETTLED);
      return this.#db.run(FORGET, { settledBefore, limit });
    });
  }

  #acceptOne(accepted: AcceptedMessage, now: Millis): void {
    const { message } = accepted;
    const { seq, id, deliverAfter } = message;
    if ('refused' in accepted) {
      this.#db.run(INSERT_REFUSED, { seq, id, now, error: accepted.refused, message: JSON.stringify(message) });
      return;
    }
    const parts = accepted.parts ?? [undefined];
    const isScheduled = deliverAfter !== null && deliverAfter > now;
    parts.forEach((content, part) => {
      this.#db.run(INSERT_DELIVERY, {
        seq,
        part,
        id,
        lane: accepted.address === null ? NO_ADDRESS : addressKey(accepted.address),
        channelType: accepted.address?.channelType ?? null,
        platformId: accepted.address?.platformId ?? null,
        threadId: accepted.address?.threadId ?? null,
        status: isScheduled ? 'scheduled' : 'pending',
        cleansUp: accepted.cleansUp === true ? 1 : 0,
        at: isScheduled ? deliverAfter : now,
        waitMs: isScheduled ? null : 0,
        message: content === undefined ? null : JSON.stringify({ ...message, content }),
      });
    });
  }

  #set(
    { seq, part }: { readonly seq: number; readonly part: number },
    attempt: number,
    settled: DeliverySettlement,
    now: Millis,
    message: OutboundMessage | undefined,
  ): void {
    const key = { seq, part, attempt };
    switch (settled.to) {
      case 'delivered':
        this.#ended(
          this.#db.all<Ended>(SET_DELIVERED, { ...key, now, platformMessageId: settled.platformMessageId }),
          seq,
        );
        return;
      case 'retry':
        this.#db.run(SET_RETRY, {
          ...key,
          attempts: settled.spent ? attempt : attempt - 1,
          at: settled.nextAttemptAt,
          waitMs: Math.max(settled.nextAttemptAt - now, 0),
          uncertain: settled.uncertain ? 1 : 0,
          plain: settled.plain ? 1 : 0,
          error: settled.error,
        });
        return;
      case 'failed': {
        const { error } = settled;
        const kept = message === undefined ? null : JSON.stringify(message);
        const failed = this.#db.run(SET_FAILED, {
          ...key,
          now,
          error,
          uncertain: settled.uncertain ? 1 : 0,
          message: kept,
        });
        // Half a message is of no use: what follows a part that was given up waits with it for an operator.
        if (failed === 1) this.#db.run(SET_FOLLOWERS_FAILED, { seq, part, now });
        return;
      }
      case 'discarded':
        this.#ended(this.#db.all<Ended>(SET_DISCARDED, { ...key, now, error: settled.error }), seq);
    }
  }

  #ended(rows: readonly Ended[], seq: number): void {
    if (rows[0]?.cleansUp === 1) this.#db.run(CLEAN_UP, { seq });
  }

  #messagesTaken(): number {
    return this.#db.all<{ taken: number }>('SELECT messages_taken AS taken FROM host_state')[0]?.taken ?? 0;
  }
}

/** The lane of what goes to no address. That of an address is JSON, so it cannot be this. */
const NO_ADDRESS = 'host';

interface DeliveryRow {
  readonly seq: number;
  readonly part: number;
  readonly messageOutId: string;
  readonly lane: string;
  readonly attempts: number;
  readonly tries: number;
  readonly inFlight: number;
  readonly uncertain: number;
  readonly plain: number;
  readonly nextAttemptAt: Millis;
  readonly isStored: number;
}

interface AddressRow {
  readonly channelType: string | null;
  readonly platformId: string | null;
  readonly threadId: string | null;
}

interface DeliveredPartRow extends AddressRow, Omit<DeliveredPart, 'address' | 'uncertain' | 'plain'> {
  readonly uncertain: number;
  readonly plain: number;
}

interface DeadLetterRow {
  readonly seq: number;
  readonly part: number;
  readonly messageOutId: string;
  readonly attempts: number;
  readonly uncertain: number;
  readonly error: string;
  readonly settledAt: Millis;
  readonly message: string | null;
}

interface Ended {
  readonly cleansUp: number;
}

function delivery(row: DeliveryRow): Delivery {
  return {
    ...row,
    inFlight: row.inFlight === 1,
    uncertain: row.uncertain === 1,
    plain: row.plain === 1,
    isStored: row.isStored === 1,
  };
}

function deadLetter(row: DeadLetterRow): DeadLetter {
  const { seq, part, messageOutId, attempts, error, settledAt } = row;
  const uncertain = row.uncertain === 1;
  return { seq, part, messageOutId, attempts, uncertain, error, settledAt, message: parsed(row.message) };
}

function addressOf({ channelType, platformId, threadId }: AddressRow): Address | null {
  return channelType === null || platformId === null ? null : { channelType, platformId, threadId };
}

function parsed(message: string | null): OutboundMessage | undefined {
  return message === null ? undefined : JSON.parse(message);
}

const INSERT_DELIVERY = `
  INSERT INTO delivered
    (seq, part, message_out_id, lane, channel_type, platform_id, thread_id, status, attempts, attempts_before, in_flight,
     uncertain, plain, cleans_up, next_attempt_at, wait_ms, message, generation)
  VALUES (:seq, :part, :id, :lane, :channelType, :platformId, :threadId, :status, 0, 0, 0, 0, 0, :cleansUp, :at, :waitMs,
    :message, (SELECT generation FROM host_state))
  ON CONFLICT (seq, part) DO UPDATE SET
    lane = :lane, channel_type = :channelType, platform_id = :platformId, thread_id = :threadId, status = :status,
    cleans_up = :cleansUp, next_attempt_at = :at, wait_ms = :waitMs, message = coalesce(:message, message)
  WHERE lane = '' AND status = 'pending'`;

const INSERT_REFUSED = `
  INSERT INTO delivered
    (seq, part, message_out_id, lane, status, attempts, attempts_before, in_flight, uncertain, plain, cleans_up,
     next_attempt_at, message, error, settled_at, todo, generation)
  VALUES (:seq, 0, :id, '', 'failed', 0, 0, 0, 0, 0, 0, :now, :message, :error, :now, 'tell',
    (SELECT generation FROM host_state))
  ON CONFLICT (seq, part) DO UPDATE SET
    status = 'failed', error = :error, settled_at = :now, todo = 'tell'
  WHERE lane = '' AND status = 'pending'`;

const UNROUTED = `
  SELECT message FROM delivered
  WHERE status = 'pending' AND lane = '' AND message IS NOT NULL ORDER BY seq, part LIMIT :limit`;

const SCHEDULED_AT = `SELECT min(next_attempt_at) AS at FROM delivered WHERE status = 'scheduled'`;

const RELEASE_SCHEDULED = `
  UPDATE delivered SET status = 'pending', wait_ms = 0 WHERE status = 'scheduled' AND next_attempt_at <= :now`;

const WAITS_TOO_LONG = `status = 'pending' AND next_attempt_at > :now + wait_ms`;

const DELIVERY_COLUMNS = `
  seq, part, message_out_id AS messageOutId, lane, attempts, attempts - attempts_before AS tries,
  in_flight AS inFlight, uncertain, plain, next_attempt_at AS nextAttemptAt, message IS NOT NULL AS isStored`;

// Walks the lanes by their index, one seek each, so that a lane with a long queue costs no more than a short one.
// The empty lane is that of messages without one yet.
const HEADS = `
  WITH RECURSIVE lanes (at_lane) AS (
    SELECT min(lane) FROM delivered WHERE status = 'pending' AND lane > ''
    UNION ALL
    SELECT (SELECT min(next.lane) FROM delivered AS next WHERE next.status = 'pending' AND next.lane > at_lane)
    FROM lanes WHERE at_lane IS NOT NULL
  )
  SELECT ${DELIVERY_COLUMNS}
  FROM lanes JOIN delivered ON (seq, part) = (
    SELECT first.seq, first.part FROM delivered AS first
    WHERE first.status = 'pending' AND first.lane = at_lane ORDER BY first.seq, first.part LIMIT 1
  )
  WHERE at_lane IS NOT NULL`;

const HEAD_OF_LANE = `
  SELECT ${DELIVERY_COLUMNS} FROM delivered
  WHERE status = 'pending' AND lane = :lane ORDER BY seq, part LIMIT 1`;

const UNSTORED = `
  SELECT seq FROM delivered
  WHERE status = 'pending' AND lane = :lane AND message IS NULL ORDER BY seq, part LIMIT :limit`;

const BEGIN = `
  UPDATE delivered SET attempts = :attempt, uncertain = max(uncertain, in_flight), in_flight = 1, next_attempt_at = :at,
    wait_ms = :waitMs
  WHERE seq = :seq AND part = :part AND status = 'pending' AND attempts = :attempt - 1
  RETURNING uncertain, generation`;

// A dead letter that is retried may use an attempt's number again only after `offline`, which made no attempt.
const OPEN_ATTEMPT = `seq = :seq AND part = :part AND status = 'pending' AND attempts = :attempt`;

const SET_DELIVERED = `
  UPDATE delivered SET status = 'delivered', in_flight = 0, settled_at = :now, error = NULL,
    platform_message_id = :platformMessageId
  WHERE ${OPEN_ATTEMPT} AND in_flight = 1 RETURNING cleans_up AS cleansUp`;

const SET_RETRY = `
  UPDATE delivered SET in_flight = 0, attempts = :attempts, next_attempt_at = :at, wait_ms = :waitMs, error = :error,
    uncertain = max(uncertain, :uncertain), plain = :plain
  WHERE ${OPEN_ATTEMPT} AND in_flight = 1`;

const SET_FAILED = `
  UPDATE delivered SET status = 'failed', in_flight = 0, settled_at = :now, error = :error, todo = 'tell',
    uncertain = max(uncertain, :uncertain), message = coalesce(message, :message)
  WHERE ${OPEN_ATTEMPT}`;

const SET_FOLLOWERS_FAILED = `
  UPDATE delivered SET status = 'failed', settled_at = :now, error = 'An earlier part of the message was given up.'
  WHERE seq = :seq AND part > :part AND status IN ('scheduled', 'pending')`;

const SET_DISCARDED = `
  UPDATE delivered SET status = 'discarded', in_flight = 0, settled_at = :now, error = :error, uncertain = 1
  WHERE ${OPEN_ATTEMPT} RETURNING cleans_up AS cleansUp`;

// Only when no part needs the files any more.
const CLEAN_UP = `
  UPDATE delivered SET todo = 'clean-up'
  WHERE seq = :seq AND part = 0 AND cleans_up = 1 AND NOT EXISTS (
    SELECT 1 FROM delivered AS other WHERE other.seq = :seq AND other.status NOT IN ('delivered', 'discarded')
  )`;

const DEAD_LETTER_COLUMNS = `
  seq, part, message_out_id AS messageOutId, attempts, uncertain, error, settled_at AS settledAt, message`;

const TODO = `
  SELECT todo, ${DEAD_LETTER_COLUMNS} FROM delivered WHERE todo IS NOT NULL ORDER BY seq, part LIMIT :limit`;

// The parts after the first failed one are failed too: one letter for all of them.
const DEAD_LETTERS = `
  SELECT ${DEAD_LETTER_COLUMNS} FROM delivered AS letter
  WHERE status = 'failed' AND seq > :after AND NOT EXISTS (
    SELECT 1 FROM delivered AS earlier
    WHERE earlier.seq = letter.seq AND earlier.part < letter.part AND earlier.status = 'failed'
  )
  ORDER BY seq, part LIMIT :limit`;

// Through the index of each state, and no further than the limit.
const COUNT_UP_TO = `
  SELECT max(rows) AS rows FROM (
    SELECT count(*) AS rows FROM (
      SELECT 1 FROM delivered INDEXED BY delivered_lane WHERE status = 'pending' LIMIT :rowsMax)
    UNION ALL
    SELECT count(*) FROM (
      SELECT 1 FROM delivered INDEXED BY delivered_scheduled WHERE status = 'scheduled' LIMIT :rowsMax)
    UNION ALL
    SELECT count(*) FROM (SELECT 1 FROM delivered INDEXED BY delivered_dead WHERE status = 'failed' LIMIT :rowsMax)
  )`;

const COUNT_DEAD_LETTERS = "SELECT count(DISTINCT seq) AS letters FROM delivered WHERE status = 'failed'";

const PARTS = `
  SELECT part, channel_type AS channelType, platform_id AS platformId, thread_id AS threadId, status, attempts, uncertain,
    plain, platform_message_id AS platformMessageId,
    next_attempt_at AS nextAttemptAt, settled_at AS settledAt, error
  FROM delivered WHERE seq = :seq ORDER BY part`;

const SHOWN_LATELY = `
  SELECT 1 FROM delivered, host_state
  WHERE seq > messages_taken - :numbers AND platform_message_id = :platformMessageId
    AND channel_type = :channelType AND platform_id = :platformId AND thread_id IS :threadId
  LIMIT 1`;

const PERSON = `
  SELECT id, channel_type AS channelType, platform_id AS platformId, thread_id AS threadId
  FROM messages_in WHERE seq = :seq`;

const RETRY_DEAD_LETTER = `
  UPDATE delivered SET status = 'pending', attempts_before = attempts, next_attempt_at = :now, wait_ms = 0, settled_at = NULL,
    todo = NULL
  WHERE seq = :seq AND status = 'failed'`;

const DISCARD_DEAD_LETTER = `
  UPDATE delivered SET status = 'discarded', settled_at = :now, todo = NULL WHERE seq = :seq AND status = 'failed'`;

// A minimum over each index of what is open; over both statuses at once it would walk through the history.
// The indexes are named because `min` prefers the primary key.
const ADVANCE_SETTLED = `
  UPDATE host_state SET messages_settled = coalesce(
    (SELECT min(seq) - 1 FROM (
      SELECT min(seq) AS seq FROM delivered INDEXED BY delivered_lane WHERE status = 'pending'
      UNION ALL
      SELECT min(seq) AS seq FROM delivered INDEXED BY delivered_scheduled WHERE status = 'scheduled'
    )), messages_taken)
  WHERE messages_settled < messages_taken`;

// Looks at the first rows alone, as many as it may remove: where nothing is old enough, the history costs nothing.
const FORGET = `
  DELETE FROM delivered WHERE settled_at < :settledBefore AND (seq, part) IN (
    SELECT seq, part FROM delivered
    WHERE seq <= (SELECT messages_settled FROM host_state) AND status IN ('delivered', 'discarded') AND todo IS NULL
    ORDER BY seq, part LIMIT :limit
  )`;
