/**
 * THE state machine of the protocol, as pure functions. SQL only guards the moves that are decided here.
 *
 *   inbound message                                     inbound.db, written by the host
 *                 ┌───────── cancel ──────────────────────▶ cancelled
 *    paused ⇄ pending ──▶ attempt n, claimed by a run in outbound.db
 *                 ▲            │ completed ───────────────▶ completed
 *                 ├────────────┤ deferred: its model refused, or is away; the attempt does not count
 *                 │            │   due again at now + as long as it has waited; after days of that ─▶ failed
 *                 │            │ failed, or its run is dead
 *                 ├─ n < max ──┤   tries = n, due again at now + backoff(n)
 *                 │            └─ n = max ────────────────▶ failed (a dead letter; the chat is owed a notice)
 *                 └────────────── an operator's retry ◀──────┴─ or discard ─▶ cancelled
 *
 *   outbound message, or one part of it                 inbound.db `delivered`, written by the host
 *    (no row) ─▶ scheduled ── its time has come ──┐
 *         └────▶ pending ◀────────────────────────┘
 *                 ▲  └─▶ begin n: written as failed so far, due again at now + backoff(n); then the send
 *                 │            │ sent ──────────────────▶ delivered
 *                 ├─ offline ──┤ attempt n is given back
 *                 ├─ markup ───┤ refused: once more at once, as plain text
 *                 ├─ n < max ──┤ failed: stands as written; the platform's retry-after may push it back
 *                 ├─ again ────┤ no answer: the platform may have it, and the next attempt says so
 *                 │            ├ no answer, drop, or an operator's discard ─▶ discarded
 *                 │            └ permanent, n = max, or no answer and hold ─▶ failed (a dead letter)
 *                 └────────────── an operator's retry ◀───────────────────────┘
 *
 * Set, don't add: every attempt has its number, and settling attempt n twice writes the same values twice.
 */
import type { Ack, Deferral, DeferralKind } from './messages.ts';
import type { Millis } from './time.ts';

export const INBOUND_STATUSES = ['pending', 'paused', 'completed', 'failed', 'cancelled'] as const;
export type InboundStatus = (typeof INBOUND_STATUSES)[number];

export const DELIVERY_STATUSES = ['scheduled', 'pending', 'delivered', 'failed', 'discarded'] as const;
export type DeliveryStatus = (typeof DELIVERY_STATUSES)[number];

/** How often something is tried and how long is waited in between. */
export interface RetryPolicy {
  /** The last attempt; when it fails the message is a dead letter. At least 1. */
  readonly triesMax: number;
  /** The wait after the first attempt, in milliseconds. */
  readonly backoffBaseMs: number;
  /** The longest wait, in milliseconds. */
  readonly backoffMaxMs: number;
  /** The share of a wait, from 0 to 1, that chance may take off; 0 when left out. */
  readonly jitter?: number;
}

/** Inbound attempts: 5 s, 10 s, 20 s, 40 s, then given up (PROTOCOL.md, "Lifecycle"). */
export const INBOUND_RETRY: RetryPolicy = { triesMax: 5, backoffBaseMs: 5_000, backoffMaxMs: 300_000 };

/**
 * How long to wait after attempt `tries` (from 1), in milliseconds: base · 2^(tries − 1), at most the maximum.
 * `chance` (0 ≤ chance < 1) is how much of the policy's jitter is taken off; without it the wait is exact.
 */
export function backoffMs(tries: number, policy: RetryPolicy, chance = 0): number {
  // 2^30 base units exceed any maximum; the bound keeps the power finite for a hostile or broken count.
  const doubled = policy.backoffBaseMs * 2 ** Math.min(Math.max(tries, 1) - 1, 30);
  const wait = Math.min(doubled, policy.backoffMaxMs);
  return Math.round(wait * (1 - (policy.jitter ?? 0) * chance));
}

/** What the settlement of an ack needs to know of its message. */
export interface Attemptable {
  readonly status: InboundStatus;
  /** The last settled attempt; the open one is the next. */
  readonly tries: number;
  /** How many of them do not count: those before an operator last revived it, and those that its model was in the way of. */
  readonly triesBefore: number;
  /** That its last attempts were deferred, one after the other; `null`: the last one was not. */
  readonly deferred: Deferred | null;
}

/** For how long a message has been deferred. */
export interface Deferred {
  /** When the first of its deferrals in a row was settled. */
  readonly since: Millis;
  /** How long it was to wait since then, all waits together, in milliseconds. */
  readonly waitMs: number;
}

/** How often a model that is in the way is asked again, and for how long in all. Each figure in milliseconds. */
export interface DeferralPolicy {
  /** The first wait of each kind; each further one is as long as all before it together. */
  readonly waitBaseMs: Readonly<Record<DeferralKind, number>>;
  /** The longest wait of each kind. */
  readonly waitMaxMs: Readonly<Record<DeferralKind, number>>;
  /** The most that is believed of how long the model wants to be left alone: it is the container's word. */
  readonly retryAfterMaxMs: number;
  /** A message that has waited for so long, by its waits and by the clock, is given up. */
  readonly totalMaxMs: number;
  /** The chat is told once its message will have waited for so long; of a refusal at once. */
  readonly noticeAfterMs: number;
}

/**
 * A model that is away is asked again after 5 s, 5 s, 10 s, 20 s, … 5 min, and the chat is told when that takes longer than 15 s;
 * one that refuses after 5 min, 5 min, 10 min, … 1 h. After three days, which is longer than a weekend, the message is given up.
 */
export const INBOUND_DEFERRAL: DeferralPolicy = {
  waitBaseMs: { refused: 300_000, unavailable: 5_000 },
  waitMaxMs: { refused: 3_600_000, unavailable: 300_000 },
  retryAfterMaxMs: 3_600_000,
  totalMaxMs: 3 * 86_400_000,
  noticeAfterMs: 15_000,
};

/** An ack taken over into its message: the values to set. */
export type Settlement = {
  /** The message that is settled. */
  readonly messageId: string;
  /** The attempt whose ack it was. */
  readonly attempt: number;
  /** The run that made the attempt. */
  readonly runId: string;
} & SettlementOutcome;

/** What becomes of a message by an attempt. */
type SettlementOutcome =
  | { readonly to: 'completed' }
  /** Tried again; a paused message stays paused, with the attempt paid. */
  | {
      readonly to: 'retry';
      /** When it is due again. */
      readonly processAfter: Millis;
      /** What went wrong, as one sentence. */
      readonly error: string;
    }
  /** Tried again without having paid for it, because its model was in the way. */
  | {
      readonly to: 'deferred';
      /** What stood in the way. */
      readonly kind: DeferralKind;
      /** When it is due again. */
      readonly processAfter: Millis;
      /** What its model said, as one sentence. */
      readonly error: string;
      /** How many of its attempts do not count now. */
      readonly triesBefore: number;
      /** For how long it has been deferred, this wait included. */
      readonly deferred: Deferred;
      /** Its chat is to know, unless it does already. */
      readonly isTold: boolean;
    }
  | {
      readonly to: 'failed';
      /** What went wrong, as one sentence for its sender. */
      readonly error: string;
    };

/** What is recorded for an attempt whose run ended without a word. */
export const RUN_DIED = 'The run ended before it answered.';

/**
 * Decides what an ack means for its message, or `undefined` when it means nothing: the message has ended, the
 * attempt has been settled before, it is not the attempt that is open, or the claim's run is still at work.
 *
 * The open attempt is the fence. Its one claim is a primary key of the runner's file, so a killed run's late ack can
 * only name an attempt that has been settled, and never the one a new run is working on.
 *
 * `liveRunId` is the run that the container runtime has not yet reported as ended; a claim of any other run that
 * still says `processing` belongs to the dead. How old the claim is plays no part.
 */
export function settlement(
  message: Attemptable,
  ack: Ack,
  liveRunId: string | undefined,
  now: Millis,
  policy: RetryPolicy,
  deferral: DeferralPolicy = INBOUND_DEFERRAL,
): Settlement | undefined {
  if (message.status !== 'pending' && message.status !== 'paused') return undefined;
  if (ack.attempt !== message.tries + 1) return undefined;

  const of = { messageId: ack.messageId, attempt: ack.attempt, runId: ack.runId };
  if (ack.status === 'completed') return { ...of, to: 'completed' };
  if (ack.status === 'processing' && ack.runId === liveRunId) return undefined;
  if (ack.status === 'deferred') return { ...of, ...deferralSettlement(message, ack, now, deferral) };

  const error = ack.status === 'failed' ? (ack.error ?? 'The run gave no reason.') : RUN_DIED;
  const tries = ack.attempt - message.triesBefore;
  if (tries >= policy.triesMax) return { ...of, to: 'failed', error };
  return { ...of, to: 'retry', processAfter: now + backoffMs(tries, policy), error };
}

/**
 * What a deferral means for its message. Its wait is as long as all before it together, so it doubles; what the model says of
 * when it can be asked again only makes it longer.
 */
function deferralSettlement(
  { triesBefore, deferred }: Attemptable,
  { kind, retryAfterMs, error }: Deferral & { readonly error: string | null },
  now: Millis,
  policy: DeferralPolicy,
): Extract<SettlementOutcome, { to: 'deferred' | 'failed' }> {
  const reason = error ?? 'The run gave no reason.';
  const { since, waitMs: waitedMs } = deferred ?? { since: now, waitMs: 0 };
  // By the clock alone, one that jumps ahead would give up everything; by the waits alone, being asked for early.
  if (waitedMs >= policy.totalMaxMs && now - since >= policy.totalMaxMs) {
    return { to: 'failed', error: `The model stayed out of reach for too long; the last time: ${reason}` };
  }
  const doubled = Math.min(Math.max(waitedMs, policy.waitBaseMs[kind]), policy.waitMaxMs[kind]);
  const waitMs = Math.max(doubled, Math.min(retryAfterMs ?? 0, policy.retryAfterMaxMs));
  return {
    to: 'deferred',
    kind,
    processAfter: now + waitMs,
    error: reason,
    triesBefore: triesBefore + 1,
    deferred: { since, waitMs: waitedMs + waitMs },
    isTold: kind === 'refused' || waitedMs + waitMs >= policy.noticeAfterMs,
  };
}

/**
 * Deliveries: 15 s after the first attempt, doubling up to an hour, with up to a fifth taken off by chance; given up
 * after 12 attempts, which is about four hours. So a platform may be away for an hour and nothing is given up.
 */
export const DELIVERY_RETRY: RetryPolicy = {
  triesMax: 12,
  backoffBaseMs: 15_000,
  backoffMaxMs: 3_600_000,
  jitter: 0.2,
};

/** What came of handing a message to the world. `delivery` declares the port that gives it. */
export type SendResult =
  | {
      readonly type: 'sent';
      /** The message's id on its platform; `null` where the platform gives none. */
      readonly platformMessageId: string | null;
    }
  /** Not attempted, so no attempt is spent. */
  | { readonly type: 'offline' }
  /** The platform said no, and nothing is visible. */
  | {
      readonly type: 'failed';
      /** The same attempt can never succeed. */
      readonly permanent: boolean;
      /** How long the platform wants to be left alone, in milliseconds. */
      readonly retryAfterMs?: number;
      /** What the platform would not have: without its markup the message may pass. */
      readonly refused?: 'markup';
      /** What the platform said, as one sentence. */
      readonly reason: string;
    };

/** A send's result, or that it never gave one: it was cut off, ran out of time, or threw. */
export type SendOutcome =
  | SendResult
  | {
      readonly type: 'unknown';
      /** Why it is not known, as one sentence. */
      readonly reason: string;
    };

/** One attempt to hand one part of a message to the world, on disk before it is made. */
export interface DeliveryAttempt {
  /** The outbound message's number. */
  readonly seq: number;
  /** The session's generation when the message was accepted: its number may be given again in another one. */
  readonly generation: number;
  /** The outbound message's id. */
  readonly messageOutId: string;
  /** From 0; a message that was not split has one part. */
  readonly part: number;
  /** From 1, over the whole life of the row. */
  readonly attempt: number;
  /** From 1, since the message was accepted or last revived by an operator: what the policy's limit counts. */
  readonly tries: number;
  /**
   * An earlier attempt was begun and never confirmed: the platform may have the message already. The channel then
   * uses its idempotency key or looks it up, where it can.
   */
  readonly uncertain: boolean;
  /** The platform has refused the message's markup: it goes as plain text. */
  readonly plain: boolean;
}

/**
 * What becomes of a message that the platform may have already. `again`: sent once more, for channels that can tell
 * (or where a duplicate is the lesser evil); `drop`: not sent again; `hold`: kept for an operator to decide.
 */
export type WhenUncertain = 'again' | 'drop' | 'hold';

/** A delivery's row after an attempt: the values to set. */
export type DeliverySettlement =
  | {
      readonly to: 'delivered';
      /** The message's id on its platform; `null` where the platform gives none. */
      readonly platformMessageId: string | null;
    }
  | {
      readonly to: 'retry';
      /** False gives the attempt's number back. */
      readonly spent: boolean;
      /** When it is due again. */
      readonly nextAttemptAt: Millis;
      /** The attempt may have reached people: its outcome is not known. */
      readonly uncertain: boolean;
      /** It is sent as plain text from now on. */
      readonly plain: boolean;
      /** What went wrong, as one sentence. */
      readonly error: string;
    }
  | {
      readonly to: 'failed';
      /** It may have reached people all the same. */
      readonly uncertain: boolean;
      /** What went wrong, as one sentence. */
      readonly error: string;
    }
  | {
      readonly to: 'discarded';
      /** Why its outcome is not known, as one sentence; it is not tried again. */
      readonly error: string;
    };

/** The wait before a channel that was offline is asked again, in milliseconds. */
export const OFFLINE_RETRY_MS = 5_000;

/**
 * Decides what an outcome means for its row. The row already says that the attempt failed and when it is due again
 * (`begin`), so only an outcome changes it, and a crash before one leaves an ordinary retry.
 *
 * `tries` is the attempt's number as the policy counts; `chance` (0 ≤ chance < 1) what jitter takes off; `row` says
 * whether the markup has been dropped already, and what becomes of an outcome that is not known.
 */
export function deliverySettlement(
  tries: number,
  outcome: SendOutcome,
  now: Millis,
  policy: RetryPolicy,
  chance = 0,
  row: { readonly plain: boolean; readonly whenUncertain: WhenUncertain } = { plain: false, whenUncertain: 'again' },
): DeliverySettlement {
  const again = { to: 'retry', spent: true, uncertain: false, plain: row.plain } as const;
  switch (outcome.type) {
    case 'sent':
      return { to: 'delivered', platformMessageId: outcome.platformMessageId };
    case 'offline':
      return { ...again, spent: false, nextAttemptAt: now + OFFLINE_RETRY_MS, error: 'The channel was offline.' };
    case 'failed': {
      const error = outcome.reason;
      const isLast = tries >= policy.triesMax;
      if (outcome.refused === 'markup' && !row.plain && !isLast) {
        return { ...again, plain: true, nextAttemptAt: now, error };
      }
      if (outcome.permanent || isLast) return { to: 'failed', uncertain: false, error };
      const wait = Math.max(backoffMs(tries, policy, chance), outcome.retryAfterMs ?? 0);
      return { ...again, nextAttemptAt: now + wait, error };
    }
    case 'unknown': {
      const error = outcome.reason;
      if (row.whenUncertain === 'drop') return { to: 'discarded', error };
      if (row.whenUncertain === 'hold' || tries >= policy.triesMax) return { to: 'failed', uncertain: true, error };
      return { ...again, uncertain: true, nextAttemptAt: now + backoffMs(tries, policy, chance), error };
    }
  }
}

/** What is recorded for an attempt that was begun by a host that ended before its result. */
export const OUTCOME_UNKNOWN = 'The last attempt was begun and its outcome is not known.';

/** What must be known of a delivery that is due, to decide on it. */
export interface Deliverable {
  /** Attempts spent as the policy counts: since it was accepted, or last revived by an operator. */
  readonly tries: number;
  /** An attempt was begun and its outcome never written: the host died in between. */
  readonly inFlight: boolean;
}

/**
 * Decides whether a due delivery is attempted, or `undefined` when it is. An attempt that was begun and never
 * confirmed is settled here by the same rule as one that ran out of time.
 */
export function withoutAttempt(
  delivery: Deliverable,
  policy: RetryPolicy,
  whenUncertain: WhenUncertain,
): Extract<DeliverySettlement, { to: 'failed' | 'discarded' }> | undefined {
  if (delivery.inFlight) {
    if (whenUncertain === 'drop') return { to: 'discarded', error: OUTCOME_UNKNOWN };
    if (whenUncertain === 'hold') return { to: 'failed', uncertain: true, error: OUTCOME_UNKNOWN };
  }
  if (delivery.tries < policy.triesMax) return undefined;
  return { to: 'failed', uncertain: delivery.inFlight, error: OUTCOME_UNKNOWN };
}
