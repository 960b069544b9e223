/** The scripts of `nanoclaw completion`, in the shells that they are for. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Install } from './host-process.ts';

let install: Install;

beforeEach(() => {
  install = new Install();
});
afterEach(() => install.close());

function isInstalled(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch (error) {
      if (error instanceof Error && 'code' in error) return false;
      throw error;
    }
  });
}

async function scriptFor(shell: string): Promise<string> {
  const { exitCode, stdout } = await install.run(['completion', shell]);
  expect(exitCode).toBe(0);
  return stdout;
}

/** What a bash of nobody's own, without bash-completion, offers where the line ends. */
async function offered(script: string, line: string): Promise<string[]> {
  const typed = `${script}\nCOMP_LINE=$1 COMP_POINT=\${#1}\n__nanoclaw_complete\nprintf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = await execa('bash', ['--norc', '--noprofile', '-c', typed, 'bash', line]);
  expect(stderr).toBe('');
  return stdout.split('\n').filter(Boolean);
}

describe.skipIf(!isInstalled('bash'))('in bash (skipped where there is none)', () => {
  it('is read without a complaint, once and again, and completes nanoclaw', async () => {
    const script = await scriptFor('bash');
    expect((await execa('bash', ['-n'], { input: script })).stderr).toBe('');
    const twice = `${script}\n${script}\ncomplete -p nanoclaw`;
    const { stdout, stderr } = await execa('bash', ['--norc', '--noprofile', '-c', twice]);
    expect({ stdout, stderr }).toEqual({ stdout: 'complete -o default -F __nanoclaw_complete nanoclaw', stderr: '' });
  });

  it('offers commands, their options and the values of these, also behind an id with a colon', async () => {
    const script = await scriptFor('bash');
    expect(await offered(script, 'nanoclaw gro')).toEqual(['groups']);
    expect(await offered(script, './nanoclaw groups ')).toEqual(
      expect.arrayContaining(['list', 'get', 'create', 'update', 'delete']),
    );
    expect(await offered(script, 'nanoclaw groups l')).toEqual(['list']);
    expect(await offered(script, 'nanoclaw groups update main --comm')).toEqual(['--command-scope']);
    expect(await offered(script, 'nanoclaw completion ')).toEqual(['bash', 'zsh', 'fish']);
    expect(await offered(script, 'nanoclaw roles create terminal:local o')).toEqual(['owner']);
    expect(await offered(script, 'nanoclaw nothing-like-this ')).toEqual([]);
  });
});

describe.each(['zsh', 'fish'])('in %s', (shell) => {
  it.skipIf(!isInstalled(shell))('is read without a complaint (skipped where there is none)', async () => {
    const { stderr } = await execa(shell, ['-n'], { input: await scriptFor(shell) });
    expect(stderr).toBe('');
  });
});
