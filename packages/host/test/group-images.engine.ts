/** A group's own image, built on a real engine out of a repository of packages on its own disk, and put in force. */
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Containers, EngineClient, type RunEnd, type RunSpec, SpawnError, specHash } from '@nanoclaw/containers';
import { execa } from 'execa';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ContainerIsolation, clientEnvironment } from '../src/runs/driver-choice.ts';
import { GroupImages, type Rebuilt } from '../src/runs/group-images.ts';
import type { RunContext } from '../src/runs/run-spec.ts';
import { ENGINE, EngineBench, until } from './engine-bench.ts';

/** Says what it finds of the package, and stays. */
const SCRIPT = 'nanoclaw-probe >/workspace/outbound/said 2>&1; touch /workspace/outbound/ready; exec sleep 300';

describe.skipIf(ENGINE === '')('the image of a group, on an engine', () => {
  const base = `nanoclaw-test-base:${process.pid}`;
  const client = new EngineClient({
    kind: ENGINE === 'docker' ? 'docker' : 'podman',
    env: clientEnvironment(process.env),
  });
  beforeAll(() => buildBase(client, base));
  afterAll(async () => void (await client.ask(['rmi', '--force', base])));

  let bench: EngineBench;
  let isolation: ContainerIsolation;
  let images: GroupImages;
  let containers: Containers;
  let context: RunContext;
  let ended: RunEnd[];
  let mended: Rebuilt[];
  let runs = 0;
  beforeEach(async () => {
    bench = await EngineBench.open();
    isolation = { ...bench.isolation, images: { slim: await bench.image(base), claude: undefined } };
    ended = [];
    mended = [];
    images = new GroupImages({
      registry: bench.registry,
      isolation,
      installId: bench.installId,
      data: bench.context().data,
      config: bench.config(),
      providerOf: ({ provider }) => provider,
      setTimer: (ms, action) => {
        const timer = setTimeout(action, ms);
        return () => clearTimeout(timer);
      },
      onMended: (_id, rebuilt) => void mended.push(rebuilt),
    });
    images.whenChanged(async () => void (await containers.replaceOutdatedRuns(() => false)));
    context = bench.context({ isolation, groupImages: images });
    containers = new Containers({
      driver: bench.driver,
      runsMax: 2,
      graceMs: 5_000,
      outdatedReason: async (run) => (specHash(await spec(run.runId)) === run.specHash ? undefined : 'other settings'),
      onExit: (end) => void ended.push(end),
    });
  });
  afterEach(async () => {
    await images.close();
    await bench.close();
  });

  const spec = (run: string): Promise<RunSpec> => bench.spec(run, SCRIPT, context);
  async function wake() {
    const run = await containers.wake(await spec(`r${++runs}`));
    await until(() => bench.told('said') !== '');
    return run;
  }

  it('has the packages, replaces the run of the old one, and is pinned by its id', async () => {
    const old = await wake();
    expect(bench.told('said')).toContain('not found');

    await bench.set({ packages: { apt: ['nanoclaw-probe'], npm: [] } });
    const lines: string[] = [];
    const rebuilt = await images.rebuild(bench.agent.id, (line) => void lines.push(line));
    expect(rebuilt).toMatchObject({ type: 'built', image: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) });
    expect(lines.join('\n')).toContain('Setting up nanoclaw-probe');
    expect(ended).toMatchObject([{ run: { runId: old.runId }, stopReason: 'other settings' }]);

    await wake();
    await until(() => bench.told('said') === 'a word from the package');
    expect((await spec('r0')).sandbox?.image).toBe(rebuilt.type === 'built' ? rebuilt.image : '');
  });

  it('stays what it was when a build fails, and the run with it', async () => {
    await bench.set({ packages: { apt: ['nanoclaw-probe'], npm: [] } });
    await images.rebuild(bench.agent.id, () => undefined);
    const before = (await bench.registry.agentGroup(bench.agent.id))?.image;
    const run = await wake();

    await bench.set({ packages: { apt: ['nanoclaw-nonsense'], npm: [] } });
    const failed = await images.rebuild(bench.agent.id, () => undefined);
    expect(failed).toMatchObject({
      type: 'failed',
      reason: expect.stringContaining('Unable to locate package nanoclaw-nonsense'),
    });
    expect((await bench.registry.agentGroup(bench.agent.id))?.image).toBe(before);
    expect(await containers.replaceOutdatedRuns(() => false)).toEqual([]);
    expect(containers.running('session')).toBe(run);
  });

  it('that has vanished is a failed start of a kind of its own, and comes back by itself', async () => {
    await bench.set({ packages: { apt: ['nanoclaw-probe'], npm: [] } });
    const rebuilt = await images.rebuild(bench.agent.id, () => undefined);
    await isolation.client.removeImage(rebuilt.type === 'built' ? rebuilt.image : '');
    const error = await wake().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(SpawnError);
    expect(error).toMatchObject({ problem: { type: 'no-image' } });
    await until(() => mended.length > 0);
    expect(mended).toMatchObject([{ type: 'built' }]);
    await wake();
    expect(bench.told('said')).toBe('a word from the package');
  });
});

/** An image of ours with a package manager, whose only source of packages is a folder in the image itself. */
async function buildBase(client: EngineClient, tag: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'base-'));
  const repository = join(folder, 'repository');
  const content = join(folder, 'content');
  for (const place of [repository, join(content, 'DEBIAN'), join(content, 'usr/bin')])
    mkdirSync(place, { recursive: true });
  const control = [
    'Package: nanoclaw-probe',
    'Version: 1',
    'Architecture: all',
    'Maintainer: Nobody <nobody@example.com>',
    'Description: says a word',
  ];
  writeFileSync(join(content, 'DEBIAN', 'control'), `${control.join('\n')}\n`);
  writeFileSync(join(content, 'usr/bin/nanoclaw-probe'), '#!/bin/sh\necho a word from the package\n', { mode: 0o755 });
  const archive = join(repository, 'nanoclaw-probe.deb');
  await execa('dpkg-deb', ['--root-owner-group', '--build', content, archive]);
  const { stdout } = await execa('sha256sum', [archive]);
  const [hash] = stdout.split(' ');
  const entry = [...control, 'Filename: ./nanoclaw-probe.deb', `Size: ${statSync(archive).size}`, `SHA256: ${hash}`];
  writeFileSync(join(repository, 'Packages'), `${entry.join('\n')}\n\n`);
  const places = [
    '/etc/apt/apt.conf.d',
    '/etc/apt/preferences.d',
    '/var/lib/dpkg/info',
    '/var/lib/dpkg/updates',
    '/var/lib/apt/lists/partial',
    '/var/cache/apt/archives/partial',
    '/var/log/apt',
  ];
  const recipe = [
    'FROM nanoclaw-e2e:apt',
    'USER 0:0',
    'COPY repository /repository',
    `RUN mkdir -p ${places.join(' ')} && touch /var/lib/dpkg/status && \\`,
    "    echo 'deb [trusted=yes] file:/repository ./' >/etc/apt/sources.list",
    'USER 1000:1000',
  ];
  writeFileSync(join(folder, 'Dockerfile'), `${recipe.join('\n')}\n`);
  await client.asked(['build', '--network=none', `--tag=${tag}`, folder]);
  rmSync(folder, { recursive: true });
}
