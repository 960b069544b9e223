import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// For `npm run e2e`. The names end in `.engine.ts`, so that `npm test` does not count what it cannot run. One file at a
// time: the figures of a machine under load say nothing, and its engine is slow.
export default defineConfig({
  root: fileURLToPath(new URL('../..', import.meta.url)),
  test: {
    include: ['packages/containers/test/*.engine.ts', 'test/engine/*.engine.ts'],
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 60_000,
  },
});
