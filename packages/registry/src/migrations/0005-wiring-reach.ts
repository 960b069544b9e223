/** A wiring says where its sessions may write to. */
import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';

/** The column, and what it is for wirings that are there: only the host's own user is in chats of the terminal. */
export const wiringReach: Migration = Object.freeze({
  async up(db: Kysely<unknown>): Promise<void> {
    await sql`ALTER TABLE wirings ADD COLUMN reach TEXT NOT NULL DEFAULT 'default'
      CONSTRAINT "wiring_reach_is_known" CHECK (reach IN ('default', 'own-chat', 'all-destinations'))`.execute(db);
    await sql`UPDATE wirings SET reach = 'all-destinations'
      WHERE messaging_group_id IN (SELECT id FROM messaging_groups WHERE channel_type = 'terminal')`.execute(db);
  },
});
