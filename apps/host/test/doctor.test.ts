import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readConfig } from '../src/config.js';
import { diagnose, report } from '../src/doctor.js';
import { driverFor } from '../src/driver-choice.js';

let dataFolder: string;
beforeEach(() => {
  dataFolder = mkdtempSync(join(tmpdir(), 'doctor-'));
});
afterEach(() => rmSync(dataFolder, { recursive: true }));

function examined(env: Record<string, string>) {
  const config = readConfig(dataFolder, env);
  return diagnose({
    dataFolder,
    config,
    machine: { env: { PATH: '/nowhere' }, user: { uid: 0, gid: 0 } },
    driver: (isolation, installId, stateFolder) =>
      driverFor(isolation, {
        installId,
        config,
        stateFolder,
        env: process.env,
        process,
        clock: { now: Date.now, sleep: (ms, signal) => delay(ms, undefined, { signal }).catch(() => undefined) },
      }),
    newId: () => 'test',
    sleep: (ms) => delay(ms),
  });
}

describe('the doctor', () => {
  it('runs an agent in small, sees each side through the other, and leaves nothing', async () => {
    const checks = await examined({ NANOCLAW_DRIVER: 'process' });
    expect(checks.map(({ what, verdict }) => [what, verdict])).toEqual([
      ['isolation', 'note'],
      ['trial run', 'ok'],
    ]);
    expect(readdirSync(dataFolder)).toEqual([]);
  });

  it('tells what cannot be started, and what to do', async () => {
    const checks = await examined({ NANOCLAW_DRIVER: 'process', NANOCLAW_BUN: '/nowhere/bun' });
    expect(checks.at(-1)).toMatchObject({ what: 'trial run', verdict: 'trouble' });
    expect(report(checks)).toMatch(/^trouble +trial run +Bun was not found.*install it/m);
    expect(readdirSync(dataFolder)).toEqual([]);
  });

  it('tells of each engine that is not there', async () => {
    const checks = await examined({});
    expect(checks.slice(0, 2).map(({ what, verdict, finding }) => [what, verdict, finding])).toEqual([
      ['docker', 'note', expect.stringContaining('docker is not installed')],
      ['podman', 'note', expect.stringContaining('podman is not installed')],
    ]);
  });

  it('says so when the configured engine cannot be used', async () => {
    const checks = await examined({ NANOCLAW_DRIVER: 'podman' });
    expect(checks.at(-1)).toMatchObject({ what: 'isolation', verdict: 'trouble' });
  });
});
