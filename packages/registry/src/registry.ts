/**
 * The central database of a host. Agent groups, messaging groups, wirings and sessions are here; people, what waits for
 * them and what is written down have a file each, and a part of the registry each (`registry.people`, …).
 *
 * Asynchronous because a team will share it on PostgreSQL. Every operation is one statement, or is safe to lose a race
 * in; nothing here needs a transaction of its caller.
 */
import type { Kysely, Selectable } from 'kysely';
import {
  changedListColumns,
  DEFAULT_SETTINGS,
  listColumns,
  listSettings,
  type OptionalSettings,
} from './agent-settings.ts';
import { Approvals } from './approvals.ts';
import { Audit } from './audit.ts';
import { ChannelInstances } from './channel-instances.ts';
import { withReadableErrors } from './constraint-errors.ts';
import { Destinations } from './destinations.ts';
import { Dropped } from './dropped.ts';
import {
  type AgentGroup,
  type AgentGroupId,
  type AgentGroupSettings,
  type Engage,
  type EntityId,
  isId,
  type MessagingGroup,
  type MessagingGroupId,
  type MessagingGroupSettings,
  type Millis,
  type Quarantine,
  type Session,
  type SessionId,
  type SessionKey,
  type WiredAgent,
  type WiredChat,
  type Wiring,
  type WiringId,
  type WiringSettings,
} from './entities.ts';
import { RegistryError } from './errors.ts';
import { Mails } from './mail.ts';
import { patternProblem } from './pattern.ts';
import { People } from './people.ts';
import { Questions } from './questions.ts';
import { openSqliteRegistry } from './sqlite.ts';
import type { Store } from './store.ts';
import type { AgentGroupRow, MessagingGroupRow, SessionRow, Tables, WiringRow } from './tables.ts';

/** What a registry needs from its app. */
export interface RegistryOptions {
  /** The clock: epoch milliseconds. */
  readonly now: () => Millis;
  /** A new id on each call, of the shape {@link isId} accepts; a lower-case UUID is one. */
  readonly newId: () => string;
}

/**
 * Opens the registry in a SQLite file (created when it is not there; its folder must exist) and brings it to this
 * program's schema.
 *
 * Throws a {@link RegistryError}: `unavailable` when the file cannot be opened, read or written; `newer-schema` when a
 * newer program has written it.
 */
export async function openRegistry(options: RegistryOptions & { readonly file: string }): Promise<Registry> {
  return new Registry(await openSqliteRegistry(options.file), options);
}

/** A wiring to be made; without a reach it has the default one. */
export type NewWiring = Omit<WiringSettings, 'reach'> &
  Partial<Pick<WiringSettings, 'reach'>> &
  Pick<Wiring, 'messagingGroupId' | 'agentGroupId'>;

/**
 * The operations on an open registry.
 *
 * Writing throws a {@link RegistryError} when a rule is broken (`invalid`), the thing exists already (`conflict`) or
 * refers to something that does not (`missing`), and then changes nothing. Looking for something that is not there
 * answers `undefined`, changing or deleting it `undefined` or `false`.
 */
export class Registry implements AsyncDisposable {
  /** Users, roles, memberships. */
  readonly people: People;
  /** Where agents may write. */
  readonly destinations: Destinations;
  /** What agents have asked people. */
  readonly questions: Questions;
  /** What waits for the decision of an admin. */
  readonly approvals: Approvals;
  /** What was passed on to no agent. */
  readonly dropped: Dropped;
  /** Who did what. */
  readonly audit: Audit;
  /** What agents have written to each other. */
  readonly mail: Mails;
  /** Which channel type each instance name stands for. */
  readonly channels: ChannelInstances;

  readonly #db: Kysely<Tables>;
  readonly #now: () => Millis;
  readonly #newId: () => string;

  /** Over a database that has been migrated; `openRegistry` does both for SQLite. The registry closes it. */
  constructor(db: Kysely<Tables>, options: RegistryOptions) {
    this.#db = db;
    this.#now = options.now;
    this.#newId = options.newId;
    const store: Store = { db, now: options.now, newId: () => this.#id() };
    this.people = new People(store);
    this.destinations = new Destinations(store);
    this.questions = new Questions(store);
    this.approvals = new Approvals(store);
    this.dropped = new Dropped(store);
    this.audit = new Audit(store);
    this.mail = new Mails(store);
    this.channels = new ChannelInstances(store);
  }

  // ── What a message needs ──────────────────────────────────────────────────────────────────────────────────────────

  /** A chat with its wirings and their agent groups, highest priority first; `undefined` for an unknown chat. */
  async wiringsFor(channelType: string, platformId: string): Promise<WiredChat | undefined> {
    const chat = await this.#db
      .selectFrom('messaging_groups')
      .selectAll()
      .where('channel_type', '=', channelType)
      .where('platform_id', '=', platformId)
      .executeTakeFirst();
    if (chat === undefined) return undefined;

    const rows = await this.#db
      .selectFrom('wirings')
      .innerJoin('agent_groups', 'agent_groups.id', 'wirings.agent_group_id')
      .selectAll('agent_groups')
      .selectAll('wirings')
      .select('agent_groups.created_at as agent_group_created_at')
      .where('wirings.messaging_group_id', '=', chat.id)
      .orderBy('wirings.priority', 'desc')
      .orderBy('wirings.id')
      .execute();
    const wirings = rows.map(
      (row): WiredAgent => ({
        wiring: wiringOf(row),
        agentGroup: agentGroupOf({ ...row, id: row.agent_group_id, created_at: row.agent_group_created_at }),
      }),
    );
    return { messagingGroup: messagingGroupOf(chat), wirings };
  }

  /**
   * The session of a key, made when there is none. Any number of callers, in any number of processes, get the same one.
   * Throws `missing` when the agent group or the messaging group does not exist.
   */
  async sessionFor(key: SessionKey): Promise<Session> {
    const existing = await this.#findSession(key);
    if (existing !== undefined) return existing;
    // The loser of a race inserts nothing and finds the winner's row.
    const inserted = await withReadableErrors(
      'the session',
      { missing: 'Its agent group or messaging group does not exist.' },
      () =>
        this.#db
          .insertInto('sessions')
          .values({ id: this.#id<SessionId>(), ...sessionKeyColumns(key), created_at: this.#now() })
          .onConflict((conflict) => conflict.columns(['agent_group_id', 'session_key']).doNothing())
          .returningAll()
          .executeTakeFirst(),
    );
    const session = inserted === undefined ? await this.#findSession(key) : sessionOf(inserted);
    if (session !== undefined) return session;
    throw new RegistryError('missing', 'The session was removed while it was being looked up. Send the message again.');
  }

  async #findSession(key: SessionKey): Promise<Session | undefined> {
    const columns = sessionKeyColumns(key);
    const row = await this.#db
      .selectFrom('sessions')
      .selectAll()
      .where('agent_group_id', '=', columns.agent_group_id)
      .where('session_key', '=', sessionKeyText(key))
      .executeTakeFirst();
    return row && sessionOf(row);
  }

  /** Notes that a mention engaged a wiring in a thread, for `mention-sticky`. Saying it again changes nothing. */
  async engageThread(wiringId: WiringId, threadId: string): Promise<void> {
    await withReadableErrors('the engaged thread', { missing: `There is no wiring ${wiringId}.` }, () =>
      this.#db
        .insertInto('engaged_threads')
        .values({ wiring_id: wiringId, thread_id: threadId, engaged_at: this.#now() })
        .onConflict((conflict) => conflict.columns(['wiring_id', 'thread_id']).doNothing())
        .execute(),
    );
  }

  /** Which wirings of a chat have been engaged in a thread. Outside any thread (`null`) nothing stays engaged. */
  async engagedWirings(messagingGroupId: MessagingGroupId, threadId: string | null): Promise<ReadonlySet<WiringId>> {
    if (threadId === null) return new Set();
    const rows = await this.#db
      .selectFrom('wirings')
      .innerJoin('engaged_threads', 'engaged_threads.wiring_id', 'wirings.id')
      .select('wirings.id')
      .where('wirings.messaging_group_id', '=', messagingGroupId)
      .where('engaged_threads.thread_id', '=', threadId)
      .execute();
    return new Set(rows.map((row) => row.id));
  }

  // ── Sessions ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** All sessions, oldest first. */
  async sessions(): Promise<Session[]> {
    const rows = await this.#db.selectFrom('sessions').selectAll().orderBy('created_at').orderBy('id').execute();
    return rows.map(sessionOf);
  }

  /** The session of an id. */
  async session(id: SessionId): Promise<Session | undefined> {
    const row = await this.#db.selectFrom('sessions').selectAll().where('id', '=', id).executeTakeFirst();
    return row && sessionOf(row);
  }

  /** Up to `limit` sessions in which something is due at `now`, longest due first; none that is quarantined then. */
  async sessionsDue(now: Millis, limit: number): Promise<Session[]> {
    const rows = await this.#db
      .selectFrom('sessions')
      .selectAll()
      .where('next_due_at', '<=', now)
      .where((where) => where.or([where('quarantined_until', 'is', null), where('quarantined_until', '<=', now)]))
      .orderBy('next_due_at')
      .limit(limit)
      .execute();
    return rows.map(sessionOf);
  }

  /** Sets when something in the session falls due; `null`: nothing waits. False when there is no such session. */
  async setSessionNextDue(id: SessionId, at: Millis | null): Promise<boolean> {
    const { numUpdatedRows } = await withReadableErrors('the due time', {}, () =>
      this.#db.updateTable('sessions').set({ next_due_at: at }).where('id', '=', id).executeTakeFirstOrThrow(),
    );
    return numUpdatedRows > 0n;
  }

  /** Puts a session into quarantine, or with `null` ends it. False when there is no such session. */
  async setSessionQuarantine(id: SessionId, quarantine: Quarantine | null): Promise<boolean> {
    const { numUpdatedRows } = await withReadableErrors('the quarantine', {}, () =>
      this.#db
        .updateTable('sessions')
        .set({ quarantine_reason: quarantine?.reason ?? null, quarantined_until: quarantine?.until ?? null })
        .where('id', '=', id)
        .executeTakeFirstOrThrow(),
    );
    return numUpdatedRows > 0n;
  }

  /**
   * Deletes a session. Its questions and its mail go with it; its approvals stay, and are of no session. The files of the
   * session are the caller's to remove first. False when there was none.
   */
  async deleteSession(id: SessionId): Promise<boolean> {
    const { numDeletedRows } = await this.#db.deleteFrom('sessions').where('id', '=', id).executeTakeFirstOrThrow();
    return numDeletedRows > 0n;
  }

  // ── Agent groups ──────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Creates an agent group. What is left out of the optional settings is as little as can be: all skills, and nothing
   * else. Throws `conflict` when the folder is taken, and `invalid`.
   */
  async createAgentGroup(
    created: Omit<AgentGroupSettings, keyof OptionalSettings> & Partial<OptionalSettings> & Pick<AgentGroup, 'folder'>,
  ): Promise<AgentGroup> {
    const settings: AgentGroupSettings = { ...DEFAULT_SETTINGS, ...created };
    const row = await withReadableErrors(
      'the agent group',
      { conflict: `Another agent group has the folder ${created.folder}.` },
      () =>
        this.#db
          .insertInto('agent_groups')
          .values({
            id: this.#id<AgentGroupId>(),
            folder: created.folder,
            name: settings.name,
            provider: settings.provider,
            model: settings.model,
            effort: settings.effort,
            assistant_name: settings.assistantName,
            messages_per_prompt: settings.messagesPerPrompt,
            ...listColumns(settings),
            image: settings.image,
            network: settings.network,
            command_scope: settings.commandScope,
            created_at: this.#now(),
          })
          .returningAll()
          .executeTakeFirstOrThrow(),
    );
    return agentGroupOf(row);
  }

  /** The agent group of an id. */
  async agentGroup(id: AgentGroupId): Promise<AgentGroup | undefined> {
    const row = await this.#db.selectFrom('agent_groups').selectAll().where('id', '=', id).executeTakeFirst();
    return row && agentGroupOf(row);
  }

  /** The agent group whose folder has this name. */
  async agentGroupByFolder(folder: string): Promise<AgentGroup | undefined> {
    const row = await this.#db.selectFrom('agent_groups').selectAll().where('folder', '=', folder).executeTakeFirst();
    return row && agentGroupOf(row);
  }

  /** All agent groups, oldest first. */
  async agentGroups(): Promise<AgentGroup[]> {
    const rows = await this.#db.selectFrom('agent_groups').selectAll().orderBy('created_at').orderBy('id').execute();
    return rows.map(agentGroupOf);
  }

  /** Changes an agent group; what is left out of `changes` stays as it is. Throws `invalid`. */
  async updateAgentGroup(id: AgentGroupId, changes: Partial<AgentGroupSettings>): Promise<AgentGroup | undefined> {
    if (isEmpty(changes)) return this.agentGroup(id);
    const lists = changedListColumns(changes);
    const row = await withReadableErrors('the agent group', {}, () =>
      this.#db
        .updateTable('agent_groups')
        .set({
          name: changes.name,
          provider: changes.provider,
          model: changes.model,
          effort: changes.effort,
          assistant_name: changes.assistantName,
          messages_per_prompt: changes.messagesPerPrompt,
          ...lists,
          image: changes.image,
          network: changes.network,
          command_scope: changes.commandScope,
        })
        .where('id', '=', id)
        .returningAll()
        .executeTakeFirst(),
    );
    return row && agentGroupOf(row);
  }

  /**
   * Deletes an agent group. What is its own goes with it: wirings, destinations from and to it, memberships, roles over it, approvals. Throws
   * `in-use` while it has sessions. False when there was none.
   */
  async deleteAgentGroup(id: AgentGroupId): Promise<boolean> {
    const { numDeletedRows } = await withReadableErrors('the agent group', { 'in-use': IN_USE }, () =>
      this.#db.deleteFrom('agent_groups').where('id', '=', id).executeTakeFirstOrThrow(),
    );
    return numDeletedRows > 0n;
  }

  // ── Messaging groups ──────────────────────────────────────────────────────────────────────────────────────────────

  /** Makes a place known. Throws `conflict` when it is known already, and `invalid`. */
  async createMessagingGroup(
    created: MessagingGroupSettings & Pick<MessagingGroup, 'channelType' | 'platformId'>,
  ): Promise<MessagingGroup> {
    const row = await withReadableErrors(
      'the messaging group',
      { conflict: `There is a messaging group for ${created.channelType} ${created.platformId} already.` },
      () =>
        this.#db
          .insertInto('messaging_groups')
          .values({
            id: this.#id<MessagingGroupId>(),
            channel_type: created.channelType,
            platform_id: created.platformId,
            name: created.name,
            kind: created.kind,
            strangers: created.strangers,
            denied: Number(created.denied),
            created_at: this.#now(),
          })
          .returningAll()
          .executeTakeFirstOrThrow(),
    );
    return messagingGroupOf(row);
  }

  /** The messaging group of an id. */
  async messagingGroup(id: MessagingGroupId): Promise<MessagingGroup | undefined> {
    const row = await this.#db.selectFrom('messaging_groups').selectAll().where('id', '=', id).executeTakeFirst();
    return row && messagingGroupOf(row);
  }

  /** All messaging groups, oldest first. */
  async messagingGroups(): Promise<MessagingGroup[]> {
    const rows = await this.#db
      .selectFrom('messaging_groups')
      .selectAll()
      .orderBy('created_at')
      .orderBy('id')
      .execute();
    return rows.map(messagingGroupOf);
  }

  /** Changes a messaging group; what is left out of `changes` stays as it is. Throws `invalid`. */
  async updateMessagingGroup(
    id: MessagingGroupId,
    changes: Partial<MessagingGroupSettings>,
  ): Promise<MessagingGroup | undefined> {
    if (isEmpty(changes)) return this.messagingGroup(id);
    const row = await withReadableErrors('the messaging group', {}, () =>
      this.#db
        .updateTable('messaging_groups')
        .set({
          name: changes.name,
          kind: changes.kind,
          strangers: changes.strangers,
          denied: changes.denied === undefined ? undefined : Number(changes.denied),
        })
        .where('id', '=', id)
        .returningAll()
        .executeTakeFirst(),
    );
    return row && messagingGroupOf(row);
  }

  /**
   * Forgets a messaging group. Its wirings, destinations and approvals go with it. Throws `in-use` while it has sessions.
   * False when there was none.
   */
  async deleteMessagingGroup(id: MessagingGroupId): Promise<boolean> {
    const { numDeletedRows } = await withReadableErrors('the messaging group', { 'in-use': IN_USE }, () =>
      this.#db.deleteFrom('messaging_groups').where('id', '=', id).executeTakeFirstOrThrow(),
    );
    return numDeletedRows > 0n;
  }

  // ── Wirings ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Ties a messaging group to an agent group. Throws `conflict` when the pair is wired, `missing` when either end does
   * not exist, `invalid` for a bad pattern.
   */
  async createWiring({ reach = 'default', ...created }: NewWiring): Promise<Wiring> {
    const row = await withReadableErrors(
      'the wiring',
      {
        conflict: 'The two are wired already. Change that wiring instead.',
        missing: 'Its agent group or messaging group does not exist.',
      },
      () =>
        this.#db
          .insertInto('wirings')
          .values({
            id: this.#id<WiringId>(),
            messaging_group_id: created.messagingGroupId,
            agent_group_id: created.agentGroupId,
            ...engageColumns(created.engage),
            sender_scope: created.senderScope,
            otherwise: created.otherwise,
            session_mode: created.sessionMode,
            reach,
            priority: created.priority,
            created_at: this.#now(),
          })
          .returningAll()
          .executeTakeFirstOrThrow(),
    );
    return wiringOf(row);
  }

  /** The wiring of an id. */
  async wiring(id: WiringId): Promise<Wiring | undefined> {
    const row = await this.#db.selectFrom('wirings').selectAll().where('id', '=', id).executeTakeFirst();
    return row && wiringOf(row);
  }

  /** All wirings, oldest first. */
  async wirings(): Promise<Wiring[]> {
    const rows = await this.#db.selectFrom('wirings').selectAll().orderBy('created_at').orderBy('id').execute();
    return rows.map(wiringOf);
  }

  /** Changes a wiring; what is left out of `changes` stays as it is. Throws `invalid`, for a bad pattern too. */
  async updateWiring(id: WiringId, changes: Partial<WiringSettings>): Promise<Wiring | undefined> {
    if (isEmpty(changes)) return this.wiring(id);
    const row = await withReadableErrors('the wiring', {}, () =>
      this.#db
        .updateTable('wirings')
        .set({
          ...(changes.engage && engageColumns(changes.engage)),
          sender_scope: changes.senderScope,
          otherwise: changes.otherwise,
          session_mode: changes.sessionMode,
          reach: changes.reach,
          priority: changes.priority,
        })
        .where('id', '=', id)
        .returningAll()
        .executeTakeFirst(),
    );
    return row && wiringOf(row);
  }

  /** Takes an agent group out of a messaging group. Sessions stay. False when there was none. */
  async deleteWiring(id: WiringId): Promise<boolean> {
    const { numDeletedRows } = await this.#db.deleteFrom('wirings').where('id', '=', id).executeTakeFirstOrThrow();
    return numDeletedRows > 0n;
  }

  // ── Upkeep ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Removes what ended before a time, up to `limit` rows of each: questions whose sessions have been notified, approvals that
   * have been applied, mail, dropped messages. What waits stays, however old, and so does the audit log, which has a
   * `prune` of its own. Answers how many rows it removed.
   */
  async prune(before: Millis, limit: number): Promise<number> {
    const pruned = [
      this.#db
        .deleteFrom('questions')
        .where('id', 'in', (old) =>
          old
            .selectFrom('questions')
            .select('id')
            .where('told_at', 'is not', null)
            .where('outcome_at', '<', before)
            .limit(limit),
        ),
      this.#db
        .deleteFrom('approvals')
        .where('id', 'in', (old) =>
          old
            .selectFrom('approvals')
            .select('id')
            .where('applied_at', 'is not', null)
            .where('outcome_at', '<', before)
            .limit(limit),
        ),
      this.#db
        .deleteFrom('mail')
        .where('id', 'in', (old) => old.selectFrom('mail').select('id').where('at', '<', before).limit(limit)),
    ];
    let rows = await this.dropped.prune(before);
    for (const deletion of pruned) rows += Number((await deletion.executeTakeFirstOrThrow()).numDeletedRows);
    return rows;
  }

  // ── Life ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Closes the database. Closing twice is fine. */
  async close(): Promise<void> {
    await this.#db.destroy();
  }

  /** The same as `close`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #id<SomeId extends EntityId>(): SomeId {
    const id = this.#newId();
    if (isId<SomeId>(id)) return id;
    throw new TypeError(`newId() returned ${JSON.stringify(id)}, which is not the shape of an id`);
  }
}

const IN_USE = 'It has sessions, with files on disk. Remove those sessions first.';

// ── Rows and values ─────────────────────────────────────────────────────────────────────────────────────────────────

function agentGroupOf(row: AgentGroupRow): AgentGroup {
  return {
    id: row.id,
    folder: row.folder,
    name: row.name,
    provider: row.provider,
    model: row.model,
    effort: row.effort,
    assistantName: row.assistant_name,
    messagesPerPrompt: row.messages_per_prompt,
    ...listSettings(row),
    image: row.image,
    network: row.network,
    commandScope: row.command_scope,
    createdAt: row.created_at,
  };
}

function messagingGroupOf(row: MessagingGroupRow): MessagingGroup {
  return {
    id: row.id,
    channelType: row.channel_type,
    platformId: row.platform_id,
    name: row.name,
    kind: row.kind,
    strangers: row.strangers,
    denied: row.denied === 1,
    createdAt: row.created_at,
  };
}

function wiringOf(row: WiringRow): Wiring {
  return {
    id: row.id,
    messagingGroupId: row.messaging_group_id,
    agentGroupId: row.agent_group_id,
    engage:
      row.engage_mode === 'pattern' ? { mode: 'pattern', pattern: row.engage_pattern } : { mode: row.engage_mode },
    senderScope: row.sender_scope,
    otherwise: row.otherwise,
    sessionMode: row.session_mode,
    reach: row.reach,
    priority: row.priority,
    createdAt: row.created_at,
  };
}

function engageColumns(engage: Engage): Pick<WiringRow, 'engage_mode' | 'engage_pattern'> {
  if (engage.mode !== 'pattern') return { engage_mode: engage.mode, engage_pattern: '' };
  const problem = patternProblem(engage.pattern);
  if (problem !== undefined) throw new RegistryError('invalid', `${problem} The wiring was not changed.`);
  return { engage_mode: 'pattern', engage_pattern: engage.pattern };
}

function sessionOf(row: Selectable<SessionRow>): Session {
  return {
    id: row.id,
    key: sessionKeyOf(row),
    nextDueAt: row.next_due_at,
    quarantine:
      row.quarantine_reason === null || row.quarantined_until === null
        ? null
        : { reason: row.quarantine_reason, until: row.quarantined_until },
    createdAt: row.created_at,
  };
}

function sessionKeyOf(row: Selectable<SessionRow>): SessionKey {
  const { agent_group_id: agentGroupId, messaging_group_id: messagingGroupId, thread_id: threadId } = row;
  if (messagingGroupId === null) return { scope: 'agent', agentGroupId };
  if (threadId === null) return { scope: 'chat', agentGroupId, messagingGroupId };
  return { scope: 'thread', agentGroupId, messagingGroupId, threadId };
}

function sessionKeyColumns(key: SessionKey): Pick<SessionRow, 'agent_group_id' | 'messaging_group_id' | 'thread_id'> {
  return {
    agent_group_id: key.agentGroupId,
    messaging_group_id: key.scope === 'agent' ? null : key.messagingGroupId,
    thread_id: key.scope === 'thread' ? key.threadId : null,
  };
}

/** The value of the generated column `session_key`. */
function sessionKeyText(key: SessionKey): string {
  switch (key.scope) {
    case 'agent':
      return 'agent';
    case 'chat':
      return `chat:${key.messagingGroupId}`;
    case 'thread':
      return `thread:${key.messagingGroupId}:${key.threadId}`;
  }
}

function isEmpty(changes: object): boolean {
  return Object.values(changes).every((value) => value === undefined);
}
