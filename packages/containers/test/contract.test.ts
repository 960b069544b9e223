/** Our drivers keep the contract. Those of engines do it in `contract.engine.ts`. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'vitest';
import { contractProgram, type DriverUnderTest, driverContract } from '../src/contract/index.ts';
import { inProcess } from '../src/index.ts';
import { clock } from './bench.ts';
import { openProcessBench } from './process-bench.ts';
import { underTest } from './under-test.ts';

describe('the process driver keeps the contract', () => {
  for (const { name, run } of driverContract(async () => underTest(await openProcessBench()))) it.concurrent(name, run);
});

describe('the in-process driver keeps the contract', () => {
  for (const { name, run } of driverContract(openInProcess, { kind: 'in-process' })) it.concurrent(name, run);
});

async function openInProcess(): Promise<DriverUnderTest> {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'in-process-')));
  const folder = join(root, 'outbound');
  mkdirSync(folder);
  const factory = inProcess(contractProgram);
  return {
    folder,
    driver: (installId) => factory({ installId, stateFolder: join(root, 'state'), clock }),
    spec: (installId, runId, program) => ({
      runId,
      sessionId: `session-of-${runId}`,
      installId,
      command: ['sh', '-c', JSON.stringify(program), '/workspace/outbound'],
      workdir: '/workspace/outbound',
      mounts: [{ source: folder, target: '/workspace/outbound', readonly: false }],
      env: {},
      timeZone: 'UTC',
      labels: { group: 'tests' },
      logFile: join(root, `${installId}-${runId}.log`),
    }),
    close: async () => rmSync(root, { recursive: true }),
  };
}
