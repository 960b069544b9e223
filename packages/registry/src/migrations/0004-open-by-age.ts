/** The list of what is open follows what is open, not how much there has been: an index of that alone, by age. */
import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';

/** An index over the open rows of each of the two tables, in the order of their lists. */
export const openByAge: Migration = Object.freeze({
  async up(db: Kysely<unknown>): Promise<void> {
    for (const table of ['questions', 'approvals']) {
      await db.schema
        .createIndex(`${table}_open_by_age`)
        .on(table)
        .columns(['created_at', 'id'])
        .where(sql<boolean>`outcome IS NULL`)
        .execute();
    }
  },
});
