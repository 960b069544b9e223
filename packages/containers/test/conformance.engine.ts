import { describe, vi } from 'vitest';
import { driverConformance } from './conformance.ts';
import { engine, openEngineBench } from './engine-bench.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

describe.skipIf(engine === undefined)('on an engine (npm run e2e)', () => {
  driverConformance(engine ?? 'engine', openEngineBench);
});
