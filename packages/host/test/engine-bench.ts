/**
 * One agent of an install on a real engine, for the tests that `npm run e2e` runs: its runs execute a shell script instead
 * of the agent's program, and all else of them is what the host would start.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Driver, EngineClient, type EngineKind, type Image, LABELS, type RunSpec } from '@nanoclaw/containers';
import { type AgentGroup, type AgentGroupSettings, openRegistry, type Registry } from '@nanoclaw/registry';
import { createSession, runId } from '@nanoclaw/session-db';
import { dataFolder } from '../src/data/data-folder.ts';
import { DEFAULT_SETTINGS } from '../src/data/settings.ts';
import {
  type ContainerIsolation,
  chooseIsolation,
  clientEnvironment,
  driverFor,
  isolationNow,
} from '../src/runs/driver-choice.ts';
import { type RunContext, runSpec } from '../src/runs/run-spec.ts';
import { setTimer } from './whole-host.ts';

export const ENGINE = process.env['NANOCLAW_TEST_ENGINE'] ?? '';

/** The same as a setting of the host. */
export function engineKind(): EngineKind {
  if (ENGINE !== 'docker' && ENGINE !== 'podman') throw new Error(`NANOCLAW_TEST_ENGINE is ${JSON.stringify(ENGINE)}.`);
  return ENGINE;
}

export class EngineBench {
  /** A folder of the test's own, with `data` and `project` in it. */
  readonly folder: string;
  readonly installId = `bench-${process.pid}-${Date.now()}`;
  readonly refusals: string[] = [];
  readonly registry: Registry;
  readonly agent: AgentGroup;
  readonly isolation: ContainerIsolation;
  readonly driver: Driver;
  readonly #session;

  static async open(): Promise<EngineBench> {
    const config = { ...DEFAULT_SETTINGS, driver: engineKind(), image: 'nanoclaw-e2e:slim' };
    const isolation = await isolationNow(await chooseIsolation(config, { env: process.env, user: undefined }));
    if (isolation.type === 'none') throw new Error('the tests run on an engine');
    const folder = realpathSync(mkdtempSync(join(tmpdir(), 'bench-')));
    let ids = 0;
    const registry = await openRegistry({
      file: join(folder, 'registry.db'),
      now: () => 1,
      newId: () => `id-${++ids}`,
    });
    const agent = await registry.createAgentGroup({
      folder: 'main',
      name: 'Nano',
      provider: 'offline',
      model: null,
      effort: null,
      assistantName: null,
      messagesPerPrompt: 10,
    });
    return new EngineBench(folder, registry, agent, isolation);
  }

  private constructor(folder: string, registry: Registry, agent: AgentGroup, isolation: ContainerIsolation) {
    this.folder = folder;
    this.registry = registry;
    this.agent = agent;
    this.isolation = isolation;
    for (const place of ['data', 'project/runner/dist', 'project/skills']) {
      mkdirSync(join(this.folder, place), { recursive: true });
    }
    this.#session = createSession(join(this.folder, 'data', 'sessions', 'session'));
    this.driver = driverFor(isolation, {
      installId: this.installId,
      config: this.config(),
      stateFolder: this.folder,
      env: process.env,
      process,
      clock: { now: Date.now, setTimer },
    });
  }

  config() {
    return { ...DEFAULT_SETTINGS, mountAllowlist: join(this.folder, 'mounts.json') };
  }

  /** A context whose runs have the common image, unless `change` says otherwise. */
  context(change: Partial<RunContext> = {}): RunContext {
    return {
      installId: this.installId,
      data: dataFolder(join(this.folder, 'data')),
      config: this.config(),
      runnerFolder: join(this.folder, 'project', 'runner', 'dist'),
      skillsFolder: join(this.folder, 'project', 'skills'),
      isolation: this.isolation,
      groupImages: { imageFor: async () => this.isolation.images.slim ?? fail('there is no slim image') },
      providers: {},
      load: { dataFolder: this.folder, agentFolders: [], clock: { setTimer: () => () => undefined } },
      modelEnv: {},
      onRefused: (_agent, sentences) => void this.refusals.push(...sentences),
      ...change,
    };
  }

  /** The spec of a run of the agent, as the registry has it now, that executes `script`. */
  async spec(run: string, script: string, context = this.context()): Promise<RunSpec> {
    const agent = (await this.registry.agentGroup(this.agent.id)) ?? fail('the agent is gone');
    const spec = await runSpec({ id: 'session', folder: this.#session }, agent, runId(run), context);
    return { ...spec, command: ['sh', '-c', script] };
  }

  set(settings: Partial<AgentGroupSettings>): Promise<AgentGroup | undefined> {
    return this.registry.updateAgentGroup(this.agent.id, settings);
  }

  /** What a script that runs to its end has to say. */
  async said(run: string, script: string): Promise<string> {
    const started = await this.driver.start(
      await this.spec(run, `{ ${script}\n} >/workspace/outbound/said 2>&1; exit 0`),
    );
    await started.exited();
    return this.told('said');
  }

  /** What a run has written into a file of its outbound folder; empty while there is none. */
  told(file: string): string {
    const path = join(this.#session.outbound.root, file);
    return existsSync(path) ? readFileSync(path, 'utf8').trim() : '';
  }

  allow(places: readonly { readonly path: string; readonly isWritable: boolean }[]): void {
    writeFileSync(join(this.folder, 'mounts.json'), JSON.stringify(places), { mode: 0o600 });
  }

  async image(name: string): Promise<Image> {
    return (await this.isolation.client.image(name)) ?? fail(`there is no image ${name}`);
  }

  async close(): Promise<void> {
    this.driver.close();
    const client = new EngineClient({ kind: this.isolation.engine, env: clientEnvironment(process.env) });
    for (const id of await client.withLabel(LABELS.install, this.installId)) await client.remove(id);
    for (const id of await client.images(LABELS.imageOf, this.installId)) await client.removeImage(id);
    await this.registry.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Looks every 20 ms until `condition` holds, for at most twenty seconds. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let look = 0; look < 1_000; look += 1) {
    if (await condition()) return;
    await delay(20);
  }
  throw new Error(`It did not happen: ${condition}`);
}

export function fail(reason: string): never {
  throw new Error(reason);
}
