/** What an engine's driver promises beyond what every driver does: that runs are closed in, and its own ways to fail. */
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  buildGroupImage,
  Containers,
  EngineClient,
  EngineError,
  LABELS,
  type RunEnd,
  type RunSpec,
  type Sandbox,
  SpawnError,
  type SpawnProblem,
} from '../src/index.ts';
import { aWhile, until } from './bench.ts';
import { clientEnv, type EngineBench, engine, image, openEngineBench } from './engine-bench.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const HOME = 'install-a';
const SLEEP = 'touch ready; exec sleep 300';

describe.skipIf(engine === undefined)('on an engine', () => {
  const kind = engine ?? 'podman';
  let bench: EngineBench;
  beforeEach(async () => {
    bench = await openEngineBench();
  });
  afterEach(() => bench.dispose());

  const seen = (file: string) => existsSync(join(bench.outbound, file));
  const text = (file: string) => readFileSync(join(bench.outbound, file), 'utf8');
  /** What a script that runs to its end has to say. */
  async function said(script: string, change: Partial<Sandbox> = {}, more: Partial<RunSpec> = {}): Promise<string> {
    const plain = bench.spec(HOME, 'r1', `{ ${script}\n} >said 2>&1; exit 0`);
    const run = await bench.host(HOME).start({ ...plain, sandbox: { ...bench.sandbox, ...change }, ...more });
    expect(await run.exited()).toEqual({ type: 'code', code: 0 });
    return text('said').trimEnd();
  }

  /** How a script ends that has 192 MiB. */
  async function endWithLittleMemory(runId: string, script: string) {
    const limits = { ...bench.sandbox.limits, memoryBytes: 192 * 1024 * 1024 };
    const spec = { ...bench.spec(HOME, runId, script), sandbox: { ...bench.sandbox, limits } };
    const started = bench.host(HOME).start(spec);
    return started.then(
      (run) => run.exited(),
      (error: unknown) =>
        error instanceof SpawnError && error.problem.type === 'exit-at-once' ? error.problem.exit : error,
    );
  }

  describe('from inside', () => {
    it('there are no capabilities and none can be had', async () => {
      const status = await said('cat /proc/self/status');
      for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) {
        expect(status).toMatch(new RegExp(`^${set}:\\s*0{16}$`, 'm'));
      }
      expect(status).toMatch(/^NoNewPrivs:\s*1$/m);
      expect(status).toMatch(/^Seccomp:\s*2$/m);
    });

    it('the user is the given one', async () => {
      expect(await said('id -u; id -g', { user: { uid: 1000, gid: 1001 } })).toBe('1000\n1001');
    });

    it('the root cannot be written, /tmp can and is small', async () => {
      const limits = { ...bench.sandbox.limits, tmpBytes: 1024 * 1024 };
      const script = [
        'for place in / /etc /usr/bin /app /workspace /run /var/tmp /home; do touch $place/x && echo "$place is open"; done',
        'touch /tmp/x && echo fine',
        'head -c 2000000 /dev/zero >/tmp/big || echo full',
      ].join('\n');
      const result = await said(script, { limits });
      expect(result).not.toContain('is open');
      expect(result).toContain('fine');
      expect(result).toMatch(/No space left on device\nfull$/);
    });

    it('a read-only mount cannot be written, remounted or gone around', async () => {
      const inbound = join(bench.folder, 'inbound');
      mkdirSync(inbound);
      writeFileSync(join(inbound, 'inbound.db'), 'the host’s');
      chmodSync(inbound, 0o777);
      chmodSync(join(inbound, 'inbound.db'), 0o666);
      const spec = bench.spec(HOME, 'r1', '');
      const mounts = [...spec.mounts, { source: inbound, target: '/workspace/inbound', readonly: true }];
      const script = [
        'cd /workspace/inbound',
        'for path in x inbound.db inbound.db-journal; do (: >>$path) && echo "$path is open"; done',
        'rm -f inbound.db && echo removed; mv inbound.db y && echo moved; chmod 777 . && echo changed; ln inbound.db z && echo linked',
        'mount -o remount,rw /workspace/inbound && echo remounted',
        'cat inbound.db',
      ].join('\n');
      const result = await said(script, {}, { mounts });
      expect(result).not.toMatch(/is open|removed|moved|changed|linked|remounted/);
      expect(result).toContain('the host’s');
      expect(readFileSync(join(inbound, 'inbound.db'), 'utf8')).toBe('the host’s');
    });

    it('there is no network but itself', async () => {
      const result = await said('tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d " "; tail -n +2 /proc/net/route');
      expect(result).toBe('lo');
      const script = 'bun -e "await fetch(\'http://1.1.1.1\')"; echo ended with $?';
      expect(await said(script, {}, { runId: 'r2' })).toMatch(/ended with 1$/);
    });

    it('the limit on processes holds', async () => {
      const limits = { ...bench.sandbox.limits, pids: 32 };
      // A shell of its own: the one that cannot fork gives up.
      const script = `sh -c 'i=0; while [ $i -lt 64 ]; do sleep 1 & i=$((i+1)); done; echo all of them'`;
      expect(await said(script, { limits })).toMatch(/Resource temporarily unavailable|Cannot fork/);
    });

    it('the limit on open files holds', async () => {
      const limits = { ...bench.sandbox.limits, openFiles: 64 };
      expect(await said('ulimit -Hn; ulimit -c', { limits })).toBe('64\n0');
    });

    it('the limit on processors is set', async () => {
      const limits = { ...bench.sandbox.limits, cpus: 0.5 };
      const script =
        'cat /sys/fs/cgroup/cpu.max 2>/dev/null || cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us';
      const [quota, period] = (await said(script, { limits })).split(/\s/).map(Number);
      expect(Number(quota) / Number(period)).toBe(0.5);
    });

    /** Takes more memory than the limit; without the limit it ends well. */
    const GREEDY = "bun -e 'const a = []; while (a.length < 60) a.push(new Uint8Array(1e7).fill(1))'";

    it('who takes more memory than its limit is killed, and its exit says so', async () => {
      expect(await endWithLittleMemory('r1', GREEDY)).toEqual({ type: 'out-of-memory' });
    });

    it('who goes on after a child was killed for its memory ends as it ends, and so does the next run', async () => {
      expect(await endWithLittleMemory('r1', `${GREEDY}; exit 5`)).toEqual({ type: 'code', code: 5 });
      expect(await endWithLittleMemory('r2', 'kill -9 $$')).toEqual({ type: 'code', code: 137 });
    });

    it('a program that takes no care of orphans leaves no zombies: process 1 collects them', async () => {
      const program = `
        const { readdirSync, readFileSync, writeFileSync } = require('node:fs');
        // Each child leaves a grandchild behind, which ends a moment later with nobody waiting for it.
        for (let n = 0; n < 5; n += 1) Bun.spawnSync(['sh', '-c', 'sleep 0.1 & exit']);
        await Bun.sleep(600);
        const states = readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name)).flatMap((pid) => {
          try { return [readFileSync('/proc/' + pid + '/stat', 'utf8').replace(/^.*\\) /, '')[0]]; } catch { return []; }
        });
        writeFileSync('states', states.join(''));
      `;
      const spec: RunSpec = { ...bench.spec(HOME, 'r1', ''), command: ['bun', '-e', program] };
      expect(await (await bench.host(HOME).start(spec)).exited()).toEqual({ type: 'code', code: 0 });
      expect(text('states')).not.toBe('');
      expect(text('states')).not.toContain('Z');
    });

    it('a program that has no handler for SIGTERM ends by it, as it would outside', async () => {
      const driver = bench.host(HOME);
      await driver.start({ ...bench.spec(HOME, 'r1', ''), command: ['sleep', '300'] });
      expect(await driver.stop('r1', 30_000)).toEqual({ type: 'code', code: 143 });
    });

    it('a program’s own handler for SIGTERM is called', async () => {
      const driver = bench.host(HOME);
      await driver.start(bench.spec(HOME, 'r1', `trap 'exit 5' TERM; touch ready; while :; do sleep 0.05; done`));
      await until('the command has begun', () => seen('ready'));
      expect(await driver.stop('r1', 60_000)).toEqual({ type: 'code', code: 5 });
    });

    it('in a named network it finds that network, and never the host’s', async () => {
      const name = `nanoclaw-test-${process.pid}`;
      await bench.client.asked(['network', 'create', '--internal', name]);
      try {
        const lines = 'tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d " " | sort';
        expect((await said(lines, { network: { type: 'named', name } })).split('\n')).toEqual(['eth0', 'lo']);
        const spec = bench.spec(HOME, 'r2', 'exit 0');
        const sandbox: Sandbox = { ...bench.sandbox, network: { type: 'named', name: 'host' } };
        expect((await problemOf(bench.host(HOME).start({ ...spec, sandbox }))).type).toBe('bad-spec');
      } finally {
        await bench.client.asked(['network', 'rm', '--force', name]);
      }
    });
  });

  describe('from outside', () => {
    it('a secret is in the environment of its run and in no list of processes', async () => {
      const wrapper = join(bench.folder, 'client');
      writeFileSync(wrapper, `#!/bin/sh\necho "$@" >>${bench.folder}/arguments\nexec ${kind} "$@"\n`, { mode: 0o755 });
      const driver = bench.hostWith(HOME, { executable: wrapper });
      const spec = bench.spec(HOME, 'r1', `echo "$KEY" >key; ${SLEEP}`);
      await driver.start({ ...spec, env: { KEY: 'sk-very-secret' } });
      await until('the command has begun', () => seen('ready'));
      expect(text('key')).toBe('sk-very-secret\n');
      expect(readFileSync(join(bench.folder, 'arguments'), 'utf8')).not.toContain('sk-very-secret');
    });

    it('a run’s own variables never confuse the client', async () => {
      const spec = bench.spec(HOME, 'r1', `echo "$HOME $PATH" >env; ${SLEEP}`);
      await bench.host(HOME).start({ ...spec, env: { HOME: '/workspace/state', PATH: '/usr/bin:/bin' } });
      await until('the command has begun', () => seen('ready'));
      expect(text('env')).toBe('/workspace/state /usr/bin:/bin\n');
    });

    it('an end is told at once, not at the next look', async () => {
      const driver = bench.hostWith(HOME, { pollMs: 600_000 });
      const run = await driver.start(bench.spec(HOME, 'r1', 'until [ -e leave ]; do sleep 0.02; done; exit 7'));
      // Once the events are listened to; the look that covers the time before it comes within half a second.
      await aWhile();
      await aWhile();
      await aWhile();
      writeFileSync(join(bench.outbound, 'leave'), '');
      expect(await run.exited()).toEqual({ type: 'code', code: 7 });
    });

    it('an end that nobody told is found by looking', async () => {
      const wrapper = join(bench.folder, 'client');
      writeFileSync(wrapper, `#!/bin/sh\n[ "$1" = events ] && exit 1\nexec ${kind} "$@"\n`, { mode: 0o755 });
      const driver = bench.hostWith(HOME, { executable: wrapper, pollMs: 100 });
      const run = await driver.start(bench.spec(HOME, 'r1', 'until [ -e leave ]; do sleep 0.02; done; exit 7'));
      writeFileSync(join(bench.outbound, 'leave'), '');
      expect(await run.exited()).toEqual({ type: 'code', code: 7 });
    });

    it('a container that is removed behind our back is a run that is gone', async () => {
      const driver = bench.hostWith(HOME, { pollMs: 100 });
      const run = await driver.start(bench.spec(HOME, 'r1', SLEEP));
      const ids = await bench.client.withLabel(LABELS.run, 'r1');
      await bench.client.remove(ids[0] ?? '');
      expect(['unknown', 'code']).toContain((await run.exited()).type);
      expect((await driver.list()).runs).toEqual([]);
    });

    it('a client that is killed in the middle of a start leaves no container alive', async () => {
      const wrapper = join(bench.folder, 'client');
      const script = `#!/bin/sh\n[ "$1" = run ] || exec ${kind} "$@"\n${kind} "$@"\nkill -9 $$\n`;
      writeFileSync(wrapper, script, { mode: 0o755 });
      const driver = bench.hostWith(HOME, { executable: wrapper });
      expect(await problemOf(driver.start(bench.spec(HOME, 'r1', SLEEP)))).toMatchObject({ type: 'no-engine' });
      expect(await bench.client.withLabel(LABELS.install, bench.installId(HOME))).toEqual([]);
    });

    it('a container that was made and never started is cleared away by the next host', async () => {
      const labels = [`${LABELS.install}=${bench.installId(HOME)}`, `${LABELS.session}=s`, `${LABELS.run}=r1`];
      labels.push(`${LABELS.spec}=x`, `${LABELS.started}=1`, `${LABELS.labels}={}`, `${LABELS.logFile}=/nowhere/log`);
      await bench.client.asked(['create', ...labels.map((label) => `--label=${label}`), image, 'true']);
      const driver = bench.host(HOME);
      expect(await driver.list()).toEqual({ runs: [], troubles: [] });
      expect(await bench.client.withLabel(LABELS.install, bench.installId(HOME))).toEqual([]);
    });

    it('a run that ended while no host was there leaves its output and no container', async () => {
      const spec = bench.spec(HOME, 'r1', 'echo last words; until [ -e leave ]; do sleep 0.02; done');
      const first = bench.host(HOME);
      await first.start(spec);
      first.close();
      writeFileSync(join(bench.outbound, 'leave'), '');
      const second = bench.host(HOME);
      await until('it is gone', async () => (await second.list()).runs.length === 0);
      expect(readFileSync(spec.logFile, 'utf8')).toBe('last words\n');
      expect(await bench.client.withLabel(LABELS.install, bench.installId(HOME))).toEqual([]);
    });

    it('two wakes at once make one container, and its end is told once', async () => {
      const ended: RunEnd[] = [];
      const containers = new Containers({
        driver: bench.host(HOME),
        runsMax: 2,
        graceMs: 5_000,
        onExit: (end) => void ended.push(end),
      });
      const wakes = ['r1', 'r2'].map((id) => containers.wake({ ...bench.spec(HOME, id, SLEEP), sessionId: 's' }));
      expect((await Promise.all(wakes)).map(({ runId }) => runId)).toEqual(['r1', 'r1']);
      expect(await bench.client.withLabel(LABELS.install, bench.installId(HOME))).toHaveLength(1);
      await containers.stop('s', 'the test is over');
      expect(ended).toMatchObject([{ run: { runId: 'r1' }, stopReason: 'the test is over' }]);
    });
  });

  describe('a start fails', () => {
    it('without the client, saying so', async () => {
      const driver = bench.hostWith(HOME, { executable: '/nowhere/engine' });
      expect(await problemOf(driver.start(bench.spec(HOME, 'r1', SLEEP)))).toMatchObject({
        type: 'no-engine',
        engine: kind,
        reason: '/nowhere/engine is not installed',
      });
      await expect(driver.list()).rejects.toBeInstanceOf(EngineError);
    });

    it('without the image, and is not tried with another', async () => {
      const missing = `sha256:${'0'.repeat(64)}`;
      const spec = { ...bench.spec(HOME, 'r1', SLEEP), sandbox: { ...bench.sandbox, image: missing } };
      expect(await problemOf(bench.host(HOME).start(spec))).toEqual({ type: 'no-image', image: missing });
    });

    it('with an image of another protocol version, before anything runs', async () => {
      const spec = { ...bench.spec(HOME, 'r1', SLEEP), sandbox: { ...bench.sandbox, protocolVersion: 999 } };
      const found = String(bench.sandbox.protocolVersion);
      expect(await problemOf(bench.host(HOME).start(spec))).toEqual({ type: 'wrong-image', image, wanted: 999, found });
      expect(seen('ready')).toBe(false);
    });

    it('with the name of an image instead of its id', async () => {
      const tag = `nanoclaw-test-${process.pid}:x`;
      await bench.client.asked(['tag', image, tag]);
      try {
        const spec = { ...bench.spec(HOME, 'r1', SLEEP), sandbox: { ...bench.sandbox, image: tag } };
        expect((await problemOf(bench.host(HOME).start(spec))).type).toBe('bad-spec');
      } finally {
        await bench.client.asked(['rmi', tag]);
      }
    });

    it('without a sandbox', async () => {
      const { sandbox: _none, ...spec } = bench.spec(HOME, 'r1', SLEEP);
      expect((await problemOf(bench.host(HOME).start(spec))).type).toBe('bad-spec');
    });

    it('with a log file that cannot be written', async () => {
      const spec = { ...bench.spec(HOME, 'r1', SLEEP), logFile: join(bench.folder, 'nowhere', 'log') };
      expect((await problemOf(bench.host(HOME).start(spec))).type).toBe('bad-log');
    });
  });

  describe('an image of a group’s own', () => {
    it('that cannot be built tells progress and the reason', async () => {
      const found = await bench.client.image(image);
      if (found === undefined) throw new Error('the image of the tests is gone');
      const lines: string[] = [];
      const building = buildGroupImage({
        client: bench.client,
        base: found,
        packages: { apt: ['no-such-package-anywhere'], npm: [] },
        installId: bench.installId(HOME),
        folder: join(bench.folder, 'recipe'),
        onProgress: (line) => void lines.push(line),
        signal: new AbortController().signal,
      });
      await expect(building).rejects.toBeInstanceOf(EngineError);
      expect(lines.some((line) => line.includes('apt-get'))).toBe(true);
    });

    it('whose packages have names that are none never reaches the engine', async () => {
      const client = new EngineClient({ kind, executable: '/nowhere/engine', env: clientEnv });
      const building = buildGroupImage({
        client,
        base: { id: image, labels: {} },
        packages: { apt: ['x; reboot'], npm: [] },
        installId: HOME,
        folder: join(bench.folder, 'recipe'),
        onProgress: () => undefined,
        signal: new AbortController().signal,
      });
      await expect(building).rejects.toBeInstanceOf(RangeError);
    });
  });
});

async function problemOf(start: Promise<unknown>): Promise<SpawnProblem> {
  const error = await start.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof SpawnError)) throw new Error(`expected a SpawnError, got ${String(error)}`);
  return error.problem;
}
