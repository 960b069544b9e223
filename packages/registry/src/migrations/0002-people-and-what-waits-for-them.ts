/**
 * People and what they may do, what waits for them, where agents may write, and what is written down about all of it.
 *
 * What strangers and agents can add to is bounded in size here, row by row, and in number by the operations.
 */
import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import { dialectOf, type Engine } from '../dialect.ts';

export function peopleAndWhatWaitsForThem(engine: Engine): Migration {
  const { time, tableEnd, countedKey, isSafeName, isJson, lengthOfArray, refusing } = dialectOf(engine);
  return {
    async up(db: Kysely<unknown>): Promise<void> {
      // ── What an agent group may have ──────────────────────────────────────────────────────────────────────────────
      const settings = [
        {
          column: 'skills',
          byDefault: '"all"',
          rule: 'agent_group_skills_are_listed',
          check: sql`octet_length(skills) <= 16384 AND (skills = '"all"' OR ${isJson('skills', 'array')})`,
        },
        {
          column: 'mcp_servers',
          byDefault: '[]',
          rule: 'agent_group_mcp_servers_are_listed',
          check: sql`octet_length(mcp_servers) <= 1048576 AND ${isJson('mcp_servers', 'array')}`,
        },
        {
          column: 'packages',
          byDefault: '{"apt":[],"npm":[]}',
          rule: 'agent_group_packages_are_listed',
          check: sql`octet_length(packages) <= 65536 AND ${isJson('packages', 'object')}`,
        },
        {
          column: 'mounts',
          byDefault: '[]',
          rule: 'agent_group_mounts_are_listed',
          check: sql`octet_length(mounts) <= 262144 AND ${isJson('mounts', 'array')}`,
        },
        {
          column: 'image',
          byDefault: null,
          rule: 'agent_group_image_is_bounded',
          check: sql`length(image) BETWEEN 1 AND 500`,
        },
        {
          column: 'network',
          byDefault: null,
          rule: 'agent_group_network_is_bounded',
          check: sql`length(network) BETWEEN 1 AND 200`,
        },
        {
          column: 'command_scope',
          byDefault: 'none',
          rule: 'agent_group_command_scope_is_known',
          check: sql`command_scope IN ('none', 'read', 'own', 'all')`,
        },
      ];
      for (const { column, byDefault, rule, check } of settings) {
        await db.schema
          .alterTable('agent_groups')
          .addColumn(column, 'text', (added) =>
            (byDefault === null ? added : added.notNull().defaultTo(byDefault)).modifyEnd(
              sql`constraint ${sql.ref(rule)} check (${check})`,
            ),
          )
          .execute();
      }

      // ── Who is known ──────────────────────────────────────────────────────────────────────────────────────────────
      await db.schema
        .createTable('users')
        .addColumn('id', 'text', (column) => column.primaryKey().notNull())
        .addColumn('name', 'text', (column) => column.notNull())
        .addColumn('created_at', time, (column) => column.notNull())
        .addCheckConstraint('user_id_has_two_parts', sql`length(id) BETWEEN 3 AND 300 AND id LIKE '_%:_%'`)
        .addCheckConstraint('user_id_is_of_a_person', sql`id NOT LIKE 'agent:%'`)
        .addCheckConstraint('user_name_is_bounded', sql`length(name) <= 200`)
        .modifyEnd(tableEnd)
        .execute();
      await db.schema.createIndex('users_by_age').on('users').column('created_at').execute();

      // `scope` is for uniqueness what `session_key` is: no two NULLs are equal.
      await db.schema
        .createTable('roles')
        .addColumn('user_id', 'text', (column) => column.notNull().references('users.id').onDelete('cascade'))
        .addColumn('role', 'text', (column) => column.notNull())
        .addColumn('agent_group_id', 'text', (column) => column.references('agent_groups.id').onDelete('cascade'))
        .addColumn('scope', 'text', (column) =>
          column
            .generatedAlwaysAs(sql`CASE WHEN agent_group_id IS NULL THEN '*' ELSE agent_group_id END`)
            .stored()
            .notNull(),
        )
        .addColumn('granted_by', 'text', (column) => column.notNull())
        .addColumn('created_at', time, (column) => column.notNull())
        .addUniqueConstraint('role_held_once', ['user_id', 'role', 'scope'])
        .addCheckConstraint('role_is_known', sql`role IN ('owner', 'admin')`)
        .addCheckConstraint('role_owner_owns_everything', sql`role = 'admin' OR agent_group_id IS NULL`)
        .addCheckConstraint('role_granted_by_is_bounded', sql`length(granted_by) BETWEEN 1 AND 300`)
        .modifyEnd(tableEnd)
        .execute();
      await db.schema.createIndex('roles_of_agent_group').on('roles').column('agent_group_id').execute();
      const isLastOwner =
        "OLD.role = 'owner' AND NOT EXISTS (SELECT 1 FROM roles WHERE role = 'owner' AND user_id <> OLD.user_id)";
      for (const event of ['UPDATE', 'DELETE'] as const) {
        const refusal = { name: 'role_last_owner_stays', table: 'roles', event, condition: isLastOwner };
        for (const statement of refusing(refusal)) await statement.execute(db);
      }

      await db.schema
        .createTable('memberships')
        .addColumn('user_id', 'text', (column) => column.notNull().references('users.id').onDelete('cascade'))
        .addColumn('agent_group_id', 'text', (column) =>
          column.notNull().references('agent_groups.id').onDelete('cascade'),
        )
        .addColumn('added_by', 'text', (column) => column.notNull())
        .addColumn('created_at', time, (column) => column.notNull())
        .addPrimaryKeyConstraint('membership', ['user_id', 'agent_group_id'])
        .addCheckConstraint('membership_added_by_is_bounded', sql`length(added_by) BETWEEN 1 AND 300`)
        .modifyEnd(tableEnd)
        .execute();
      await db.schema.createIndex('memberships_of_agent_group').on('memberships').column('agent_group_id').execute();

      // ── Where agents may write ────────────────────────────────────────────────────────────────────────────────────
      await db.schema
        .createTable('destinations')
        .addColumn('id', 'text', (column) => column.primaryKey().notNull())
        .addColumn('agent_group_id', 'text', (column) =>
          column.notNull().references('agent_groups.id').onDelete('cascade'),
        )
        .addColumn('name', 'text', (column) => column.notNull())
        .addColumn('messaging_group_id', 'text', (column) =>
          column.references('messaging_groups.id').onDelete('cascade'),
        )
        .addColumn('target_agent_group_id', 'text', (column) =>
          column.references('agent_groups.id').onDelete('cascade'),
        )
        .addColumn('created_at', time, (column) => column.notNull())
        .addUniqueConstraint('destination_name', ['agent_group_id', 'name'])
        .addUniqueConstraint('destination_chat', ['agent_group_id', 'messaging_group_id'])
        .addUniqueConstraint('destination_agent', ['agent_group_id', 'target_agent_group_id'])
        .addCheckConstraint('destination_id_is_safe', isSafeName('id'))
        .addCheckConstraint('destination_name_is_bounded', sql`length(name) BETWEEN 1 AND 64`)
        .addCheckConstraint(
          'destination_leads_to_one_place',
          sql`(messaging_group_id IS NULL) <> (target_agent_group_id IS NULL)`,
        )
        .addCheckConstraint(
          'destination_leads_elsewhere',
          sql`target_agent_group_id IS NULL OR target_agent_group_id <> agent_group_id`,
        )
        .modifyEnd(tableEnd)
        .execute();
      await db.schema.createIndex('destinations_to_chat').on('destinations').column('messaging_group_id').execute();
      await db.schema.createIndex('destinations_to_agent').on('destinations').column('target_agent_group_id').execute();

      // ── What waits for people ─────────────────────────────────────────────────────────────────────────────────────
      await db.schema
        .createTable('questions')
        .addColumn('id', 'text', (column) => column.primaryKey().notNull())
        .addColumn('session_id', 'text', (column) => column.notNull().references('sessions.id').onDelete('cascade'))
        .addColumn('message_id', 'text', (column) => column.notNull())
        .addColumn('channel_type', 'text', (column) => column.notNull())
        .addColumn('platform_id', 'text', (column) => column.notNull())
        .addColumn('thread_id', 'text')
        .addColumn('title', 'text', (column) => column.notNull())
        .addColumn('question', 'text', (column) => column.notNull())
        .addColumn('options', 'text', (column) => column.notNull())
        .addColumn('asked_of', 'text')
        .addColumn('created_at', time, (column) => column.notNull())
        .addColumn('expires_at', time, (column) => column.notNull())
        .addColumn('outcome', 'text')
        .addColumn('outcome_option', 'integer')
        .addColumn('outcome_by', 'text')
        .addColumn('outcome_at', time)
        .addColumn('told_at', time)
        .addUniqueConstraint('question_of_message', ['session_id', 'message_id'])
        .addCheckConstraint('question_id_is_safe', isSafeName('id'))
        .addCheckConstraint('question_message_is_bounded', sql`length(message_id) BETWEEN 1 AND 300`)
        .addCheckConstraint(
          'question_place_is_bounded',
          sql`length(channel_type) BETWEEN 1 AND 200 AND length(platform_id) BETWEEN 1 AND 500
              AND (thread_id IS NULL OR length(thread_id) BETWEEN 1 AND 500)`,
        )
        .addCheckConstraint('question_title_is_bounded', sql`length(title) <= 200`)
        .addCheckConstraint('question_text_is_bounded', sql`length(question) BETWEEN 1 AND 4000`)
        .addCheckConstraint(
          'question_options_are_listed',
          sql`octet_length(options) <= 32768
              AND CASE WHEN ${isJson('options', 'array')} THEN ${lengthOfArray('options')} BETWEEN 1 AND 20 ELSE FALSE END`,
        )
        .addCheckConstraint('question_asked_of_is_bounded', sql`length(asked_of) BETWEEN 3 AND 300`)
        .addCheckConstraint(
          'question_outcome_is_whole',
          sql`CASE WHEN outcome IS NULL
                THEN outcome_option IS NULL AND outcome_by IS NULL AND outcome_at IS NULL
                WHEN outcome = 'answered'
                THEN outcome_option IS NOT NULL AND outcome_by IS NOT NULL AND outcome_at IS NOT NULL
                WHEN outcome = 'expired'
                THEN outcome_option IS NULL AND outcome_by IS NULL AND outcome_at IS NOT NULL
                ELSE FALSE END`,
        )
        .addCheckConstraint('question_outcome_by_is_bounded', sql`length(outcome_by) BETWEEN 3 AND 300`)
        .addCheckConstraint(
          'question_answer_is_an_option',
          sql`outcome_option IS NULL OR (outcome_option >= 0 AND outcome_option < ${lengthOfArray('options')})`,
        )
        .addCheckConstraint('question_told_after_its_end', sql`told_at IS NULL OR outcome IS NOT NULL`)
        .modifyEnd(tableEnd)
        .execute();
      // Partial: what is asked often is asked of what waits, and its cost follows that, not how much has been asked.
      const open = sql<boolean>`outcome IS NULL`;
      await db.schema
        .createIndex('questions_open_at')
        .on('questions')
        .columns(['channel_type', 'platform_id'])
        .where(open)
        .execute();
      await db.schema.createIndex('questions_open_of').on('questions').column('session_id').where(open).execute();
      await db.schema.createIndex('questions_by_expiry').on('questions').column('expires_at').where(open).execute();
      await db.schema
        .createIndex('questions_to_tell')
        .on('questions')
        .columns(['outcome_at', 'id'])
        .where(sql<boolean>`outcome IS NOT NULL AND told_at IS NULL`)
        .execute();
      await db.schema
        .createIndex('questions_done')
        .on('questions')
        .column('outcome_at')
        .where(sql<boolean>`told_at IS NOT NULL`)
        .execute();
      await db.schema.createIndex('questions_by_age').on('questions').columns(['created_at', 'id']).execute();

      await db.schema
        .createTable('approvals')
        .addColumn('id', 'text', (column) => column.primaryKey().notNull())
        .addColumn('kind', 'text', (column) => column.notNull())
        .addColumn('subject', 'text', (column) => column.notNull())
        .addColumn('agent_group_id', 'text', (column) => column.references('agent_groups.id').onDelete('cascade'))
        .addColumn('messaging_group_id', 'text', (column) =>
          column.references('messaging_groups.id').onDelete('cascade'),
        )
        .addColumn('session_id', 'text', (column) => column.references('sessions.id').onDelete('set null'))
        .addColumn('requested_by', 'text', (column) => column.notNull())
        .addColumn('summary', 'text', (column) => column.notNull())
        .addColumn('payload', 'text', (column) => column.notNull())
        .addColumn('asked_of', 'text')
        .addColumn('asked_channel_type', 'text')
        .addColumn('asked_platform_id', 'text')
        .addColumn('asked_thread_id', 'text')
        .addColumn('created_at', time, (column) => column.notNull())
        .addColumn('expires_at', time, (column) => column.notNull())
        .addColumn('outcome', 'text')
        .addColumn('outcome_by', 'text')
        .addColumn('outcome_at', time)
        .addColumn('applied_at', time)
        .addCheckConstraint('approval_id_is_safe', isSafeName('id'))
        .addCheckConstraint('approval_kind_is_known', sql`kind IN ('sender', 'channel', 'action')`)
        .addCheckConstraint('approval_subject_is_bounded', sql`length(subject) BETWEEN 1 AND 800`)
        .addCheckConstraint('approval_requested_by_is_bounded', sql`length(requested_by) BETWEEN 1 AND 300`)
        .addCheckConstraint('approval_summary_is_bounded', sql`length(summary) BETWEEN 1 AND 500`)
        .addCheckConstraint(
          'approval_payload_is_an_object',
          sql`octet_length(payload) <= 262144 AND ${isJson('payload', 'object')}`,
        )
        .addCheckConstraint(
          'approval_asked_is_whole',
          sql`CASE WHEN asked_of IS NULL
                THEN asked_channel_type IS NULL AND asked_platform_id IS NULL AND asked_thread_id IS NULL
                ELSE asked_channel_type IS NOT NULL AND asked_platform_id IS NOT NULL END`,
        )
        .addCheckConstraint(
          'approval_asked_is_bounded',
          sql`asked_of IS NULL OR (
                length(asked_of) BETWEEN 3 AND 300 AND length(asked_channel_type) BETWEEN 1 AND 200
                AND length(asked_platform_id) BETWEEN 1 AND 500
                AND (asked_thread_id IS NULL OR length(asked_thread_id) BETWEEN 1 AND 500))`,
        )
        .addCheckConstraint(
          'approval_outcome_is_whole',
          sql`CASE WHEN outcome IS NULL THEN outcome_by IS NULL AND outcome_at IS NULL
                ELSE outcome IN ('approved', 'denied', 'expired') AND outcome_by IS NOT NULL AND outcome_at IS NOT NULL END`,
        )
        .addCheckConstraint('approval_outcome_by_is_bounded', sql`length(outcome_by) BETWEEN 1 AND 300`)
        .addCheckConstraint('approval_applied_after_its_end', sql`applied_at IS NULL OR outcome IS NOT NULL`)
        .modifyEnd(tableEnd)
        .execute();
      await db.schema
        .createIndex('approval_open_once')
        .unique()
        .on('approvals')
        .columns(['kind', 'subject'])
        .where(open)
        .execute();
      await db.schema
        .createIndex('approvals_about')
        .on('approvals')
        .columns(['kind', 'subject', 'created_at', 'id'])
        .execute();
      await db.schema
        .createIndex('approvals_open_at')
        .on('approvals')
        .columns(['asked_channel_type', 'asked_platform_id'])
        .where(open)
        .execute();
      await db.schema.createIndex('approvals_asked_of').on('approvals').column('asked_of').where(open).execute();
      await db.schema.createIndex('approvals_by_expiry').on('approvals').column('expires_at').where(open).execute();
      await db.schema
        .createIndex('approvals_to_apply')
        .on('approvals')
        .columns(['outcome_at', 'id'])
        .where(sql<boolean>`outcome IS NOT NULL AND applied_at IS NULL`)
        .execute();
      await db.schema
        .createIndex('approvals_done')
        .on('approvals')
        .column('outcome_at')
        .where(sql<boolean>`applied_at IS NOT NULL`)
        .execute();
      await db.schema.createIndex('approvals_by_age').on('approvals').columns(['created_at', 'id']).execute();
      // For the deletion of what they refer to.
      for (const column of ['agent_group_id', 'messaging_group_id', 'session_id']) {
        await db.schema.createIndex(`approvals_of_${column}`).on('approvals').column(column).execute();
      }

      // ── What is written down ──────────────────────────────────────────────────────────────────────────────────────
      await db.schema
        .createTable('dropped_messages')
        .addColumn('channel_type', 'text', (column) => column.notNull())
        .addColumn('platform_id', 'text', (column) => column.notNull())
        .addColumn('reason', 'text', (column) => column.notNull())
        .addColumn('count', 'integer', (column) => column.notNull())
        .addColumn('first_seen', time, (column) => column.notNull())
        .addColumn('last_seen', time, (column) => column.notNull())
        .addPrimaryKeyConstraint('dropped', ['channel_type', 'platform_id', 'reason'])
        .addCheckConstraint('dropped_channel_type_is_bounded', sql`length(channel_type) BETWEEN 1 AND 200`)
        .addCheckConstraint('dropped_platform_id_is_bounded', sql`length(platform_id) BETWEEN 1 AND 500`)
        .addCheckConstraint('dropped_reason_is_bounded', sql`length(reason) BETWEEN 1 AND 100`)
        .addCheckConstraint('dropped_count_counts', sql`count >= 1`)
        .modifyEnd(tableEnd)
        .execute();
      await db.schema.createIndex('dropped_by_last_seen').on('dropped_messages').column('last_seen').execute();

      await db.schema
        .createTable('audit_log')
        .addColumn('id', countedKey)
        .addColumn('at', time, (column) => column.notNull())
        .addColumn('actor', 'text', (column) => column.notNull())
        .addColumn('action', 'text', (column) => column.notNull())
        .addColumn('target', 'text', (column) => column.notNull())
        .addColumn('outcome', 'text', (column) => column.notNull())
        .addColumn('detail', 'text', (column) => column.notNull())
        .addCheckConstraint('audit_actor_is_bounded', sql`length(actor) BETWEEN 1 AND 300`)
        .addCheckConstraint('audit_action_is_bounded', sql`length(action) BETWEEN 1 AND 100`)
        .addCheckConstraint('audit_target_is_bounded', sql`length(target) <= 500`)
        .addCheckConstraint('audit_outcome_is_bounded', sql`length(outcome) <= 500`)
        .addCheckConstraint(
          'audit_detail_is_an_object',
          sql`octet_length(detail) <= 16384 AND ${isJson('detail', 'object')}`,
        )
        .modifyEnd(tableEnd)
        .execute();
      await db.schema.createIndex('audit_by_action').on('audit_log').columns(['action', 'id']).execute();
      await db.schema.createIndex('audit_by_time').on('audit_log').column('at').execute();
      const rewriting = {
        name: 'audit_is_not_rewritten',
        table: 'audit_log',
        event: 'UPDATE',
        condition: 'TRUE',
      } as const;
      for (const statement of refusing(rewriting)) await statement.execute(db);

      await db.schema
        .createTable('mail')
        .addColumn('id', 'text', (column) => column.primaryKey().notNull())
        .addColumn('from_session_id', 'text', (column) =>
          column.notNull().references('sessions.id').onDelete('cascade'),
        )
        .addColumn('to_session_id', 'text', (column) => column.notNull().references('sessions.id').onDelete('cascade'))
        .addColumn('inbound_id', 'text', (column) => column.notNull())
        .addColumn('root', 'text', (column) => column.notNull())
        .addColumn('hop', 'integer', (column) => column.notNull())
        .addColumn('at', time, (column) => column.notNull())
        .addUniqueConstraint('mail_is_one_message', ['to_session_id', 'inbound_id'])
        .addCheckConstraint('mail_id_is_bounded', sql`length(id) BETWEEN 1 AND 400`)
        .addCheckConstraint('mail_inbound_id_is_bounded', sql`length(inbound_id) BETWEEN 1 AND 400`)
        .addCheckConstraint('mail_root_is_bounded', sql`length(root) BETWEEN 1 AND 400`)
        .addCheckConstraint('mail_hop_counts', sql`hop BETWEEN 1 AND 1000`)
        .modifyEnd(tableEnd)
        .execute();
      await db.schema.createIndex('mail_of_root').on('mail').column('root').execute();
      await db.schema.createIndex('mail_to_session').on('mail').columns(['to_session_id', 'at', 'id']).execute();
      await db.schema.createIndex('mail_from_session').on('mail').column('from_session_id').execute();
      await db.schema.createIndex('mail_by_time').on('mail').column('at').execute();
    },
  };
}
