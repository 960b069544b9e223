/** Backups of data folders in which an agent does what it can against them, and backups that somebody has made up. */
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openRegistry } from '@nanoclaw/registry';
import { createSession, HostSession, RunnerSession, runId, sessionFolder } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backup } from '../src/data/backup.ts';
import { savedFile } from '../src/data/backup-format.ts';
import { type DataFolder, makeDataFolder } from '../src/data/data-folder.ts';
import { restore } from '../src/data/restore.ts';

let place: string;
let data: DataFolder;

beforeEach(async () => {
  place = mkdtempSync(join(tmpdir(), 'nano-attack-'));
  data = makeDataFolder(join(place, 'data'));
  await (await openRegistry({ file: data.registry, now: () => 1_000, newId: () => 'id' })).close();
});

afterEach(() => rmSync(place, { recursive: true, force: true }));

/** A session with a message, whose run has made its file. */
function session(id: string) {
  const folder = createSession(data.session('agent', id));
  using host = HostSession.open(folder, openSqlite);
  host.enqueue({ id: 'm', kind: 'chat', timestamp: 1, trigger: 'wakes', address: null, content: { text: 'hi' } }, 1);
  host.beginRun(runId('run'), 1);
  RunnerSession.open(folder, openSqlite, { runId: runId('run'), runnerVersion: '0', provider: 'offline' }, 1)[
    Symbol.dispose
  ]();
  return { id, agentGroupId: 'agent', runEnded: false };
}

/** Puts an archive of its own in place of that of an agent, with a label to which it is what was saved. */
function forgeArchive({ stdout }: { readonly stdout: Uint8Array }): void {
  const from = join(place, 'backup');
  mkdirSync(join(from, 'agents/groups'), { recursive: true });
  writeFileSync(join(from, 'agents/groups/main.tar'), stdout);
  const label = JSON.parse(readFileSync(join(from, 'backup.json'), 'utf8'));
  label.files.push(savedFile(from, 'agents/groups/main.tar'));
  writeFileSync(join(from, 'backup.json'), JSON.stringify(label));
}

function saved(sessions: ReturnType<typeof session>[]) {
  const options = { now: () => 2_000, sleep: async () => undefined, onProgress: () => undefined };
  return backup({ data, into: join(place, 'backup'), sessions: async () => sessions, ...options });
}

describe('a backup', () => {
  it('is taken although an agent holds its file for ever: its session is left out and named (failure 13)', async () => {
    const [held, other] = [session('held'), session('other')];
    const db = openSqlite(sessionFolder(data.session('agent', 'held')).outbound.database, 'write');
    db.exec('BEGIN EXCLUSIVE');
    const report = await saved([held, other]);
    db.close();
    expect(report.leftOut).toEqual([expect.stringMatching(/^Session held was left out/)]);
    expect((await restore(join(place, 'backup'), join(place, 'again'), 9_000)).sessions).toBe(2);
    expect(statSync(join(place, 'again/sessions/agent/other/inbound/inbound.db')).isFile()).toBe(true);
  });

  it('does not grow by the holes in a file of an agent (failures 45, 52)', async () => {
    mkdirSync(data.agent('main'), { recursive: true });
    writeFileSync(join(data.agent('main'), 'giant'), 'begins');
    truncateSync(join(data.agent('main'), 'giant'), 2 ** 28);
    await saved([]);
    expect(statSync(join(place, 'backup/agents/groups/main.tar')).size).toBeLessThan(2 ** 20);
    await restore(join(place, 'backup'), join(place, 'again'), 9_000);
    const restored = statSync(join(place, 'again/groups/main/giant'));
    expect(restored.size).toBe(2 ** 28);
    expect(restored.blocks * 512).toBeLessThan(2 ** 20);
  });
});

describe("one agent's folder", () => {
  it('spoils neither the backup nor the restore of the others, however deep it is (failure 73)', async () => {
    for (const name of ['deep', 'fine']) mkdirSync(data.agent(name), { recursive: true });
    writeFileSync(join(data.agent('fine'), 'memory.md'), 'what I know');
    writeFileSync(join(data.agent('deep'), 'memory.md'), 'what I know');
    await execa(
      'node',
      ['-e', `for (let n = 0; n < 100; n += 1) { fs.mkdirSync('d'.repeat(250)); process.chdir('d'.repeat(250)); }`],
      {
        cwd: data.agent('deep'),
      },
    );
    try {
      await saved([]);
      const { leftOut } = await restore(join(place, 'backup'), join(place, 'again'), 9_000);
      expect(leftOut[0]).toMatch(/^Of groups\/deep was left out: .*File name too long/);
      expect(leftOut.length).toBeLessThan(20);
      for (const sentence of leftOut) expect(sentence.length).toBeLessThan(400);
      for (const name of ['deep', 'fine']) {
        expect(readFileSync(join(place, 'again/groups', name, 'memory.md'), 'utf8')).toBe('what I know');
      }
    } finally {
      await execa('rm', ['-rf', place]);
    }
  });

  it('is saved without what may not be read of it, which is named (failure 73)', async () => {
    for (const name of ['main', 'other']) {
      mkdirSync(data.agent(name), { recursive: true });
      writeFileSync(join(data.agent(name), 'memory.md'), 'what I know');
    }
    for (let n = 0; n < 50; n += 1) writeFileSync(join(data.agent('main'), `secret-${n}`), '');
    // Root may read everything: the backup is then taken by another user.
    const user = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
    if (user.uid !== undefined) await execa('chown', ['-R', `${user.uid}:${user.gid}`, place]);
    for (let n = 0; n < 50; n += 1) chmodSync(join(data.agent('main'), `secret-${n}`), 0);
    const program = `
      import { backup, dataFolder } from ${JSON.stringify(new URL('../src/data/index.ts', import.meta.url).href)};
      const data = dataFolder(${JSON.stringify(data.root)});
      const report = await backup({ data, into: ${JSON.stringify(join(place, 'backup'))}, sessions: async () => [],
        now: () => 2_000, sleep: async () => undefined, onProgress: () => undefined });
      process.stdout.write(JSON.stringify(report));`;
    const node = ['--conditions=source', '--disable-warning=ExperimentalWarning', '--input-type=module', '-e', program];
    const { stdout } = await execa(process.execPath, node, user);
    const { leftOut } = JSON.parse(stdout);
    expect(leftOut[0]).toMatch(/^Of groups\/main was left out: groups\/main\/secret-.*Permission denied/);
    expect(leftOut.at(-1)).toMatch(/4\d more/);
    expect((await restore(join(place, 'backup'), join(place, 'again'), 9_000)).leftOut).toEqual([]);
    for (const name of ['main', 'other']) {
      expect(readFileSync(join(place, 'again/groups', name, 'memory.md'), 'utf8')).toBe('what I know');
    }
  });
});

describe('a backup that was made up', () => {
  it.each([
    ['a link among the files of the host', async () => symlinkSync('/etc/hostname', join(place, 'backup/host/x.json'))],
    ['a pipe among the files of the host', () => execa('mkfifo', [join(place, 'backup/host/x.json')])],
    [
      'an archive that brings a file of the host',
      async () => {
        writeFileSync(join(place, 'webhooks.json'), '[]');
        forgeArchive(await execa('tar', ['-cf', '-', '-C', place, 'webhooks.json'], { encoding: 'buffer' }));
      },
    ],
    [
      'an archive that brings a file beside the data folder',
      async () => {
        writeFileSync(join(place, 'planted'), '');
        mkdirSync(join(place, 'groups'));
        const names = ['-C', join(place, 'groups'), '../planted'];
        forgeArchive(await execa('tar', ['-P', '-cf', '-', ...names], { encoding: 'buffer' }));
      },
    ],
  ])('with %s is refused, and nothing is left', async (_, forge) => {
    await saved([]);
    await forge();
    await expect(restore(join(place, 'backup'), join(place, 'again'), 9_000)).rejects.toMatchObject({ exitCode: 2 });
    expect(() => statSync(join(place, 'again'))).toThrow('ENOENT');
    expect(() => statSync(join(place, 'again.partial'))).toThrow('ENOENT');
  });
});
