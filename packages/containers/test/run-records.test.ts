import { fstatSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type RunRecord, readRecord, writeRecord } from '../src/run-records.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'run-records-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const RECORD: RunRecord = {
  version: 1,
  runId: 'r1',
  sessionId: 's1',
  pid: 4_711,
  identity: 'begun at 1',
  startedAt: 1_000,
  labels: {},
  specHash: 'hash',
  logFile: '/nowhere',
};

/** `sync` of every handle that `node:fs/promises` opens; their class is not exported. */
async function spiedSync() {
  await using handle = await open(folder, 'r');
  const prototype: FileHandle = Object.getPrototypeOf(handle);
  return vi.spyOn(prototype, 'sync');
}

describe('the record of a run', () => {
  it('is on disk, whole and under its name, before the command may begin: a power cut leaves no run unknown (failure 92)', async () => {
    const synced: { inode: number; holds: string }[] = [];
    const sync = await spiedSync();
    sync.mockImplementation(async function (this: FileHandle) {
      synced.push({ inode: fstatSync(this.fd).ino, holds: (await readRecord(folder, 'r1')).type });
    });
    await writeRecord(folder, RECORD);
    sync.mockRestore();
    const wanted = [join(folder, 'r1.json'), folder];
    expect(synced).toEqual(wanted.map((path) => ({ inode: statSync(path).ino, holds: 'record' })));
  });
});
