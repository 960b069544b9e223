import { describe, expect, it } from 'vitest';
import { type Mount, type RunSpec, specHash } from '../src/index.ts';
import { parseProcStat } from '../src/process-table.ts';
import { hostPath, specProblem } from '../src/spec.ts';

const mount = (source: string, target: string): Mount => ({ source, target, readonly: true });
const SPEC: RunSpec = {
  runId: 'r1',
  sessionId: 's1',
  installId: 'home',
  command: ['bun', '/app/src/main.ts'],
  workdir: '/workspace/agent',
  mounts: [mount('/data/agent', '/workspace/agent')],
  env: { A: '1', B: '2' },
  timeZone: 'UTC',
  labels: { group: 'g' },
  logFile: '/data/host/r1.log',
};

describe('a path as seen from inside', () => {
  it('lies where the deepest mount that holds it says', () => {
    const mounts = [mount('/data/agent', '/workspace/agent'), mount('/data/shared', '/workspace/agent/shared')];
    expect(hostPath('/workspace/agent', mounts)).toBe('/data/agent');
    expect(hostPath('/workspace/agent/a b/c', mounts)).toBe('/data/agent/a b/c');
    expect(hostPath('/workspace/agent/shared/x', mounts)).toBe('/data/shared/x');
    expect(hostPath('/workspace/agent/shared/x', mounts.toReversed())).toBe('/data/shared/x');
  });

  it('stays as it is where no mount holds it', () => {
    expect(hostPath('/workspace/agents', SPEC.mounts)).toBe('/workspace/agents');
    expect(hostPath('workspace/agent', SPEC.mounts)).toBe('workspace/agent');
    expect(hostPath('', SPEC.mounts)).toBe('');
  });
});

describe('a spec', () => {
  it('that makes sense has no problem', () => {
    expect(specProblem(SPEC, 'home')).toBeUndefined();
  });

  it.each<[string, Partial<RunSpec>]>([
    ['a run id that is a path', { runId: '../r1' }],
    ['an empty run id', { runId: '' }],
    ['a session id with a line break', { sessionId: 's1\n' }],
    ['the id of another install', { installId: 'other' }],
    ['a relative working directory', { workdir: 'agent' }],
    ['a relative log file', { logFile: 'r1.log' }],
    ['a NUL in an argument', { command: ['bun', 'a\0b'] }],
    ['a variable whose name is none', { env: { 'A=B': '1' } }],
  ])('with %s is refused', (_what, change) => {
    expect(specProblem({ ...SPEC, ...change }, 'home')?.type).toBe('bad-spec');
  });

  it.each<[string, Mount[]]>([
    ['a relative source', [mount('data', '/workspace/x')]],
    ['a relative target', [mount('/data', 'x')]],
    ['the root as target', [mount('/data', '/')]],
    ['a target with dots', [mount('/data', '/workspace/../etc')]],
    ['a target with a trailing slash', [mount('/data', '/workspace/')]],
    ['two mounts on one target', [mount('/data/a', '/workspace/x'), mount('/data/b', '/workspace/x')]],
  ])('with %s is refused', (_what, mounts) => {
    expect(specProblem({ ...SPEC, mounts }, 'home')?.type).toBe('bad-mount');
  });
});

describe('the fingerprint of a spec', () => {
  it('is the same for each run of one spec, and in whatever order its variables stand', () => {
    const again = { ...SPEC, runId: 'r2', logFile: '/data/host/r2.log', env: { B: '2', A: '1' } };
    expect(specHash(again)).toBe(specHash(SPEC));
  });

  it('differs when anything differs that a run would feel', () => {
    const others: Partial<RunSpec>[] = [
      { env: { A: '1', B: '3' } },
      { command: ['bun', '/app/src/main.ts', ''] },
      { mounts: [{ ...mount('/data/agent', '/workspace/agent'), readonly: false }] },
      { timeZone: 'Asia/Tokyo' },
      { labels: {} },
      { workdir: '/' },
    ];
    const hashes = others.map((other) => specHash({ ...SPEC, ...other }));
    expect(new Set([specHash(SPEC), ...hashes]).size).toBe(others.length + 1);
  });
});

describe('a line of /proc/<pid>/stat', () => {
  it('is read right whatever the program calls itself', () => {
    const rest = 'S 1 77 77 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 424242 9 9';
    for (const name of ['(sh)', '(a b)', '() Z 1 2)', '(x\n)']) {
      expect(parseProcStat(`77 ${name} ${rest}`)).toEqual({ state: 'S', group: 77, startTicks: '424242' });
    }
  });
});
