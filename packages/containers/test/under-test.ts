/** A bench as the suite for drivers takes it. */
import { type DriverUnderTest, shellScript } from '../src/contract/index.ts';
import type { Driver } from '../src/index.ts';
import type { Bench } from './bench.ts';

/** The machine as the suite for drivers uses it; `wrap` makes the driver that is examined of the real one. */
export function underTest(bench: Bench, wrap: (driver: Driver) => Driver = (driver) => driver): DriverUnderTest {
  return {
    folder: bench.outbound,
    driver: (install) => wrap(bench.host(install)),
    spec: (install, runId, program) => bench.spec(install, runId, shellScript(program)),
    close: () => bench.dispose(),
  };
}
