/**
 * What waits for the decision of an admin: a stranger who wants to speak, a chat that is not known, an action of an agent.
 *
 *     open ── decide ──▶ approved | denied ──┐
 *       └──── expire ──▶ expired ────────────┴── markApplied ──▶ applied: what follows has been done
 *
 * An outcome is set once, by one statement that looks for the state it leaves. Its effect comes after it and is noted when
 * it is done, so that a host which dies in between finds it again.
 */
import type { Selectable } from 'kysely';
import { withReadableErrors } from './constraint-errors.ts';
import type {
  Actor,
  Address,
  AgentGroupId,
  ApprovalId,
  ApprovalKind,
  ApprovalOutcome,
  JsonObject,
  MessagingGroupId,
  Millis,
  SessionId,
  UserId,
} from './entities.ts';
import type { ListOptions } from './is-open.ts';
import type { Store } from './store.ts';
import type { ApprovalRow } from './tables.ts';

/** Something that waits, or waited, for a decision. */
export interface Approval {
  /** Unique for good. */
  readonly id: ApprovalId;
  /** What would follow from a yes. */
  readonly kind: ApprovalKind;
  /** What it is about, 1–800 characters; there is one open approval of a kind about one subject. */
  readonly subject: string;
  /** Whose admins decide; `null`: the global ones. */
  readonly agentGroupId: AgentGroupId | null;
  /** The chat that it is about; `null`: none. */
  readonly messagingGroupId: MessagingGroupId | null;
  /** The session that asks, or that it is about; `null`: none. */
  readonly sessionId: SessionId | null;
  /** Who has asked for it. */
  readonly requestedBy: Actor;
  /** For people: one line of 1–500 characters. */
  readonly summary: string;
  /** What is replayed or done when it is approved; at most 256 KiB as JSON. */
  readonly payload: JsonObject;
  /** Who holds the card, and where; `null`: no user does. */
  readonly asked: CardHolder | null;
  /** When it was asked, in epoch milliseconds. */
  readonly createdAt: Millis;
  /** From when an open one counts as refused by time, in epoch milliseconds. */
  readonly expiresAt: Millis;
  /** `null`: it is open. */
  readonly outcome: ApprovalOutcome | null;
  /** What follows from the outcome has been done. */
  readonly isApplied: boolean;
}

/** The person who was asked to decide, and the place where the card is. */
export interface CardHolder {
  readonly of: UserId;
  readonly place: Address;
}

/** What an approval is requested with. */
export type NewApproval = Omit<Approval, 'id' | 'asked' | 'createdAt' | 'outcome' | 'isApplied'>;

/** What became of a decision: taken; too late, because of another one or of the time; or about nothing there is. */
export type DecisionResult = 'decided' | 'already' | 'expired' | 'unknown';

/** The operations on approvals; `registry.approvals`. */
export class Approvals {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /**
   * The open approval of this kind about this subject, made when there is none; one whose time is over is ended first.
   * `undefined` when `openMax` of the kind are open. Throws `missing` when something it refers to does not exist, and
   * `invalid`.
   */
  async request(
    wanted: NewApproval,
    limits: { readonly openMax: number },
  ): Promise<{ readonly approval: Approval; readonly isNew: boolean } | undefined> {
    const now = this.#store.now();
    await this.#expire(now, wanted);
    const inserted = await this.#insert(wanted, limits.openMax, now);
    if (inserted !== undefined) return { approval: inserted, isNew: true };
    const open = await this.#store.db
      .selectFrom('approvals')
      .selectAll()
      .where('kind', '=', wanted.kind)
      .where('subject', '=', wanted.subject)
      .where('outcome', 'is', null)
      .executeTakeFirst();
    return open && { approval: approvalOf(open), isNew: false };
  }

  /** Notes who holds the card, and where; each call replaces the one before. False when it is not open. */
  async markAsked(id: ApprovalId, asked: CardHolder): Promise<boolean> {
    const { numUpdatedRows } = await withReadableErrors('the approval', {}, () =>
      this.#store.db
        .updateTable('approvals')
        .set({
          asked_of: asked.of,
          asked_channel_type: asked.place.channelType,
          asked_platform_id: asked.place.platformId,
          asked_thread_id: asked.place.threadId,
        })
        .where('id', '=', id)
        .where('outcome', 'is', null)
        .executeTakeFirstOrThrow(),
    );
    return numUpdatedRows > 0n;
  }

  /** The open approvals whose cards are in a place, in that very thread, oldest first. */
  async openAt(place: Address, now: Millis): Promise<Approval[]> {
    const rows = await this.#store.db
      .selectFrom('approvals')
      .selectAll()
      .where('asked_channel_type', '=', place.channelType)
      .where('asked_platform_id', '=', place.platformId)
      .where('asked_thread_id', 'is not distinct from', place.threadId)
      .where('outcome', 'is', null)
      .where('expires_at', '>', now)
      .orderBy('created_at')
      .orderBy('id')
      .execute();
    return rows.map(approvalOf);
  }

  /** The approval of an id. */
  async get(id: ApprovalId): Promise<Approval | undefined> {
    const row = await this.#store.db.selectFrom('approvals').selectAll().where('id', '=', id).executeTakeFirst();
    return row && approvalOf(row);
  }

  /** The newest of this kind about this subject, open or not. */
  async latest(kind: ApprovalKind, subject: string): Promise<Approval | undefined> {
    const row = await this.#store.db
      .selectFrom('approvals')
      .selectAll()
      .where('kind', '=', kind)
      .where('subject', '=', subject)
      .orderBy('created_at', 'desc')
      .orderBy('id', 'desc')
      .limit(1)
      .executeTakeFirst();
    return row && approvalOf(row);
  }

  /** Up to `limit` approvals, newest first: all, the open ones, or the ended ones. */
  async list(wanted: ListOptions): Promise<Approval[]> {
    let query = this.#store.db
      .selectFrom('approvals')
      .selectAll()
      .orderBy('created_at', 'desc')
      .orderBy('id', 'desc')
      .limit(wanted.limit);
    if (wanted.state === 'open') query = query.where('outcome', 'is', null).where('expires_at', '>', wanted.now);
    if (wanted.state === 'ended') query = query.where('outcome', 'is not', null);
    return (await query.execute()).map(approvalOf);
  }

  /**
   * Decides: of any number of decisions, in any number of processes, one is taken. Who may decide is `mayDecide`'s to say.
   */
  async decide(
    id: ApprovalId,
    decision: { readonly type: 'approved' | 'denied'; readonly by: Actor; readonly at: Millis },
  ): Promise<DecisionResult> {
    const { numUpdatedRows } = await withReadableErrors('the approval', {}, () =>
      this.#store.db
        .updateTable('approvals')
        .set({ outcome: decision.type, outcome_by: decision.by, outcome_at: decision.at })
        .where('id', '=', id)
        .where('outcome', 'is', null)
        .where('expires_at', '>', decision.at)
        .executeTakeFirstOrThrow(),
    );
    if (numUpdatedRows > 0n) return 'decided';
    const approval = await this.get(id);
    if (approval === undefined) return 'unknown';
    return approval.outcome === null || approval.outcome.type === 'expired' ? 'expired' : 'already';
  }

  /** Ends every open approval whose time is over, and answers them. */
  async expire(now: Millis): Promise<Approval[]> {
    return this.#expire(now);
  }

  /** Up to `limit` ended approvals of which what follows has not been done, those that ended first at the front. */
  async pendingEffects(limit: number): Promise<Approval[]> {
    const rows = await this.#store.db
      .selectFrom('approvals')
      .selectAll()
      .where('outcome', 'is not', null)
      .where('applied_at', 'is', null)
      .orderBy('outcome_at')
      .orderBy('id')
      .limit(limit)
      .execute();
    return rows.map(approvalOf);
  }

  /** Notes that what follows has been done. False when there is no such ended approval, or it was noted before. */
  async markApplied(id: ApprovalId): Promise<boolean> {
    const { numUpdatedRows } = await this.#store.db
      .updateTable('approvals')
      .set({ applied_at: this.#store.now() })
      .where('id', '=', id)
      .where('outcome', 'is not', null)
      .where('applied_at', 'is', null)
      .executeTakeFirstOrThrow();
    return numUpdatedRows > 0n;
  }

  /** `undefined`: one is open already, or too many of the kind are. */
  async #insert(wanted: NewApproval, openMax: number, now: Millis): Promise<Approval | undefined> {
    const row = await withReadableErrors(
      'the approvals',
      { missing: 'The agent group, the chat or the session that it is about does not exist.' },
      () =>
        this.#store.db
          .insertInto('approvals')
          .columns([
            'id',
            'kind',
            'subject',
            'agent_group_id',
            'messaging_group_id',
            'session_id',
            'requested_by',
            'summary',
            'payload',
            'created_at',
            'expires_at',
          ])
          .expression(({ selectFrom, cast, fn, lit }) =>
            // The casts are for PostgreSQL, which takes a parameter in a SELECT for a text.
            this.#store.db
              .selectNoFrom(({ val }) => [
                val(this.#store.newId<ApprovalId>()).as('id'),
                val(wanted.kind).as('kind'),
                val(wanted.subject).as('subject'),
                val(wanted.agentGroupId).as('agent_group_id'),
                val(wanted.messagingGroupId).as('messaging_group_id'),
                val(wanted.sessionId).as('session_id'),
                val(wanted.requestedBy).as('requested_by'),
                val(wanted.summary).as('summary'),
                val(JSON.stringify(wanted.payload)).as('payload'),
                cast<Millis>(val(now), 'bigint').as('created_at'),
                cast<Millis>(val(wanted.expiresAt), 'bigint').as('expires_at'),
              ])
              .where(({ eb }) =>
                eb(
                  selectFrom('approvals')
                    .select(fn.countAll<number>().as('open'))
                    .where('kind', '=', wanted.kind)
                    .where('outcome', 'is', null),
                  '<',
                  lit(openMax),
                ),
              ),
          )
          .onConflict((conflict) => conflict.columns(['kind', 'subject']).where('outcome', 'is', null).doNothing())
          .returningAll()
          .executeTakeFirst(),
    );
    return row && approvalOf(row);
  }

  async #expire(now: Millis, only?: Pick<Approval, 'kind' | 'subject'>): Promise<Approval[]> {
    const all = this.#store.db
      .updateTable('approvals')
      .set({ outcome: 'expired', outcome_by: 'host', outcome_at: now })
      .where('outcome', 'is', null)
      .where('expires_at', '<=', now);
    const some = only === undefined ? all : all.where('kind', '=', only.kind).where('subject', '=', only.subject);
    return (await some.returningAll().execute()).map(approvalOf);
  }
}

function approvalOf(row: Selectable<ApprovalRow>): Approval {
  const payload: JsonObject = JSON.parse(row.payload);
  return {
    id: row.id,
    kind: row.kind,
    subject: row.subject,
    agentGroupId: row.agent_group_id,
    messagingGroupId: row.messaging_group_id,
    sessionId: row.session_id,
    requestedBy: row.requested_by,
    summary: row.summary,
    payload,
    asked: askedOf(row),
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    outcome: outcomeOf(row),
    isApplied: row.applied_at !== null,
  };
}

function askedOf(row: Selectable<ApprovalRow>): CardHolder | null {
  const { asked_of: of, asked_channel_type: channelType, asked_platform_id: platformId } = row;
  if (of === null || channelType === null || platformId === null) return null;
  return { of, place: { channelType, platformId, threadId: row.asked_thread_id } };
}

function outcomeOf(row: Selectable<ApprovalRow>): ApprovalOutcome | null {
  const { outcome: type, outcome_by: by, outcome_at: at } = row;
  return type === null || by === null || at === null ? null : { type, by, at };
}
