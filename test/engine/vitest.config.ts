import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const root = fileURLToPath(new URL('../..', import.meta.url));
const FIGURES = 'test/engine/start.engine.ts';
const limits = { testTimeout: 120_000, hookTimeout: 60_000 };

// For `npm run e2e`. The names end in `.engine.ts`, so that `npm test` does not count what it cannot run. Two files at a
// time, because most of a test on an engine is waiting; the figures come after them, alone, for under load they say nothing.
export default defineConfig({
  test: {
    projects: [
      {
        root,
        test: {
          name: 'tests',
          include: [
            'packages/containers/test/*.engine.ts',
            'packages/host/test/*.engine.ts',
            'test/engine/*.engine.ts',
          ],
          exclude: [FIGURES],
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
          ...limits,
        },
      },
      {
        root,
        test: { name: 'figures', include: [FIGURES], maxWorkers: 1, sequence: { groupOrder: 1 }, ...limits },
      },
    ],
  },
});
