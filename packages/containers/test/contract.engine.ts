import { describe, it, vi } from 'vitest';
import { driverContract } from '../src/contract/index.ts';
import { engine, openEngineBench } from './engine-bench.ts';
import { underTest } from './under-test.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

describe.skipIf(engine === undefined)('on an engine (npm run e2e)', () => {
  describe(`the driver for ${engine ?? 'an engine'} keeps the contract`, () => {
    for (const { name, run } of driverContract(async () => underTest(await openEngineBench()))) it(name, run);
  });
});
