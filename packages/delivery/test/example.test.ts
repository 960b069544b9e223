import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { TestSession, temporaryFolder } from './support.ts';

const EXAMPLE = fileURLToPath(new URL('../../../examples/deliver-folder.ts', import.meta.url));

function run(folder: string): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [EXAMPLE, folder, '--once'], { encoding: 'utf8', timeout: 30_000 });
}

describe('a bot that imports delivery only', () => {
  it('delivers a folder of sessions to a function, each message once, and names what it gave up', () => {
    using folder = temporaryFolder();
    {
      using a = new TestSession(folder.path, 'a');
      using b = new TestSession(folder.path, 'b');
      a.say('hello');
      a.say(`${'word '.repeat(799)}end`);
      a.say(`${'x'.repeat(3_995)} and more`);
      b.say('hi');
      b.say('nowhere', { address: null });
    }
    const first = run(folder.path);
    expect(first.status).toBe(0);
    const lines = first.stdout.trim().split('\n');
    expect(lines.filter((line) => line.startsWith('a ')).map((line) => line.slice(0, 18))).toEqual([
      'a → main: hello',
      'a → main: word wor',
      'a → main: xxxxxxxx',
      'a → main: more',
    ]);
    expect(lines.filter((line) => line.startsWith('b '))).toEqual(['b → main: hi']);
    expect(first.stderr).toContain('b: 1 not delivered and kept as dead letters.');
    expect(run(folder.path)).toMatchObject({ status: 0, stdout: '', stderr: '' });
  });

  it('says what to do when it is given no folder', () => {
    const ended = spawnSync(process.execPath, [EXAMPLE], { encoding: 'utf8' });
    expect(ended.status).toBe(2);
    expect(ended.stderr).toContain('say which folder');
  });
});
