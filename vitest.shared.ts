import { defineConfig } from 'vitest/config';

// The tests of a package read its neighbours' sources by the export condition `source`, and so do the processes that they
// start: an edit anywhere needs no build. Every commit is synced to disk, and on a busy machine with a slow disk a
// hundred of them take seconds.
export default defineConfig({
  resolve: { conditions: ['source', 'node', 'import', 'module', 'default'] },
  ssr: { resolve: { conditions: ['source', 'node', 'import', 'module', 'default'] } },
  test: {
    env: { NODE_OPTIONS: '--conditions=source' },
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
