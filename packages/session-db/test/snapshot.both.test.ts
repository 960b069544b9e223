import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSqlite } from '#driver';
import {
  HostSession,
  INBOUND_RETRY,
  RunnerSession,
  readOutbound,
  restoreSession,
  runId,
  type SeriesRecord,
  type SessionFolder,
  snapshotSession,
  spoolAttachments,
  storeAttachments,
} from '../src/index.ts';
import { deliverySettlement, messageFiles } from '../src/protocol.ts';
import { INBOUND_VERSION } from '../src/schema.ts';
import type { Manifest } from '../src/snapshot.ts';
import { ADDRESS, chat, claim, handshake, idsOf, LIMITS, reply, TestSession } from './support.ts';

let session: TestSession;
let into: string;
let root: string;
/** Of a busy session. */
let runner: RunnerSession | undefined;

beforeEach(() => {
  session = new TestSession(openSqlite);
  into = join(session.folder.root, '..', 'snapshot');
  root = join(session.folder.root, '..', 'restored');
});
afterEach(() => {
  endOfRunner();
  session[Symbol.dispose]();
});

function snapshot(runEnded = false) {
  return snapshotSession(session.folder, into, openSqlite, { takenAt: 5_000, runEnded });
}

function taken() {
  const result = snapshot();
  if (result.type !== 'taken') throw new Error(JSON.stringify(result));
  return result;
}

function restored() {
  const result = restoreSession(into, root, openSqlite, 9_000);
  if (result.type !== 'restored') throw new Error(JSON.stringify(result));
  return result;
}

const SERIES: SeriesRecord = {
  id: 'daily',
  status: 'active',
  reason: null,
  recurrence: { cron: '0 9 * * *', timeZone: 'Europe/Berlin' },
  content: { prompt: 'look' },
  address: ADDRESS,
  catchUp: { type: 'latest' },
  overlap: 'skip',
  jitterMs: 0,
  startAt: 0,
  endAt: null,
  countMax: null,
  pauseAfter: null,
  nextSlot: 9_000,
  owed: [],
  fired: 2,
  failures: 0,
  createdAt: 1,
  updatedAt: 1,
};

/** A session in the middle of everything: one message answered, one being worked on, one pending; files both ways. */
async function busySession(): Promise<void> {
  const { host, folder } = session;
  await storeAttachments(folder, 'm1', [{ name: 'in.txt', bytes: [Buffer.from('for the agent')] }]);
  host.enqueue(chat('m1'), 1_000);
  host.enqueue(chat('m2'), 1_000);
  host.series.edit(1_000, (edit) => edit.put(SERIES));
  runner = session.startRun();
  const [m1] = claim(runner, 1_000, { ...LIMITS, work: 1 });
  if (m1 === undefined) throw new Error('nothing was claimed');
  const outgoing = messageFiles(folder.outbound.files, 'r1');
  mkdirSync(outgoing, { recursive: true });
  writeFileSync(join(outgoing, 'out.txt'), 'from the agent');
  runner.finish([m1.claim], { type: 'completed' }, [reply('r1', 'm1'), reply('r2', 'm1')], 1_100);
  runner.setContinuation('claude', 'token', 1_100);
  spoolAttachments(folder, 'r1', ['out.txt']);
  const seen = session.contents();
  host.settle(seen, 1_200, INBOUND_RETRY);
  host.deliveries.accept(
    seen.messages.map((message) => ({ message, address: ADDRESS })),
    seen.messagesThrough,
    1_200,
  );
  for (const attempt of host.deliveries.begin(host.deliveries.due(1_200, 1), 1_200, INBOUND_RETRY)) {
    const sent = { type: 'sent', platformMessageId: 'p1' } as const;
    host.deliveries.record(attempt, deliverySettlement(1, sent, 1_200, INBOUND_RETRY), 1_200);
  }
  claim(runner, 1_300);
  host.enqueue(chat('m3'), 1_300);
}

function endOfRunner(): void {
  runner?.[Symbol.dispose]();
  runner = undefined;
}

describe('a snapshot of a session', () => {
  it('holds both files and the attachments under a manifest with their sizes and hashes', async () => {
    await busySession();
    const { manifest, leftOut } = taken();
    expect(leftOut).toEqual([]);
    expect(manifest).toMatchObject({ protocolVersion: INBOUND_VERSION, takenAt: 5_000 });
    expect(manifest.files.map((file) => file.path)).toEqual([
      'host/spool/r1/out.txt',
      'inbound/files/m1/in.txt',
      'inbound/inbound.db',
      'outbound/files/r1/out.txt',
      'outbound/outbound.db',
    ]);
    const stored: Manifest = JSON.parse(readFileSync(join(into, 'manifest.json'), 'utf8'));
    expect(stored).toEqual(manifest);
    for (const { path, bytes, sha256 } of manifest.files) {
      const content = readFileSync(join(into, path));
      expect([content.length, createHash('sha256').update(content).digest('hex')]).toEqual([bytes, sha256]);
    }
    expect(readdirSync(join(into, '..')).filter((name) => name.includes('partial'))).toEqual([]);
  });

  it('goes on, restored, where it was taken: messages, series, deliveries, continuation, numbers and files', async () => {
    await busySession();
    taken();
    endOfRunner();
    const { folder } = restored();
    using host = HostSession.open(folder, openSqlite);
    expect(host.liveRun()).toBeUndefined();
    expect(host.series.live()).toEqual([SERIES]);
    expect(host.deliveries.parts(5)).toMatchObject([{ status: 'delivered', platformMessageId: 'p1' }]);
    expect(host.deliveries.due(9_000, 10)).toMatchObject([{ messageOutId: 'r2' }]);

    // The claim of the run that was live is a dead run's.
    const read = readOutbound(folder, openSqlite, { ...host.cursor(), again: [] });
    if (read.type !== 'read') throw new Error(read.type);
    expect(host.settle(read, 6_000, INBOUND_RETRY)).toMatchObject([{ messageId: 'm2', to: 'retry' }]);

    const run = runId('run-2');
    host.beginRun(run, 20_000);
    using next = RunnerSession.open(folder, openSqlite, handshake(run), 20_000);
    expect(next.continuation('claude')).toBe('token');
    const claimed = claim(next, 20_000);
    expect(idsOf(claimed).toSorted()).toEqual(['m2', 'm3']);
    const [seq] = next.finish(
      claimed.map((one) => one.claim),
      { type: 'completed' },
      [reply('r3', 'm2')],
      20_000,
    );
    expect(seq).toBe(9);
    const after = readOutbound(folder, openSqlite, { ...host.cursor(), again: [] });
    if (after.type !== 'read') throw new Error(after.type);
    expect(host.settle(after, 20_000, INBOUND_RETRY)).toHaveLength(2);

    expect(readFileSync(join(messageFiles(folder.inbound.files, 'm1'), 'in.txt'), 'utf8')).toBe('for the agent');
    expect(statSync(folder.inbound.database).mode & 0o777).toBe(0o644);
    writeFileSync(join(messageFiles(folder.outbound.files, 'r1'), 'out.txt'), 'changed');
    const [spooled] = spoolAttachments(folder, 'r1', ['out.txt']);
    expect(spooled?.type === 'stored' && readFileSync(spooled.path, 'utf8')).toBe('from the agent');
  });

  it('is not taken while either side commits, and then leaves nothing', async () => {
    await busySession();
    for (const { database } of [session.folder.inbound, session.folder.outbound]) {
      const db = openSqlite(database, 'write');
      db.exec('BEGIN EXCLUSIVE');
      expect(snapshot()).toEqual({ type: 'not-taken', why: 'busy' });
      db.exec('ROLLBACK');
      db.close();
      expect(existsSync(into)).toBe(false);
      expect(existsSync(`${into}.partial`)).toBe(false);
    }
    expect(snapshot().type).toBe('taken');
  });

  it('does not overwrite an earlier one', () => {
    taken();
    const before = readFileSync(join(into, 'manifest.json'));
    expect(snapshot()).toEqual({ type: 'not-taken', why: 'exists' });
    expect(readFileSync(join(into, 'manifest.json'))).toEqual(before);
  });

  it('leaves out what the container made untrustworthy, says so, and saves the rest', async () => {
    await busySession();
    endOfRunner();
    const db = openSqlite(session.folder.outbound.database, 'write');
    db.exec('CREATE VIEW v AS SELECT 1');
    db.close();
    const outgoing = messageFiles(session.folder.outbound.files, 'r1');
    symlinkSync(session.folder.inbound.database, join(outgoing, 'link'));
    writeFileSync(join(outgoing, 'giant'), '');
    truncateSync(join(outgoing, 'giant'), 2 ** 40);
    symlinkSync(session.folder.host, join(session.folder.outbound.files, 'r2'));
    const { manifest, leftOut } = taken();
    expect(leftOut.map(({ path }) => path).toSorted()).toEqual([
      'outbound/files/r1/giant',
      'outbound/files/r1/link',
      'outbound/files/r2',
      'outbound/outbound.db',
    ]);
    expect(manifest.files.map((file) => file.path)).toContain('inbound/inbound.db');
  });

  it('goes on, restored without the runner’s file, with a new one, whose acks are not overlooked', async () => {
    await busySession();
    endOfRunner();
    writeFileSync(session.folder.outbound.database, 'no database any more');
    taken();
    const { folder } = restored();
    expect(existsSync(folder.outbound.database)).toBe(false);
    using host = HostSession.open(folder, openSqlite);
    host.beginRun(runId('run-2'), 9_000);
    using next = RunnerSession.open(folder, openSqlite, handshake(runId('run-2')), 9_000);
    const claimed = claim(next, 9_000, { ...LIMITS, work: 1 });
    next.finish(
      claimed.map((one) => one.claim),
      { type: 'completed' },
      [reply('r9', 'm2')],
      9_000,
    );
    const read = readOutbound(folder, openSqlite, { ...host.cursor(), again: [] });
    if (read.type !== 'read') throw new Error(read.type);
    expect(host.settle(read, 9_000, INBOUND_RETRY)).toMatchObject([{ messageId: 'm2', to: 'completed' }]);
    expect(read.messages).toMatchObject([{ id: 'r9' }]);
  });
});

function generationOf(folder: SessionFolder): number {
  using host = HostSession.open(folder, openSqlite);
  return host.generation();
}

function refusal(): string {
  const result = restoreSession(into, root, openSqlite, 9_000);
  expect(existsSync(`${root}.partial`)).toBe(false);
  return result.type === 'restored' ? 'restored' : result.why;
}

describe('restoring a snapshot', () => {
  it('gives a session without a live run, whatever was live when the snapshot was taken (failure 63)', async () => {
    await busySession();
    expect(session.host.liveRun()).toBe('run-1');
    taken();
    using host = HostSession.open(restored().folder, openSqlite);
    expect(host.liveRun()).toBeUndefined();
  });

  it('gives the session a generation that it never had, however often the same snapshot is restored', async () => {
    await busySession();
    taken();
    const generations = [restored().folder].map((folder) => generationOf(folder));
    for (const now of [9_001, 8_000]) {
      rmSync(root, { recursive: true });
      const result = restoreSession(into, root, openSqlite, now);
      if (result.type !== 'restored') throw new Error(result.detail);
      generations.push(generationOf(result.folder));
    }
    expect(generationOf(session.folder)).toBe(0);
    expect(generations).toEqual([9_000, 9_001, 8_000]);
  });

  it('refuses to write over anything that is there', async () => {
    await busySession();
    taken();
    const result = restoreSession(into, session.folder.root, openSqlite, 9_000);
    expect(result).toMatchObject({ type: 'not-restored', why: 'exists' });
    mkdirSync(root);
    expect(refusal()).toBe('exists');
    expect(readdirSync(root)).toEqual([]);
  });

  it('refuses a snapshot of which a file is changed, missing, cut short or a link', async () => {
    await busySession();
    for (const path of taken().manifest.files.map((file) => join(into, file.path))) {
      const whole = readFileSync(path);
      const flipped = Buffer.from(whole);
      flipped[0] = (flipped[0] ?? 0) ^ 1;
      for (const content of [flipped, whole.subarray(1), Buffer.concat([whole, Buffer.from('x')])]) {
        writeFileSync(path, content);
        expect(refusal()).toBe('damaged');
      }
      rmSync(path);
      expect(refusal()).toBe('damaged');
      symlinkSync('/etc/hostname', path);
      expect(refusal()).toBe('damaged');
      rmSync(path);
      writeFileSync(path, whole);
    }
    expect(refusal()).toBe('restored');
  });

  it('refuses a manifest that is missing, no manifest, newer than this program, or names another place', async () => {
    await busySession();
    const { manifest } = taken();
    const path = join(into, 'manifest.json');
    const [first] = manifest.files;
    const bad: [unknown, string][] = [
      ['no json', 'damaged'],
      [null, 'damaged'],
      [{ ...manifest, files: [] }, 'damaged'],
      [{ ...manifest, files: [...manifest.files, first] }, 'damaged'],
      [{ ...manifest, takenAt: 'today' }, 'damaged'],
      [{ ...manifest, protocolVersion: 99 }, 'too-new'],
    ];
    for (const outside of ['../evil', '/tmp/evil', 'host/spool/../evil', 'inbound/files/a/b/c', 'inbound/bell', 'a']) {
      bad.push([{ ...manifest, files: [...manifest.files, { ...first, path: outside }] }, 'damaged']);
    }
    for (const [content, why] of bad) {
      writeFileSync(path, JSON.stringify(content));
      expect([content, refusal()]).toEqual([content, why]);
    }
    rmSync(path);
    expect(refusal()).toBe('damaged');
    writeFileSync(path, JSON.stringify(manifest));
    expect(refusal()).toBe('restored');
  });
});
