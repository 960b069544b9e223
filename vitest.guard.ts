/**
 * Set-up of the suites that start the guard: its program as one file, made from the sources once for a run. Started from the
 * sources themselves, each of its processes would read and strip forty files first: most of what these suites took.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'tsup';

const sourceOf = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Gives what removes the file again. Its path is in `NANOCLAW_TEST_GUARD` for all tests of the run. */
export default async function setUp(): Promise<() => void> {
  const folder = mkdtempSync(join(tmpdir(), 'nanoclaw-guard-program-'));
  const { resolve } = createRequire(sourceOf('packages/session-db/package.json'));
  await build({
    config: false,
    silent: true,
    entry: [sourceOf('packages/guard/src/guard-main.ts')],
    outDir: folder,
    format: 'esm',
    outExtension: () => ({ js: '.mjs' }),
    target: 'node22',
    noExternal: [/^@nanoclaw\//],
    esbuildOptions: (options) => {
      options.conditions = ['source'];
    },
    esbuildPlugins: [
      {
        // Native, and so not to be bundled; found from anywhere.
        name: 'better-sqlite3',
        setup: ({ onResolve }) =>
          onResolve({ filter: /^better-sqlite3$/ }, ({ path }) => ({ path: resolve(path), external: true })),
      },
    ],
  });
  process.env['NANOCLAW_TEST_GUARD'] = join(folder, 'guard-main.mjs');
  return () => rmSync(folder, { recursive: true, force: true });
}
