/**
 * Where an agent may send of its own accord, under a name that it knows: address book and permission in one. What has
 * no destination cannot be written to, except as a reply.
 */
import type { Selectable } from 'kysely';
import { withReadableErrors } from './constraint-errors.ts';
import type { AgentGroupId, DestinationId, MessagingGroupId, Millis, SessionKey } from './entities.ts';
import { reachOf } from './reach.ts';
import type { Store } from './store.ts';
import type { DestinationRow } from './tables.ts';

/** One entry of an agent's address book. Names, and targets, are unique within it. */
export interface Destination {
  /** Names the entry for the operator's commands. */
  readonly id: DestinationId;
  /** Whose entry it is. */
  readonly agentGroupId: AgentGroupId;
  /** What the agent calls it, 1–64 characters. */
  readonly name: string;
  /** What the name stands for. */
  readonly target: DestinationTarget;
  /** In epoch milliseconds. */
  readonly createdAt: Millis;
}

/** A chat, or another agent. */
export type DestinationTarget =
  | {
      readonly type: 'channel';
      /** The chat. */
      readonly messagingGroupId: MessagingGroupId;
    }
  | {
      readonly type: 'agent';
      /** The other agent. */
      readonly agentGroupId: AgentGroupId;
    };

/**
 * Where a run of an agent may write: an entry of its address book, or a chat that it is wired to and that the book does
 * not have. Such a chat has no `name` (`null`). `displayName` is what people call the chat or the agent.
 */
export type ReachableDestination =
  | {
      readonly type: 'channel';
      /** The name in the address book; `null` for a chat that the agent is only wired to. */
      readonly name: string | null;
      /** What people call the chat. */
      readonly displayName: string;
      /** The channel's instance. */
      readonly channelType: string;
      /** The chat's id on its platform. */
      readonly platformId: string;
    }
  | {
      readonly type: 'agent';
      /** The name in the address book. */
      readonly name: string;
      /** What people call the other agent. */
      readonly displayName: string;
      /** The other agent. */
      readonly agentGroupId: AgentGroupId;
    };

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
    const row = await withReadableErrors(
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

  /**
   * All that a run of an agent may write to, in one statement, because each message that is routed asks for it: first
   * the address book, then the wired chats that are not in it; each oldest first.
   */
  async reachable(agentGroupId: AgentGroupId): Promise<ReachableDestination[]> {
    const rows = await this.#store.db
      .selectFrom('destinations')
      .leftJoin('messaging_groups', 'messaging_groups.id', 'destinations.messaging_group_id')
      .leftJoin('agent_groups', 'agent_groups.id', 'destinations.target_agent_group_id')
      .where('destinations.agent_group_id', '=', agentGroupId)
      .select(({ lit, cast, ref }) => [
        lit<number>(1).as('part'),
        'destinations.created_at as created_at',
        cast<string>(ref('destinations.id'), 'text').as('id'),
        cast<string | null>(ref('destinations.name'), 'text').as('name'),
        'messaging_groups.name as chat_name',
        'messaging_groups.channel_type as channel_type',
        'messaging_groups.platform_id as platform_id',
        'destinations.target_agent_group_id as agent_group_id',
        'agent_groups.name as agent_name',
      ])
      .unionAll((wired) =>
        wired
          .selectFrom('wirings')
          .innerJoin('messaging_groups', 'messaging_groups.id', 'wirings.messaging_group_id')
          .where('wirings.agent_group_id', '=', agentGroupId)
          .where(({ not, exists, selectFrom }) =>
            not(
              exists(
                selectFrom('destinations')
                  .select('destinations.id')
                  .where('destinations.agent_group_id', '=', agentGroupId)
                  .whereRef('destinations.messaging_group_id', '=', 'wirings.messaging_group_id'),
              ),
            ),
          )
          .select(({ lit, cast, ref }) => [
            lit<number>(2).as('part'),
            'wirings.created_at as created_at',
            cast<string>(ref('wirings.id'), 'text').as('id'),
            cast<string | null>(lit(null), 'text').as('name'),
            'messaging_groups.name as chat_name',
            'messaging_groups.channel_type as channel_type',
            'messaging_groups.platform_id as platform_id',
            cast<AgentGroupId | null>(lit(null), 'text').as('agent_group_id'),
            cast<string | null>(lit(null), 'text').as('agent_name'),
          ]),
      )
      .orderBy('part')
      .orderBy('created_at')
      .orderBy('id')
      .execute();
    return rows.map(reachableOf);
  }

  /**
   * As `reachable`, for one session: all of it, or only the chats in which the session is heard where its wiring confines it to
   * them. A session of all chats is confined by each of its wirings; one whose chat no agent is wired to any more, always.
   */
  async reachableFrom(key: SessionKey): Promise<ReachableDestination[]> {
    const all = await this.reachable(key.agentGroupId);
    const heard = await this.#heardIn(key);
    const isConfined = heard.some(({ reach }) => reach !== 'all-destinations');
    return isConfined ? all.filter((one) => heard.some((chat) => isChat(one, chat))) : all;
  }

  /** The chats in which a session is heard, and how far what is said there may carry. */
  async #heardIn(key: SessionKey) {
    const chats = this.#store.db
      .selectFrom('messaging_groups')
      .leftJoin('wirings', (join) =>
        join
          .onRef('wirings.messaging_group_id', '=', 'messaging_groups.id')
          .on('wirings.agent_group_id', '=', key.agentGroupId),
      )
      .select([
        'messaging_groups.channel_type',
        'messaging_groups.platform_id',
        'messaging_groups.strangers',
        'wirings.reach',
        'wirings.sender_scope',
      ]);
    const of =
      key.scope === 'agent'
        ? chats.where('wirings.session_mode', '=', 'agent-shared')
        : chats.where('messaging_groups.id', '=', key.messagingGroupId);
    return (await of.execute()).map(({ channel_type, platform_id, strangers, reach, sender_scope: senderScope }) => ({
      channelType: channel_type,
      platformId: platform_id,
      reach: reach === null || senderScope === null ? 'own-chat' : reachOf({ reach, senderScope }, { strangers }),
    }));
  }

  /** Changes the name. Throws `conflict` when it is taken, and `invalid`. */
  async update(id: DestinationId, changes: Pick<Destination, 'name'>): Promise<Destination | undefined> {
    const conflict = `There is a destination of the name ${changes.name} already.`;
    const row = await withReadableErrors('the destinations', { conflict }, () =>
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

function isChat(
  one: ReachableDestination,
  { channelType, platformId }: { readonly channelType: string; readonly platformId: string },
): boolean {
  return one.type === 'channel' && one.channelType === channelType && one.platformId === platformId;
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

/** A row of the joined tables; of a chat its four columns are there, of an agent its two. */
interface ReachableRow {
  readonly name: string | null;
  readonly chat_name: string | null;
  readonly channel_type: string | null;
  readonly platform_id: string | null;
  readonly agent_group_id: AgentGroupId | null;
  readonly agent_name: string | null;
}

function reachableOf(row: ReachableRow): ReachableDestination {
  const { name, chat_name, channel_type: channelType, platform_id: platformId, agent_name } = row;
  if (chat_name !== null && channelType !== null && platformId !== null) {
    return { type: 'channel', name, displayName: chat_name, channelType, platformId };
  }
  if (name !== null && agent_name !== null && row.agent_group_id !== null) {
    return { type: 'agent', name, displayName: agent_name, agentGroupId: row.agent_group_id };
  }
  throw new TypeError(`the destination ${name} leads nowhere, which its table forbids`);
}

function targetColumns(
  target: DestinationTarget,
): Pick<DestinationRow, 'messaging_group_id' | 'target_agent_group_id'> {
  return target.type === 'channel'
    ? { messaging_group_id: target.messagingGroupId, target_agent_group_id: null }
    : { messaging_group_id: null, target_agent_group_id: target.agentGroupId };
}
