import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { processTable, type RunSpec } from '../src/index.ts';
import { aWhile, until } from './bench.ts';
import { commandLine, openProcessBench, type ProcessBench, processesIn } from './process-bench.ts';

// Real processes on a busy machine: generous, for nothing here is about how long it takes.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const HOME = 'install-a';
const SLEEP = 'touch ready; exec sleep 300';
const STUBBORN_BEAT = `sh -c 'trap "" TERM HUP; while :; do touch beat; sleep 0.02; done'`;

let bench: ProcessBench;
let starters: ChildProcess[];
beforeEach(async () => {
  bench = await openProcessBench();
  starters = [];
});
afterEach(async () => {
  for (const starter of starters) starter.kill('SIGKILL');
  await bench.dispose();
});

const seen = (file: string) => existsSync(join(bench.outbound, file));
const pidIn = (file: string) =>
  until(`a number in ${file}`, () => {
    const text = seen(file) ? readFileSync(join(bench.outbound, file), 'utf8') : '';
    return text.endsWith('\n') ? Number(text) : undefined;
  });

const testFile = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** A host in a process of its own. */
function startStarter(runId: string, script: string, end: 'die' | 'leave' | 'stay'): ChildProcess {
  const starter = spawn(process.execPath, [testFile('starter.ts'), bench.folder, HOME, runId, script, end], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  starters.push(starter);
  return starter;
}

async function killed(starter: ChildProcess): Promise<void> {
  if (starter.exitCode === null && starter.signalCode === null) {
    starter.kill('SIGKILL');
    await once(starter, 'exit');
  }
}

/** What a new life of the host knows must be all that lives. */
async function expectNothingUntracked(runId: string): Promise<'alive' | 'nothing'> {
  // A shell that still waits for its word learns from the closed pipe that none will come.
  await until('no shell waits any more', () => {
    const waiting = processesIn(bench.folder).filter((pid) => commandLine(pid).includes('read -r word'));
    return waiting.length === 0;
  });
  const { runs, troubles } = await bench.host(HOME).list();
  expect(troubles).toEqual([]);
  if (runs.length === 0) {
    expect(seen('ready')).toBe(false);
    return 'nothing';
  }
  expect(runs.map((run) => run.runId)).toEqual([runId]);
  expect(processesIn(bench.folder)).toHaveLength(1);
  return 'alive';
}

describe('a host that dies', () => {
  it('between the spawn and the record leaves no process and no begun command', async () => {
    const starter = startStarter('r1', SLEEP, 'die');
    await once(starter, 'exit');
    expect(starter.signalCode).toBe('SIGKILL');
    expect(await expectNothingUntracked('r1')).toBe('nothing');
    expect(readdirSync(bench.folder)).toContain(`${HOME}-r1.log`); // it had come as far as the spawn
  });

  it('at any moment of a start leaves no process that its successor does not list', async () => {
    for (const moment of [0, 1, 2, 4, 8]) {
      const runId = `r${moment}`;
      const log = join(bench.folder, `${HOME}-${runId}.log`);
      const starter = startStarter(runId, SLEEP, 'stay');
      while (!existsSync(log) && starter.exitCode === null) await delay(1); // from here on a spawn is near
      await delay(moment);
      await killed(starter);
      await expectNothingUntracked(runId);
      await bench.host(HOME).stop(runId, 0);
      rmSync(join(bench.outbound, 'ready'), { force: true });
    }
  });

  it('leaves its run alive, writing its output, for the next host to adopt', async () => {
    const script = 'echo $$ >pid; while :; do echo line; sleep 0.02; [ -e leave ] && exit 3; done';
    const starter = startStarter('r1', script, 'stay');
    await once(starter.stdout ?? starter, 'data');
    await killed(starter);
    const pid = await pidIn('pid');

    const host = bench.host(HOME);
    const [run] = (await host.list()).runs;
    const before = (await host.logs('r1'))?.length ?? 0;
    await until('there is more output', async () => ((await host.logs('r1'))?.length ?? 0) > before);
    expect(processesIn(bench.folder)).toContain(pid);
    writeFileSync(join(bench.outbound, 'leave'), '');
    expect((await run?.exited())?.type).toBe('unknown');
    expect((await host.list()).runs).toEqual([]);
  });

  it('may also end in peace while its run goes on', async () => {
    const starter = startStarter('r1', SLEEP, 'leave');
    await once(starter, 'exit');
    expect(starter.exitCode).toBe(0);
    expect((await bench.host(HOME).list()).runs.map(({ runId }) => runId)).toEqual(['r1']);
  });

  it('and whose run dies meanwhile: what the run had started dies at the next look', async () => {
    const starter = startStarter('r1', `${STUBBORN_BEAT} & echo $$ >pid; wait`, 'stay');
    await once(starter.stdout ?? starter, 'data');
    await killed(starter);
    await until('the grandchild beats', () => seen('beat'));
    const pid = await pidIn('pid');
    process.kill(pid, 'SIGKILL');
    // A signal is sent before it has worked.
    await until('the run is dead', () => !processesIn(bench.folder).includes(pid));
    expect(processesIn(bench.folder).length).toBeGreaterThan(0);

    expect((await bench.host(HOME).list()).runs).toEqual([]);
    expect(processesIn(bench.folder)).toEqual([]);
  });
});

describe('a process number that was given to somebody else', () => {
  it('is not listed, not stopped, and its new owner is left alone', async () => {
    const starter = startStarter('r1', SLEEP, 'stay');
    await once(starter.stdout ?? starter, 'data');
    await killed(starter);
    const recordFile = join(bench.stateFolder, HOME, 'r1.json');
    const record: unknown = JSON.parse(readFileSync(recordFile, 'utf8'));
    await bench.host(HOME).stop('r1', 0);

    // The leader of a group, as an unlucky newcomer with the same number would be.
    const stranger = spawn('sleep', ['300'], {
      detached: true,
      stdio: 'ignore',
      env: { BENCH: bench.folder, PATH: '/bin' },
    });
    await once(stranger, 'spawn');
    const recycled = `${JSON.stringify({ ...Object(record), pid: stranger.pid })}\n`;

    writeFileSync(recordFile, recycled);
    expect((await bench.host(HOME).stop('r1', 0)).type).toBe('unknown');
    writeFileSync(recordFile, recycled);
    expect((await bench.host(HOME).list()).runs).toEqual([]);
    expect(existsSync(recordFile)).toBe(false);
    await aWhile();
    expect(stranger.exitCode ?? stranger.signalCode).toBeNull();
  });
});

describe('records', () => {
  it('one that is not understood is kept and told, and hides no other', async () => {
    const host = bench.host(HOME);
    await host.start(bench.spec(HOME, 'good', SLEEP));
    const folder = join(bench.stateFolder, HOME);
    const strange = join(folder, 'strange.json');
    writeFileSync(strange, '{"version":2}\n');
    writeFileSync(
      join(folder, 'everybody.json'),
      `${readFileSync(join(folder, 'good.json'), 'utf8')
        .replace(/"pid":\d+/, '"pid":1')
        .replace('"good"', '"everybody"')}`,
    );
    const { runs, troubles } = await bench.host(HOME).list();
    expect(runs.map(({ runId }) => runId)).toEqual(['good']);
    expect(troubles).toHaveLength(2);
    expect(troubles.find((trouble) => trouble.includes('strange'))).toContain(strange);
    expect(existsSync(strange)).toBe(true);
    await expect(host.stop('strange', 0)).rejects.toThrow(strange);
  });

  it('one that was cut short is of a command that never began, and is thrown away', async () => {
    const folder = join(bench.stateFolder, HOME);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'r1.json'), '{"version":1,"runId":"r1","sess');
    expect(await bench.host(HOME).list()).toEqual({ runs: [], troubles: [] });
    expect(readdirSync(folder)).toEqual([]);
  });

  it('where none can be written, no command begins', async () => {
    writeFileSync(bench.stateFolder, 'a file where the folder should be');
    const start = bench.host(HOME).start(bench.spec(HOME, 'r1', 'touch ready'));
    await expect(start).rejects.toMatchObject({ problem: { type: 'not-recorded' } });
    expect(processesIn(bench.folder)).toEqual([]);
    expect(seen('ready')).toBe(false);
  });

  it('none is left of runs that have ended', async () => {
    const host = bench.host(HOME);
    const run = await host.start(bench.spec(HOME, 'r1', 'exit 0'));
    await run.exited();
    await expect(host.start(bench.spec(HOME, 'r2', 'exit 1'))).rejects.toThrow('exit code 1');
    expect(readdirSync(join(bench.stateFolder, HOME))).toEqual([]);
  });
});

describe('starting a process', () => {
  it('a child killed before it was given the word is a start that failed with its signal', async () => {
    const real = processTable(process);
    const host = bench.hostWith(HOME, {
      processes: {
        ...real,
        async state(pid) {
          process.kill(pid, 'SIGKILL');
          await delay(20);
          return (await real.state(pid)) ?? { identity: 'gone', isZombie: true };
        },
      },
    });
    await expect(host.start(bench.spec(HOME, 'r1', 'touch ready'))).rejects.toMatchObject({
      problem: { type: 'exit-at-once', exit: { type: 'signal', signal: 'SIGKILL' } },
    });
    expect(seen('ready')).toBe(false);
  });

  it('a missing Bun is told with what to do, and `bunPath` finds it', async () => {
    const spec: RunSpec = { ...bench.spec(HOME, 'r1', ''), command: ['bun', '-c', 'touch ready'] };
    const lost = bench.hostWith(HOME, { path: '/nowhere:/nowhere/else' });
    await expect(lost.start(spec)).rejects.toThrow(
      'Bun was not found (looked in /nowhere:/nowhere/else): install it or set `bunPath`; nothing was started.',
    );
    const wrong = bench.hostWith(HOME, { bunPath: '/nowhere/bun' });
    await expect(wrong.start(spec)).rejects.toThrow('Bun was not found (looked in /nowhere/bun)');
    const found = bench.hostWith(HOME, { bunPath: '/bin/sh' });
    await found.start(spec);
    expect(seen('ready')).toBe(true);
  });

  it('paths as seen from inside become host paths in command, environment and working directory', async () => {
    const inbound = join(bench.folder, 'in it');
    mkdirSync(join(inbound, 'deep'), { recursive: true });
    writeFileSync(join(inbound, 'tell'), '#!/bin/sh\nprintf "%s|" "$@" "$WHERE" "$(pwd -P)"\n', { mode: 0o755 });
    const plain = bench.spec(HOME, 'r1', '');
    const run = await bench.host(HOME).start({
      ...plain,
      command: [
        '/workspace/inbound/tell',
        '/workspace/inbound',
        '/workspace/inbounds',
        'a/workspace/inbound',
        '-x',
        '$(id)',
      ],
      workdir: '/workspace/inbound/deep',
      mounts: [...plain.mounts, { source: inbound, target: '/workspace/inbound', readonly: true }],
      env: { ...plain.env, WHERE: '/workspace/outbound/x' },
    });
    await run.exited();
    expect(readFileSync(plain.logFile, 'utf8')).toBe(
      `${inbound}|/workspace/inbounds|a/workspace/inbound|-x|$(id)|${join(bench.outbound, 'x')}|${join(inbound, 'deep')}|`,
    );
  });

  it('nothing of the environment of the host reaches a run', async () => {
    process.env['CONTAINERS_TEST_SECRET'] = 'do not tell';
    const spec = bench.spec(HOME, 'r1', 'env');
    const run = await bench.host(HOME).start(spec);
    await run.exited();
    delete process.env['CONTAINERS_TEST_SECRET'];
    const names = readFileSync(spec.logFile, 'utf8')
      .trim()
      .split('\n')
      .map((line) => line.split('=')[0]);
    expect(names.toSorted()).toEqual(['BENCH', 'NANOCLAW_PROCESS_RUN', 'PATH', 'PWD', 'TZ']);
  });

  it('a run reads nothing from the pipe of its host', async () => {
    const spec = bench.spec(HOME, 'r1', 'readlink /proc/self/fd/0; cat; echo end of input');
    const run = await bench.host(HOME).start(spec);
    expect(await run.exited()).toEqual({ type: 'code', code: 0 });
    expect(readFileSync(spec.logFile, 'utf8')).toBe('/dev/null\nend of input\n');
  });

  it('a log file that cannot be written, or is a link, is a start that failed', async () => {
    const spec = bench.spec(HOME, 'r1', 'touch ready');
    const host = bench.host(HOME);
    const missing = host.start({ ...spec, logFile: join(bench.folder, 'not-there', 'r1.log') });
    await expect(missing).rejects.toMatchObject({ problem: { type: 'bad-log', reason: 'ENOENT' } });
    symlinkSync(join(bench.folder, 'elsewhere'), spec.logFile);
    await expect(host.start(spec)).rejects.toMatchObject({ problem: { type: 'bad-log', reason: 'ELOOP' } });
    expect(processesIn(bench.folder)).toEqual([]);
    expect(seen('ready')).toBe(false);
  });

  it('ids that are no names, and figures that make no sense, are refused', async () => {
    const host = bench.host(HOME);
    const spec = bench.spec(HOME, 'r1', '');
    await expect(host.start({ ...spec, runId: '../r1' })).rejects.toMatchObject({ problem: { type: 'bad-spec' } });
    await expect(host.start({ ...spec, workdir: '/not/there' })).rejects.toMatchObject({
      problem: { type: 'bad-spec' },
    });
    expect(await host.logs('../install-a/r1')).toBeUndefined();
    expect(() => bench.host('../b')).toThrow(RangeError);
    expect(() => bench.hostWith(HOME, { pollMs: 0 })).toThrow(RangeError);
  });
});

describe('captured output', () => {
  it('is cut at the next look when it has grown over its limit, and its end stays readable', async () => {
    const host = bench.hostWith(HOME, { logBytesMax: 1000 });
    const script = `i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo "line $i"; done; touch ready; until [ -e go-on ]; do sleep 0.02; done; echo more; ${SLEEP}2`;
    const spec = bench.spec(HOME, 'r1', script);
    await host.start(spec);
    await until('the lines are written', () => seen('ready'));
    await host.list();
    expect(statSync(spec.logFile).size).toBe(0);
    expect(statSync(`${spec.logFile}.1`).size).toBe(500);
    writeFileSync(join(bench.outbound, 'go-on'), '');
    await until('the run writes at the new end', () => statSync(spec.logFile).size === 'more\n'.length);
    const lines = (await host.logs('r1'))?.trim().split('\n') ?? [];
    expect(lines.slice(-2)).toEqual(['line 300', 'more']);
    expect(lines.length).toBeLessThan(100);
  });
});

describe('the process table', () => {
  it.skipIf(!existsSync('/bin/ps'))('of systems without /proc sees a process, its group and its end', async () => {
    const table = processTable({ platform: 'other', kill: process.kill.bind(process) });
    const child = spawn('sleep', ['300'], {
      detached: true,
      stdio: 'ignore',
      env: { BENCH: bench.folder, PATH: '/bin' },
    });
    await once(child, 'spawn');
    const pid = child.pid ?? 0;
    const sighting = await table.state(pid);
    expect(sighting?.isZombie).toBe(false);
    expect(sighting?.identity).toMatch(/ \d\d:\d\d:\d\d \d{4}$/);
    expect(await table.group(pid)).toEqual([pid]);
    expect(table.signalGroup(pid, 'SIGKILL')).toBe(true);
    await once(child, 'exit');
    expect(await table.state(pid)).toBeUndefined();
    expect(await table.group(pid)).toEqual([]);
    expect(table.signalGroup(pid, 'SIGKILL')).toBe(false);
  });

  it('leaves out the dead that nobody collects', async () => {
    // A stopped parent does not collect its child.
    const script = 'sh -c "echo \\$\\$ >child" & kill -STOP $$';
    const parent = spawn('/bin/sh', ['-c', script], {
      cwd: bench.outbound,
      detached: true,
      stdio: 'ignore',
      env: { BENCH: bench.folder, PATH: '/bin' },
    });
    await once(parent, 'spawn');
    const table = processTable(process);
    const child = await pidIn('child');
    await until('the child is dead and not collected', async () => (await table.state(child))?.isZombie === true);
    expect(await table.group(parent.pid ?? 0)).toEqual([parent.pid]);
  });
});
