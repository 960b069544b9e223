/** An engine that is named by the configuration and is down when the host starts, and what happens when it comes back. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Containers, EngineError, SpawnError } from '@nanoclaw/containers';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DEFAULT_SETTINGS } from '../src/data/settings.ts';
import { chooseIsolation, driverFor } from '../src/runs/driver-choice.ts';
import { ENGINE, EngineBench, engineKind, until } from './engine-bench.ts';
import { setTimer } from './whole-host.ts';

describe.skipIf(ENGINE === '')('an engine that is down when the host starts', () => {
  let bench: EngineBench;
  let down: string;
  let env: Record<string, string | undefined>;
  beforeEach(async () => {
    bench = await EngineBench.open();
    down = join(bench.folder, 'down');
    const { stdout: client } = await execa('sh', ['-c', `command -v ${ENGINE}`]);
    const script = `#!/bin/sh\n[ -e ${down} ] && { echo "Cannot connect to the engine" >&2; exit 1; }\nexec ${client} "$@"\n`;
    writeFileSync(join(bench.folder, ENGINE), script, { mode: 0o755 });
    env = { ...process.env, PATH: `${bench.folder}:${process.env['PATH']}` };
  });
  afterEach(() => bench.close());

  it('starts nothing, takes nothing for dead, and is used as soon as it answers', async () => {
    writeFileSync(down, '');
    const config = { ...DEFAULT_SETTINGS, driver: engineKind(), image: 'nanoclaw-e2e:slim' };
    const isolation = await chooseIsolation(config, { env, user: undefined });
    expect(isolation).toMatchObject({ type: 'absent', engine: ENGINE, reason: 'Cannot connect to the engine' });
    const driver = driverFor(isolation, {
      installId: bench.installId,
      config,
      stateFolder: bench.folder,
      env,
      process,
      clock: { now: Date.now, setTimer },
    });
    const containers = new Containers({ driver, runsMax: 1, graceMs: 5_000, onExit: () => undefined });
    const context = bench.context({ isolation });
    const script = 'echo here >/workspace/outbound/said; exec sleep 300';
    try {
      await expect(containers.reconcile()).rejects.toBeInstanceOf(EngineError);
      const refused = await bench.spec('r1', script, context).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(SpawnError);
      expect(refused).toMatchObject({ problem: { type: 'no-engine', engine: ENGINE } });

      rmSync(down);
      const spec = await bench.spec('r2', script, context);
      expect(spec.sandbox?.image).toMatch(/^sha256:/);
      await containers.wake(spec);
      await until(() => bench.told('said') === 'here');

      // And when it goes away again, what runs is still taken for alive.
      writeFileSync(down, '');
      await expect(containers.stop('session', 'the test')).rejects.toBeInstanceOf(EngineError);
      expect(containers.running('session')?.runId).toBe('r2');
      rmSync(down);
      expect(await containers.stop('session', 'the test')).toMatchObject({ type: 'code' });
    } finally {
      driver.close();
    }
  });
});
