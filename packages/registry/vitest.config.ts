import { defineConfig, mergeConfig } from 'vitest/config';
import shared from '../../vitest.shared.ts';

// Each file has modules of its own: its PostgreSQL is one of them, and ends with the file.
export default mergeConfig(shared, defineConfig({ test: { isolate: true, globalSetup: './test/postgres-files.ts' } }));
