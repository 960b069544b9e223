import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openRegistry } from '@nanoclaw/registry';
import { inProcessReader, runId } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { describe, expect, it, onTestFinished } from 'vitest';
import { makeDataFolder } from '../src/data/index.ts';
import { fileShares } from '../src/host/file-shares.ts';
import { Sessions } from '../src/session/index.ts';
import { setTimer } from './whole-host.ts';

describe('the files that a host may have open (failure 91)', () => {
  it('are refused where they are too few for it, with what to do', () => {
    expect(() => fileShares({ max: 64 })).toThrow(/may have 64 files open, and a host needs 128 .*ulimit -n 1024/);
  });

  it('are shared so that there is something of everything, and never more than there are', () => {
    for (const max of [128, 256, 1_024, 65_536]) {
      const { runsMax, visitsMax, sessionsMax } = fileShares({ max });
      expect(Math.min(runsMax, visitsMax)).toBeGreaterThanOrEqual(2);
      expect(80 + 6 * runsMax + 4 * 2 * visitsMax + sessionsMax).toBeLessThanOrEqual(max);
    }
    expect(fileShares({ max: Number.POSITIVE_INFINITY }).runsMax).toBe(Number.POSITIVE_INFINITY);
  });

  it('are not all taken by sessions that hold theirs, whose memory counts however many files there may be', () => {
    expect(fileShares({ max: 1_024 }).sessionsMax).toBe(128);
    expect(fileShares({ max: 1_048_576 }).sessionsMax).toBe(128);
  });

  it('are held for as many sessions as the share says, however many there are, and each is opened when it is used', async () => {
    const place = mkdtempSync(join(tmpdir(), 'nano-files-'));
    onTestFinished(() => rmSync(place, { recursive: true }));
    const data = makeDataFolder(join(place, 'data'));
    let ids = 0;
    await using registry = await openRegistry({ file: data.registry, now: () => 1, newId: () => `id-${++ids}` });
    const settings = { provider: 'offline', model: null, effort: null, assistantName: null, messagesPerPrompt: 10 };
    const { id: agentGroupId } = await registry.createAgentGroup({ folder: 'main', name: 'Nano', ...settings });
    const chats = await Promise.all(
      ['a', 'b', 'c', 'd', 'e'].map((platformId) =>
        registry.createMessagingGroup({
          channelType: 'memory',
          platformId,
          name: platformId,
          kind: 'direct',
          strangers: 'public',
          denied: false,
        }),
      ),
    );
    using sessions = new Sessions({
      registry,
      data,
      setTimer,
      monotonic: () => performance.now(),
      readerFor: (folder) => inProcessReader(folder, openSqlite),
      openMax: 2,
      onKnown: () => undefined,
      onRing: () => undefined,
      onFlood: () => undefined,
      onLocked: () => undefined,
    });
    for (const { id: messagingGroupId } of chats)
      await sessions.forKey({ scope: 'chat', agentGroupId, messagingGroupId });
    const all = sessions.all();
    for (const session of all) await session.write((files) => files.beginRun(runId('run'), 1));
    expect(openFilesBelow(data.root)).toBe(2);
    expect(all.map((session) => session.files.liveRun())).toEqual(all.map(() => 'run'));
    const [first, second, third] = all;
    if (first === undefined || second === undefined || third === undefined) throw new Error('There are five.');
    // The one that was used last stays open while others come and go.
    const { files } = first;
    for (const other of [second, third]) {
      other.files.liveRun();
      expect(first.files).toBe(files);
    }
  });
});

function openFilesBelow(root: string): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(join(root, 'sessions'));
    } catch {
      return false; // the one with which the list was read
    }
  }).length;
}
