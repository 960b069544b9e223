import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { type CompiledQuery, Kysely, SqliteDialect } from 'kysely';
import { describe, expect, it } from 'vitest';
import { openRegistry, Registry, type Tables } from '../src/index.ts';
import { RULES } from '../src/rules.ts';
import { anAgent, temporaryFolder, temporaryRegistry, user, wiredPair } from './folder.ts';

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

  const person = { id: 'telegram:bob', name: 'Bob', created_at: 0 };
  const role = { user_id: 'telegram:ann', role: 'admin', agent_group_id: 'a1', granted_by: 'host', created_at: 0 };
  const membership = { user_id: 'telegram:ann', agent_group_id: 'a1', added_by: 'host', created_at: 0 };
  const destination = { id: 'd2', agent_group_id: 'a1', name: 'kin', messaging_group_id: 'm1', created_at: 0 };
  const question = {
    id: 'q2',
    session_id: 's1',
    message_id: 'o2',
    channel_type: 'telegram',
    platform_id: '1',
    title: '',
    question: 'Soup?',
    options: '["yes","no"]',
    created_at: 0,
    expires_at: 9,
  };
  const answer = { outcome: 'answered', outcome_option: 1, outcome_by: 'telegram:ann', outcome_at: 5 };
  const approval = {
    id: 'p2',
    kind: 'sender',
    subject: 'bob',
    requested_by: 'host',
    summary: 'Bob?',
    payload: '{}',
    created_at: 0,
    expires_at: 9,
  };
  const decision = { outcome: 'approved', outcome_by: 'telegram:ann', outcome_at: 5 };
  const asked = { asked_of: 'telegram:ann', asked_channel_type: 'telegram', asked_platform_id: '1' };
  const dropped = {
    channel_type: 'telegram',
    platform_id: '1',
    reason: 'stranger',
    count: 1,
    first_seen: 0,
    last_seen: 0,
  };
  const audited = { at: 0, actor: 'host', action: 'do', target: '', outcome: '', detail: '{}' };
  const mail = { id: 's1/o1', from_session_id: 's1', to_session_id: 's1', inbound_id: 'i', root: 'r', hop: 1, at: 0 };

  const instance = { name: 'libera', type: 'irc', first_seen: 0 };

  const empty: { file?: Buffer } = {};

  /** A registry without a row, made once and copied for each test. */
  async function emptyDatabase(): Promise<Database.Database> {
    const file = join(temporaryFolder(), 'registry.db');
    if (empty.file === undefined) {
      await (await openRegistry({ ...options, file })).close();
      empty.file = readFileSync(file);
    } else writeFileSync(file, empty.file);
    return new Database(file);
  }

  /**
   * The good rows of a test: agent a1, chats m1 and m2, wiring w1 (m1 × a1), session s1 (all of a1), user ann, question
   * q1 of s1, approval p1 about ann, instance libera.
   */
  async function goodDatabase(): Promise<Database.Database> {
    const database = await emptyDatabase();
    insert(database, 'agent_groups', { ...agent, id: 'a1', folder: 'andy' });
    insert(database, 'messaging_groups', { ...chat, id: 'm1', platform_id: '1' });
    insert(database, 'messaging_groups', chat);
    insert(database, 'wirings', { ...wiring, id: 'w1', messaging_group_id: 'm1' });
    insert(database, 'sessions', { id: 's1', agent_group_id: 'a1', created_at: 0 });
    insert(database, 'users', { ...person, id: 'telegram:ann' });
    insert(database, 'destinations', { ...destination, id: 'd1', name: 'own', messaging_group_id: 'm2' });
    insert(database, 'questions', { ...question, id: 'q1', message_id: 'o1' });
    insert(database, 'approvals', { ...approval, id: 'p1', subject: 'ann' });
    insert(database, 'channel_instances', instance);
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
    ['an unknown reach', 'wirings', { ...wiring, reach: 'moon' }, 'wiring_reach_is_known'],
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
    ['skills that are a word', 'agent_groups', { ...agent, skills: '"some"' }, 'agent_group_skills_are_listed'],
    ['skills that are no JSON', 'agent_groups', { ...agent, skills: 'all' }, 'agent_group_skills_are_listed'],
    ['servers that are no list', 'agent_groups', { ...agent, mcp_servers: '{}' }, 'agent_group_mcp_servers_are_listed'],
    ['packages that are no object', 'agent_groups', { ...agent, packages: '[]' }, 'agent_group_packages_are_listed'],
    [
      'endless mounts',
      'agent_groups',
      { ...agent, mounts: `[${' '.repeat(262_144)}]` },
      'agent_group_mounts_are_listed',
    ],
    ['an empty image', 'agent_groups', { ...agent, image: '' }, 'agent_group_image_is_bounded'],
    ['an empty network', 'agent_groups', { ...agent, network: '' }, 'agent_group_network_is_bounded'],
    [
      'an unknown command scope',
      'agent_groups',
      { ...agent, command_scope: 'root' },
      'agent_group_command_scope_is_known',
    ],
    ['a user of no channel', 'users', { ...person, id: 'bob' }, 'user_id_has_two_parts'],
    ['a user without a handle', 'users', { ...person, id: 'telegram:' }, 'user_id_has_two_parts'],
    ['a user who would be an agent', 'users', { ...person, id: 'agent:a1' }, 'user_id_is_of_a_person'],
    ['a user of an endless name', 'users', { ...person, name: 'x'.repeat(201) }, 'user_name_is_bounded'],
    ['a user twice', 'users', { ...person, id: 'telegram:ann' }, 'UNIQUE'],
    ['a role of nobody', 'roles', { ...role, user_id: 'telegram:bob' }, 'FOREIGN KEY'],
    ['an unknown role', 'roles', { ...role, role: 'king' }, 'role_is_known'],
    ['an owner of one agent', 'roles', { ...role, role: 'owner' }, 'role_owner_owns_everything'],
    ['a role that nobody granted', 'roles', { ...role, granted_by: '' }, 'role_granted_by_is_bounded'],
    ['a member of no agent', 'memberships', { ...membership, agent_group_id: 'a9' }, 'FOREIGN KEY'],
    ['a member whom nobody added', 'memberships', { ...membership, added_by: '' }, 'membership_added_by_is_bounded'],
    ['an unsafe destination id', 'destinations', { ...destination, id: 'D' }, 'destination_id_is_safe'],
    ['a destination without a name', 'destinations', { ...destination, name: '' }, 'destination_name_is_bounded'],
    [
      'a destination that leads nowhere',
      'destinations',
      { ...destination, messaging_group_id: null },
      'destination_leads_to_one_place',
    ],
    [
      'a destination that leads to two places',
      'destinations',
      { ...destination, target_agent_group_id: 'a1' },
      'destination_leads_to_one_place',
    ],
    [
      'an agent as its own destination',
      'destinations',
      { ...destination, messaging_group_id: null, target_agent_group_id: 'a1' },
      'destination_leads_elsewhere',
    ],
    ['a name for two destinations', 'destinations', { ...destination, name: 'own' }, 'UNIQUE'],
    ['two names for one destination', 'destinations', { ...destination, messaging_group_id: 'm2' }, 'UNIQUE'],
    ['an unsafe question id', 'questions', { ...question, id: 'q 2' }, 'question_id_is_safe'],
    ['a question of no session', 'questions', { ...question, session_id: 's9' }, 'FOREIGN KEY'],
    ['a second question of a message', 'questions', { ...question, message_id: 'o1' }, 'UNIQUE'],
    ['a question of no message', 'questions', { ...question, message_id: '' }, 'question_message_is_bounded'],
    ['a question asked nowhere', 'questions', { ...question, platform_id: '' }, 'question_place_is_bounded'],
    [
      'a question of an endless title',
      'questions',
      { ...question, title: 'x'.repeat(201) },
      'question_title_is_bounded',
    ],
    ['a question that asks nothing', 'questions', { ...question, question: '' }, 'question_text_is_bounded'],
    ['a question without choices', 'questions', { ...question, options: '[]' }, 'question_options_are_listed'],
    ['choices that are no JSON', 'questions', { ...question, options: 'yes' }, 'question_options_are_listed'],
    [
      'a question asked of nobody by an empty name',
      'questions',
      { ...question, asked_of: '' },
      'question_asked_of_is_bounded',
    ],
    ['half an answer', 'questions', { ...question, outcome: 'answered', outcome_at: 5 }, 'question_outcome_is_whole'],
    [
      'an answer to an open question',
      'questions',
      { ...question, ...answer, outcome: null },
      'question_outcome_is_whole',
    ],
    [
      'a question that expired with an answer',
      'questions',
      { ...question, ...answer, outcome: 'expired' },
      'question_outcome_is_whole',
    ],
    [
      'an unknown outcome of a question',
      'questions',
      { ...question, ...answer, outcome: 'lost' },
      'question_outcome_is_whole',
    ],
    [
      'an answer by an empty name',
      'questions',
      { ...question, ...answer, outcome_by: '' },
      'question_outcome_by_is_bounded',
    ],
    [
      'an answer that is no choice',
      'questions',
      { ...question, ...answer, outcome_option: 2 },
      'question_answer_is_an_option',
    ],
    [
      'an answer below the first choice',
      'questions',
      { ...question, ...answer, outcome_option: -1 },
      'question_answer_is_an_option',
    ],
    ['an open question that was told', 'questions', { ...question, told_at: 5 }, 'question_told_after_its_end'],
    ['an unsafe approval id', 'approvals', { ...approval, id: '' }, 'approval_id_is_safe'],
    ['an unknown kind of approval', 'approvals', { ...approval, kind: 'loan' }, 'approval_kind_is_known'],
    ['an approval about nothing', 'approvals', { ...approval, subject: '' }, 'approval_subject_is_bounded'],
    ['a second open approval about the same', 'approvals', { ...approval, subject: 'ann' }, 'UNIQUE'],
    ['an approval for no agent there is', 'approvals', { ...approval, agent_group_id: 'a9' }, 'FOREIGN KEY'],
    [
      'an approval that nobody requested',
      'approvals',
      { ...approval, requested_by: '' },
      'approval_requested_by_is_bounded',
    ],
    ['an approval without a summary', 'approvals', { ...approval, summary: '' }, 'approval_summary_is_bounded'],
    ['a payload that is a list', 'approvals', { ...approval, payload: '[]' }, 'approval_payload_is_an_object'],
    ['a payload that is no JSON', 'approvals', { ...approval, payload: '{' }, 'approval_payload_is_an_object'],
    ['somebody asked nowhere', 'approvals', { ...approval, asked_of: 'telegram:ann' }, 'approval_asked_is_whole'],
    ['nobody asked somewhere', 'approvals', { ...approval, ...asked, asked_of: null }, 'approval_asked_is_whole'],
    [
      'somebody asked in a place without a name',
      'approvals',
      { ...approval, ...asked, asked_platform_id: '' },
      'approval_asked_is_bounded',
    ],
    ['half a decision', 'approvals', { ...approval, outcome: 'approved' }, 'approval_outcome_is_whole'],
    ['an unknown decision', 'approvals', { ...approval, ...decision, outcome: 'maybe' }, 'approval_outcome_is_whole'],
    [
      'a decision by nobody',
      'approvals',
      { ...approval, ...decision, outcome_by: '' },
      'approval_outcome_by_is_bounded',
    ],
    [
      'an open approval that was applied',
      'approvals',
      { ...approval, applied_at: 5 },
      'approval_applied_after_its_end',
    ],
    ['a drop on no channel', 'dropped_messages', { ...dropped, channel_type: '' }, 'dropped_channel_type_is_bounded'],
    ['a drop in no chat', 'dropped_messages', { ...dropped, platform_id: '' }, 'dropped_platform_id_is_bounded'],
    [
      'a drop for an endless reason',
      'dropped_messages',
      { ...dropped, reason: 'x'.repeat(101) },
      'dropped_reason_is_bounded',
    ],
    ['a drop of no message', 'dropped_messages', { ...dropped, count: 0 }, 'dropped_count_counts'],
    ['an audited deed of nobody', 'audit_log', { ...audited, actor: '' }, 'audit_actor_is_bounded'],
    ['an audited deed without a word for it', 'audit_log', { ...audited, action: '' }, 'audit_action_is_bounded'],
    ['an endless target of a deed', 'audit_log', { ...audited, target: 'x'.repeat(501) }, 'audit_target_is_bounded'],
    ['an endless outcome of a deed', 'audit_log', { ...audited, outcome: 'x'.repeat(501) }, 'audit_outcome_is_bounded'],
    ['a detail that is no object', 'audit_log', { ...audited, detail: '1' }, 'audit_detail_is_an_object'],
    ['mail without an id', 'mail', { ...mail, id: '' }, 'mail_id_is_bounded'],
    ['mail to no session', 'mail', { ...mail, to_session_id: 's9' }, 'FOREIGN KEY'],
    ['mail that is no message', 'mail', { ...mail, inbound_id: '' }, 'mail_inbound_id_is_bounded'],
    ['mail without a root', 'mail', { ...mail, root: '' }, 'mail_root_is_bounded'],
    [
      'an instance name in capitals',
      'channel_instances',
      { ...instance, name: 'IRC' },
      'channel_instance_name_is_safe',
    ],
    [
      'an instance name with a colon',
      'channel_instances',
      { ...instance, name: 'a:b' },
      'channel_instance_name_is_safe',
    ],
    ['an instance called agent', 'channel_instances', { ...instance, name: 'agent' }, 'channel_instance_name_is_safe'],
    ['an instance name twice', 'channel_instances', instance, 'UNIQUE'],
    ['an instance of no type', 'channel_instances', { ...instance, type: '' }, 'channel_instance_type_is_bounded'],
    ['mail before the first hop', 'mail', { ...mail, hop: 0 }, 'mail_hop_counts'],
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

  it.each<[string, string]>([
    ["DELETE FROM roles WHERE role = 'owner'", 'role_last_owner_stays'],
    ["DELETE FROM users WHERE id = 'telegram:ann'", 'role_last_owner_stays'],
    ["UPDATE roles SET role = 'admin'", 'role_last_owner_stays'],
    ["UPDATE audit_log SET actor = 'host'", 'audit_is_not_rewritten'],
  ])('the change %s', async (statement, rule) => {
    const database = await goodDatabase();
    try {
      insert(database, 'roles', { ...role, role: 'owner', agent_group_id: null });
      insert(database, 'audit_log', { ...audited, actor: 'telegram:ann' });
      expect(() => database.exec(statement)).toThrow(rule);
    } finally {
      database.close();
    }
  });

  it('nothing without a sentence for a person, and has no sentence without a rule', async () => {
    const database = await goodDatabase();
    try {
      const ddl = database.prepare('SELECT group_concat(sql) FROM sqlite_schema').pluck().get();
      const checks = [...String(ddl).matchAll(/constraint "(\w+)" check/gi)].map((match) => match[1]);
      const refusals = [...String(ddl).matchAll(/RAISE\(ABORT, '(\w+)'\)/g)].map((match) => match[1]);
      const rules = [...new Set([...checks, ...refusals])];
      expect(rules.toSorted()).toEqual(Object.keys(RULES).toSorted());
      const tried = [...bad.map(([, , , rule]) => rule), ...refusals];
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
    const tables = schema.filter((sql) => /^create table/i.test(sql) && !/kysely_migration|sqlite_sequence/.test(sql));
    expect(tables).toHaveLength(15);
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
      message: expect.stringMatching(/0099_from_the_future.*0005_wiring_reach.*Nothing was changed/),
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
    const { database, queries, db } = recording(file);
    await using registry = new Registry(db, options);

    await registry.wiringsFor('telegram', '-100200');
    await registry.engagedWirings(chat.id, '7');
    const key = { scope: 'thread', agentGroupId: agent.id, messagingGroupId: chat.id, threadId: '7' } as const;
    const { id: sessionId } = await registry.sessionFor(key);
    const someone = user('ann');
    await registry.people.ensureUser(someone, 'Ann');
    await registry.people.person(someone);
    await registry.destinations.list(agent.id);
    await registry.destinations.reachable(agent.id);
    const place = { channelType: 'telegram', platformId: '-100200', threadId: null };
    await registry.questions.openAt(place, 1_000);
    await registry.questions.list({ state: 'open', now: 1_000, limit: 10 });
    await registry.questions.expire(1_000);
    await registry.questions.pendingNotifications(10);
    await registry.approvals.openAt(place, 1_000);
    await registry.approvals.list({ state: 'open', now: 1_000, limit: 10 });
    await registry.approvals.latest('sender', 'someone');
    await registry.approvals.expire(1_000);
    await registry.approvals.pendingEffects(10);
    await registry.dropped.count({ channelType: 'telegram', platformId: '-1', reason: 'stranger' }, 1);
    await registry.mail.to(sessionId, 'm');
    await registry.mail.latestTo(sessionId);
    await registry.mail.count('root');
    await registry.prune(1_000, 10);
    await registry.audit.list({ limit: 10, action: 'approve' });
    await registry.sessionsDue(1_000, 10);

    const plans = queries.map((query) =>
      database
        .prepare(`EXPLAIN QUERY PLAN ${query.sql}`)
        .all(...query.parameters)
        .map((step) => (step !== null && typeof step === 'object' && 'detail' in step ? String(step.detail) : '')),
    );
    // By index in its order is no scan of a table: it ends at the limit.
    const scans = plans.flat().filter((detail) => detail.startsWith('SCAN') && !/USING (COVERING )?INDEX/.test(detail));
    expect(scans).toEqual([]);
    const sortedToTheLimit = plans.filter((plan, n) => / limit /.test(queries[n]?.sql ?? '') && plan.some(isSort));
    expect(sortedToTheLimit).toEqual([]);
    // What is open is listed at the cost of what is open.
    for (const table of ['questions', 'approvals']) {
      const lists = plans.filter((_, n) =>
        queries[n]?.sql.startsWith(`select * from "${table}" where "outcome" is null`),
      );
      expect(lists).toEqual([[expect.stringContaining(`${table}_open_by_age`)]]);
    }
    expect(plans.at(-1)).toEqual([expect.stringContaining('sessions_by_next_due')]);
  });

  it('asks for all that an agent may write to in one statement, however much it is', async () => {
    const file = join(temporaryFolder(), 'registry.db');
    const { agent, chat } = await wiredPair(await temporaryRegistry(file));
    const { queries, db } = recording(file);
    let made = 0;
    await using registry = new Registry(db, { now: () => 0, newId: () => `more-${(made += 1)}` });
    for (let n = 0; n < 5; n += 1) {
      const other = await registry.createAgentGroup({ ...anAgent, folder: `other-${n}` });
      const target = { type: 'agent', agentGroupId: other.id } as const;
      await registry.destinations.create({ agentGroupId: agent.id, name: `other-${n}`, target });
    }
    const family = { type: 'channel', messagingGroupId: chat.id } as const;
    await registry.destinations.create({ agentGroupId: agent.id, name: 'family', target: family });

    queries.length = 0;
    expect(await registry.destinations.reachable(agent.id)).toHaveLength(6);
    expect(queries).toHaveLength(1);
  });
});

/** The file's tables, and every query that is made through them. */
function recording(file: string): { database: Database.Database; queries: CompiledQuery[]; db: Kysely<Tables> } {
  const database = new Database(file);
  const queries: CompiledQuery[] = [];
  const log = (event: { query: CompiledQuery }) => void queries.push(event.query);
  return { database, queries, db: new Kysely<Tables>({ dialect: new SqliteDialect({ database }), log }) };
}

/** All that is found is put in order first, of which a limit then takes a little. */
function isSort(detail: string): boolean {
  return detail.startsWith('USE TEMP B-TREE');
}

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
