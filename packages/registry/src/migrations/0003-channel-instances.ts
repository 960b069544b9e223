/**
 * Which channel type each instance name stands for, so that a name is not used again for another platform: users and
 * places are kept under the name, and would become those of strangers.
 */
import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import { dialectOf, type Engine } from '../dialect.ts';

/** The table of channel instances, filled with the channel types in use, each of which is an instance of itself. */
export function channelInstances(engine: Engine): Migration {
  const { time, tableEnd, isInstanceName, beforeColon } = dialectOf(engine);
  return {
    async up(db: Kysely<unknown>): Promise<void> {
      await db.schema
        .createTable('channel_instances')
        .addColumn('name', 'text', (column) => column.primaryKey().notNull())
        .addColumn('type', 'text', (column) => column.notNull())
        .addColumn('first_seen', time, (column) => column.notNull())
        .addCheckConstraint('channel_instance_name_is_safe', sql`${isInstanceName('name')} AND name <> 'agent'`)
        .addCheckConstraint('channel_instance_type_is_bounded', sql`length(type) BETWEEN 1 AND 200`)
        .modifyEnd(tableEnd)
        .execute();
      // A channel type that is no instance name (one in capitals, say) is left out: no instance can have that name.
      await sql`
        INSERT INTO channel_instances (name, type, first_seen)
        SELECT name, name, MIN(seen)
        FROM (
          SELECT channel_type AS name, created_at AS seen FROM messaging_groups
          UNION ALL SELECT ${beforeColon('id')}, created_at FROM users
          UNION ALL SELECT channel_type, created_at FROM questions
          UNION ALL SELECT asked_channel_type, created_at FROM approvals WHERE asked_channel_type IS NOT NULL
          UNION ALL SELECT channel_type, first_seen FROM dropped_messages
        ) AS used
        WHERE ${isInstanceName('name')} AND name <> 'agent'
        GROUP BY name`.execute(db);
    },
  };
}
