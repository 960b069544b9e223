import { existsSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { type CompiledQuery, Kysely, SqliteDialect } from 'kysely';
import { describe, expect, it } from 'vitest';
import { openRegistry, Registry, type Tables } from '../src/index.js';
import { RULES } from '../src/schema.js';
import { temporaryFolder, temporaryRegistry, wiredPair } from './folder.js';

const options = { now: () => 0, newId: () => 'id' };

describe('the schema refuses', () => {
  // Written past the library, as another program or a hand at a prompt would.
  const agent = { id: 'a2', folder: 'bea', name: 'Bea', provider: 'claude', messages_per_prompt: 10, created_at: 0 };
  const chat = {
    id: 'm2',
    channel_type: 'telegram',
    platform_id: '2',
    name: '',
    kind: 'group',
    strangers: 'strict',
    denied: 0,
    created_at: 0,
  };
  const wiring = {
    id: 'w2',
    messaging_group_id: 'm2',
    agent_group_id: 'a1',
    engage_mode: 'mention',
    engage_pattern: '',
    sender_scope: 'all',
    otherwise: 'drop',
    session_mode: 'shared',
    priority: 0,
    created_at: 0,
  };
  const session = { id: 's2', agent_group_id: 'a1', messaging_group_id: 'm1', thread_id: 't1', created_at: 0 };
  const engaged = { wiring_id: 'w1', thread_id: 't1', engaged_at: 0 };

  /** The good rows of a test: agent a1, chats m1 and m2, wiring w1 (m1 × a1), session s1 (all of a1). */
  async function goodDatabase(): Promise<Database.Database> {
    const file = join(temporaryFolder(), 'registry.db');
    await (await openRegistry({ ...options, file })).close();
    const database = new Database(file);
    insert(database, 'agent_groups', { ...agent, id: 'a1', folder: 'andy' });
    insert(database, 'messaging_groups', { ...chat, id: 'm1', platform_id: '1' });
    insert(database, 'messaging_groups', chat);
    insert(database, 'wirings', { ...wiring, id: 'w1', messaging_group_id: 'm1' });
    insert(database, 'sessions', { id: 's1', agent_group_id: 'a1', created_at: 0 });
    return database;
  }

  const bad: [string, string, Record<string, unknown>, string][] = [
    ['an id that leaves its folder', 'agent_groups', { ...agent, id: '../a' }, 'agent_group_id_is_safe'],
    ['a missing id', 'agent_groups', { ...agent, id: null }, 'NOT NULL'],
    ['a folder with a slash', 'agent_groups', { ...agent, folder: 'a/b' }, 'agent_group_folder_is_safe'],
    ['a folder in upper case', 'agent_groups', { ...agent, folder: 'Bea' }, 'agent_group_folder_is_safe'],
    ['a folder that hides a NUL', 'agent_groups', { ...agent, folder: 'b\0/..' }, 'agent_group_folder_is_safe'],
    ['a folder that is an option', 'agent_groups', { ...agent, folder: '-rf' }, 'agent_group_folder_is_safe'],
    ['a folder twice', 'agent_groups', { ...agent, folder: 'andy' }, 'UNIQUE'],
    ['no name', 'agent_groups', { ...agent, name: '' }, 'agent_group_name_is_bounded'],
    ['no provider', 'agent_groups', { ...agent, provider: '' }, 'agent_group_provider_is_bounded'],
    ['an empty model', 'agent_groups', { ...agent, model: '' }, 'agent_group_model_is_bounded'],
    ['an empty effort', 'agent_groups', { ...agent, effort: '' }, 'agent_group_effort_is_bounded'],
    [
      'an endless assistant name',
      'agent_groups',
      { ...agent, assistant_name: 'x'.repeat(201) },
      'agent_group_assistant_name_is_bounded',
    ],
    [
      'prompts of no messages',
      'agent_groups',
      { ...agent, messages_per_prompt: 0 },
      'agent_group_messages_per_prompt_is_bounded',
    ],
    ['a time in words', 'agent_groups', { ...agent, created_at: 'now' }, 'cannot store TEXT'],
    ['an unsafe chat id', 'messaging_groups', { ...chat, id: 'M2' }, 'messaging_group_id_is_safe'],
    ['a place twice', 'messaging_groups', { ...chat, id: 'm3' }, 'UNIQUE'],
    ['no channel type', 'messaging_groups', { ...chat, channel_type: '' }, 'messaging_group_channel_type_is_bounded'],
    ['no platform id', 'messaging_groups', { ...chat, platform_id: '' }, 'messaging_group_platform_id_is_bounded'],
    ['an endless name', 'messaging_groups', { ...chat, name: 'x'.repeat(201) }, 'messaging_group_name_is_bounded'],
    ['an unknown kind', 'messaging_groups', { ...chat, kind: 'crowd' }, 'messaging_group_kind_is_known'],
    ['an unknown policy', 'messaging_groups', { ...chat, strangers: 'bite' }, 'messaging_group_strangers_is_known'],
    ['half a denial', 'messaging_groups', { ...chat, denied: 2 }, 'messaging_group_denied_is_boolean'],
    ['an unsafe wiring id', 'wirings', { ...wiring, id: 'w 2' }, 'wiring_id_is_safe'],
    ['a pair wired twice', 'wirings', { ...wiring, messaging_group_id: 'm1' }, 'UNIQUE'],
    ['a wiring to no agent', 'wirings', { ...wiring, agent_group_id: 'a9' }, 'FOREIGN KEY'],
    ['a wiring to no chat', 'wirings', { ...wiring, messaging_group_id: 'm9' }, 'FOREIGN KEY'],
    ['an unknown engage mode', 'wirings', { ...wiring, engage_mode: 'shout' }, 'wiring_engage_mode_is_known'],
    ['a mention with a pattern', 'wirings', { ...wiring, engage_pattern: 'x' }, 'wiring_pattern_only_in_pattern_mode'],
    [
      'a pattern mode without a pattern',
      'wirings',
      { ...wiring, engage_mode: 'pattern' },
      'wiring_pattern_only_in_pattern_mode',
    ],
    ['an unknown sender scope', 'wirings', { ...wiring, sender_scope: 'some' }, 'wiring_sender_scope_is_known'],
    ['an unknown fate', 'wirings', { ...wiring, otherwise: 'burn' }, 'wiring_otherwise_is_known'],
    ['an unknown session mode', 'wirings', { ...wiring, session_mode: 'solo' }, 'wiring_session_mode_is_known'],
    ['a priority beyond reason', 'wirings', { ...wiring, priority: 1_000_001 }, 'wiring_priority_is_bounded'],
    ['an unsafe session id', 'sessions', { ...session, id: '' }, 'session_id_is_safe'],
    ['a session of no agent', 'sessions', { ...session, agent_group_id: 'a9' }, 'FOREIGN KEY'],
    ['a session of no chat', 'sessions', { ...session, messaging_group_id: 'm9' }, 'FOREIGN KEY'],
    ['a thread without a chat', 'sessions', { ...session, messaging_group_id: null }, 'session_thread_needs_chat'],
    ['an empty thread', 'sessions', { ...session, thread_id: '' }, 'session_thread_is_bounded'],
    [
      'a second session of all chats, though its NULLs are equal to nothing',
      'sessions',
      { ...session, messaging_group_id: null, thread_id: null },
      'UNIQUE',
    ],
    ['a session key of its own making', 'sessions', { ...session, session_key: 'x' }, 'generated column'],
    ['a quarantine for no reason', 'sessions', { ...session, quarantined_until: 1 }, 'session_quarantine_is_whole'],
    ['an endless quarantine', 'sessions', { ...session, quarantine_reason: 'x' }, 'session_quarantine_is_whole'],
    ['an engaged thread of no wiring', 'engaged_threads', { ...engaged, wiring_id: 'w9' }, 'FOREIGN KEY'],
    ['an engaged thread without a name', 'engaged_threads', { ...engaged, thread_id: '' }, 'engaged_thread_is_bounded'],
  ];

  it.each(bad)('%s', async (_, table, row, rule) => {
    const database = await goodDatabase();
    try {
      expect(() => insert(database, table, row)).toThrow(rule);
    } finally {
      database.close();
    }
  });

  it('a second session of a chat and of a thread', async () => {
    const database = await goodDatabase();
    try {
      insert(database, 'sessions', session);
      expect(() => insert(database, 'sessions', { ...session, id: 's3' })).toThrow('UNIQUE');
      insert(database, 'sessions', { ...session, id: 's4', thread_id: null });
      expect(() => insert(database, 'sessions', { ...session, id: 's5', thread_id: null })).toThrow('UNIQUE');
    } finally {
      database.close();
    }
  });

  it('nothing without a sentence for a person, and has no sentence without a rule', async () => {
    const database = await goodDatabase();
    try {
      const ddl = database.prepare('SELECT group_concat(sql) FROM sqlite_schema').pluck().get();
      const rules = [...String(ddl).matchAll(/constraint "(\w+)" check/gi)].map((match) => match[1]);
      expect(rules.toSorted()).toEqual(Object.keys(RULES).toSorted());
      const tried = bad.map(([, , , rule]) => rule);
      expect(Object.keys(RULES).filter((rule) => !tried.includes(rule))).toEqual([]);
    } finally {
      database.close();
    }
  });
});

describe('opening', () => {
  it('makes an empty file into a registry of strict tables, and opens it again as it is', async () => {
    const file = join(temporaryFolder(), 'registry.db');
    await (await openRegistry({ ...options, file })).close();
    const schema = schemaOf(file);
    await (await openRegistry({ ...options, file })).close();

    expect(schemaOf(file)).toEqual(schema);
    const tables = schema.filter((sql) => /^create table/i.test(sql) && !sql.includes('kysely_migration'));
    expect(tables).toHaveLength(5);
    expect(tables.filter((sql) => !sql.endsWith('STRICT'))).toEqual([]);
    const database = new Database(file, { readonly: true });
    expect(database.pragma('journal_mode', { simple: true })).toBe('wal');
    database.close();
  });

  it('refuses the schema of a newer program, naming both versions, and leaves the file as it was', async () => {
    const file = join(temporaryFolder(), 'registry.db');
    await (await openRegistry({ ...options, file })).close();
    const newer = new Database(file);
    newer.pragma('journal_mode = DELETE');
    insert(newer, 'kysely_migration', { name: '0099_from_the_future', timestamp: '2099-01-01T00:00:00.000Z' });
    newer.close();

    await expect(openRegistry({ ...options, file })).rejects.toMatchObject({
      code: 'newer-schema',
      message: expect.stringMatching(/0099_from_the_future.*0001_agents_chats_wirings_sessions.*Nothing was changed/),
    });
    const after = new Database(file);
    expect(after.pragma('journal_mode', { simple: true })).toBe('delete');
    after.close();
  });

  it('leaves no half of a schema behind when a migration fails', async () => {
    const file = join(temporaryFolder(), 'registry.db');
    const foreign = new Database(file);
    foreign.exec('CREATE TABLE sessions (id TEXT)');
    foreign.close();

    await expect(openRegistry({ ...options, file })).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('not a registry. It was left as it is.'),
    });
    expect(schemaOf(file)).toEqual(['CREATE TABLE sessions (id TEXT)']);
    expect(existsSync(`${file}-journal`)).toBe(false);
  });
});

describe('what runs for every message or in every pass', () => {
  it('reads by index, never a whole table', async () => {
    const file = join(temporaryFolder(), 'registry.db');
    const { agent, chat } = await wiredPair(await temporaryRegistry(file));
    const database = new Database(file);
    const queries: CompiledQuery[] = [];
    const db = new Kysely<Tables>({
      dialect: new SqliteDialect({ database }),
      log: (event) => void queries.push(event.query),
    });
    await using registry = new Registry(db, options);

    await registry.wiringsFor('telegram', '-100200');
    await registry.engagedWirings(chat.id, '7');
    await registry.sessionFor({ scope: 'thread', agentGroupId: agent.id, messagingGroupId: chat.id, threadId: '7' });
    await registry.sessionsDue(1_000, 10);

    const plans = queries.map((query) =>
      database
        .prepare(`EXPLAIN QUERY PLAN ${query.sql}`)
        .all(...query.parameters)
        .map((step) => (step !== null && typeof step === 'object' && 'detail' in step ? String(step.detail) : '')),
    );
    expect(plans.flat().filter((detail) => detail.startsWith('SCAN'))).toEqual([]);
    expect(plans.at(-1)).toEqual([expect.stringContaining('sessions_by_next_due')]);
  });
});

function insert(database: Database.Database, table: string, row: Record<string, unknown>): void {
  const columns = Object.keys(row);
  const values = columns.map((column) => `:${column}`);
  database.prepare(`INSERT INTO ${table} (${columns.join(', ')}) VALUES (${values.join(', ')})`).run(row);
}

function schemaOf(file: string): string[] {
  const database = new Database(file, { readonly: true });
  const rows = database.prepare('SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name').pluck().all();
  database.close();
  return rows.map(String);
}
