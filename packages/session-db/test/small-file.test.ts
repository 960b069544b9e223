import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { replaceFile } from '../src/index.ts';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'small-file-'));
  file = join(folder, 'note');
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Replaces the file in a process that may write files of so many blocks only; gives the error's code, or nothing. */
function replacedWithin(blocks: number, text: string): string {
  const program = `
    import { replaceFile } from ${JSON.stringify(new URL('../src/index.ts', import.meta.url).href)};
    try { replaceFile(${JSON.stringify(file)}, ${JSON.stringify(text)}, 0o600); } catch (error) { process.stdout.write(error.code); }`;
  const node = [process.execPath, '--disable-warning=ExperimentalWarning', '--input-type=module', '-e', program];
  const { stdout, stderr } = spawnSync('bash', ['-c', `ulimit -f ${blocks}; exec "$@"`, 'bash', ...node], {
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  return stdout;
}

describe('a small file', () => {
  it('is replaced whole, with its mode, and nothing is left beside it', () => {
    replaceFile(file, 'first', 0o600);
    replaceFile(file, 'second', 0o644);
    expect(readFileSync(file, 'utf8')).toBe('second');
    expect(statSync(file).mode & 0o777).toBe(0o644 & ~process.umask());
    expect(readdirSync(folder)).toEqual(['note']);
  });

  it('is as it was where the disk takes no more, whether it was there or not (failure 87)', () => {
    expect(replacedWithin(0, 'never')).toBe('EFBIG');
    expect(readdirSync(folder)).toEqual([]);
    writeFileSync(file, 'before');
    expect(replacedWithin(1, 'x'.repeat(10_000))).toBe('EFBIG');
    expect(readFileSync(file, 'utf8')).toBe('before');
    expect(readdirSync(folder)).toEqual(['note']);
    expect(replacedWithin(1, 'after')).toBe('');
    expect(readFileSync(file, 'utf8')).toBe('after');
  });

  it('is never written through what lies in the place of its draft', () => {
    writeFileSync(join(folder, 'other'), 'untouched');
    symlinkSync(join(folder, 'other'), `${file}.new`);
    replaceFile(file, 'text', 0o600);
    expect(readFileSync(join(folder, 'other'), 'utf8')).toBe('untouched');
    expect(readFileSync(file, 'utf8')).toBe('text');
  });
});
