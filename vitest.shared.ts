import { existsSync, statfsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

// The tests of a package read its neighbours' sources by the export condition `source`, and so do the processes that they
// start: an edit anywhere needs no build. The files of a suite share the modules of their worker, which keep no state:
// loading them anew for each file was a third of a suite's time.
export default defineConfig({
  resolve: { conditions: ['source', 'node', 'import', 'module', 'default'] },
  ssr: { resolve: { conditions: ['source', 'node', 'import', 'module', 'default'] } },
  test: {
    env: { NODE_OPTIONS: '--conditions=source' },
    isolate: false,
    maxWorkers: availableParallelism(),
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});

const MEMORY = '/dev/shm';
const MEMORY_BYTES_MIN = 2 ** 30;

/**
 * The environment for suites whose temporary folders are to be in memory: every commit is synced to disk, and on a busy
 * machine those of a whole host take longer than all else. A test kills processes and never cuts the power, so it sees the
 * same. Empty where Linux has no such place, or a small one, as in many containers.
 */
export function temporaryInMemory(): Record<string, string> {
  if (!existsSync(MEMORY)) return {};
  const { bavail, bsize } = statfsSync(MEMORY);
  return bavail * bsize < MEMORY_BYTES_MIN ? {} : { TMPDIR: MEMORY };
}
