import { describe, expect, it } from 'vitest';
import { containerName, type EngineFacts, mountArgumentProblem, runArguments } from '../src/engine-arguments.ts';
import { DEFAULT_LIMITS, type RunSpec, type Sandbox, specHash } from '../src/index.ts';

const IMAGE = `sha256:${'a'.repeat(64)}`;
const SANDBOX: Sandbox = {
  image: IMAGE,
  protocolVersion: 2,
  network: { type: 'none' },
  user: { uid: 1000, gid: 1001 },
  limits: { pids: 100, memoryBytes: 1_000_000, cpus: 0.5, openFiles: 512, tmpBytes: 2_000_000 },
};
const SPEC: RunSpec = {
  runId: 'r1',
  sessionId: 's1',
  installId: 'home',
  command: ['bun', '/app/src/main.js', '--run', 'r1'],
  workdir: '/workspace/agent',
  mounts: [
    { source: '/data/in', target: '/workspace/inbound', readonly: true },
    { source: '/data/out', target: '/workspace/outbound', readonly: false },
  ],
  env: { HOME: '/workspace/state', ANTHROPIC_API_KEY: 'secret' },
  timeZone: 'Europe/Lisbon',
  labels: { agentGroup: 'g' },
  logFile: '/data/logs/r1.log',
  sandbox: SANDBOX,
};
const FACTS: EngineFacts = {
  kind: 'docker',
  isRootless: false,
  startedAt: 1_700_000_000_000,
  isByName: (variable) => variable === 'ANTHROPIC_API_KEY',
};

describe('what docker is told about a run', () => {
  it('is this, line by line', () => {
    expect(runArguments(SPEC, SANDBOX, FACTS)).toEqual([
      'run',
      '--detach',
      '--pull=never',
      `--name=${containerName('home', 'r1')}`,
      '--label=io.nanoclaw.install=home',
      '--label=io.nanoclaw.session=s1',
      '--label=io.nanoclaw.run=r1',
      '--label=io.nanoclaw.started=1700000000000',
      `--label=io.nanoclaw.spec=${specHash(SPEC)}`,
      '--label=io.nanoclaw.log=/data/logs/r1.log',
      '--label=io.nanoclaw.labels={"agentGroup":"g"}',
      '--cap-drop=ALL',
      '--security-opt=no-new-privileges',
      '--read-only',
      '--ipc=private',
      '--pids-limit=100',
      '--memory=1000000',
      '--memory-swap=1000000',
      '--cpus=0.5',
      '--ulimit=nofile=512:512',
      '--ulimit=nproc=16384:16384',
      '--ulimit=core=0:0',
      '--tmpfs=/tmp:rw,exec,nosuid,nodev,mode=1777,size=2000000',
      '--user=1000:1001',
      '--network=none',
      '--hostname=agent',
      '--workdir=/workspace/agent',
      '--mount=type=bind,source=/data/in,target=/workspace/inbound,readonly',
      '--mount=type=bind,source=/data/out,target=/workspace/outbound',
      '--env=HOME=/workspace/state',
      '--env=ANTHROPIC_API_KEY',
      '--env=TZ=Europe/Lisbon',
      '--log-driver=json-file',
      '--log-opt=max-size=8m',
      '--log-opt=max-file=1',
      IMAGE,
      'bun',
      '/app/src/main.js',
      '--run',
      'r1',
    ]);
  });

  it('never holds the value of a variable that goes by name', () => {
    expect(runArguments(SPEC, SANDBOX, FACTS).join(' ')).not.toContain('secret');
  });
});

const told = (isRootless: boolean) => runArguments(SPEC, SANDBOX, { ...FACTS, kind: 'podman', isRootless });

describe('what podman is told besides', () => {
  it('is to pass no proxy, to mount nothing writable of its own, and to see no init system', () => {
    expect(told(false)).toEqual(
      expect.arrayContaining(['--http-proxy=false', '--read-only-tmpfs=false', '--systemd=false']),
    );
    expect(told(false)).not.toContain('--userns=keep-id');
  });

  it('is to keep the user’s number when it runs without root', () => {
    expect(told(true)).toContain('--userns=keep-id');
  });
});

describe('a network', () => {
  it('is named only where the spec names one', () => {
    const sandbox: Sandbox = { ...SANDBOX, network: { type: 'named', name: 'bridge' } };
    expect(runArguments(SPEC, sandbox, FACTS)).toContain('--network=bridge');
  });
});

describe('a mount', () => {
  it.each(['/data/a,readonly=false', '/data/a"b', '/data/a\nb'])(
    'of a path that the engine would misread is refused: %j',
    (source) => {
      const mount = { source, target: '/workspace/x', readonly: true };
      expect(mountArgumentProblem([mount])).toMatchObject({ type: 'bad-mount', mount });
    },
  );

  it('of any other path is fine', () => {
    expect(
      mountArgumentProblem([...SPEC.mounts, { source: '/data/a b:c', target: '/x', readonly: true }]),
    ).toBeUndefined();
  });
});

describe('the name of a container', () => {
  it('is the same in every life of the host, and no two installs and runs share one', () => {
    expect(containerName('home', 'r1')).toBe(containerName('home', 'r1'));
    const names = [
      ['a-b', 'c'],
      ['a', 'b-c'],
      ['a', 'c'],
      ['c', 'a'],
    ].map(([install = '', run = '']) => containerName(install, run));
    expect(new Set(names).size).toBe(names.length);
  });
});

describe('the fingerprint of a spec', () => {
  it('differs when anything differs that closes a run in', () => {
    const others: Sandbox[] = [
      { ...SANDBOX, image: `sha256:${'b'.repeat(64)}` },
      { ...SANDBOX, protocolVersion: 3 },
      { ...SANDBOX, network: { type: 'named', name: 'none' } },
      { ...SANDBOX, user: { uid: 1000, gid: 1000 } },
      { ...SANDBOX, limits: DEFAULT_LIMITS },
    ];
    const hashes = others.map((sandbox) => specHash({ ...SPEC, sandbox }));
    const { sandbox: _, ...plain } = SPEC;
    expect(new Set([specHash(SPEC), specHash(plain), ...hashes]).size).toBe(others.length + 2);
  });
});
