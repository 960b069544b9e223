/**
 * What agents have asked people, and what came of it.
 *
 *     open ── answer ──▶ answered ──┐
 *       └───── expire ─▶ expired ───┴── markNotified ──▶ notified: the session that asked has the outcome
 *
 * An outcome is set once, by one statement that looks for the state it leaves.
 */
import { choicesProblem } from '@nanoclaw/session-db/text';
import type { Selectable } from 'kysely';
import { withReadableErrors } from './constraint-errors.ts';
import type { Address, Millis, QuestionId, QuestionOutcome, SessionId, UserId } from './entities.ts';
import { RegistryError } from './errors.ts';
import type { ListOptions } from './is-open.ts';
import type { Store } from './store.ts';
import type { QuestionRow } from './tables.ts';

/** A question with choices, asked by a session. */
export interface Question {
  /** Unique for good. */
  readonly id: QuestionId;
  /** The session that asks. */
  readonly sessionId: SessionId;
  /** The outbound message that asks it; with `sessionId` it names the question. */
  readonly messageId: string;
  /** Where it is asked. */
  readonly place: Address;
  /** The headline of its card. */
  readonly title: string;
  /** The question itself. */
  readonly question: string;
  /** The choices, 1–20; an answer is an index. */
  readonly options: readonly string[];
  /** `null`: each user who may speak there. */
  readonly askedOf: UserId | null;
  /** When it was asked, in epoch milliseconds. */
  readonly createdAt: Millis;
  /** From when it is no longer answered, in epoch milliseconds. */
  readonly expiresAt: Millis;
  /** `null`: it is open. */
  readonly outcome: QuestionOutcome | null;
  /** The outcome has reached the session. */
  readonly isNotified: boolean;
}

/** What a question is opened with. */
export type NewQuestion = Omit<Question, 'id' | 'createdAt' | 'outcome' | 'isNotified'>;

/** What became of an answer: taken; too late, because of another answer or of the time; or to nothing there is. */
export type AnswerResult = 'answered' | 'already' | 'expired' | 'unknown';

/** The operations on questions; `registry.questions`. */
export class Questions {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /**
   * Opens a question, once for each session and message: asked again, the same one comes back, open or not.
   * `undefined` when the session has `openMax` open questions. Throws `missing` when there is no such session, and
   * `invalid`.
   */
  async open(asked: NewQuestion, limits: { readonly openMax: number }): Promise<Question | undefined> {
    const options = optionsText(asked.options);
    const known = await this.#of(asked.sessionId, asked.messageId);
    if (known !== undefined) return known;
    const row = await withReadableErrors('the questions', { missing: `There is no session ${asked.sessionId}.` }, () =>
      this.#store.db
        .insertInto('questions')
        .columns([
          'id',
          'session_id',
          'message_id',
          'channel_type',
          'platform_id',
          'thread_id',
          'title',
          'question',
          'options',
          'asked_of',
          'created_at',
          'expires_at',
        ])
        .expression(({ selectFrom, cast, fn, lit }) =>
          // The casts are for PostgreSQL, which takes a parameter in a SELECT for a text.
          this.#store.db
            .selectNoFrom(({ val }) => [
              val(this.#store.newId<QuestionId>()).as('id'),
              val(asked.sessionId).as('session_id'),
              val(asked.messageId).as('message_id'),
              val(asked.place.channelType).as('channel_type'),
              val(asked.place.platformId).as('platform_id'),
              val(asked.place.threadId).as('thread_id'),
              val(asked.title).as('title'),
              val(asked.question).as('question'),
              val(options).as('options'),
              val(asked.askedOf).as('asked_of'),
              cast<Millis>(val(this.#store.now()), 'bigint').as('created_at'),
              cast<Millis>(val(asked.expiresAt), 'bigint').as('expires_at'),
            ])
            .where(({ eb }) =>
              eb(
                selectFrom('questions')
                  .select(fn.countAll<number>().as('open'))
                  .where('session_id', '=', asked.sessionId)
                  .where('outcome', 'is', null),
                '<',
                lit(limits.openMax),
              ),
            ),
        )
        .onConflict((conflict) => conflict.columns(['session_id', 'message_id']).doNothing())
        .returningAll()
        .executeTakeFirst(),
    );
    return row === undefined ? this.#of(asked.sessionId, asked.messageId) : questionOf(row);
  }

  /** The question of an id. */
  async get(id: QuestionId): Promise<Question | undefined> {
    const row = await this.#store.db.selectFrom('questions').selectAll().where('id', '=', id).executeTakeFirst();
    return row && questionOf(row);
  }

  /** The open questions of a place, in that very thread, oldest first. */
  async openAt(place: Address, now: Millis): Promise<Question[]> {
    const rows = await this.#store.db
      .selectFrom('questions')
      .selectAll()
      .where('channel_type', '=', place.channelType)
      .where('platform_id', '=', place.platformId)
      .where('thread_id', 'is not distinct from', place.threadId)
      .where('outcome', 'is', null)
      .where('expires_at', '>', now)
      .orderBy('created_at')
      .orderBy('id')
      .execute();
    return rows.map(questionOf);
  }

  /** Up to `limit` questions, newest first: all, the open ones, or the ended ones. */
  async list(wanted: ListOptions): Promise<Question[]> {
    let query = this.#store.db
      .selectFrom('questions')
      .selectAll()
      .orderBy('created_at', 'desc')
      .orderBy('id', 'desc')
      .limit(wanted.limit);
    if (wanted.state === 'open') query = query.where('outcome', 'is', null).where('expires_at', '>', wanted.now);
    if (wanted.state === 'ended') query = query.where('outcome', 'is not', null);
    return (await query.execute()).map(questionOf);
  }

  /**
   * Answers a question: of any number of answers, in any number of processes, one is taken. Throws `invalid` for an option
   * that it does not have.
   */
  async answer(
    id: QuestionId,
    answer: { readonly option: number; readonly by: UserId; readonly at: Millis },
  ): Promise<AnswerResult> {
    const { numUpdatedRows } = await withReadableErrors('the question', {}, () =>
      this.#store.db
        .updateTable('questions')
        .set({
          outcome: 'answered',
          outcome_option: answer.option,
          outcome_by: answer.by,
          outcome_at: answer.at,
        })
        .where('id', '=', id)
        .where('outcome', 'is', null)
        .where('expires_at', '>', answer.at)
        .executeTakeFirstOrThrow(),
    );
    if (numUpdatedRows > 0n) return 'answered';
    const question = await this.get(id);
    if (question === undefined) return 'unknown';
    return question.outcome?.type === 'answered' ? 'already' : 'expired';
  }

  /** Ends every open question whose time is over, and answers them. */
  async expire(now: Millis): Promise<Question[]> {
    const rows = await this.#store.db
      .updateTable('questions')
      .set({ outcome: 'expired', outcome_at: now })
      .where('outcome', 'is', null)
      .where('expires_at', '<=', now)
      .returningAll()
      .execute();
    return rows.map(questionOf);
  }

  /** Up to `limit` ended questions whose sessions have not been notified, those that ended first at the front. */
  async pendingNotifications(limit: number): Promise<Question[]> {
    const rows = await this.#store.db
      .selectFrom('questions')
      .selectAll()
      .where('outcome', 'is not', null)
      .where('told_at', 'is', null)
      .orderBy('outcome_at')
      .orderBy('id')
      .limit(limit)
      .execute();
    return rows.map(questionOf);
  }

  /** Notes that the session has the outcome. False when there is no such ended question, or it was noted before. */
  async markNotified(id: QuestionId): Promise<boolean> {
    const { numUpdatedRows } = await this.#store.db
      .updateTable('questions')
      .set({ told_at: this.#store.now() })
      .where('id', '=', id)
      .where('outcome', 'is not', null)
      .where('told_at', 'is', null)
      .executeTakeFirstOrThrow();
    return numUpdatedRows > 0n;
  }

  async #of(sessionId: SessionId, messageId: string): Promise<Question | undefined> {
    const row = await this.#store.db
      .selectFrom('questions')
      .selectAll()
      .where('session_id', '=', sessionId)
      .where('message_id', '=', messageId)
      .executeTakeFirst();
    return row && questionOf(row);
  }
}

/** The JSON of the column; the schema bounds the list, and this the length of each. */
function optionsText(options: readonly string[]): string {
  const problem = choicesProblem(options);
  if (problem === undefined) return JSON.stringify(options);
  throw new RegistryError('invalid', `${problem} No question was opened.`);
}

function questionOf(row: Selectable<QuestionRow>): Question {
  const options: readonly string[] = JSON.parse(row.options);
  return {
    id: row.id,
    sessionId: row.session_id,
    messageId: row.message_id,
    place: { channelType: row.channel_type, platformId: row.platform_id, threadId: row.thread_id },
    title: row.title,
    question: row.question,
    options,
    askedOf: row.asked_of,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    outcome: outcomeOf(row),
    isNotified: row.told_at !== null,
  };
}

/** The table holds whole outcomes only. */
function outcomeOf(row: Selectable<QuestionRow>): QuestionOutcome | null {
  const { outcome, outcome_at: at, outcome_option: option, outcome_by: by } = row;
  if (outcome === null || at === null) return null;
  return option === null || by === null ? { type: 'expired', at } : { type: 'answered', option, by, at };
}
