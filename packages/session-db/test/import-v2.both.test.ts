import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSqlite } from '#driver';
import type { ImportReport } from '../src/import-v2.ts';
import {
  HostSession,
  INBOUND_RETRY,
  importV2Session,
  RunnerSession,
  readOutbound,
  runId,
  type SessionFolder,
  type Sqlite,
} from '../src/index.ts';
import { messageFiles } from '../src/protocol.ts';
import type { ImportOptions } from '../src/v2-plan.ts';
import { v2Time } from '../src/v2-plan.ts';
import { ADDRESS, claim, handshake, idsOf, LIMITS, temporaryFolder } from './support.ts';

const NOW = Date.UTC(2026, 10, 21, 12);
const OPTIONS: ImportOptions = {
  now: NOW,
  timeZone: 'Europe/Berlin',
  checkTiming: ({ cron }, after) =>
    cron.split(' ').length === 5
      ? { type: 'fine', next: after + 60_000 }
      : { type: 'refused', message: 'It has not five fields.' },
};

let temporary: ReturnType<typeof temporaryFolder>;
let from: string;
let root: string;

beforeEach(() => {
  temporary = temporaryFolder();
  from = join(temporary.path, 'v2');
  root = join(temporary.path, 'session');
  mkdirSync(from);
});
afterEach(() => temporary[Symbol.dispose]());

const V2_INBOUND = `
  CREATE TABLE messages_in (id TEXT PRIMARY KEY, seq INTEGER UNIQUE, kind TEXT NOT NULL, timestamp TEXT NOT NULL,
    status TEXT DEFAULT 'pending', process_after TEXT, recurrence TEXT, series_id TEXT, tries INTEGER DEFAULT 0,
    trigger INTEGER NOT NULL DEFAULT 1, platform_id TEXT, channel_type TEXT, thread_id TEXT, content TEXT NOT NULL,
    source_session_id TEXT, on_wake INTEGER NOT NULL DEFAULT 0);
  CREATE INDEX idx_messages_in_series ON messages_in (series_id);
  CREATE TABLE delivered (message_out_id TEXT PRIMARY KEY, platform_message_id TEXT,
    status TEXT NOT NULL DEFAULT 'delivered', delivered_at TEXT NOT NULL);
  CREATE TABLE destinations (name TEXT PRIMARY KEY, display_name TEXT, type TEXT NOT NULL, channel_type TEXT,
    platform_id TEXT, agent_group_id TEXT);
  CREATE TABLE session_routing (id INTEGER PRIMARY KEY CHECK (id = 1), channel_type TEXT, platform_id TEXT,
    thread_id TEXT);`;

const V2_OUTBOUND = `
  CREATE TABLE messages_out (id TEXT PRIMARY KEY, seq INTEGER UNIQUE, in_reply_to TEXT, timestamp TEXT NOT NULL,
    deliver_after TEXT, recurrence TEXT, kind TEXT NOT NULL, platform_id TEXT, channel_type TEXT, thread_id TEXT,
    content TEXT NOT NULL);
  CREATE TABLE processing_ack (message_id TEXT PRIMARY KEY, status TEXT NOT NULL, status_changed TEXT NOT NULL);
  CREATE TABLE session_state (key TEXT PRIMARY KEY, value TEXT NOT NULL, updated_at TEXT NOT NULL);
  CREATE TABLE container_state (id INTEGER PRIMARY KEY CHECK (id = 1), current_tool TEXT,
    tool_declared_timeout_ms INTEGER, tool_started_at TEXT, updated_at TEXT NOT NULL);`;

function write(name: 'inbound.db' | 'outbound.db', sql: string): void {
  const db: Sqlite = openSqlite(join(from, name), 'create');
  try {
    db.exec(sql);
  } finally {
    db.close();
  }
}

function writeV2(inbound: string, outbound: string): void {
  write('inbound.db', V2_INBOUND + inbound);
  write('outbound.db', V2_OUTBOUND + outbound);
}

/** A v2 session as it is left in the middle of a day. */
function usualSession(): void {
  writeV2(
    `INSERT INTO messages_in (id, seq, kind, timestamp, status, process_after, tries, trigger, platform_id, channel_type,
       thread_id, content, series_id, recurrence, source_session_id) VALUES
       ('tg:1', 2, 'chat', '2026-11-20T08:00:00.123Z', 'completed', NULL, 0, 1, 'chat-1', 'telegram', NULL,
         '{"text":"old","sender":"Ann"}', 'tg:1', NULL, NULL),
       ('tg:2', 4, 'chat', '2026-11-21T08:00:00.000Z', 'pending', NULL, 3, 1, 'chat-1', 'telegram', 't1',
         '{"text":"open","attachments":[{"name":"a.txt"}]}', 'tg:2', NULL, NULL),
       ('tg:3', 6, 'chat', '2026-11-21T08:00:01.000Z', 'pending', NULL, 0, 0, 'chat-1', 'telegram', NULL,
         '{"text":"context"}', 'tg:3', NULL, NULL),
       ('tg:4', 8, 'chat-sdk', '2026-11-21T08:00:02.000Z', 'pending', '2026-11-21 13:30:00', 0, 1, 'chat-1', 'telegram',
         NULL, '{"text":"later","author":{"fullName":"Bob","userId":"7"}}', 'tg:4', NULL, 'sess-9'),
       ('task-1', 10, 'task', '2026-11-01T08:00:00.000Z', 'completed', '2026-11-20 09:00:00', 0, 1, 'chat-1', 'telegram',
         NULL, '{"prompt":"daily"}', 'task-1', NULL, NULL),
       ('task-1b', 12, 'task', '2026-11-20T09:00:00.000Z', 'pending', '2026-11-22T08:00:00.000Z', 0, 1, 'chat-1',
         'telegram', NULL, '{"prompt":"daily"}', 'task-1', '0 9 * * *', NULL),
       ('task-2', 14, 'task', '2026-11-20T09:00:00.000Z', 'paused', '2026-11-25T10:00:00+01:00', 0, 1, NULL, NULL, NULL,
         '{"prompt":"once"}', 'task-2', NULL, NULL),
       ('acked', 16, 'chat', '2026-11-21T08:00:03.000Z', 'pending', NULL, 0, 1, 'chat-1', 'telegram', NULL,
         '{"text":"done"}', 'acked', NULL, NULL),
       ('claimed', 18, 'chat', '2026-11-21T08:00:04.000Z', 'pending', NULL, 0, 1, 'chat-1', 'telegram', NULL,
         '{"text":"half"}', 'claimed', NULL, NULL);
     INSERT INTO delivered VALUES ('out-1', '4711', 'delivered', '2026-11-20 08:00:05'),
       ('out-3', NULL, 'failed', '2026-11-20 08:00:09');
     INSERT INTO destinations VALUES ('family', 'Family', 'channel', 'telegram', 'chat-2', NULL),
       ('coder', NULL, 'agent', NULL, NULL, 'group-2');
     INSERT INTO session_routing VALUES (1, 'telegram', 'chat-1', NULL);`,
    `INSERT INTO messages_out (id, seq, in_reply_to, timestamp, deliver_after, kind, platform_id, channel_type, thread_id,
       content) VALUES
       ('out-1', 3, 'tg:1', '2026-11-20T08:00:04.000Z', NULL, 'chat', 'chat-1', 'telegram', NULL, '{"text":"hi"}'),
       ('out-2', 5, NULL, '2026-11-20T08:00:05.000Z', NULL, 'chat', 'chat-1', 'telegram', NULL,
         '{"text":"unsent","files":["b.txt"]}'),
       ('out-3', 7, NULL, '2026-11-20T08:00:06.000Z', NULL, 'chat', 'chat-1', 'telegram', NULL, '{"text":"given up"}'),
       ('denied', 20, NULL, '2026-11-20 08:00:07', NULL, 'chat', 'chat-1', 'telegram', NULL, '{"text":"denied"}'),
       ('out-4', 9, NULL, '2026-11-20T08:00:08.000Z', '2026-11-21 14:00:00', 'chat', NULL, NULL, NULL, '{"text":"at 14"}');
     INSERT INTO processing_ack VALUES ('acked', 'completed', '2026-11-21 08:01:00'),
       ('claimed', 'processing', '2026-11-21 08:01:01');
     INSERT INTO session_state VALUES ('continuation:claude', 'token', '2026-11-20'), ('turn_send_invoked', '1', '');`,
  );
  mkdirSync(join(from, 'inbox', 'tg:2'), { recursive: true });
  writeFileSync(join(from, 'inbox', 'tg:2', 'a.txt'), 'for the agent');
  mkdirSync(join(from, 'outbox', 'out-2'), { recursive: true });
  writeFileSync(join(from, 'outbox', 'out-2', 'b.txt'), 'from the agent');
}

function imported(): { folder: SessionFolder; report: ImportReport } {
  const result = importV2Session(from, root, openSqlite, OPTIONS);
  if (result.type !== 'imported') throw new Error(JSON.stringify(result));
  return result;
}

function refusal(): string {
  const result = importV2Session(from, root, openSqlite, OPTIONS);
  if (result.type !== 'not-imported') throw new Error(JSON.stringify(result));
  expect([existsSync(root), existsSync(`${root}.partial`)]).toEqual([false, false]);
  return result.detail;
}

function everythingIn(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    names.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [path, readFileSync(path).toString('base64')];
    }),
  );
}

describe('times of NanoClaw v2 (FAILURES 21)', () => {
  it('are read in all their forms, as UTC where they name no zone, whatever zone this machine is in', () => {
    const forms: Record<string, number | undefined> = {
      '2026-11-21 08:00:05': Date.UTC(2026, 10, 21, 8, 0, 5),
      '2026-11-21T08:00:05': Date.UTC(2026, 10, 21, 8, 0, 5),
      '2026-11-21T08:00:05Z': Date.UTC(2026, 10, 21, 8, 0, 5),
      '2026-11-21T08:00:05.5Z': Date.UTC(2026, 10, 21, 8, 0, 5, 500),
      '2026-11-21T08:00:05.123456Z': Date.UTC(2026, 10, 21, 8, 0, 5, 123),
      '2026-11-21T09:00:05+01:00': Date.UTC(2026, 10, 21, 8, 0, 5),
      '2026-11-21T03:30:05-0430': Date.UTC(2026, 10, 21, 8, 0, 5),
      '2026-11-21T08:00Z': Date.UTC(2026, 10, 21, 8),
      '2026-02-30T08:00:05Z': undefined,
      '2026-11-21T25:00:05Z': undefined,
      '2026-11-21': undefined,
      tomorrow: undefined,
      '': undefined,
    };
    for (const [text, time] of Object.entries(forms)) expect([text, v2Time(text)]).toEqual([text, time]);
    expect(v2Time(1_000)).toBeUndefined();
  });
});

describe('the import of a NanoClaw v2 session', () => {
  it('reports what it took over, and what it did not', () => {
    usualSession();
    const { report } = imported();
    expect(report).toMatchObject({
      source: from,
      importedAt: NOW,
      taken: {
        pending: 4,
        ended: 3,
        series: 2,
        undelivered: 3,
        delivered: 2,
        continuations: 1,
        destinations: 2,
        attachments: 2,
      },
    });
    expect(report.notes).toEqual([
      { what: 'message of the agent "denied"', why: 'Its number was 20 and is now 21.' },
      { what: 'state "turn_send_invoked"', why: 'It means nothing here.' },
    ]);
  });

  it('lets pending messages go on under their numbers, with all tries before them, and remembers those that ended', () => {
    usualSession();
    const { folder } = imported();
    using host = HostSession.open(folder, openSqlite);
    expect(host.message('tg:2')).toMatchObject({ status: 'pending', tries: 0 });
    expect(host.message('tg:4')).toMatchObject({ processAfter: Date.UTC(2026, 10, 21, 13, 30) });
    expect(host.message('acked')).toMatchObject({ status: 'completed' });
    expect(host.nextDueAt()).toBe(Date.UTC(2026, 10, 21, 8));

    host.beginRun(runId('run-1'), NOW);
    using runner = RunnerSession.open(folder, openSqlite, handshake(runId('run-1')), NOW);
    const claimed = claim(runner, NOW, LIMITS);
    expect(idsOf(claimed).toSorted()).toEqual(['claimed', 'tg:2', 'tg:3']);
    const first = claimed.find((one) => one.claim.messageId === 'tg:2');
    expect(first).toMatchObject({
      message: { seq: 4, trigger: 'wakes', address: { channelType: 'telegram', platformId: 'chat-1', threadId: 't1' } },
    });
    const [late] = claim(runner, NOW + 86_400_000, LIMITS).filter((one) => one.claim.messageId === 'tg:4');
    expect(late).toMatchObject({
      message: { sourceSessionId: 'sess-9', content: { text: 'later', sender: { name: 'Bob', id: '7' } } },
    });
    expect(host.generation()).toBe(NOW);
    expect(runner.continuation('claude')).toBe('token');
    expect(runner.messageAt(2)).toMatchObject({ id: 'tg:1' });
    expect(runner.send({ id: 'new', kind: 'chat', address: null, inReplyTo: null, content: {} }, NOW).seq).toBe(23);
    const read = readOutbound(folder, openSqlite, { ...host.cursor(), again: [] });
    expect(read.type).toBe('read');
    host.endRun(runId('run-1'));
    if (read.type === 'read') expect(host.settle(read, NOW, INBOUND_RETRY)).toHaveLength(4);
  });

  it('makes each open task a series at its time, in the zone that it is given', () => {
    usualSession();
    const { folder } = imported();
    using host = HostSession.open(folder, openSqlite);
    expect(host.series.live()).toMatchObject([
      {
        id: 'task-1',
        status: 'active',
        recurrence: { cron: '0 9 * * *', timeZone: 'Europe/Berlin' },
        content: { prompt: 'daily' },
        address: { channelType: 'telegram', platformId: 'chat-1' },
        nextSlot: Date.UTC(2026, 10, 22, 8),
      },
      { id: 'task-2', status: 'paused', recurrence: null, nextSlot: Date.UTC(2026, 10, 25, 9), address: null },
    ]);
    expect(host.message('task-1b')).toBeUndefined();
    expect(host.message('task-1')).toMatchObject({ status: 'completed' });
  });

  it('continues series that v2 did not live to continue, and pauses those that it ended in silence', () => {
    writeV2(
      `INSERT INTO messages_in (id, seq, kind, timestamp, status, process_after, recurrence, series_id, content) VALUES
         ('done', 2, 'task', '2026-11-20T09:00:00Z', 'completed', '2026-11-20 09:00:00', '0 9 * * *', 'a', '{"prompt":"a"}'),
         ('dead', 4, 'task', '2026-11-20T09:00:00Z', 'failed', '2026-11-20 09:00:00', '0 9 * * *', 'b', '{"prompt":"b"}'),
         ('twice-1', 6, 'task', '2026-11-20T09:00:00Z', 'pending', '2026-11-22 09:00:00', '0 9 * * *', 'c', '{"prompt":"c"}'),
         ('twice-2', 8, 'task', '2026-11-20T09:00:00Z', 'pending', '2026-11-23 09:00:00', '0 9 * * *', 'c', '{"prompt":"c"}'),
         ('seconds', 10, 'task', '2026-11-20T09:00:00Z', 'pending', '2026-11-22 09:00:00', '* * * * * *', 'd', '{"prompt":"d"}'),
         ('at-once', 12, 'task', '2026-11-20T09:00:00Z', 'pending', NULL, NULL, 'e', '{"prompt":"e"}')`,
      '',
    );
    const { folder, report } = imported();
    using host = HostSession.open(folder, openSqlite);
    expect(host.series.live()).toMatchObject([
      { id: 'a', status: 'active', nextSlot: NOW + 60_000 },
      { id: 'b', status: 'paused', reason: expect.stringContaining('failed') },
      { id: 'c', status: 'active', nextSlot: Date.UTC(2026, 10, 23, 9) },
      { id: 'e', status: 'active', recurrence: null, nextSlot: Date.UTC(2026, 10, 20, 9) },
    ]);
    expect(report.notes).toEqual([
      { what: 'task "d"', why: 'It has not five fields.' },
      { what: 'task "c"', why: 'It had a second open occurrence, and one is enough.' },
    ]);
  });

  it('hands on what was not delivered, once, and knows what was', () => {
    usualSession();
    const { folder } = imported();
    using host = HostSession.open(folder, openSqlite);
    const read = readOutbound(folder, openSqlite, { ...host.cursor(), again: [] });
    if (read.type !== 'read') throw new Error(JSON.stringify(read));
    host.deliveries.accept(
      read.messages.map((message) => ({ message, address: ADDRESS })),
      read.messagesThrough,
      NOW,
    );
    const sent: string[] = [];
    for (let due = host.deliveries.due(NOW, 10); due.length > 0; due = host.deliveries.due(NOW, 10)) {
      for (const attempt of host.deliveries.begin(due, NOW, INBOUND_RETRY)) {
        sent.push(attempt.messageOutId);
        host.deliveries.record(attempt, { to: 'delivered', platformMessageId: null }, NOW);
      }
    }
    expect(sent).toEqual(['out-2', 'denied']);
    expect(host.deliveries.nextAt()).toBe(Date.UTC(2026, 10, 21, 14));
    expect(host.deliveries.parts(3)).toMatchObject([{ status: 'delivered', platformMessageId: '4711' }]);
    expect(host.deliveries.deadLetters(10)).toMatchObject([
      { messageOutId: 'out-3', message: { content: { text: 'given up' } } },
    ]);
    expect(host.routing()).toMatchObject({
      destinations: [
        { name: 'coder', displayName: 'coder', type: 'agent', agentGroupId: 'group-2' },
        { name: 'family', displayName: 'Family', type: 'channel' },
      ],
      replyTo: { channelType: 'telegram', platformId: 'chat-1', threadId: null },
    });
    expect(readFileSync(join(messageFiles(folder.inbound.files, 'tg:2'), 'a.txt'), 'utf8')).toBe('for the agent');
    expect(readFileSync(join(messageFiles(folder.outbound.files, 'out-2'), 'b.txt'), 'utf8')).toBe('from the agent');
  });

  it('leaves the old folder as it is, and done again only gives its report again', () => {
    usualSession();
    const before = everythingIn(from);
    const { folder, report } = imported();
    expect(everythingIn(from)).toEqual(before);
    const session = everythingIn(folder.root);
    expect(importV2Session(from, root, openSqlite, { ...OPTIONS, now: NOW + 1 })).toEqual({
      type: 'imported-before',
      report,
    });
    expect(everythingIn(folder.root)).toEqual(session);
    expect(readdirSync(folder.host)).toEqual(['import-v2.json']);
  });

  it('starts over where an import was cut short', () => {
    usualSession();
    mkdirSync(join(`${root}.partial`, 'inbound'), { recursive: true });
    writeFileSync(join(`${root}.partial`, 'inbound', 'inbound.db'), 'half');
    expect(imported().report.taken.pending).toBe(4);
  });

  it('takes a session whose container never ran, and one of the first v2 that lacks columns', () => {
    write(
      'inbound.db',
      `CREATE TABLE messages_in (id TEXT PRIMARY KEY, seq INTEGER UNIQUE, kind TEXT NOT NULL, timestamp TEXT NOT NULL,
         status TEXT DEFAULT 'pending', process_after TEXT, recurrence TEXT, tries INTEGER DEFAULT 0, platform_id TEXT,
         channel_type TEXT, thread_id TEXT, content TEXT NOT NULL);
       INSERT INTO messages_in (id, seq, kind, timestamp, content)
         VALUES ('m', NULL, 'chat', '2026-11-20 08:00:00', '{"text":"x"}')`,
    );
    const { folder } = imported();
    using host = HostSession.open(folder, openSqlite);
    expect(host.message('m')).toMatchObject({ status: 'pending', processAfter: Date.UTC(2026, 10, 20, 8) });
    expect(host.dueCount(NOW)).toBe(1);
  });

  it('takes what was committed when the container died in mid-commit', () => {
    writeV2(
      '',
      "INSERT INTO messages_out (id, seq, timestamp, kind, content) VALUES ('x', 1, '2026-11-20 08:00:00', 'chat', '{}')",
    );
    const path = join(from, 'outbound.db');
    const db = openSqlite(path, 'write');
    // With so small a cache, pages reach the file while the journal that takes them back is there.
    db.exec('PRAGMA cache_size = 1; BEGIN IMMEDIATE');
    for (let i = 1; i <= 200; i++) {
      db.run("INSERT INTO session_state VALUES (:key, hex(zeroblob(500)), '')", { key: `continuation:half-${i}` });
    }
    const [half, journal] = [readFileSync(path), readFileSync(`${path}-journal`)];
    db.exec('ROLLBACK');
    db.close();
    writeFileSync(path, half);
    writeFileSync(`${path}-journal`, journal);

    const { report } = imported();
    expect(report.taken).toMatchObject({ undelivered: 1, continuations: 0 });
    expect([readFileSync(path), readFileSync(`${path}-journal`)]).toEqual([half, journal]);
  });

  it('adopts a continuation from before v2 knew more than one provider', () => {
    writeV2('', "INSERT INTO session_state VALUES ('sdk_session_id', 'old token', '')");
    const { folder } = imported();
    using runner = RunnerSession.open(folder, openSqlite, handshake(runId('run-1')), NOW);
    expect(runner.continuation('claude')).toBe('old token');
  });

  it('passes rows over that make no sense, each alone and with its reason', () => {
    writeV2(
      `INSERT INTO messages_in (id, seq, kind, timestamp, status, process_after, content) VALUES
         ('a', 2, 'chat', '2026-11-20 08:00:00', 'pending', NULL, 'no json'),
         ('b', 4, 'chat', '2026-11-20 08:00:00', 'pending', NULL, 'null'),
         ('c', 6, 'song', '2026-11-20 08:00:00', 'pending', NULL, '{}'),
         ('d', 8, 'chat', '2026-11-20 08:00:00', 'pending', 'someday', '{}'),
         ('e', 10, 'chat', '2026-11-20 08:00:00', 'lost', NULL, '{}'),
         (hex(zeroblob(200)), 12, 'chat', '2026-11-20 08:00:00', 'pending', NULL, '{}'),
         ('f', 14, 'chat', '2026-11-20 08:00:00', 'pending', NULL, x'00ff'),
         ('good', 16, 'chat', '2026-11-20 08:00:00', 'pending', NULL, '{"text":"x"}');
       INSERT INTO delivered VALUES ('nowhere', NULL, 'delivered', '2026-11-20 08:00:00');
       INSERT INTO destinations VALUES ('odd', NULL, 'channel', NULL, NULL, NULL)`,
      `INSERT INTO messages_out (id, seq, timestamp, deliver_after, kind, content) VALUES
         ('x', 1, '2026-11-20 08:00:00', 'someday', 'chat', '{}'), ('y', 3, '2026-11-20 08:00:00', NULL, 'chat', '[')`,
    );
    const { report } = imported();
    expect(report.taken).toMatchObject({ pending: 1, undelivered: 0, destinations: 0 });
    expect(report.notes).toHaveLength(11);
  });
});

describe('an import that is refused', () => {
  it('says that a folder is none of v2', () => {
    expect(refusal()).toContain('no session of NanoClaw v2');
  });

  it('says that something else is where the session would be', () => {
    usualSession();
    mkdirSync(root);
    expect(importV2Session(from, root, openSqlite, OPTIONS)).toMatchObject({ type: 'not-imported' });
    expect(readdirSync(root)).toEqual([]);
  });

  it('says that somebody is writing, and succeeds once he is not', () => {
    usualSession();
    const db = openSqlite(join(from, 'outbound.db'), 'write');
    db.exec('BEGIN EXCLUSIVE');
    expect(refusal()).toContain('stop v2');
    db.exec('ROLLBACK');
    db.close();
    imported();
  });

  it('executes nothing that the old container may have put into its files (FAILURES 46)', () => {
    for (const evil of [
      'CREATE TRIGGER t AFTER INSERT ON delivered BEGIN SELECT 1; END',
      'DROP TABLE delivered; CREATE VIEW delivered AS WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i FROM n) SELECT i FROM n',
      'ALTER TABLE delivered ADD COLUMN x AS (length(hex(zeroblob(1000000000))))',
    ]) {
      write('inbound.db', V2_INBOUND + evil);
      expect(refusal()).toContain('is not v2');
      rmSync(join(from, 'inbound.db'));
    }
  });

  it('follows no link and waits for no pipe in the old folder (FAILURES 45)', () => {
    usualSession();
    const real = join(temporary.path, 'real');
    for (const name of ['inbound.db', 'outbound.db']) {
      const path = join(from, name);
      const bytes = readFileSync(path);
      writeFileSync(real, bytes);
      rmSync(path);
      symlinkSync(real, path);
      expect(refusal()).toContain('not a plain file');
      rmSync(path);
      execFileSync('mkfifo', [path]);
      expect(refusal()).toContain('not a plain file');
      rmSync(path);
      writeFileSync(path, bytes);
    }
    rmSync(join(from, 'inbox', 'tg:2', 'a.txt'));
    symlinkSync(real, join(from, 'inbox', 'tg:2', 'a.txt'));
    const { report } = imported();
    expect(report.taken.attachments).toBe(1);
    expect(report.notes.map((note) => note.why)).toContain('It is not-a-file.');
  });
});
