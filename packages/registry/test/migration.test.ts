import { join } from 'node:path';
import Database from 'better-sqlite3';
import { Kysely, SqliteDialect } from 'kysely';
import { type Migration, Migrator } from 'kysely/migration';
import { describe, expect, it } from 'vitest';
import type { Engine } from '../src/dialect.ts';
import { migrate, openRegistry, Registry, type Tables } from '../src/index.ts';
import { agentsChatsWiringsSessions } from '../src/migrations/0001-agents-chats-wirings-sessions.ts';
import { peopleAndWhatWaitsForThem } from '../src/migrations/0002-people-and-what-waits-for-them.ts';
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
    const first = { '0001_agents_chats_wirings_sessions': agentsChatsWiringsSessions(engine) };
    const registry = await opened(engine, file, await olderVersion(engine, file, first, ROWS));

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

  it('A registry from before the instances has each channel type in use as the name of its own instance', async () => {
    const file = join(temporaryFolder(), 'registry.db');
    const second = {
      '0001_agents_chats_wirings_sessions': agentsChatsWiringsSessions(engine),
      '0002_people_and_what_waits_for_them': peopleAndWhatWaitsForThem(engine),
    };
    const registry = await opened(engine, file, await olderVersion(engine, file, second, IN_USE));

    expect(await registry.channels.list()).toEqual([
      { name: 'telegram', type: 'telegram', firstSeen: 2 },
      { name: 'slack', type: 'slack', firstSeen: 3 },
      { name: 'email', type: 'email', firstSeen: 4 },
      { name: 'discord', type: 'discord', firstSeen: 5 },
      { name: 'memory', type: 'memory', firstSeen: 6 },
    ]);
    expect(await registry.channels.claim('slack', 'irc', 9)).toEqual({ takenBy: 'slack' });
    if (engine === 'sqlite') await registry.close();
  });
});

/** What names a channel type, in each of the tables that do; one type is no instance name. */
const IN_USE = {
  ...ROWS,
  messaging_groups: [ROWS.messaging_groups, { ...ROWS.messaging_groups, id: 'm2', channel_type: 'X Y', created_at: 1 }],
  users: [
    { id: 'slack:a:b', name: '', created_at: 3 },
    { id: 'telegram:ann', name: '', created_at: 8 },
  ],
  questions: {
    id: 'q1',
    session_id: 's1',
    message_id: 'o1',
    channel_type: 'email',
    platform_id: '1',
    title: '',
    question: 'Soup?',
    options: '["yes"]',
    created_at: 4,
    expires_at: 9,
  },
  approvals: [
    { ...approval('p1'), asked_of: 'discord:ann', asked_channel_type: 'discord', asked_platform_id: '1' },
    approval('p2'),
  ],
  dropped_messages: {
    channel_type: 'memory',
    platform_id: '1',
    reason: 'stranger',
    count: 1,
    first_seen: 6,
    last_seen: 7,
  },
};

function approval(id: string) {
  const texts = { id, kind: 'sender', subject: id, requested_by: 'host', summary: 'Bob?', payload: '{}' };
  return { ...texts, created_at: 5, expires_at: 9 };
}

type Rows = Readonly<Record<string, object | readonly object[]>>;

/** A database as a program left it that knew these migrations only. */
async function olderVersion(
  engine: Engine,
  file: string,
  migrations: Record<string, Migration>,
  rows: Rows,
): Promise<Kysely<Tables>> {
  const db =
    engine === 'sqlite'
      ? new Kysely<Tables>({ dialect: new SqliteDialect({ database: new Database(file) }) })
      : await emptyPostgres();
  const { error } = await new Migrator({ db, provider: { getMigrations: async () => migrations } }).migrateToLatest();
  if (error !== undefined) throw error;
  const untyped = db.$extendTables<Record<string, Record<string, unknown>>>();
  for (const [table, some] of Object.entries(rows)) {
    for (const row of [some].flat())
      await untyped
        .insertInto(table)
        .values({ ...row })
        .execute();
  }
  return db;
}

/** The database after this program has opened it. */
async function opened(engine: Engine, file: string, db: Kysely<Tables>): Promise<Registry> {
  if (engine === 'sqlite') {
    await db.destroy();
    return openRegistry({ ...options, file });
  }
  await migrate(db, engine);
  return new Registry(db, options);
}
