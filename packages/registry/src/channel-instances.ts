/**
 * Which channel type each instance name stands for.
 *
 * Several channels of one type may run side by side, each an instance under a name of its own. Places, users and
 * sessions are kept under that name, not under the type: the same handle on two IRC networks is not the same person. So
 * a name that has once been used for one type is never given to another, whose people would inherit what is on record.
 */

import { isName } from '@nanoclaw/session-db/text';
import { withReadableErrors } from './constraint-errors.ts';
import type { Millis } from './entities.ts';
import type { Store } from './store.ts';
import type { ChannelInstanceRow } from './tables.ts';

/** A name under which a channel has run. */
export interface ChannelInstance {
  /** What `channelType` is in addresses, messaging groups and users; see {@link isInstanceName}. */
  readonly name: string;
  /** The channel's own type (`irc`, …), 1–200 characters. */
  readonly type: string;
  readonly firstSeen: Millis;
}

/** What became of a claim: the name is now this type's, or was already, or is another type's and stays that. */
export type ClaimResult = 'new' | 'known' | { readonly takenBy: string };

/**
 * True when a channel instance can have this name: 1–64 small letters, digits and dashes, beginning with a letter.
 * `agent` is none: `agent:<id>` is what an agent is called where users are.
 */
export function isInstanceName(text: string): boolean {
  return isName('channel', text);
}

/** The operations on channel instances; `registry.channels`. */
export class ChannelInstances {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /**
   * Takes a name for a channel type, for good. Of any number of claims, in any number of processes, the first one
   * counts. Throws `invalid` for what is no instance name, and for a type of no or more than 200 characters.
   */
  async claim(name: string, type: string, now: Millis): Promise<ClaimResult> {
    const inserted = await withReadableErrors('the channel instances', {}, () =>
      this.#store.db
        .insertInto('channel_instances')
        .values({ name, type, first_seen: now })
        .onConflict((conflict) => conflict.column('name').doNothing())
        .returning('name')
        .executeTakeFirst(),
    );
    if (inserted !== undefined) return 'new';
    // A name is never removed, so the one that was in the way is still there.
    const { type: owner } = await this.#store.db
      .selectFrom('channel_instances')
      .select('type')
      .where('name', '=', name)
      .executeTakeFirstOrThrow();
    return owner === type ? 'known' : { takenBy: owner };
  }

  /** All names that have been used, those that were seen first at the front. */
  async list(): Promise<ChannelInstance[]> {
    const rows = await this.#store.db
      .selectFrom('channel_instances')
      .selectAll()
      .orderBy('first_seen')
      .orderBy('name')
      .execute();
    return rows.map(channelInstanceOf);
  }
}

function channelInstanceOf(row: ChannelInstanceRow): ChannelInstance {
  return { name: row.name, type: row.type, firstSeen: row.first_seen };
}
