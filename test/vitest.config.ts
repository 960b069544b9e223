import { defineConfig } from 'vitest/config';

// Real hosts and runners, each on a folder of its own. Most of a test is waiting (for a minute to begin, for a crashed
// run's backoff), so a few files at a time, and room for the waits on a machine that has other work.
export default defineConfig({ test: { maxWorkers: 3, testTimeout: 120_000, hookTimeout: 60_000 } });
