import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { driverFor } from '@nanoclaw/host/runs';
import { type AgentGroup, type AgentGroupId, isId } from '@nanoclaw/registry';
import { PROTOCOL_VERSION } from '@nanoclaw/session-db/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Check } from '../src/check.ts';
import { readConfig } from '../src/config.ts';
import { type DoctorOptions, diagnose, report } from '../src/doctor.ts';
import { ports } from '../src/process.ts';

let folder: string;
let dataFolder: string;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'doctor-')));
  dataFolder = join(folder, 'data');
  for (const name of ['data', 'project/skills/notes']) mkdirSync(join(folder, name), { recursive: true });
});
afterEach(() => rmSync(folder, { recursive: true }));

function examined(env: Record<string, string>, options: Partial<DoctorOptions> = {}) {
  const config = readConfig(dataFolder, env);
  return diagnose({
    dataFolder,
    config,
    machine: { env: { PATH: folder }, user: { uid: 0, gid: 0 } },
    agents: [],
    modelEnv: {},
    runnerFolder: join(folder, 'project', 'runner'),
    skillsFolder: join(folder, 'project', 'skills'),
    drivers: [],
    driver: (isolation, installId, stateFolder) => {
      if (isolation.type === 'custom') throw new Error('No driver of the configuration is tried here.');
      return driverFor(isolation, {
        installId,
        config,
        stateFolder,
        env: process.env,
        process,
        clock: ports.clock,
      });
    },
    newId: () => 'test',
    sleep: (ms) => delay(ms),
    ...options,
  });
}

/** An agent with these settings. */
function agentWith(settings: Partial<AgentGroup>): AgentGroup {
  const id = 'agent-1';
  if (!isId<AgentGroupId>(id)) throw new Error(`${id} is no id`);
  return {
    id,
    folder: 'main',
    name: 'Nano',
    provider: 'offline',
    model: null,
    effort: null,
    assistantName: null,
    messagesPerPrompt: 10,
    skills: 'all',
    mcpServers: [],
    packages: { apt: [], npm: [] },
    mounts: [],
    image: null,
    network: null,
    commandScope: 'none',
    createdAt: 1,
    ...settings,
  };
}

/** A docker that answers, and knows every image but `missing`, each with these labels: by default of this version. */
function docker(
  missing = 'none',
  labels: Readonly<Record<string, string>> = { 'io.nanoclaw.protocol': String(PROTOCOL_VERSION) },
): void {
  const info = JSON.stringify({ ServerVersion: '28.0', NCPU: 2 });
  const image = JSON.stringify([{ Id: 'a'.repeat(64), Config: { Labels: labels } }]);
  const script = [
    '#!/bin/sh',
    `case "$*" in`,
    `  info*) echo '${info}';;`,
    `  "image inspect ${missing}") echo "Error: No such image" >&2; exit 1;;`,
    `  "image inspect "*) echo '${image}';;`,
    `  *) echo "no runs today" >&2; exit 1;;`,
    'esac',
  ];
  writeFileSync(join(folder, 'docker'), `${script.join('\n')}\n`, { mode: 0o755 });
}

/** The findings about one thing, with their verdicts. */
function about(what: string, checks: readonly Check[]): string[] {
  return checks.filter((check) => check.what === what).map(({ verdict, finding }) => `${verdict}: ${finding}`);
}

function wish(source: string) {
  return { source, name: 'x', isWritable: true };
}

describe('the doctor', () => {
  it('runs an agent in small, sees each side through the other, and leaves nothing', async () => {
    const checks = await examined({ NANOCLAW_DRIVER: 'process' });
    expect(checks.map(({ what, verdict }) => [what, verdict])).toEqual([
      ['isolation', 'note'],
      ['mounts', 'ok'],
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
    expect(about('isolation', checks)).toEqual([expect.stringMatching(/^trouble: .*podman is not installed/)]);
    expect(about('trial run', checks)).toEqual([]);
  });

  it('says loudly which agents reach a network', async () => {
    docker();
    const agents = [agentWith({ name: 'Nano' }), agentWith({ name: 'Ada', provider: 'claude' })];
    const [check, ...others] = about('network', await examined({}, { agents }));
    expect(check).toMatch(/^note: Ada can reach whatever the engine's network "bridge" reaches/);
    expect(others).toEqual([]);
    const closed = await examined({}, { agents, modelEnv: { ANTHROPIC_UNIX_SOCKET: '/run/model.sock' } });
    expect(about('network', closed)).toEqual(['ok: No agent can reach a network.']);
  });

  it('tells what agents see of this machine, and what is refused them and why', async () => {
    const list = join(folder, 'mounts.json');
    const shared = join(folder, 'shared');
    mkdirSync(shared);
    writeFileSync(list, JSON.stringify([{ path: shared, isWritable: false }]), { mode: 0o600 });
    const agents = [agentWith({ mounts: [wish(shared)] }), agentWith({ name: 'Ada', mounts: [wish('/etc')] })];
    expect(about('mounts', await examined({ NANOCLAW_MOUNT_ALLOWLIST: list }, { agents }))).toEqual([
      `ok: Nano reads ${shared}.`,
      expect.stringMatching(/^note: Ada: \/etc is not mounted: /),
    ]);
    expect(about('mounts', await examined({ NANOCLAW_MOUNT_ALLOWLIST: '/nowhere' }, { agents }))[0]).toMatch(
      /^note: Nano: No extra folder is mounted: .*\/nowhere, does not exist/,
    );
  });

  it('tells of images of another version, and of one that says none, before an agent is to start in them', async () => {
    docker();
    expect(about('docker image', await examined({}))).toEqual([expect.stringMatching(/^ok: /), expect.anything()]);
    docker('none', { 'io.nanoclaw.protocol': '0' });
    expect(about('docker image', await examined({}))[0]).toMatch(
      new RegExp(`^trouble: .* speaks version 0, and this host ${PROTOCOL_VERSION}\\. Build it anew: node`),
    );
    docker('none', {});
    expect(about('docker image', await examined({}))[0]).toMatch(/^trouble: .* does not say which version it speaks/);
  });

  it('tells of images of agents that are missing, or were never built', async () => {
    docker('group-1');
    const packages = { apt: ['jq'], npm: [] };
    const agents = [
      agentWith({ packages, image: 'group-1' }),
      agentWith({ name: 'Ada', packages, image: 'group-2' }),
      agentWith({ name: 'Bob', packages }),
    ];
    expect(about('agent image', await examined({}, { agents }))).toEqual([
      expect.stringMatching(/^trouble: The image of Nano, group-1, is not there; the host builds it anew/),
      expect.stringMatching(/^ok: Ada has one of its own/),
      expect.stringMatching(/^note: Bob is to have jq, and no image was built/),
    ]);
  });

  it('tells of skills that are none', async () => {
    const agents = [agentWith({ skills: ['notes', 'juggling'] })];
    expect(about('skills', await examined({ NANOCLAW_DRIVER: 'process' }, { agents }))).toEqual([
      'note: Nano is to have juggling, and there is no such skill; there are notes.',
    ]);
  });

  it('gives plain data, which can be printed as JSON', async () => {
    const checks = await examined({ NANOCLAW_DRIVER: 'process' });
    expect(JSON.parse(JSON.stringify(checks))).toEqual(checks);
  });
});
