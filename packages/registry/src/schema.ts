/**
 * The way from any older schema of the registry to this one.
 *
 * One schema for two engines. A single machine keeps it in SQLite, a team will share it on PostgreSQL; where they differ
 * is in `dialect.ts`. A migration that has been released is never edited: add the next one.
 *
 * What must hold is a constraint there, so that no code, no other program and no hand at a prompt can break it.
 */
import type { Kysely } from 'kysely';
import { type Migration, Migrator } from 'kysely/migration';
import type { Engine } from './dialect.ts';
import { RegistryError } from './errors.ts';
import { agentsChatsWiringsSessions } from './migrations/0001-agents-chats-wirings-sessions.ts';
import { peopleAndWhatWaitsForThem } from './migrations/0002-people-and-what-waits-for-them.ts';
import { channelInstances } from './migrations/0003-channel-instances.ts';
import { openByAge } from './migrations/0004-open-by-age.ts';
import { wiringReach } from './migrations/0005-wiring-reach.ts';
import type { Tables } from './tables.ts';

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

/** Static objects, in the order of their names; the name of the last one is the schema's version. */
function migrations(engine: Engine): Record<string, Migration> {
  return {
    '0001_agents_chats_wirings_sessions': agentsChatsWiringsSessions(engine),
    '0002_people_and_what_waits_for_them': peopleAndWhatWaitsForThem(engine),
    '0003_channel_instances': channelInstances(engine),
    '0004_open_by_age': openByAge,
    '0005_wiring_reach': wiringReach,
  };
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
