/** The port of the suite: a driver on a machine, as the cases use it. */

import type { Driver, RunSpec } from '../driver.ts';
import type { ContractProgram } from './test-program.ts';

/** What a run is to a driver: a program of its own, or code of the host's process. */
export type DriverKind = 'process' | 'in-process';

/** What the suite needs of a driver and of the machine it runs on. Each case opens one of its own. */
export interface DriverUnderTest {
  /**
   * Host path of an empty folder in which programs and suite leave files for each other: the working directory of every
   * run, in which the run may write.
   */
  readonly folder: string;
  /**
   * A driver in a new life of the host of this install: it remembers nothing but what is on disk or in the runtime. The
   * suite uses the installs `install-a` and `install-b`; a driver may know them by other names.
   */
  driver(install: string): Driver | Promise<Driver>;
  /**
   * What starts `program` as this run of this install: for a driver that runs commands, `['sh', '-c',
   * shellScript(program)]`. The spec has at least one label, and a log file of its own for each run id.
   */
  spec(install: string, runId: string, program: ContractProgram): RunSpec;
  /** Ends every run that is left and removes what was made. */
  close(): Promise<void>;
}
