import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  DEFAULT_LIMITS,
  EngineClient,
  type RunSpec,
  SpawnError,
  type SpawnProblem,
  specHash,
} from '@nanoclaw/containers';
import { type AgentGroup, openRegistry, type Registry } from '@nanoclaw/registry';
import { createSession, runId } from '@nanoclaw/session-db';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dataFolder } from '../src/data/data-folder.ts';
import { DEFAULT_SETTINGS, type HostSettings } from '../src/data/settings.ts';
import type { AbsentEngine, ContainerIsolation } from '../src/runs/driver-choice.ts';
import { guardedPlaces, type RunContext, runSpec } from '../src/runs/run-spec.ts';

let folder: string;
let registry: Registry;
let agent: AgentGroup;
let refusals: string[];
beforeEach(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'run-spec-')));
  for (const name of ['a', 'b']) {
    mkdirSync(join(folder, 'project', 'skills', name), { recursive: true });
    writeFileSync(join(folder, 'project', 'skills', name, 'SKILL.md'), name);
  }
  mkdirSync(join(folder, 'data'));
  let ids = 0;
  registry = await openRegistry({ file: join(folder, 'registry.db'), now: () => 1, newId: () => `id-${++ids}` });
  agent = await registry.createAgentGroup({
    folder: 'main',
    name: 'Nano',
    provider: 'offline',
    model: null,
    effort: null,
    assistantName: null,
    messagesPerPrompt: 10,
  });
  refusals = [];
});
afterEach(async () => {
  await registry.close();
  rmSync(folder, { recursive: true });
});

function context(change: Partial<RunContext> = {}, settings: Partial<HostSettings> = {}): RunContext {
  const data = dataFolder(join(folder, 'data'));
  return {
    installId: 'install',
    data,
    config: { ...DEFAULT_SETTINGS, mountAllowlist: join(folder, 'mounts.json'), ...settings },
    runnerFolder: join(folder, 'project', 'runner', 'dist'),
    skillsFolder: join(folder, 'project', 'skills'),
    isolation: { type: 'none', because: 'it is a test' },
    groupImages: { imageFor: () => Promise.reject(new Error('there are no images here')) },
    providers: {},
    load: { dataFolder: data.root, agentFolders: data.ofAgents, clock: { setTimer: () => () => undefined } },
    modelEnv: {},
    onRefused: (_agent, sentences) => void refusals.push(...sentences),
    ...change,
  };
}

/** The spec of the agent with these settings. */
function specOf(settings: Partial<AgentGroup>, of = context()): Promise<RunSpec> {
  const session = { id: 'session', folder: createSession(join(folder, 'data', 'sessions', 'session')) };
  return runSpec(session, { ...agent, ...settings }, runId('run-1'), of);
}

/** What the run reads as its configuration. */
function settingsIn(spec: RunSpec): unknown {
  const config = spec.mounts.find(({ target }) => target === '/app/config');
  return JSON.parse(readFileSync(join(config?.source ?? '', 'container.json'), 'utf8'));
}

/** An engine that is there; nothing is asked of it here. */
function containerIsolation(): ContainerIsolation {
  return {
    type: 'container',
    engine: 'docker',
    client: new EngineClient({ kind: 'docker', env: {} }),
    version: '28.0',
    isRootless: false,
    images: { slim: undefined, claude: undefined },
    user: { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 },
    limits: DEFAULT_LIMITS,
  };
}

async function problemOf(spec: Promise<RunSpec>): Promise<SpawnProblem | undefined> {
  const error = await spec.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error instanceof SpawnError ? error.problem : undefined;
}

describe('the configuration of a run', () => {
  it('has what its agent was given, MCP servers too', async () => {
    const spec = await specOf({
      model: 'some-model-5',
      effort: 'high',
      assistantName: 'Ada',
      mcpServers: [{ name: 'maps', command: 'bun', args: ['/workspace/agent/maps.js', '--metric'] }],
    });
    expect(settingsIn(spec)).toMatchObject({
      agentGroupId: agent.id,
      assistantName: 'Ada',
      model: 'some-model-5',
      effort: 'high',
      mcpServers: { maps: { command: 'bun', args: ['/workspace/agent/maps.js', '--metric'] } },
    });
  });

  it('names a time zone that there is, whatever this machine takes for its own (failure 83)', async () => {
    const own = process.env['TZ'];
    try {
      for (const [zone, named] of [
        ['Europe/Berlin', 'Europe/Berlin'],
        ['Nowhere/City', 'UTC'],
        ['undefined', 'UTC'],
      ]) {
        process.env['TZ'] = zone;
        expect([zone, settingsIn(await specOf({}))]).toMatchObject([zone, { timeZone: named }]);
      }
    } finally {
      if (own === undefined) delete process.env['TZ'];
      else process.env['TZ'] = own;
    }
    for (const timeZone of ['US/Eastern', 'Etc/GMT+5']) {
      expect(settingsIn(await specOf({}, context({}, { timeZone })))).toMatchObject({ timeZone });
    }
    await expect(specOf({}, context({}, { timeZone: 'Mars' }))).rejects.toThrow(
      /no time zone "Mars".*nothing was started/,
    );
  });

  it('is read-only and beside what the agent writes, never in it', async () => {
    const spec = await specOf({});
    const config = spec.mounts.find(({ target }) => target === '/app/config');
    expect(config?.readonly).toBe(true);
    for (const { source, readonly } of spec.mounts) {
      if (!readonly) expect(`${config?.source}/`.startsWith(`${source}/`)).toBe(false);
    }
  });

  it.each([
    ['effort', { effort: 'enormous' }, /effort is "enormous", and must be one of low, medium/],
    ['model', { model: '--help' }, /model "--help" is not the name/],
    ['network', { network: 'host' }, /network "host" is not the name of one, or is the host's own/],
    ['network', { network: 'container:other' }, /network "container:other"/],
  ] as const)('is refused before anything starts when its %s makes no sense', async (_what, settings, reason) => {
    expect(await problemOf(specOf(settings))).toMatchObject({
      type: 'bad-spec',
      reason: expect.stringMatching(reason),
    });
    expect(readdirSync(join(folder, 'data'))).not.toContain('groups');
  });
});

async function hash(settings: Partial<AgentGroup>): Promise<string> {
  return specHash(await specOf(settings));
}

describe('the hash of a spec', () => {
  it('is the same for the same settings', async () => {
    expect(await hash({ skills: ['a', 'b'] })).toBe(await hash({ skills: ['b', 'a'] }));
  });

  it.each([
    ['skills', { skills: ['a'] }],
    ['MCP servers', { mcpServers: [{ name: 'maps', command: 'maps', args: [] }] }],
    ['a model', { model: 'another' }],
    ['an effort', { effort: 'low' }],
    ['a name', { assistantName: 'Ada' }],
  ] as const)('differs when the agent gets other %s, so that its run is replaced', async (_what, settings) => {
    expect(await hash(settings)).not.toBe(await hash({}));
  });
});

describe('the skills of a run', () => {
  it('are shown as they were chosen, and what is none is told', async () => {
    const spec = await specOf({ skills: ['b', 'juggling'] });
    const skills = spec.mounts.find(({ target }) => target === '/app/skills');
    expect(skills?.readonly).toBe(true);
    expect(readdirSync(skills?.source ?? '')).toEqual(['b']);
    expect(refusals).toEqual(['There is no skill "juggling".']);
  });

  it('are not mentioned where there are none', async () => {
    const spec = await specOf({ skills: [] });
    expect(spec.command).not.toContain('--skills');
    expect(spec.mounts.map(({ target }) => target)).not.toContain('/app/skills');
  });
});

/** The owner allows agents to see this, and nothing else. */
function allow(path: string, isWritable: boolean): void {
  writeFileSync(join(folder, 'mounts.json'), JSON.stringify([{ path, isWritable }]), { mode: 0o600 });
}

/** What an agent gets that wishes for this. */
async function extras(source: string, isWritable: boolean) {
  const { mounts } = await specOf({ mounts: [{ source, name: 'extra', isWritable }] });
  return mounts.filter(({ target }) => target.startsWith('/workspace/extra/'));
}

describe('the extra folders of a run', () => {
  it('are writable only where both the agent’s settings and the owner’s list say so', async () => {
    const shared = join(folder, 'shared');
    mkdirSync(shared);
    for (const [isWished, isAllowed] of [
      [true, true],
      [true, false],
      [false, true],
      [false, false],
    ] as const) {
      allow(shared, isAllowed);
      expect(await extras(shared, isWished)).toEqual([
        { source: shared, target: '/workspace/extra/extra', readonly: !(isWished && isAllowed) },
      ]);
    }
  });

  it('are none without the list, and that is told while the agent starts', async () => {
    mkdirSync(join(folder, 'shared'));
    expect(await extras(join(folder, 'shared'), false)).toEqual([]);
    expect(refusals[0]).toMatch(/mounts\.json, does not exist/);
  });

  it('are judged anew at each start: a link that was put there since leads nowhere', async () => {
    const shared = join(folder, 'top', 'shared');
    mkdirSync(shared, { recursive: true });
    mkdirSync(join(folder, 'private'));
    allow(join(folder, 'top'), true);
    expect(await extras(shared, true)).toHaveLength(1);
    rmSync(shared, { recursive: true });
    symlinkSync(join(folder, 'private'), shared);
    expect(await extras(shared, true)).toEqual([]);
    expect(refusals.at(-1)).toMatch(/the list of what is allowed does not have it/);
  });

  it('are never of the data folder or the project', async () => {
    allow(folder, false);
    for (const own of ['data', 'data/sessions', 'project', 'project/runner']) {
      mkdirSync(join(folder, own), { recursive: true });
      expect(await extras(join(folder, own), false)).toEqual([]);
    }
    expect(guardedPlaces(context())).toEqual([join(folder, 'data'), join(folder, 'project')]);
  });
});

it('a run is not started with less than the engine that the configuration names, and is once the engine is there', async () => {
  let isThere = false;
  const absent: AbsentEngine = {
    type: 'absent',
    engine: 'docker',
    reason: 'its daemon does not answer',
    recheck: () => Promise.resolve(isThere ? found : absent),
  };
  const found = containerIsolation();
  const image = { id: `sha256:${'a'.repeat(64)}`, labels: {} };
  const of = context({ isolation: absent, groupImages: { imageFor: () => Promise.resolve(image) } });
  expect(await problemOf(specOf({}, of))).toEqual({
    type: 'no-engine',
    engine: 'docker',
    reason: 'its daemon does not answer',
  });
  isThere = true;
  expect((await specOf({}, of)).sandbox).toMatchObject({ image: image.id, network: { type: 'none' } });
});

it('a group’s own network comes before the configuration’s', async () => {
  const image = { id: `sha256:${'a'.repeat(64)}`, labels: {} };
  const of = context(
    { isolation: containerIsolation(), groupImages: { imageFor: () => Promise.resolve(image) } },
    { network: 'common' },
  );
  const network = async (name: string | null) => (await specOf({ network: name }, of)).sandbox?.network;
  expect(await network(null)).toEqual({ type: 'named', name: 'common' });
  expect(await network('intranet')).toEqual({ type: 'named', name: 'intranet' });
  expect(await network('none')).toEqual({ type: 'none' });
});
