/** The first tables: agents, chats, what ties them, and their sessions. Released, so never edited. */
import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import { dialectOf, type Engine } from '../dialect.ts';

export function agentsChatsWiringsSessions(engine: Engine): Migration {
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
