/**
 * Who is known, what they may do, and who let them: users, roles, memberships.
 *
 * A user is made for each person who speaks, so strangers make rows here; those without a role or a membership are
 * forgotten when there are too many of them.
 */

import { beginning, oneLine } from '@nanoclaw/session-db/text';
import type { Selectable } from 'kysely';
import type { Person } from './access.ts';
import { withReadableErrors } from './constraint-errors.ts';
import type { Actor, AgentGroupId, Millis, Role, UserId } from './entities.ts';
import type { Store } from './store.ts';
import type { MembershipRow, RoleRow, UserRow } from './tables.ts';

/** A person as one platform knows them. */
export interface User {
  readonly id: UserId;
  /** What the platform calls them; may be empty. */
  readonly name: string;
  readonly createdAt: Millis;
}

/** A role that a user holds. */
export interface RoleGrant {
  readonly userId: UserId;
  readonly role: Role;
  readonly grantedBy: Actor;
  readonly createdAt: Millis;
}

/** A user whom an agent listens to. */
export interface Membership {
  readonly userId: UserId;
  readonly agentGroupId: AgentGroupId;
  readonly addedBy: Actor;
  readonly createdAt: Millis;
}

/** How many users without a role or a membership are kept. */
const STRANGERS_MAX = 2_000;
const NAME_LENGTH_MAX = 200;

/** The operations on people; `registry.people`. */
export class People {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  // ── What a message needs ──────────────────────────────────────────────────────────────────────────────────────────

  /**
   * The user of this id, made when there is none; the name follows the platform's, cut to 200 characters. Nothing is
   * written about a user who is known by that name. At most 2,000 users who hold no role and are no members are kept,
   * the newest.
   */
  async ensureUser(id: UserId, name: string): Promise<User> {
    const clipped = clippedName(name);
    const known = await this.user(id);
    if (known?.name === clipped) return known;
    const user = await withReadableErrors('the user', {}, () =>
      this.#store.db
        .insertInto('users')
        .values({ id, name: clipped, created_at: this.#store.now() })
        .onConflict((conflict) => conflict.column('id').doUpdateSet({ name: clipped }))
        .returningAll()
        .executeTakeFirstOrThrow(),
    );
    if (known === undefined) await this.#forgetStrangers(id);
    return userOf(user);
  }

  /** What is on record about a user. A stranger has no roles and no memberships. */
  async person(id: UserId): Promise<Person> {
    const roles = await this.#store.db
      .selectFrom('roles')
      .select(['role', 'agent_group_id'])
      .where('user_id', '=', id)
      .execute();
    const memberships = await this.#store.db
      .selectFrom('memberships')
      .select('agent_group_id')
      .where('user_id', '=', id)
      .execute();
    return { roles: roles.map(roleOf), memberOf: memberships.map((row) => row.agent_group_id) };
  }

  /**
   * Who may decide for an agent group, in the order in which they are asked: its own admins, then the global ones, then
   * the owners; each kind oldest first. `null`: for what is of no agent group, so the global admins, then the owners.
   */
  async approvers(agentGroupId: AgentGroupId | null): Promise<UserId[]> {
    const grants = (await this.roleGrants()).filter(
      ({ role }) => role.role === 'owner' || role.agentGroupId === null || role.agentGroupId === agentGroupId,
    );
    const inOrder = grants.toSorted((a, b) => askingOrder(a.role) - askingOrder(b.role));
    return [...new Set(inOrder.map((grant) => grant.userId))];
  }

  // ── Users ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The user of an id. */
  async user(id: UserId): Promise<User | undefined> {
    const row = await this.#store.db.selectFrom('users').selectAll().where('id', '=', id).executeTakeFirst();
    return row && userOf(row);
  }

  /** All users, oldest first. */
  async users(): Promise<User[]> {
    const rows = await this.#store.db.selectFrom('users').selectAll().orderBy('created_at').orderBy('id').execute();
    return rows.map(userOf);
  }

  /** Makes a person known who has not spoken yet. Throws `conflict` when they are known, and `invalid`. */
  async createUser(created: Pick<User, 'id' | 'name'>): Promise<User> {
    const row = await withReadableErrors('the user', { conflict: `The user ${created.id} is known already.` }, () =>
      this.#store.db
        .insertInto('users')
        .values({ id: created.id, name: created.name, created_at: this.#store.now() })
        .returningAll()
        .executeTakeFirstOrThrow(),
    );
    return userOf(row);
  }

  /** Changes a user's name, until the platform tells another one. Throws `invalid`. */
  async updateUser(id: UserId, changes: Pick<User, 'name'>): Promise<User | undefined> {
    const row = await withReadableErrors('the user', {}, () =>
      this.#store.db
        .updateTable('users')
        .set({ name: changes.name })
        .where('id', '=', id)
        .returningAll()
        .executeTakeFirst(),
    );
    return row && userOf(row);
  }

  /** Forgets a user. Roles and memberships go too. Throws `in-use` for the last owner. False when there was none. */
  async deleteUser(id: UserId): Promise<boolean> {
    await this.#releaseCards(id);
    const { numDeletedRows } = await withReadableErrors('the user', {}, () =>
      this.#store.db.deleteFrom('users').where('id', '=', id).executeTakeFirstOrThrow(),
    );
    return numDeletedRows > 0n;
  }

  // ── Roles ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** All roles that are held, oldest first. */
  async roleGrants(): Promise<RoleGrant[]> {
    const rows = await this.#store.db
      .selectFrom('roles')
      .selectAll()
      .orderBy('created_at')
      .orderBy('user_id')
      .orderBy('scope')
      .execute();
    return rows.map(roleGrantOf);
  }

  /** Gives a user a role. False when the user held it already. Throws `missing` when the user or the agent group does not exist. */
  async grantRole(userId: UserId, role: Role, by: Actor): Promise<boolean> {
    const missing = `There is no user ${userId}, or no such agent group.`;
    const { numInsertedOrUpdatedRows } = await withReadableErrors('the roles', { missing }, () =>
      this.#store.db
        .insertInto('roles')
        .values({ user_id: userId, ...roleColumns(role), granted_by: by, created_at: this.#store.now() })
        .onConflict((conflict) => conflict.columns(['user_id', 'role', 'scope']).doNothing())
        .executeTakeFirstOrThrow(),
    );
    return (numInsertedOrUpdatedRows ?? 0n) > 0n;
  }

  /**
   * Takes a role away. Approvals that wait for this user are theirs no more, except by another role. Throws `in-use` for the last owner.
   * False when the user did not hold the role.
   */
  async revokeRole(userId: UserId, role: Role): Promise<boolean> {
    await this.#releaseCards(userId);
    const columns = roleColumns(role);
    const { numDeletedRows } = await withReadableErrors('the roles', {}, () =>
      this.#store.db
        .deleteFrom('roles')
        .where('user_id', '=', userId)
        .where('role', '=', columns.role)
        .where('scope', '=', columns.agent_group_id ?? EVERYTHING)
        .executeTakeFirstOrThrow(),
    );
    return numDeletedRows > 0n;
  }

  // ── Memberships ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** All memberships, or those of one agent group, oldest first. */
  async memberships(agentGroupId?: AgentGroupId): Promise<Membership[]> {
    const all = this.#store.db.selectFrom('memberships').selectAll().orderBy('created_at').orderBy('user_id');
    const some = agentGroupId === undefined ? all : all.where('agent_group_id', '=', agentGroupId);
    return (await some.execute()).map(membershipOf);
  }

  /** Makes a user a member. False when they were already. Throws `missing` when the user or the agent group does not exist. */
  async addMember(userId: UserId, agentGroupId: AgentGroupId, by: Actor): Promise<boolean> {
    const missing = `There is no user ${userId}, or no agent group ${agentGroupId}.`;
    const { numInsertedOrUpdatedRows } = await withReadableErrors('the members', { missing }, () =>
      this.#store.db
        .insertInto('memberships')
        .values({ user_id: userId, agent_group_id: agentGroupId, added_by: by, created_at: this.#store.now() })
        .onConflict((conflict) => conflict.columns(['user_id', 'agent_group_id']).doNothing())
        .executeTakeFirstOrThrow(),
    );
    return (numInsertedOrUpdatedRows ?? 0n) > 0n;
  }

  /** Ends a membership. False when there was none. */
  async removeMember(userId: UserId, agentGroupId: AgentGroupId): Promise<boolean> {
    const { numDeletedRows } = await this.#store.db
      .deleteFrom('memberships')
      .where('user_id', '=', userId)
      .where('agent_group_id', '=', agentGroupId)
      .executeTakeFirstOrThrow();
    return numDeletedRows > 0n;
  }

  /** Before the role goes and not after it: a crash in between leaves an admin unasked, not a stranger asked. */
  async #releaseCards(userId: UserId): Promise<void> {
    await this.#store.db
      .updateTable('approvals')
      .set({ asked_of: null, asked_channel_type: null, asked_platform_id: null, asked_thread_id: null })
      .where('asked_of', '=', userId)
      .where('outcome', 'is', null)
      .execute();
  }

  /** Some at a time: each newcomer makes one row, so this keeps up. */
  async #forgetStrangers(newcomer: UserId): Promise<void> {
    await this.#store.db
      .deleteFrom('users')
      .where('id', 'in', (users) =>
        users
          .selectFrom('users')
          .select('id')
          .where('id', '<>', newcomer)
          .where(({ not, exists, selectFrom }) =>
            not(exists(selectFrom('roles').select('user_id').whereRef('roles.user_id', '=', 'users.id'))),
          )
          .where(({ not, exists, selectFrom }) =>
            not(exists(selectFrom('memberships').select('user_id').whereRef('memberships.user_id', '=', 'users.id'))),
          )
          .orderBy('created_at', 'desc')
          .limit(100)
          .offset(STRANGERS_MAX - 1),
      )
      .execute();
  }
}

/** The value of the generated column `scope` for a role that is of no agent group. */
const EVERYTHING = '*';

/** The place of a role in the order of asking: the lowest first. */
function askingOrder(role: Role): number {
  if (role.role === 'owner') return 2;
  return role.agentGroupId === null ? 1 : 0;
}

function userOf(row: UserRow): User {
  return { id: row.id, name: row.name, createdAt: row.created_at };
}

function roleGrantOf(row: Selectable<RoleRow>): RoleGrant {
  return { userId: row.user_id, role: roleOf(row), grantedBy: row.granted_by, createdAt: row.created_at };
}

function roleOf(row: Pick<RoleRow, 'role' | 'agent_group_id'>): Role {
  return row.role === 'owner' ? { role: 'owner' } : { role: 'admin', agentGroupId: row.agent_group_id };
}

function roleColumns(role: Role): Pick<RoleRow, 'role' | 'agent_group_id'> {
  return { role: role.role, agent_group_id: role.role === 'owner' ? null : role.agentGroupId };
}

function membershipOf(row: MembershipRow): Membership {
  return {
    userId: row.user_id,
    agentGroupId: row.agent_group_id,
    addedBy: row.added_by,
    createdAt: row.created_at,
  };
}

/** A name that the schema accepts, whatever a stranger calls himself. */
function clippedName(name: string): string {
  return beginning(oneLine(name, 4 * NAME_LENGTH_MAX), NAME_LENGTH_MAX);
}
