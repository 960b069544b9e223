import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { installId, makeDataFolder } from '../src/data/index.ts';

let place: string;
let root: string;
beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'data-folder-'));
  root = join(place, 'data');
});
afterEach(() => rmSync(place, { recursive: true }));

function modeOf(path: string): string {
  return (statSync(path).mode & 0o777).toString(8);
}

describe('the data folder', () => {
  it('is for its owner only, also one that was there before with an open mode (failure 88)', () => {
    makeDataFolder(root);
    expect(modeOf(root)).toBe('700');
    for (const mode of [0o755, 0o770, 0o701, 0o777]) {
      chmodSync(root, mode);
      makeDataFolder(root);
      expect(modeOf(root)).toBe('700');
    }
    const empty = join(place, 'empty');
    mkdirSync(empty, { mode: 0o755 });
    makeDataFolder(empty);
    expect(modeOf(empty)).toBe('700');
  });
});

describe('the name of an install', () => {
  it('is made once and kept', () => {
    const data = makeDataFolder(root);
    expect(installId(data, () => 'first')).toBe('first');
    expect(installId(data, () => 'second')).toBe('first');
  });

  it('is made where a full disk has left an empty file (failure 87)', () => {
    const data = makeDataFolder(root);
    writeFileSync(data.installId, '');
    expect(installId(data, () => 'made')).toBe('made');
    expect(readFileSync(data.installId, 'utf8')).toBe('made\n');
  });

  it('that is damaged is left as it is, and the sentence names the file', () => {
    const data = makeDataFolder(root);
    for (const content of ['\0\0\0\0', '../elsewhere', 'two words', 'x'.repeat(1_000)]) {
      writeFileSync(data.installId, content);
      expect(() => installId(data, () => 'made')).toThrow(/install-id is damaged; it was left as it is.*remove it/);
      expect(readFileSync(data.installId, 'utf8')).toBe(content);
    }
    rmSync(data.installId);
    mkdirSync(data.installId);
    expect(() => installId(data, () => 'made')).toThrow(/install-id cannot be written/);
  });
});
