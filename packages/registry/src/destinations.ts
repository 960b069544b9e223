/**
 * Where an agent may send of its own accord, under a name that it knows: address book and permission in one. What has
 * no destination cannot be written to, except as a reply.
 */
import type { Selectable } from 'kysely';
import type { AgentGroupId, DestinationId, MessagingGroupId, Millis } from './entities.ts';
import { refusals } from './refusals.ts';
import type { DestinationRow } from './schema.ts';
import type { Store } from './store.ts';

/** One entry of an agent's address book. Names, and targets, are unique within it. */
export interface Destination {
  readonly id: DestinationId;
  /** Whose entry it is. */
  readonly agentGroupId: AgentGroupId;
  /** What the agent calls it, 1–64 characters. */
  readonly name: string;
  readonly target: DestinationTarget;
  readonly createdAt: Millis;
}

/** A chat, or another agent. */
export type DestinationTarget =
  | { readonly type: 'channel'; readonly messagingGroupId: MessagingGroupId }
  | { readonly type: 'agent'; readonly agentGroupId: AgentGroupId };

/** The operations on destinations; `registry.destinations`. */
export class Destinations {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /**
   * Lets an agent write somewhere. Throws `conflict` when the name or the target is taken, `missing` when an end does not
   * exist, `invalid` for itself.
   */
  async create(created: Pick<Destination, 'agentGroupId' | 'name' | 'target'>): Promise<Destination> {
    const row = await refusals(
      'the destinations',
      {
        conflict: `There is a destination of the name ${created.name}, or one that leads there, already.`,
        missing: 'Its agent group, or the chat or agent that it leads to, does not exist.',
      },
      () =>
        this.#store.db
          .insertInto('destinations')
          .values({
            id: this.#store.newId<DestinationId>(),
            agent_group_id: created.agentGroupId,
            name: created.name,
            ...targetColumns(created.target),
            created_at: this.#store.now(),
          })
          .returningAll()
          .executeTakeFirstOrThrow(),
    );
    return destinationOf(row);
  }

  /** The destination of an id. */
  async get(id: DestinationId): Promise<Destination | undefined> {
    const row = await this.#store.db.selectFrom('destinations').selectAll().where('id', '=', id).executeTakeFirst();
    return row && destinationOf(row);
  }

  /** All destinations, or those of one agent group, oldest first. */
  async list(agentGroupId?: AgentGroupId): Promise<Destination[]> {
    const all = this.#store.db.selectFrom('destinations').selectAll().orderBy('created_at').orderBy('id');
    const some = agentGroupId === undefined ? all : all.where('agent_group_id', '=', agentGroupId);
    return (await some.execute()).map(destinationOf);
  }

  /** Changes the name. Throws `conflict` when it is taken, and `invalid`. */
  async update(id: DestinationId, changes: Pick<Destination, 'name'>): Promise<Destination | undefined> {
    const conflict = `There is a destination of the name ${changes.name} already.`;
    const row = await refusals('the destinations', { conflict }, () =>
      this.#store.db
        .updateTable('destinations')
        .set({ name: changes.name })
        .where('id', '=', id)
        .returningAll()
        .executeTakeFirst(),
    );
    return row && destinationOf(row);
  }

  /** Takes the permission back. False when there was none. */
  async delete(id: DestinationId): Promise<boolean> {
    const { numDeletedRows } = await this.#store.db
      .deleteFrom('destinations')
      .where('id', '=', id)
      .executeTakeFirstOrThrow();
    return numDeletedRows > 0n;
  }
}

function destinationOf(row: Selectable<DestinationRow>): Destination {
  return {
    id: row.id,
    agentGroupId: row.agent_group_id,
    name: row.name,
    target: targetOf(row),
    createdAt: row.created_at,
  };
}

function targetOf(row: Selectable<DestinationRow>): DestinationTarget {
  if (row.messaging_group_id !== null) return { type: 'channel', messagingGroupId: row.messaging_group_id };
  if (row.target_agent_group_id !== null) return { type: 'agent', agentGroupId: row.target_agent_group_id };
  throw new TypeError(`the destination ${row.id} leads nowhere, which its table forbids`);
}

function targetColumns(
  target: DestinationTarget,
): Pick<DestinationRow, 'messaging_group_id' | 'target_agent_group_id'> {
  return target.type === 'channel'
    ? { messaging_group_id: target.messagingGroupId, target_agent_group_id: null }
    : { messaging_group_id: null, target_agent_group_id: target.agentGroupId };
}
