/**
 * The registry's tables: their row types, the migrations that make them, and what each rule says to a person.
 *
 * One schema for two engines. A single machine keeps it in SQLite, a team will share it on PostgreSQL; they differ in
 * three places only, all in {@link dialectOf}. A migration that has been released is never edited: add the next one.
 *
 * What must hold is a constraint here, so that no code, no other program and no hand at a prompt can break it.
 */
import { type Generated, type Kysely, type RawBuilder, sql } from 'kysely';
import { type Migration, Migrator } from 'kysely/migration';
import type {
  AgentGroupId,
  Engage,
  MessagingGroup,
  MessagingGroupId,
  Millis,
  SessionId,
  SessionMode,
  StrangerPolicy,
  WiringId,
  WiringSettings,
} from './entities.js';
import { RegistryError } from './errors.js';

/** Which database the registry lives in. */
export type Engine = 'sqlite' | 'postgres';

/** The tables as Kysely sees them. */
export interface Tables {
  agent_groups: AgentGroupRow;
  messaging_groups: MessagingGroupRow;
  wirings: WiringRow;
  sessions: SessionRow;
  engaged_threads: EngagedThreadRow;
}

export interface AgentGroupRow {
  id: AgentGroupId;
  folder: string;
  name: string;
  provider: string;
  model: string | null;
  effort: string | null;
  assistant_name: string | null;
  messages_per_prompt: number;
  created_at: Millis;
}

export interface MessagingGroupRow {
  id: MessagingGroupId;
  channel_type: string;
  platform_id: string;
  name: string;
  kind: MessagingGroup['kind'];
  strangers: StrangerPolicy;
  /** 0 or 1: the SQLite driver binds no booleans. */
  denied: number;
  created_at: Millis;
}

export interface WiringRow {
  id: WiringId;
  messaging_group_id: MessagingGroupId;
  agent_group_id: AgentGroupId;
  engage_mode: Engage['mode'];
  /** Empty in the modes that have no pattern, and only there. */
  engage_pattern: string;
  sender_scope: WiringSettings['senderScope'];
  otherwise: WiringSettings['otherwise'];
  session_mode: SessionMode;
  priority: number;
  created_at: Millis;
}

export interface SessionRow {
  id: SessionId;
  agent_group_id: AgentGroupId;
  /** NULL: one session for all chats of the agent. */
  messaging_group_id: MessagingGroupId | null;
  /** NULL: the chat's own session. */
  thread_id: string | null;
  /** Computed by the database from the three above; never NULL. */
  session_key: Generated<string>;
  next_due_at: Millis | null;
  quarantine_reason: string | null;
  quarantined_until: Millis | null;
  created_at: Millis;
}

export interface EngagedThreadRow {
  wiring_id: WiringId;
  thread_id: string;
  engaged_at: Millis;
}

/**
 * Brings an empty or older database to this program's schema; nothing to do is fine.
 *
 * On SQLite the caller must hold the write lock around it (`openRegistry` does): there Kysely's migrator has neither a
 * lock nor a transaction of its own. Throws `newer-schema` and changes nothing when a newer program has been here. The
 * migrator notes the machine's time beside each migration; nothing else reads it.
 */
export async function migrate(db: Kysely<Tables>, engine: Engine): Promise<void> {
  const known = migrations(engine);
  await refuseNewerSchema(db, Object.keys(known));
  const { error } = await new Migrator({ db, provider: { getMigrations: async () => known } }).migrateToLatest();
  if (error !== undefined) throw error;
}

/** A sentence for each rule that a value can break, by the name of its constraint. */
export const RULES: Readonly<Record<string, string>> = {
  agent_group_id_is_safe: 'An id has 1–64 characters a–z, 0–9, "_" or "-" and begins with a letter or digit.',
  agent_group_folder_is_safe:
    'A folder name has 1–64 characters a–z, 0–9, "_" or "-" and begins with a letter or digit.',
  agent_group_name_is_bounded: 'A name has 1–200 characters.',
  agent_group_provider_is_bounded: 'A provider name has 1–200 characters.',
  agent_group_model_is_bounded: 'A model name has 1–200 characters.',
  agent_group_effort_is_bounded: 'An effort has 1–200 characters.',
  agent_group_assistant_name_is_bounded: 'An assistant name has 1–200 characters.',
  agent_group_messages_per_prompt_is_bounded: 'Messages per prompt is a number from 1 to 1000.',
  messaging_group_id_is_safe: 'An id has 1–64 characters a–z, 0–9, "_" or "-" and begins with a letter or digit.',
  messaging_group_channel_type_is_bounded: 'A channel type has 1–200 characters.',
  messaging_group_platform_id_is_bounded: 'A platform id has 1–500 characters.',
  messaging_group_name_is_bounded: 'A name has at most 200 characters.',
  messaging_group_kind_is_known: 'A messaging group is of kind "group" or "direct".',
  messaging_group_strangers_is_known: 'The policy for strangers is "strict", "request_approval" or "public".',
  messaging_group_denied_is_boolean: 'A messaging group is denied or not (1 or 0).',
  wiring_id_is_safe: 'An id has 1–64 characters a–z, 0–9, "_" or "-" and begins with a letter or digit.',
  wiring_engage_mode_is_known: 'The engage mode is "pattern", "mention" or "mention-sticky".',
  wiring_pattern_only_in_pattern_mode: 'The engage mode "pattern" needs a pattern, and the others have none.',
  wiring_sender_scope_is_known: 'The sender scope is "all" or "known".',
  wiring_otherwise_is_known: 'What does not engage is "drop" or "accumulate".',
  wiring_session_mode_is_known: 'The session mode is "shared", "per-thread" or "agent-shared".',
  wiring_priority_is_bounded: 'A priority is a number from -1000000 to 1000000.',
  session_id_is_safe: 'An id has 1–64 characters a–z, 0–9, "_" or "-" and begins with a letter or digit.',
  session_thread_needs_chat: 'A session of a thread belongs to a messaging group.',
  session_thread_is_bounded: 'A thread id has 1–500 characters.',
  session_quarantine_is_whole: 'A quarantine has a reason and an end, or there is none.',
  engaged_thread_is_bounded: 'A thread id has 1–500 characters.',
};

/** Static objects, in the order of their names; the name of the last one is the schema's version. */
function migrations(engine: Engine): Record<string, Migration> {
  return { '0001_agents_chats_wirings_sessions': agentsChatsWiringsSessions(engine) };
}

function agentsChatsWiringsSessions(engine: Engine): Migration {
  const { time, tableEnd, isSafeName } = dialectOf(engine);
  return {
    async up(db: Kysely<unknown>): Promise<void> {
      await db.schema
        .createTable('agent_groups')
        .addColumn('id', 'text', (column) => column.primaryKey().notNull())
        .addColumn('folder', 'text', (column) => column.notNull().unique())
        .addColumn('name', 'text', (column) => column.notNull())
        .addColumn('provider', 'text', (column) => column.notNull())
        .addColumn('model', 'text')
        .addColumn('effort', 'text')
        .addColumn('assistant_name', 'text')
        .addColumn('messages_per_prompt', 'integer', (column) => column.notNull())
        .addColumn('created_at', time, (column) => column.notNull())
        .addCheckConstraint('agent_group_id_is_safe', isSafeName('id'))
        .addCheckConstraint('agent_group_folder_is_safe', isSafeName('folder'))
        .addCheckConstraint('agent_group_name_is_bounded', sql`length(name) BETWEEN 1 AND 200`)
        .addCheckConstraint('agent_group_provider_is_bounded', sql`length(provider) BETWEEN 1 AND 200`)
        .addCheckConstraint('agent_group_model_is_bounded', sql`length(model) BETWEEN 1 AND 200`)
        .addCheckConstraint('agent_group_effort_is_bounded', sql`length(effort) BETWEEN 1 AND 200`)
        .addCheckConstraint('agent_group_assistant_name_is_bounded', sql`length(assistant_name) BETWEEN 1 AND 200`)
        .addCheckConstraint('agent_group_messages_per_prompt_is_bounded', sql`messages_per_prompt BETWEEN 1 AND 1000`)
        .modifyEnd(tableEnd)
        .execute();

      await db.schema
        .createTable('messaging_groups')
        .addColumn('id', 'text', (column) => column.primaryKey().notNull())
        .addColumn('channel_type', 'text', (column) => column.notNull())
        .addColumn('platform_id', 'text', (column) => column.notNull())
        .addColumn('name', 'text', (column) => column.notNull())
        .addColumn('kind', 'text', (column) => column.notNull())
        .addColumn('strangers', 'text', (column) => column.notNull())
        .addColumn('denied', 'integer', (column) => column.notNull())
        .addColumn('created_at', time, (column) => column.notNull())
        .addUniqueConstraint('messaging_group_place', ['channel_type', 'platform_id'])
        .addCheckConstraint('messaging_group_id_is_safe', isSafeName('id'))
        .addCheckConstraint('messaging_group_channel_type_is_bounded', sql`length(channel_type) BETWEEN 1 AND 200`)
        .addCheckConstraint('messaging_group_platform_id_is_bounded', sql`length(platform_id) BETWEEN 1 AND 500`)
        .addCheckConstraint('messaging_group_name_is_bounded', sql`length(name) <= 200`)
        .addCheckConstraint('messaging_group_kind_is_known', sql`kind IN ('group', 'direct')`)
        .addCheckConstraint(
          'messaging_group_strangers_is_known',
          sql`strangers IN ('strict', 'request_approval', 'public')`,
        )
        .addCheckConstraint('messaging_group_denied_is_boolean', sql`denied IN (0, 1)`)
        .modifyEnd(tableEnd)
        .execute();

      // A wiring is configuration and goes with either end; a session is somebody's conversation, with files on disk,
      // and holds both ends in place.
      await db.schema
        .createTable('wirings')
        .addColumn('id', 'text', (column) => column.primaryKey().notNull())
        .addColumn('messaging_group_id', 'text', (column) =>
          column.notNull().references('messaging_groups.id').onDelete('cascade'),
        )
        .addColumn('agent_group_id', 'text', (column) =>
          column.notNull().references('agent_groups.id').onDelete('cascade'),
        )
        .addColumn('engage_mode', 'text', (column) => column.notNull())
        .addColumn('engage_pattern', 'text', (column) => column.notNull())
        .addColumn('sender_scope', 'text', (column) => column.notNull())
        .addColumn('otherwise', 'text', (column) => column.notNull())
        .addColumn('session_mode', 'text', (column) => column.notNull())
        .addColumn('priority', 'integer', (column) => column.notNull())
        .addColumn('created_at', time, (column) => column.notNull())
        .addUniqueConstraint('wiring_pair', ['messaging_group_id', 'agent_group_id'])
        .addCheckConstraint('wiring_id_is_safe', isSafeName('id'))
        .addCheckConstraint('wiring_engage_mode_is_known', sql`engage_mode IN ('pattern', 'mention', 'mention-sticky')`)
        .addCheckConstraint(
          'wiring_pattern_only_in_pattern_mode',
          sql`(engage_mode = 'pattern') = (engage_pattern <> '')`,
        )
        .addCheckConstraint('wiring_sender_scope_is_known', sql`sender_scope IN ('all', 'known')`)
        .addCheckConstraint('wiring_otherwise_is_known', sql`otherwise IN ('drop', 'accumulate')`)
        .addCheckConstraint(
          'wiring_session_mode_is_known',
          sql`session_mode IN ('shared', 'per-thread', 'agent-shared')`,
        )
        .addCheckConstraint('wiring_priority_is_bounded', sql`priority BETWEEN -1000000 AND 1000000`)
        .modifyEnd(tableEnd)
        .execute();
      await db.schema.createIndex('wirings_of_agent_group').on('wirings').column('agent_group_id').execute();

      // Two NULLs are never equal to a unique index, in either engine, so a rule over (agent group, messaging group,
      // thread) would let an agent have two sessions of its own. The database itself derives a key that is never NULL.
      // Ids hold no colon, so no two different triples give the same key.
      await db.schema
        .createTable('sessions')
        .addColumn('id', 'text', (column) => column.primaryKey().notNull())
        .addColumn('agent_group_id', 'text', (column) => column.notNull().references('agent_groups.id'))
        .addColumn('messaging_group_id', 'text', (column) => column.references('messaging_groups.id'))
        .addColumn('thread_id', 'text')
        .addColumn('session_key', 'text', (column) =>
          column
            .generatedAlwaysAs(
              sql`CASE WHEN messaging_group_id IS NULL THEN 'agent'
                       WHEN thread_id IS NULL THEN 'chat:' || messaging_group_id
                       ELSE 'thread:' || messaging_group_id || ':' || thread_id END`,
            )
            .stored()
            .notNull(),
        )
        .addColumn('next_due_at', time)
        .addColumn('quarantine_reason', 'text')
        .addColumn('quarantined_until', time)
        .addColumn('created_at', time, (column) => column.notNull())
        .addUniqueConstraint('session_one_per_key', ['agent_group_id', 'session_key'])
        .addCheckConstraint('session_id_is_safe', isSafeName('id'))
        .addCheckConstraint('session_thread_needs_chat', sql`thread_id IS NULL OR messaging_group_id IS NOT NULL`)
        .addCheckConstraint('session_thread_is_bounded', sql`length(thread_id) BETWEEN 1 AND 500`)
        .addCheckConstraint(
          'session_quarantine_is_whole',
          sql`(quarantine_reason IS NULL) = (quarantined_until IS NULL)`,
        )
        .modifyEnd(tableEnd)
        .execute();
      await db.schema.createIndex('sessions_of_messaging_group').on('sessions').column('messaging_group_id').execute();
      // Partial: the cost of asking what is due follows what waits, not how many idle sessions there are.
      await db.schema
        .createIndex('sessions_by_next_due')
        .on('sessions')
        .column('next_due_at')
        .where(sql.ref('next_due_at'), 'is not', null)
        .execute();

      await db.schema
        .createTable('engaged_threads')
        .addColumn('wiring_id', 'text', (column) => column.notNull().references('wirings.id').onDelete('cascade'))
        .addColumn('thread_id', 'text', (column) => column.notNull())
        .addColumn('engaged_at', time, (column) => column.notNull())
        .addPrimaryKeyConstraint('engaged_thread', ['wiring_id', 'thread_id'])
        .addCheckConstraint('engaged_thread_is_bounded', sql`length(thread_id) BETWEEN 1 AND 500`)
        .modifyEnd(tableEnd)
        .execute();
    },
  };
}

/** Where the two engines differ. */
function dialectOf(engine: Engine) {
  switch (engine) {
    case 'sqlite':
      return {
        time: 'integer', // up to eight bytes in SQLite
        tableEnd: sql`STRICT`,
        // length() stops at a NUL character and GLOB does too; octet_length() does not, nor does the file system.
        isSafeName: (column: string): RawBuilder<unknown> =>
          sql`octet_length(${sql.ref(column)}) BETWEEN 1 AND 64
              AND octet_length(${sql.ref(column)}) = length(${sql.ref(column)})
              AND ${sql.ref(column)} GLOB '[a-z0-9]*' AND ${sql.ref(column)} NOT GLOB '*[^a-z0-9_-]*'`,
      } as const;
    case 'postgres':
      return {
        time: 'bigint', // an integer has four bytes there, milliseconds need six
        tableEnd: sql``,
        isSafeName: (column: string): RawBuilder<unknown> => sql`${sql.ref(column)} ~ '^[a-z0-9][a-z0-9_-]{0,63}$'`,
      } as const;
  }
}

async function refuseNewerSchema(db: Kysely<Tables>, known: readonly string[]): Promise<void> {
  const tables = await db.introspection.getTables({ withInternalKyselyTables: true });
  if (!tables.some((table) => table.name === 'kysely_migration')) return;
  const applied = await db
    .$extendTables<{ kysely_migration: { name: string } }>()
    .selectFrom('kysely_migration')
    .select('name')
    .orderBy('name')
    .execute();
  const unknown = applied.map((migration) => migration.name).filter((name) => !known.includes(name));
  if (unknown.length === 0) return;
  throw new RegistryError(
    'newer-schema',
    `The registry was written by a newer program: its schema is at ${unknown.at(-1)}, this program knows up to ` +
      `${known.at(-1)}. Nothing was changed. Start the newer program, or restore a backup made before the upgrade.`,
  );
}
