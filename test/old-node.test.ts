import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { expect, it } from 'vitest';

const HOST = fileURLToPath(new URL('../apps/host/', import.meta.url));

/** Runs the built program on this Node, which says that it is another one. */
function runAs(version: string) {
  const versions = `Object.defineProperty(process,'versions',{value:{...process.versions,node:'${version}'}})`;
  const preload = `data:text/javascript,${encodeURIComponent(versions)}`;
  return execa(process.execPath, ['--import', preload, `${HOST}dist/main.js`, '--version'], { reject: false });
}

it.each(['18.20.0', '20.20.2', '22.17.1'])(
  'on Node %s the program says in a sentence what it needs',
  async (version) => {
    const { exitCode, stdout, stderr } = await runAs(version);
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
    expect(stderr).toBe(
      `nanoclaw: This needs Node 22.18 or newer, and this is Node ${version}; nothing was done. Run ./nanoclaw in the ` +
        'folder of NanoClaw, which brings a Node of its own, or install a newer one.',
    );
  },
);

it.each(['22.18.0', '24.0.0'])('on Node %s it runs', async (version) => {
  expect((await runAs(version)).exitCode).toBe(0);
});

it('loads nothing before it has looked, or an older Node would end in a stack trace', () => {
  const built = readFileSync(`${HOST}dist/main.js`, 'utf8');
  expect(built.match(/^\s*import\b(?!\()/m)).toBeNull();
  expect(JSON.parse(readFileSync(`${HOST}package.json`, 'utf8')).engines.node).toBe('>=22.18');
});
