import { join } from 'node:path';
import Database from 'better-sqlite3';
import { Kysely, SqliteDialect } from 'kysely';
import { Migrator } from 'kysely/migration';
import { describe, expect, it } from 'vitest';
import { type Engine, migrate, openRegistry, Registry, type Tables } from '../src/index.ts';
import { agentsChatsWiringsSessions } from '../src/migrations/0001-agents-chats-wirings-sessions.ts';
import { ENGINES, emptyPostgres, plainSettings, temporaryFolder, user } from './folder.ts';

const options = { now: () => 9, newId: () => 'new' };

/** What the tables held when there was nothing but the first migration. */
const ROWS = {
  agent_groups: {
    id: 'a1',
    folder: 'andy',
    name: 'Andy',
    provider: 'claude',
    model: null,
    effort: 'high',
    assistant_name: null,
    messages_per_prompt: 10,
    created_at: 1,
  },
  messaging_groups: {
    id: 'm1',
    channel_type: 'telegram',
    platform_id: '-1',
    name: 'Family',
    kind: 'group',
    strangers: 'strict',
    denied: 0,
    created_at: 2,
  },
  wirings: {
    id: 'w1',
    messaging_group_id: 'm1',
    agent_group_id: 'a1',
    engage_mode: 'mention',
    engage_pattern: '',
    sender_scope: 'all',
    otherwise: 'drop',
    session_mode: 'shared',
    priority: 0,
    created_at: 3,
  },
  sessions: { id: 's1', agent_group_id: 'a1', messaging_group_id: 'm1', next_due_at: 7, created_at: 4 },
  engaged_threads: { wiring_id: 'w1', thread_id: 't', engaged_at: 5 },
} as const;

describe.each(ENGINES)('on %s', (engine) => {
  it('A registry of the first version is brought to this one and keeps what is in it', async () => {
    const file = join(temporaryFolder(), 'registry.db');
    const db = await firstVersion(engine, file);
    if (engine === 'sqlite') await db.destroy();
    else await migrate(db, engine);
    const registry = engine === 'sqlite' ? await openRegistry({ ...options, file }) : new Registry(db, options);

    const [agent] = await registry.agentGroups();
    expect(agent).toMatchObject({ id: 'a1', folder: 'andy', effort: 'high', createdAt: 1, ...plainSettings });
    const wired = await registry.wiringsFor('telegram', '-1');
    expect(wired).toMatchObject({
      messagingGroup: { id: 'm1' },
      wirings: [{ wiring: { id: 'w1' }, agentGroup: agent }],
    });
    const [session] = await registry.sessions();
    expect(session).toMatchObject({ id: 's1', nextDueAt: 7, key: { scope: 'chat' } });
    if (agent === undefined || wired === undefined || session === undefined) throw new Error('all three are there');
    expect(await registry.engagedWirings(wired.messagingGroup.id, 't')).toEqual(new Set(['w1']));

    // And what is new refers to what is old.
    await registry.people.ensureUser(user('alice'), 'Alice');
    expect(await registry.people.addMember(user('alice'), agent.id, 'operator')).toBe(true);
    if (engine === 'sqlite') await registry.close();
  });
});

async function firstVersion(engine: Engine, file: string): Promise<Kysely<Tables>> {
  const db =
    engine === 'sqlite'
      ? new Kysely<Tables>({ dialect: new SqliteDialect({ database: new Database(file) }) })
      : await emptyPostgres();
  const first = { '0001_agents_chats_wirings_sessions': agentsChatsWiringsSessions(engine) };
  const { error } = await new Migrator({ db, provider: { getMigrations: async () => first } }).migrateToLatest();
  if (error !== undefined) throw error;
  const untyped = db.$extendTables<Record<string, Record<string, unknown>>>();
  for (const [table, row] of Object.entries(ROWS)) await untyped.insertInto(table).values(row).execute();
  return db;
}
