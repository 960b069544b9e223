import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { takeLease } from '../src/data/lease.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nanoclaw-lease-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const HOLDER = { pid: 4711, since: new Date(0) };

describe('the lease on a data folder (failure 55)', () => {
  it('is refused to a second host in the same process, naming the first', () => {
    using _first = takeLease(folder, HOLDER);
    expect(() => takeLease(folder, { pid: 1, since: new Date() })).toThrow(
      /^Another host already runs on .* \(process 4711, since 1970-01-01T00:00:00\.000Z\); it was left alone\./,
    );
  });

  it('is free again when the first lets go, and leaves the folder as usable as before', () => {
    takeLease(folder, HOLDER)[Symbol.dispose]();
    using second = takeLease(folder, HOLDER);
    expect(second).toBeDefined();
    expect(() => takeLease(folder, HOLDER)).toThrow(/^Another host already runs/);
  });

  it('is refused as well when the note of the holder is missing or broken', () => {
    using _first = takeLease(folder, HOLDER);
    writeFileSync(join(folder, 'host.json'), '{');
    expect(() => takeLease(folder, HOLDER)).toThrow(/^Another host already runs on [^(]*; it was left alone\./);
  });

  it('is taken although its file is garbage, and then by one host only (failure 87)', () => {
    writeFileSync(join(folder, 'host.lock'), 'garbage '.repeat(1_000));
    using _first = takeLease(folder, HOLDER);
    expect(() => takeLease(folder, HOLDER)).toThrow(/^Another host already runs/);
    expect(statSync(join(folder, 'host.lock')).size).toBe(0);
  });

  it('says so when the folder is not there or is a file', () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    for (const bad of [join(folder, 'missing'), file]) {
      expect(() => takeLease(bad, HOLDER)).toThrow(
        /cannot be written .*; nothing was changed\. Make it writable, or choose another data folder\.$/,
      );
    }
  });

  it('is let go by a process that is killed', () => {
    // A process that takes the lock the same way and dies by SIGKILL, without a chance to clear anything away.
    const { signal } = spawnSync(process.execPath, [
      '--input-type=module',
      '-e',
      `import { openSqlite } from '@nanoclaw/session-db/node';
       const db = openSqlite(${JSON.stringify(join(folder, 'host.lock'))}, 'create');
       db.exec('BEGIN EXCLUSIVE');
       process.kill(process.pid, 'SIGKILL');`,
    ]);
    expect(signal).toBe('SIGKILL');
    using _second = takeLease(folder, HOLDER);
  });
});
