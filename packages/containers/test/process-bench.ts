/** A bench for the process driver: a temporary folder, and nothing left alive at the end. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RunSpec } from '../src/driver.ts';
import { ProcessDriver, processTable } from '../src/index.ts';
import { type ProcessDriverOptions } from '../src/process.ts';
import { type Bench, clock, until } from './bench.ts';

export interface ProcessBench extends Bench {
  readonly folder: string;
  readonly stateFolder: string;
  hostWith(install: string, options: Partial<ProcessDriverOptions>): ProcessDriver;
}

export async function openProcessBench(): Promise<ProcessBench> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'containers-')));
  const stateFolder = join(folder, 'state');
  const outbound = join(folder, 'outbound');
  mkdirSync(outbound);
  const drivers: ProcessDriver[] = [];
  const hostWith = (install: string, options: Partial<ProcessDriverOptions>) => {
    const driver = new ProcessDriver({
      installId: install,
      stateFolder,
      path: '/usr/local/bin:/usr/bin:/bin',
      clock,
      processes: processTable(process),
      pollMs: 20,
      // A program that ends at once has done so by then, also on a machine that is busy.
      settleMs: 500,
      ...options,
    });
    drivers.push(driver);
    return driver;
  };
  return {
    folder,
    stateFolder,
    outbound,
    hostWith,
    host: (install) => hostWith(install, {}),
    spec: (install, runId, script) => specOf(folder, install, runId, script),
    async dispose() {
      for (const pid of processesIn(folder)) killIfThere(pid);
      await until('every process of the test is gone', () => processesIn(folder).length === 0);
      for (const driver of drivers) driver.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export function specOf(folder: string, install: string, runId: string, script: string): RunSpec {
  return {
    runId,
    sessionId: `session-of-${runId}`,
    installId: install,
    command: ['sh', '-c', script],
    workdir: '/workspace/outbound',
    mounts: [{ source: join(folder, 'outbound'), target: '/workspace/outbound', readonly: false }],
    env: { BENCH: folder },
    timeZone: 'UTC',
    labels: { group: 'tests' },
    logFile: join(folder, `${install}-${runId}.log`),
  };
}

/**
 * The processes that work in a bench's folder or below, or carry its name in their environment: found without the
 * driver, for a driver that loses a process must not be the judge of it.
 */
export function processesIn(folder: string): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  return pids.map(Number).filter((pid) => {
    const environment = procText(pid, 'environ');
    const state = /\) (\S)/.exec(procText(pid, 'stat'))?.[1];
    return state !== undefined && state !== 'Z' && environment.split('\0').includes(`BENCH=${folder}`);
  });
}

/** The arguments of a process, with blanks between; empty once it is gone. */
export function commandLine(pid: number): string {
  return procText(pid, 'cmdline').replaceAll('\0', ' ');
}

function procText(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return ''; // gone since the folder was read
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
