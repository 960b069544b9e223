import { defineConfig } from 'vitest/config';

// Real hosts and runners: one file at a time, and time for a crashed run's backoff.
export default defineConfig({ test: { fileParallelism: false, testTimeout: 60_000, hookTimeout: 30_000 } });
