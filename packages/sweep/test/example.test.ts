import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const EXAMPLE = fileURLToPath(new URL('../../../examples/reminders.ts', import.meta.url));

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nanoclaw-reminders-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

describe('a program that imports sweep only', () => {
  it('says each reminder in its time and leaves when all has been said', () => {
    const ended = spawnSync(process.execPath, [EXAMPLE, folder, '1 stretch', '0 tea'], {
      encoding: 'utf8',
      timeout: 30_000,
    });
    expect(ended).toMatchObject({ status: 0, stdout: 'tea\nstretch\n', stderr: '' });
  }, 30_000);

  it('goes on where it was after it was killed, and says nothing twice', async () => {
    const killed = spawn(process.execPath, [EXAMPLE, folder, '0 tea', '2 stretch'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [said] = await once(killed.stdout, 'data');
    killed.kill('SIGKILL');
    await once(killed, 'close');
    expect(String(said)).toBe('tea\n');
    const ended = spawnSync(process.execPath, [EXAMPLE, folder], { encoding: 'utf8', timeout: 30_000 });
    // Killed between saying and writing that down, it would say "tea" again, later: at least once, never lost.
    expect(ended.status).toBe(0);
    expect(ended.stdout).toContain('stretch\n');
  }, 60_000);

  it('says what is wrong with a wish', () => {
    const ended = spawnSync(process.execPath, [EXAMPLE, folder, '0 tea', '99999999999 stretch'], {
      encoding: 'utf8',
      timeout: 30_000,
    });
    expect(ended).toMatchObject({ status: 0, stdout: 'tea\n' });
    expect(ended.stderr).toMatch(/too far ahead/);
    expect(spawnSync(process.execPath, [EXAMPLE], { encoding: 'utf8' }).status).toBe(2);
  });
});
