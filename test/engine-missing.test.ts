import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

let bin: string;
beforeEach(async () => {
  bin = mkdtempSync(join(tmpdir(), 'bin-'));
  // What the test runner needs, and no engine.
  for (const name of ['sh', 'sed', 'dirname', 'uname']) {
    const { stdout } = await execa('sh', ['-c', `command -v ${name}`]);
    symlinkSync(stdout, join(bin, name));
  }
  symlinkSync(process.execPath, join(bin, 'node'));
});
afterEach(() => rmSync(bin, { recursive: true }));

it('where there is no container engine, the tests on one are counted as skipped, and one line says why', async () => {
  const e2e = pathToFileURL(join(ROOT, 'scripts', 'e2e.mjs')).href;
  const program = `
    import { endToEnd } from ${JSON.stringify(e2e)};
    const count = await endToEnd(process.env, { filters: [], mayInstall: false });
    process.stdout.write(JSON.stringify(count));
  `;
  const { stdout, stderr } = await execa(process.execPath, ['--input-type=module', '--eval', program], {
    env: { PATH: `${join(ROOT, 'node_modules', '.bin')}:${bin}`, HOME: bin, NO_COLOR: '1' },
    extendEnv: false,
  });
  const counted = JSON.parse(stdout.slice(stdout.lastIndexOf('{')));
  expect(counted).toEqual({ passed: 0, failed: 0, skipped: expect.any(Number), failures: [] });
  expect(counted.skipped).toBeGreaterThan(50);
  expect(stderr.split('\n').filter((line) => line.includes('engine'))).toEqual([
    'nanoclaw: no container engine can be had on this machine: the tests on an engine are skipped.',
  ]);
});
