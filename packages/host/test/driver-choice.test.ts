import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SpawnError } from '@nanoclaw/containers';
import { PROTOCOL_VERSION } from '@nanoclaw/session-db/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DEFAULT_SETTINGS, type HostSettings } from '../src/data/settings.ts';
import {
  absent,
  chooseIsolation,
  driverFor,
  imageFor,
  isolationNow,
  isolationSentence,
  networkFor,
} from '../src/runs/driver-choice.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'choice-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const ID = `sha256:${'a'.repeat(64)}`;
const DOCKER = { ServerVersion: '28.0', NCPU: 4, SecurityOptions: ['name=seccomp'] };
const PODMAN = { host: { cpus: 4, security: { rootless: false } }, version: { Version: '5.0' } };

/** A client that answers `info`, and knows one image by the given protocol version, or none. */
function client(name: 'docker' | 'podman', info: object, protocol?: string): void {
  const image = JSON.stringify([{ Id: ID, Config: { Labels: { 'io.nanoclaw.protocol': protocol } } }]);
  const found = protocol === undefined ? 'echo "Error: No such image" >&2; exit 1' : `echo '${image}'`;
  const script = `#!/bin/sh\ncase "$1" in info) echo '${JSON.stringify(info)}';; image) ${found};; esac\n`;
  writeFileSync(join(folder, name), script, { mode: 0o755 });
}

function config(settings: Partial<HostSettings> = {}): HostSettings {
  return { ...DEFAULT_SETTINGS, ...settings };
}

const machine = (user = { uid: 501, gid: 20 }) => ({ env: { PATH: folder }, user });
const current = String(PROTOCOL_VERSION);

describe('the isolation of a machine', () => {
  it('is docker where docker answers and has an image of ours', async () => {
    client('docker', DOCKER, current);
    client('podman', PODMAN, current);
    expect(await chooseIsolation(config(), machine())).toMatchObject({
      type: 'container',
      engine: 'docker',
      version: '28.0',
      user: { uid: 501, gid: 20 },
    });
  });

  it('is podman where docker is a client without a daemon, or has no image of this version', async () => {
    client('podman', PODMAN, current);
    client('docker', { ServerVersion: '' }, current);
    expect(await chooseIsolation(config(), machine())).toMatchObject({ engine: 'podman' });
    client('docker', DOCKER, '999');
    expect(await chooseIsolation(config(), machine())).toMatchObject({ engine: 'podman' });
  });

  it('is none where there is nothing, and is said with every reason', async () => {
    client('podman', PODMAN);
    const isolation = await chooseIsolation(config(), machine());
    expect(isolation.type).toBe('none');
    expect(isolationSentence(isolation)).toMatch(/^none\..*docker is not installed.*no image.*image\.mjs/);
  });

  it('is none where the configuration says so', async () => {
    client('docker', DOCKER, current);
    expect((await chooseIsolation(config({ driver: 'process' }), machine())).type).toBe('none');
  });

  it('is never less than what the configuration names: no run starts until that can be used', async () => {
    const isolation = await chooseIsolation(config({ driver: 'podman' }), machine());
    expect(isolation).toMatchObject({ type: 'absent', engine: 'podman', reason: 'podman is not installed' });
    expect(isolationSentence(isolation)).toMatch(
      /^containers of podman, which cannot be used \(podman is not installed\)\. Messages are kept, and agents start as soon/,
    );
    const own = absent('fast', 'there is no file /fast.js');
    expect(isolationSentence(own)).toMatch(/^decided by the driver fast, .*no file .* start the host again\.$/);
    const refused = await isolationNow(isolation).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(SpawnError);
    expect(refused).toMatchObject({ problem: { type: 'no-engine', engine: 'podman' } });
  });

  it('is asked for again at each start, and stays as it was found then', async () => {
    const isolation = await chooseIsolation(config({ driver: 'podman' }), machine());
    client('podman', PODMAN);
    await expect(isolationNow(isolation)).rejects.toThrow(/no image nanoclaw-agent:slim of this version/);
    client('podman', PODMAN, current);
    const found = await isolationNow(isolation);
    expect(found).toMatchObject({ type: 'container', engine: 'podman', images: { slim: { id: ID } } });
    rmSync(join(folder, 'podman'));
    expect(await isolationNow(isolation)).toBe(found);
  });

  it('that is absent has a driver that starts nothing and takes nothing for dead', async () => {
    const isolation = await chooseIsolation(config({ driver: 'docker' }), machine());
    const driver = driverFor(isolation, {
      installId: 'install',
      config: config(),
      stateFolder: folder,
      env: { PATH: folder },
      process,
      clock: { now: Date.now, setTimer: () => () => undefined },
    });
    try {
      await expect(driver.list()).rejects.toThrow('docker is not installed');
      client('docker', DOCKER, current);
      expect((await driver.list()).runs).toEqual([]);
    } finally {
      driver.close();
    }
  });

  it('makes root, who is the host, somebody else inside; without root docker’s root is the host’s user', async () => {
    client('docker', DOCKER, current);
    const root = machine({ uid: 0, gid: 0 });
    expect(await chooseIsolation(config(), root)).toMatchObject({ user: { uid: 1000, gid: 1000 } });
    client('docker', { ...DOCKER, SecurityOptions: ['name=rootless'] }, current);
    expect(await chooseIsolation(config(), machine())).toMatchObject({ user: { uid: 0, gid: 0 } });
  });

  it('asks for no more processors than there are', async () => {
    client('docker', { ...DOCKER, NCPU: 2 }, current);
    const isolation = await chooseIsolation(config({ runCpus: 8 }), machine());
    expect(isolation).toMatchObject({ limits: { cpus: 2 } });
  });
});

describe('the image of a provider', () => {
  const slim = { id: 'slim', labels: {} };
  const claude = { id: 'claude', labels: {} };

  it('is the one with Claude for Claude only, unless there is no other', () => {
    expect(imageFor('offline', { slim, claude })).toBe(slim);
    expect(imageFor('claude', { slim, claude })).toBe(claude);
    expect(imageFor('offline', { slim: undefined, claude })).toBe(claude);
    expect(imageFor('claude', { slim, claude: undefined })).toBeUndefined();
  });
});

describe('the network of a run', () => {
  const none = { type: 'none' };
  const bridge = { type: 'named', name: 'bridge' };

  it('is none, unless Claude has to be reached over one, or the configuration names one', () => {
    expect(networkFor('offline', { network: 'auto' }, {}, null)).toEqual(none);
    expect(networkFor('claude', { network: 'auto' }, {}, null)).toEqual(bridge);
    expect(networkFor('claude', { network: 'auto' }, { ANTHROPIC_UNIX_SOCKET: '/s' }, null)).toEqual(none);
    expect(networkFor('claude', { network: 'none' }, {}, null)).toEqual(none);
    expect(networkFor('offline', { network: 'bridge' }, {}, null)).toEqual(bridge);
  });

  it('is first of all what the agent’s own settings say', () => {
    expect(networkFor('claude', { network: 'bridge' }, {}, 'none')).toEqual(none);
    expect(networkFor('offline', { network: 'none' }, {}, 'intranet')).toEqual({ type: 'named', name: 'intranet' });
    expect(networkFor('claude', { network: 'none' }, {}, 'auto')).toEqual(bridge);
  });
});
