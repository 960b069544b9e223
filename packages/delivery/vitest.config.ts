import { defineConfig } from 'vitest/config';

// Every commit is synced to disk, and on a busy machine with a slow disk a hundred of them take seconds.
export default defineConfig({ test: { testTimeout: 60_000, hookTimeout: 60_000 } });
