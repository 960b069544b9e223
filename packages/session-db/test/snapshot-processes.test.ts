import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { restoreSession, snapshotSession } from '../src/index.ts';
import type { SnapshotResult } from '../src/snapshot.ts';
import { openSqlite } from '../src/sqlite/node.ts';
import { Child, RUNTIMES } from './processes.ts';
import { chat, RUN, TestSession } from './support.ts';

let session: TestSession;
let into: string;
let root: string;
beforeEach(() => {
  session = new TestSession(openSqlite);
  session.host.enqueue(chat('m1'), 1_000);
  session.host.beginRun(RUN, 1_000);
  into = join(session.folder.root, '..', 'snapshot');
  root = join(session.folder.root, '..', 'restored');
});
afterEach(() => session[Symbol.dispose]());

function snapshot(runEnded = false): SnapshotResult {
  return snapshotSession(session.folder, into, openSqlite, { takenAt: 5_000, runEnded });
}

/** Looks again while a writer commits, as whoever takes a snapshot does. */
async function snapshotInTime(): Promise<SnapshotResult> {
  for (let i = 0; i < 2_000; i++) {
    const result = snapshot();
    if (result.type === 'taken') return result;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  throw new Error('The runner never left a gap.');
}

function replies(): string[] {
  const result = restoreSession(into, root, openSqlite, 9_000);
  if (result.type !== 'restored') throw new Error(JSON.stringify(result));
  const db = openSqlite(result.folder.outbound.database, 'read');
  try {
    expect(db.all('PRAGMA integrity_check')).toEqual([{ integrity_check: 'ok' }]);
    return db.all<{ id: string }>('SELECT id FROM messages_out ORDER BY seq').map(({ id }) => id);
  } finally {
    db.close();
    rmSync(root, { recursive: true });
    rmSync(into, { recursive: true });
  }
}

describe('a snapshot while a runner writes', () => {
  for (const runtime of RUNTIMES) {
    it(`has whole commits only, each later one more of them, under ${runtime}`, async () => {
      await using child = new Child(runtime, 'busy-runner.ts', [session.folder.root]);
      await child.line(1);
      let before = 0;
      for (let i = 0; i < 10; i++) {
        expect((await snapshotInTime()).type).toBe('taken');
        const ids = replies();
        expect(ids.length % 2).toBe(0);
        expect(ids.length).toBeGreaterThanOrEqual(before);
        before = ids.length;
      }
      expect(child.hasEnded).toBe(false);
      expect(before).toBeGreaterThan(2);
    });
  }

  it('has what a run that died in mid-commit had committed, once that run has ended', async () => {
    {
      await using child = new Child('node', 'half-commit.ts', [session.folder.root]);
      await child.line(1);
      await child.kill();
    }
    const before = readFileSync(session.folder.outbound.database);
    expect(snapshot()).toEqual({ type: 'not-taken', why: 'hot-journal' });
    expect(snapshot(true).type).toBe('taken');
    expect(replies()).toEqual(['r1']);
    expect(readFileSync(session.folder.outbound.database)).toEqual(before);
  });
});
