import { closeSync, fsyncSync, mkdirSync, mkdtempSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Disk, type DiskImage } from '../src/disk.ts';

let root = '';
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'nanoclaw-disk-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const LOSES_ALL = (): number => 0;
/** Below 0.7 of a file nothing new is left. */
const LOSES_CONTENTS = (): number => 0.6;

function written(disk: Disk, name: string, contents: string): string {
  const path = join(root, name);
  writeFileSync(path, contents);
  disk.changed(path);
  return path;
}

function cut(disk: Disk, share: () => number): DiskImage {
  const [image] = disk.powerCut(share);
  if (image === undefined) throw new Error('A power cut leaves something.');
  return image;
}

it('a kill takes nothing back, and a power cut what was not synced', () => {
  const disk = new Disk(root);
  written(disk, 'note', 'new');
  expect(disk.image().files.get('note')?.toString()).toBe('new');
  expect(cut(disk, LOSES_ALL).files.has('note')).toBe(false);
});

it('a file is there after a power cut once it and its directory are synced, under the name it then had', () => {
  const disk = new Disk(root);
  const partial = written(disk, '.partial', 'whole');
  const descriptor = openSync(partial, 'r');
  fsyncSync(descriptor);
  closeSync(descriptor);
  disk.synced(partial);
  renameSync(partial, join(root, 'note'));
  disk.renamed(partial, join(root, 'note'));
  expect(cut(disk, LOSES_ALL).files.has('note')).toBe(false);
  disk.synced(root);
  for (const share of [LOSES_ALL, LOSES_CONTENTS]) {
    const { files } = cut(disk, share);
    expect([files.get('note')?.toString(), files.has('.partial')]).toEqual(['whole', false]);
  }
});

it('a file whose directory alone is synced is there and has lost its contents', () => {
  const disk = new Disk(root);
  written(disk, 'note', 'new');
  disk.synced(root);
  expect(cut(disk, LOSES_CONTENTS).files.get('note')?.toString()).toBe('');
});

it('what lies in a directory that was not synced is lost with it', () => {
  const disk = new Disk(root);
  mkdirSync(join(root, 'folder'));
  disk.changed(join(root, 'folder'));
  const path = written(disk, 'folder/note', 'new');
  disk.synced(path);
  disk.synced(join(root, 'folder'));
  const lost = cut(disk, LOSES_ALL);
  expect([lost.directories.has('folder'), lost.files.has('folder/note')]).toEqual([false, false]);
});
