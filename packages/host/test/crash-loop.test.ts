import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { crashWaitMs, noteEnd, noteStart } from '../src/data/crash-loop.ts';
import { WholeHost } from './whole-host.ts';

let folder: string;
let file: string;
const HOUR_MS = 3_600_000;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nano-crash-'));
  file = join(folder, 'starts.json');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('a host that crashes again and again waits longer each time, up to a minute', () => {
  const waits = Array.from({ length: 12 }, (_, n) => noteStart(file, n).waitMs);
  expect(waits.slice(0, 3)).toEqual([0, 0, 0]);
  expect(waits.slice(3)).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60].map((s) => s * 1_000));
});

test('an orderly end is forgiven, and so is a crash of long ago', () => {
  for (let n = 0; n < 5; n += 1) noteStart(file, n);
  noteEnd(file);
  expect(noteStart(file, 10)).toEqual({ waitMs: 0, crashes: 0 });
  for (let n = 0; n < 5; n += 1) noteStart(file, 10 + n);
  expect(noteStart(file, 10 + HOUR_MS * 2).crashes).toBe(0);
});

test('a clock that was set back does not make crashes of the future count', () => {
  for (let n = 0; n < 5; n += 1) noteStart(file, HOUR_MS * 10);
  expect(noteStart(file, 0).crashes).toBe(0);
});

test('a note that was cut short does not keep the host from starting', () => {
  writeFileSync(file, '[1, 2');
  expect(noteStart(file, 3)).toEqual({ waitMs: 0, crashes: 0 });
  expect(readFileSync(file, 'utf8')).toBe('[3]');
});

test('the wait is bounded however many crashes there were', () => {
  expect(crashWaitMs(1_000_000)).toBe(60_000);
});

test('a program is told that its host waits, and why', async () => {
  const told: string[] = [];
  const host = new WholeHost({ options: { onStartDelayed: (reason) => told.push(reason) } });
  try {
    const now = Date.now();
    writeFileSync(host.data.starts, JSON.stringify([now, now, now]));
    await host.host.start();
    expect(told).toEqual([
      'The host did not end in order the last 3 times, so this start waits 1 s. Nothing accepted was lost.',
    ]);
  } finally {
    await host.close();
  }
});
