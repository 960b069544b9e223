import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { openRegistry, type Registry } from '@nanoclaw/registry';
import { createSession, HostSession, runId, sessionFolder } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type BackupOptions, backup } from '../src/data/backup.ts';
import { type DataFolder, dataFolder, makeDataFolder } from '../src/data/data-folder.ts';
import { restore, restoreSessionFrom } from '../src/data/restore.ts';
import { ensureDefaults, MAIN_CHAT } from '../src/host/defaults.ts';

let place: string;
let data: DataFolder;
let registry: Registry;

beforeEach(async () => {
  place = mkdtempSync(join(tmpdir(), 'nano-backup-'));
  data = makeDataFolder(join(place, 'data'));
  registry = await opened(data);
  await ensureDefaults(registry);
});

afterEach(async () => {
  await registry.close();
  rmSync(place, { recursive: true, force: true });
});

function opened(folder: DataFolder): Promise<Registry> {
  let ids = 0;
  return openRegistry({ file: folder.registry, now: () => 1_000, newId: () => `id-${++ids}` });
}

/** The default agent's session, with one message in it. */
async function sessionWith(text: string) {
  const wired = await registry.wiringsFor('terminal', MAIN_CHAT);
  const wiring = wired?.wirings[0]?.wiring;
  if (wiring === undefined) throw new Error('There is no default wiring.');
  const { agentGroupId, messagingGroupId } = wiring;
  const session = await registry.sessionFor({ scope: 'chat', agentGroupId, messagingGroupId });
  const folder = createSession(data.session(agentGroupId, session.id));
  enqueue(folder.root, text);
  return { id: session.id, agentGroupId, root: folder.root };
}

function enqueue(root: string, text: string): void {
  using files = HostSession.open(sessionFolder(root), openSqlite);
  const address = { channelType: 'terminal', platformId: MAIN_CHAT, threadId: null };
  files.enqueue({ id: text, kind: 'chat', timestamp: 1, trigger: 'wakes', address, content: { text } }, 1);
}

function messagesIn(root: string): string[] {
  const db = openSqlite(sessionFolder(root).inbound.database, 'read');
  try {
    return db.all<{ id: string }>('SELECT id FROM messages_in ORDER BY seq').map(({ id }) => id);
  } finally {
    db.close();
  }
}

function options(changes: Partial<BackupOptions> = {}): BackupOptions {
  return {
    data,
    into: join(place, 'backup'),
    sessions: async () =>
      (await registry.sessions()).map(({ id, key }) => ({ id, agentGroupId: key.agentGroupId, runEnded: true })),
    now: () => 5_000,
    sleep: () => Promise.resolve(),
    onProgress: () => undefined,
    ...changes,
  };
}

test('a data folder made from a backup has all that was there, while the first one goes on', async () => {
  const session = await sessionWith('before');
  const group = (await registry.agentGroups())[0];
  mkdirSync(data.agent(MAIN_CHAT), { recursive: true });
  writeFileSync(join(data.agent(MAIN_CHAT), 'memory.md'), 'what I know');
  writeFileSync(join(data.root, 'config.json'), '{}');

  expect(await backup(options())).toEqual({ sessions: 1, leftOut: [] });
  enqueue(session.root, 'after');
  const again = dataFolder(join(place, 'again'));
  expect(await restore(join(place, 'backup'), again.root, 9_000)).toEqual({ sessions: 1, leftOut: [] });

  expect(messagesIn(again.session(session.agentGroupId, session.id))).toEqual(['before']);
  expect(messagesIn(session.root)).toEqual(['before', 'after']);
  expect(readFileSync(join(again.agent(MAIN_CHAT), 'memory.md'), 'utf8')).toBe('what I know');
  expect(existsSync(join(again.root, 'config.json'))).toBe(true);
  await using restored = await opened(again);
  expect(await restored.agentGroups()).toEqual([group]);
});

test('one session can be put back, and what was there is moved aside', async () => {
  const session = await sessionWith('before');
  await backup(options());
  enqueue(session.root, 'after');
  const aside = restoreSessionFrom(join(place, 'backup'), data, session.id, 7_000);
  expect(messagesIn(session.root)).toEqual(['before']);
  expect(messagesIn(aside ?? '')).toEqual(['before', 'after']);
  expect(() => restoreSessionFrom(join(place, 'backup'), data, 'nobody', 7_000)).toThrow(/does not have the session/);
});

test('a session is not put back while it may have a run, nor under numbers that it had before', async () => {
  const session = await sessionWith('before');
  await backup(options());
  const folder = sessionFolder(session.root);
  {
    using host = HostSession.open(folder, openSqlite);
    host.beginRun(runId('run-1'), 6_000);
  }
  const restoring = () => restoreSessionFrom(join(place, 'backup'), data, session.id, 7_000);
  expect(restoring).toThrow(/may have a run that is alive \(run-1\); nothing was changed/);
  expect(readdirSync(dirname(session.root))).toEqual([session.id]);
  {
    using host = HostSession.open(folder, openSqlite);
    host.endRun(runId('run-1'));
  }
  restoring();
  using restored = HostSession.open(folder, openSqlite);
  expect([restored.liveRun(), restored.generation()]).toEqual([undefined, 7_000]);
});

test('links and pipes that an agent has planted neither leak a file of the host nor stop the backup', async () => {
  await sessionWith('before');
  const own = data.agent(MAIN_CHAT);
  mkdirSync(own, { recursive: true });
  writeFileSync(join(place, 'secret'), 'the key');
  symlinkSync(join(place, 'secret'), join(own, 'link'));
  await execa('mkfifo', [join(own, 'pipe')]);
  await backup(options());
  expect(readFileSync(join(place, 'backup', 'agents', 'groups', `${MAIN_CHAT}.tar`), 'latin1')).not.toContain(
    'the key',
  );
  await restore(join(place, 'backup'), join(place, 'again'), 9_000);
  expect(readFileSync(join(place, 'secret'), 'utf8')).toBe('the key');
});

test('a damaged session is left out, and the others are saved', async () => {
  const session = await sessionWith('before');
  writeFileSync(sessionFolder(session.root).inbound.database, 'not a database, and long enough to be taken for one');
  const { leftOut } = await backup(options());
  expect(leftOut).toEqual([expect.stringMatching(/was left out, because its file is damaged/)]);
});

test('a session that is damaged only deep inside is found when the backup is taken, and not when it is needed', async () => {
  const session = await sessionWith('before');
  const file = sessionFolder(session.root).inbound.database;
  const bytes = readFileSync(file);
  bytes.fill(0xa5, 8_192, 16_384);
  writeFileSync(file, bytes);
  const { leftOut } = await backup(options());
  expect(leftOut).toEqual([expect.stringMatching(/^Session .* was left out, because /)]);
  expect(existsSync(join(place, 'backup', 'sessions', session.agentGroupId, session.id))).toBe(false);
});

test('nothing is overwritten, and nothing is left behind that is not whole', async () => {
  await sessionWith('before');
  const taken = options();
  await backup(taken);
  await expect(backup(taken)).rejects.toMatchObject({ exitCode: 7 });
  await expect(restore(taken.into, data.root, 9_000)).rejects.toMatchObject({ exitCode: 7 });
  await expect(restore(join(place, 'nothing'), join(place, 'again'), 9_000)).rejects.toMatchObject({ exitCode: 2 });

  writeFileSync(join(place, 'file'), '');
  await expect(backup(options({ into: join(place, 'file', 'second') }))).rejects.toThrow(/could not be written \(/);
  expect(existsSync(join(place, 'second.partial'))).toBe(false);
});

test('a registry that is damaged is saved as it is and named, and every session that has a folder with it (failure 73)', async () => {
  const session = await sessionWith('before');
  writeFileSync(join(data.root, 'config.json'), '{}');
  await registry.close();
  for (const side of ['-wal', '-shm']) rmSync(`${data.registry}${side}`, { force: true });
  writeFileSync(data.registry, 'garbage '.repeat(1_000));
  const error = new Error('It is damaged.');
  const { sessions: count, leftOut } = await backup(options({ sessions: () => Promise.reject(error) }));
  expect(count).toBe(1);
  expect(leftOut).toEqual([
    expect.stringMatching(/registry.db is damaged \(.*\); it was saved as it is/),
    expect.stringMatching(
      /^The registry cannot be asked \(It is damaged.\); every session that has a folder was saved/,
    ),
  ]);
  const again = dataFolder(join(place, 'again'));
  await restore(join(place, 'backup'), again.root, 9_000);
  expect(messagesIn(again.session(session.agentGroupId, session.id))).toEqual(['before']);
  expect(readFileSync(again.registry)).toEqual(readFileSync(data.registry));
});

test('what the host keeps in folders of its own is saved, and what cannot be read of it is left out and named', async () => {
  mkdirSync(join(data.channel('front'), 'files'), { recursive: true });
  writeFileSync(join(data.channel('front'), 'files', 'one'), 'kept');
  symlinkSync('/etc/hostname', join(data.root, 'link.json'));
  writeFileSync(join(data.root, 'odd.db'), 'no database');
  const { leftOut } = await backup(options());
  expect(leftOut).toEqual([
    expect.stringMatching(/link.json was left out, because it is a link/),
    expect.stringMatching(/odd.db is damaged \(file is not a database\); it was saved as it is/),
  ]);
  const again = dataFolder(join(place, 'again'));
  expect(await restore(join(place, 'backup'), again.root, 9_000)).toEqual({ sessions: 0, leftOut: [] });
  expect(readFileSync(join(again.channel('front'), 'files', 'one'), 'utf8')).toBe('kept');
  expect(existsSync(join(again.root, 'host.lock'))).toBe(false);
});

/** Where a channel counts. */
function countingFile(of: DataFolder): string {
  return join(of.channel('front'), 'history.db');
}

/** Writes one more row into a table, and gives its number. */
function numberIn(path: string, table: string): number {
  const db = openSqlite(path, 'write');
  db.run(`INSERT INTO ${table} (text) VALUES ('x')`);
  const [row] = db.all<{ n: number }>(`SELECT max(n) AS n FROM ${table}`);
  db.close();
  return row?.n ?? 0;
}

test('a number that a channel gave after the backup was taken is not given again after it was put back (failure 63)', async () => {
  mkdirSync(data.channel('front'), { recursive: true });
  const db = openSqlite(countingFile(data), 'create');
  for (const table of ['busy', 'fresh']) {
    db.exec(`CREATE TABLE ${table} (n INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL)`);
  }
  db.close();
  numberIn(countingFile(data), 'busy');
  await backup(options());
  const seen = Math.max(...['busy', 'busy', 'busy', 'fresh'].map((table) => numberIn(countingFile(data), table)));
  const again = dataFolder(join(place, 'again'));
  await restore(join(place, 'backup'), again.root, 9_000);
  for (const table of ['busy', 'fresh']) expect(numberIn(countingFile(again), table)).toBeGreaterThan(seen);
});

test('what was changed in a backup afterwards is left out and named, and the rest is put back (failure 73)', async () => {
  const session = await sessionWith('before');
  for (const name of [MAIN_CHAT, 'other']) {
    mkdirSync(data.agent(name), { recursive: true });
    writeFileSync(join(data.agent(name), 'memory.md'), 'what I know');
  }
  writeFileSync(join(data.root, 'config.json'), '{}');
  await backup(options());
  const saved = join('sessions', session.agentGroupId, session.id, 'inbound', 'inbound.db');
  for (const file of [saved, 'host/config.json', 'agents/groups/other.tar']) {
    writeFileSync(join(place, 'backup', file), 'something else');
  }
  const again = dataFolder(join(place, 'again'));
  const { leftOut } = await restore(join(place, 'backup'), again.root, 9_000);
  expect(leftOut).toEqual([
    expect.stringMatching(/^config.json was left out/),
    expect.stringMatching(new RegExp(`^Session ${session.id} was left out: .*inbound.db is not what was saved`)),
    expect.stringMatching(/^groups\/other was left out/),
  ]);
  expect(readFileSync(join(again.agent(MAIN_CHAT), 'memory.md'), 'utf8')).toBe('what I know');
  expect(() => restoreSessionFrom(join(place, 'backup'), data, session.id, 7_000)).toThrow(/is not what was saved/);
  expect(messagesIn(session.root)).toEqual(['before']);

  writeFileSync(join(place, 'backup', 'host', 'registry.db'), 'something else');
  await expect(restore(join(place, 'backup'), join(place, 'third'), 9_000)).rejects.toMatchObject({ exitCode: 2 });
  expect(existsSync(join(place, 'third'))).toBe(false);
});
