import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { temporaryInMemory } from '../vitest.shared.ts';

// Real hosts and runners, each on a folder of its own. Most of a test is waiting (for a minute to begin, for a crashed
// run's backoff), so a few files at a time, and room for the waits on a machine that has other work. Hundreds of hosts
// and commands are started, which read what the first one has compiled.
export default defineConfig({
  test: {
    env: {
      ...temporaryInMemory(),
      NODE_COMPILE_CACHE: fileURLToPath(new URL('node_modules/.cache/node', import.meta.url)),
    },
    maxWorkers: 3,
    testTimeout: 120_000,
    hookTimeout: 60_000,
  },
});
