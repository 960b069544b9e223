/**
 * The suite that every driver must pass. It knows no test framework: a case is a name and a function that throws.
 *
 *   for (const { name, run } of driverContract(openDriver)) test(name, run);
 *
 * The cases start small programs that print, write files, wait and leave; `shellScript` makes them a script for `sh`. A
 * case waits for the driver only so long, so that a driver that hangs fails with a sentence that says what it did not do.
 */

import type { DriverKind, DriverUnderTest } from './driver-under-test.ts';
import { ENDS } from './end-cases.ts';
import { LIVES } from './host-restart-cases.ts';
import { OUTPUT } from './output-cases.ts';
import { STARTS } from './start-cases.ts';
import { type ContractCheck, TestBench, within } from './test-bench.ts';

export type { DriverUnderTest } from './driver-under-test.ts';
export { type ContractProgram, contractProgram, shellScript } from './test-program.ts';

/** How the suite is run. */
export interface DriverContractOptions {
  /**
   * What a run is to this driver. `process`, the default: a program of its own that can be killed, and that goes on when
   * its host is gone. `in-process`: code of the host's process, of which neither can be asked.
   */
  readonly kind?: DriverKind;
  /** How long a case waits for one thing at most, in milliseconds, before it fails. Default 30 000. */
  readonly deadlineMs?: number;
}

/** One promise of the contract. */
export interface DriverContractCase {
  /** A sentence. */
  readonly name: string;
  /** Rejects with an `AssertionError`, whose message is a sentence, when the driver breaks the promise. */
  readonly run: () => Promise<void>;
}

/**
 * The cases for one driver; they may run at the same time. `open` is called once for each case, and what it resolves with is
 * closed after it. While one of them runs, a variable of its own is set in the environment of this process.
 */
export function driverContract(
  open: () => Promise<DriverUnderTest>,
  { kind = 'process', deadlineMs = 30_000 }: DriverContractOptions = {},
): DriverContractCase[] {
  return CHECKS.filter(({ kinds }) => kinds.includes(kind)).map(({ name, check }) => ({
    name,
    async run() {
      const under = await within(deadlineMs, 'the driver under test to be opened', open());
      const close = () => within(deadlineMs, 'what the case has started to be closed', under.close());
      try {
        await check(new TestBench(under, kind, deadlineMs));
      } catch (error) {
        await close().catch(() => undefined); // the case has failed already, and says why
        throw error;
      }
      await close();
    },
  }));
}

const CHECKS: readonly ContractCheck[] = [...STARTS, ...OUTPUT, ...ENDS, ...LIVES];
