/**
 * What was not passed on to any agent, counted for each chat and reason, so that an operator sees who is not heard.
 * Strangers make these rows; the most recent 1,000 are kept.
 */

import { withReadableErrors } from './constraint-errors.ts';
import type { Millis } from './entities.ts';
import type { Store } from './store.ts';
import type { DroppedMessagesRow } from './tables.ts';

/** How often messages of a chat were dropped for one reason, and when. */
export interface DroppedMessages {
  readonly channelType: string;
  readonly platformId: string;
  readonly reason: string;
  readonly count: number;
  readonly firstSeen: Millis;
  readonly lastSeen: Millis;
}

const ROWS_MAX = 1_000;

/** The operations on dropped messages; `registry.dropped`. */
export class Dropped {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Counts one more message of a chat that was dropped for a reason. Throws `invalid`. */
  async count(dropped: Pick<DroppedMessages, 'channelType' | 'platformId' | 'reason'>, now: Millis): Promise<void> {
    const { count } = await withReadableErrors('the dropped messages', {}, () =>
      this.#store.db
        .insertInto('dropped_messages')
        .values({
          channel_type: dropped.channelType,
          platform_id: dropped.platformId,
          reason: dropped.reason,
          count: 1,
          first_seen: now,
          last_seen: now,
        })
        .onConflict((conflict) =>
          conflict
            .columns(['channel_type', 'platform_id', 'reason'])
            .doUpdateSet(({ eb, ref }) => ({ count: eb(ref('dropped_messages.count'), '+', 1), last_seen: now })),
        )
        .returning('count')
        .executeTakeFirstOrThrow(),
    );
    if (count === 1) await this.#forgetOldest();
  }

  /** All of them, the most recent first. */
  async list(): Promise<DroppedMessages[]> {
    const rows = await this.#store.db
      .selectFrom('dropped_messages')
      .selectAll()
      .orderBy('last_seen', 'desc')
      .orderBy('channel_type')
      .orderBy('platform_id')
      .orderBy('reason')
      .execute();
    return rows.map(droppedMessagesOf);
  }

  /** Forgets those of one chat, or all. Answers how many rows there were. */
  async forget(chat?: Pick<DroppedMessages, 'channelType' | 'platformId'>): Promise<number> {
    const all = this.#store.db.deleteFrom('dropped_messages');
    const some =
      chat === undefined
        ? all
        : all.where('channel_type', '=', chat.channelType).where('platform_id', '=', chat.platformId);
    return Number((await some.executeTakeFirstOrThrow()).numDeletedRows);
  }

  /** Forgets those that were last seen before a time. Answers how many rows there were. */
  async prune(before: Millis): Promise<number> {
    const { numDeletedRows } = await this.#store.db
      .deleteFrom('dropped_messages')
      .where('last_seen', '<', before)
      .executeTakeFirstOrThrow();
    return Number(numDeletedRows);
  }

  /** Some at a time: each newcomer makes one row, so this keeps up. */
  async #forgetOldest(): Promise<void> {
    await this.#store.db
      .deleteFrom('dropped_messages')
      .where(({ eb, refTuple, selectFrom }) =>
        eb(
          refTuple('channel_type', 'platform_id', 'reason'),
          'in',
          selectFrom('dropped_messages')
            .select(['channel_type', 'platform_id', 'reason'])
            .orderBy('last_seen', 'desc')
            .limit(100)
            .offset(ROWS_MAX)
            .$asTuple('channel_type', 'platform_id', 'reason'),
        ),
      )
      .execute();
  }
}

function droppedMessagesOf(row: DroppedMessagesRow): DroppedMessages {
  return {
    channelType: row.channel_type,
    platformId: row.platform_id,
    reason: row.reason,
    count: row.count,
    firstSeen: row.first_seen,
    lastSeen: row.last_seen,
  };
}
