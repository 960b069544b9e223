/** Backups of data folders in which an agent does what it can against them, and backups that somebody has made up. */
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openRegistry } from '@nanoclaw/registry';
import { createSession, HostSession, RunnerSession, runId, sessionFolder } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backup, restore } from '../src/data/backup.ts';
import { type DataFolder, makeDataFolder } from '../src/data/data-folder.ts';

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
    expect((await restore(join(place, 'backup'), join(place, 'again'))).sessions).toBe(2);
    expect(statSync(join(place, 'again/sessions/agent/other/inbound/inbound.db')).isFile()).toBe(true);
  });

  it('does not grow by the holes in a file of an agent (failures 45, 52)', async () => {
    mkdirSync(data.agent('main'), { recursive: true });
    writeFileSync(join(data.agent('main'), 'giant'), 'begins');
    truncateSync(join(data.agent('main'), 'giant'), 2 ** 28);
    await saved([]);
    expect(statSync(join(place, 'backup/agents.tar')).size).toBeLessThan(2 ** 20);
    await restore(join(place, 'backup'), join(place, 'again'));
    const restored = statSync(join(place, 'again/groups/main/giant'));
    expect(restored.size).toBe(2 ** 28);
    expect(restored.blocks * 512).toBeLessThan(2 ** 20);
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
        await execa('tar', ['-cf', join(place, 'backup/agents.tar'), '-C', place, 'webhooks.json']);
      },
    ],
    [
      'an archive that brings a file beside the data folder',
      async () => {
        writeFileSync(join(place, 'planted'), '');
        mkdirSync(join(place, 'groups'));
        const names = ['-C', join(place, 'groups'), '../planted'];
        await execa('tar', ['-P', '-cf', join(place, 'backup/agents.tar'), ...names]);
      },
    ],
  ])('with %s is refused, and nothing is left', async (_, forge) => {
    await saved([]);
    await forge();
    await expect(restore(join(place, 'backup'), join(place, 'again'))).rejects.toMatchObject({ exitCode: 2 });
    expect(() => statSync(join(place, 'again'))).toThrow('ENOENT');
    expect(() => statSync(join(place, 'again.partial'))).toThrow('ENOENT');
  });
});
