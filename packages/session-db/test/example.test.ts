import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from './support.ts';

const EXAMPLE = fileURLToPath(new URL('../../../examples/one-session.ts', import.meta.url));
const run = promisify(execFile);

describe('the example of one session', () => {
  it('asks, answers and delivers once, however often it is run', { timeout: 30_000 }, async () => {
    using folder = temporaryFolder();
    const first = await run(process.execPath, [EXAMPLE, folder.path]);
    expect(first.stdout).toBe(
      'asked (inserted): Is anybody there?\nanswered (attempt 1): You said: Is anybody there?\n',
    );
    const second = await run(process.execPath, [EXAMPLE, folder.path]);
    expect(second.stdout).toBe('asked (duplicate): Is anybody there?\n');
  });

  it('is short, and needs no other package of ours', () => {
    const source = readFileSync(EXAMPLE, 'utf8');
    expect(source.split('\n').length).toBeLessThan(60);
    const packages = [...source.matchAll(/from '(@nanoclaw\/[^'/]+)/g)].map(([, name]) => name);
    expect(new Set(packages)).toEqual(new Set(['@nanoclaw/session-db']));
  });
});
