/**
 * A bench for an engine's driver. `NANOCLAW_TEST_ENGINE` names the engine and `NANOCLAW_TEST_IMAGE` the image's id; `npm
 * run e2e` sets both. The client is configured by the environment, as it is for the host.
 */
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EngineDriverOptions } from '../src/engine.ts';
import {
  DEFAULT_LIMITS,
  EngineClient,
  EngineDriver,
  type EngineKind,
  LABELS,
  type RunSpec,
  type Sandbox,
} from '../src/index.ts';
import { type Bench, clock } from './bench.ts';

export const engine = engineOf(process.env['NANOCLAW_TEST_ENGINE']);
export const image = process.env['NANOCLAW_TEST_IMAGE'] ?? '';
export const clientEnv = Object.fromEntries(
  Object.entries(process.env).flatMap(([name, value]) =>
    value !== undefined && /^(PATH|HOME|XDG_|DOCKER_|CONTAINER|STORAGE_)/.test(name) ? [[name, value]] : [],
  ),
);

/** Installs of all test runs on a machine, so that one never meets the containers of another. */
const unique = `${process.pid}-${Date.now()}`;

export interface EngineBench extends Bench {
  readonly folder: string;
  readonly client: EngineClient;
  readonly sandbox: Sandbox;
  hostWith(install: string, options: Partial<EngineDriverOptions>): EngineDriver;
  installId(install: string): string;
}

export async function openEngineBench(): Promise<EngineBench> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'engine-')));
  const outbound = join(folder, 'outbound');
  mkdirSync(outbound);
  // Written by the user inside, looked at by the test.
  chmodSync(outbound, 0o777);
  const kind = engine ?? 'podman';
  const client = new EngineClient({ kind, env: clientEnv });
  const drivers: EngineDriver[] = [];
  const installs = new Set<string>();
  const installId = (install: string) => {
    const id = `${install}-${unique}`;
    installs.add(id);
    return id;
  };
  const hostWith = (install: string, options: Partial<EngineDriverOptions>) => {
    const id = installId(install);
    const driver = new EngineDriver({ kind, env: clientEnv, installId: id, clock, pollMs: 500, ...options });
    drivers.push(driver);
    return driver;
  };
  const sandbox: Sandbox = {
    image,
    protocolVersion: Number((await client.image(image))?.labels[LABELS.protocol]),
    network: { type: 'none' },
    user: { uid: 1000, gid: 1000 },
    limits: DEFAULT_LIMITS,
  };
  return {
    folder,
    outbound,
    client,
    sandbox,
    hostWith,
    installId,
    host: (install) => hostWith(install, {}),
    spec: (install, runId, script): RunSpec => ({
      runId,
      sessionId: `session-of-${runId}`,
      installId: installId(install),
      command: ['sh', '-c', script],
      workdir: '/workspace/outbound',
      mounts: [{ source: outbound, target: '/workspace/outbound', readonly: false }],
      env: {},
      timeZone: 'UTC',
      labels: { group: 'tests' },
      logFile: join(folder, `${install}-${runId}.log`),
      sandbox,
    }),
    async dispose() {
      for (const driver of drivers) driver.close();
      for (const install of installs) {
        for (const id of await client.withLabel(LABELS.install, install)) await client.remove(id);
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function engineOf(name: string | undefined): EngineKind | undefined {
  if (name === undefined || name === '') return undefined;
  if (name === 'docker' || name === 'podman') return name;
  throw new Error(`NANOCLAW_TEST_ENGINE is docker or podman, not ${name}`);
}
