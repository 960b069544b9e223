import { defineConfig, mergeConfig } from 'vitest/config';
import shared, { temporaryInMemory } from '../../vitest.shared.ts';

export default mergeConfig(
  shared,
  defineConfig({ test: { env: temporaryInMemory(), globalSetup: '../../vitest.guard.ts' } }),
);
