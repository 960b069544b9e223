import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DataFolder, dataFolder, makeDataFolder } from '@nanoclaw/host/data';
import { openRegistry } from '@nanoclaw/registry';
import { createSession, HostSession, inProcessReader, RunnerSession, runId, sessionFolder } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { examineData } from '../src/doctor-data.ts';

let place: string;
let data: DataFolder;
/** Two, with a message and a run that has ended. */
let sessions: { readonly id: string; readonly root: string }[];

beforeEach(async () => {
  place = mkdtempSync(join(tmpdir(), 'doctor-data-'));
  mkdirSync(join(place, 'scratch'));
  data = makeDataFolder(join(place, 'data'));
  let ids = 0;
  await using registry = await openRegistry({ file: data.registry, now: () => 1_000, newId: () => `id-${++ids}` });
  sessions = [];
  for (const folder of ['main', 'other']) {
    const settings = { provider: 'offline', model: null, effort: null, assistantName: null, messagesPerPrompt: 10 };
    const { id: agentGroupId } = await registry.createAgentGroup({ folder, name: folder, ...settings });
    const { id } = await registry.sessionFor({ scope: 'agent', agentGroupId });
    const made = createSession(data.session(agentGroupId, id));
    using host = HostSession.open(made, openSqlite);
    host.enqueue({ id: 'm', kind: 'chat', timestamp: 1, trigger: 'wakes', address: null, content: { text: 'hi' } }, 1);
    host.beginRun(runId('run'), 1);
    const options = { runId: runId('run'), runnerVersion: '0', provider: 'offline' };
    RunnerSession.open(made, openSqlite, options, 1)[Symbol.dispose]();
    host.endRun(runId('run'));
    sessions.push({ id, root: made.root });
  }
});
afterEach(() => rmSync(place, { recursive: true }));

async function troubles(): Promise<string[]> {
  const before = readdirSync(data.root, { recursive: true }).toSorted();
  const { checks } = await examineData({
    data,
    scratch: join(place, 'scratch'),
    now: () => 2_000,
    readerFor: (folder) => inProcessReader(folder, openSqlite),
  });
  // A look changes nothing and leaves nothing.
  expect(readdirSync(data.root, { recursive: true }).toSorted()).toEqual(before);
  expect(readdirSync(join(place, 'scratch'))).toEqual([]);
  return checks.filter(({ verdict }) => verdict === 'trouble').map(({ what, finding }) => `${what}: ${finding}`);
}

function spoil(file: string): void {
  for (const side of ['-wal', '-shm', '-journal']) rmSync(`${file}${side}`, { force: true });
  writeFileSync(file, 'garbage '.repeat(2_000));
}

describe("the doctor's look at a data folder", () => {
  it('finds nothing in one that is sound, and nothing where there is none', async () => {
    expect(await troubles()).toEqual([]);
    data = dataFolder(join(place, 'data', 'runs'));
    expect(await troubles()).toEqual([]);
  });

  it('opens every session: one whose file is damaged is named, with what repairs it (failure 89)', async () => {
    const [broken, other] = sessions;
    spoil(sessionFolder(broken?.root ?? '').inbound.database);
    expect(await troubles()).toEqual([
      `session: ${broken?.id}: the host's file is damaged (file is not a database). Stop the host and put it back from a ` +
        `backup: nanoclaw restore BACKUP --session ${broken?.id}`,
    ]);
    spoil(sessionFolder(other?.root ?? '').outbound.database);
    expect(await troubles()).toEqual([
      expect.stringMatching(/the host's file is damaged/),
      expect.stringMatching(
        new RegExp(`^session: ${other?.id}: what its agent wrote cannot be read \\(It is not a SQLite`),
      ),
    ]);
  });

  it('finds damage in the middle of a file, a newer version, and a folder that is none', async () => {
    const [deep, newer] = sessions;
    const file = sessionFolder(deep?.root ?? '').inbound.database;
    const bytes = readFileSync(file);
    writeFileSync(file, bytes.fill(0xa5, 8_192, 16_384));
    const db = openSqlite(sessionFolder(newer?.root ?? '').inbound.database, 'write');
    db.exec('PRAGMA user_version = 999');
    db.close();
    expect(await troubles()).toEqual([
      expect.stringMatching(new RegExp(`^session: ${deep?.id}: the host's file is damaged`)),
      expect.stringMatching(new RegExp(`^session: ${newer?.id}: .*Install the newer version`)),
    ]);
    rmSync(deep?.root ?? '', { recursive: true });
    mkdirSync(join(deep?.root ?? '', 'inbound', 'inbound.db'), { recursive: true });
    expect((await troubles())[0]).toMatch(new RegExp(`^session: ${deep?.id}: it cannot be opened`));
  });

  it('goes on over a registry that is damaged, and checks every session that has a folder', async () => {
    spoil(data.registry);
    spoil(sessionFolder(sessions[1]?.root ?? '').inbound.database);
    expect(await troubles()).toEqual([
      expect.stringMatching(
        /^registry: .*registry.db is damaged \(file is not a database\). Make a data folder from a backup/,
      ),
      expect.stringMatching(new RegExp(`^session: ${sessions[1]?.id}: `)),
    ]);
  });

  it('tells of the files that keep a host or a channel from starting, and of the one that may be thrown away', async () => {
    for (const folder of [data.terminal, data.channel('front')]) mkdirSync(folder, { recursive: true });
    for (const file of [data.rates, join(data.terminal, 'history.db'), join(data.channel('front'), 'state.db')])
      spoil(file);
    writeFileSync(data.installId, '\0\0\0');
    writeFileSync(join(data.root, 'webhooks.json'), '{');
    const seen = await troubles();
    expect(seen.map((trouble) => trouble.split(':')[0])).toEqual([
      'file',
      'file',
      'rates.db',
      'terminal/history.db',
      'channels/front/state.db',
    ]);
    expect(seen[2]).toMatch(/the next start makes it anew/);
  });

  it('tells of a folder that others may enter (failure 88)', async () => {
    chmodSync(data.root, 0o755);
    expect(await troubles()).toEqual([expect.stringMatching(/^data folder: .*chmod 700/)]);
    expect(existsSync(data.root)).toBe(true);
  });
});
