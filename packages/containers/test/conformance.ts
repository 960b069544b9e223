/** What every driver must pass. A driver's test calls `driverConformance` with a bench of its own. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Driver, type RunSpec, SpawnError, type SpawnProblem, specHash } from '../src/index.ts';
import { aWhile, until, wasKilled } from './bench.ts';

/** A machine with an empty data folder. */
export interface Bench {
  /** A new life of the host of `install` on this machine: remembers nothing but what is on disk or in the runtime. */
  host(install: string): Driver;
  /** A run of `install` that executes `script` with `/bin/sh` in `/workspace/outbound`. */
  spec(install: string, runId: string, script: string): RunSpec;
  /** Host path of `/workspace/outbound`. */
  readonly outbound: string;
  /** Ends every run that is left and removes the folder. */
  dispose(): Promise<void>;
}

const HOME = 'install-a';
const OTHER = 'install-b';
const SLEEP = 'touch ready; exec sleep 300';
/** Writes `beat` again and again, whatever signal comes. */
const STUBBORN_BEAT = `sh -c 'trap "" TERM HUP; while :; do touch beat; sleep 0.02; done'`;

export function driverConformance(name: string, openBench: () => Promise<Bench>): void {
  describe(`${name} driver conformance`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await openBench();
    });
    afterEach(() => bench.dispose());

    const seen = (file: string) => existsSync(join(bench.outbound, file));
    const text = (file: string) => readFileSync(join(bench.outbound, file), 'utf8');

    async function startAndSee(driver: Driver, spec: RunSpec) {
      const run = await driver.start(spec);
      await until('the command has begun', () => seen('ready'));
      return run;
    }

    it('a run sees its folder, its environment and its time zone, and its output is captured', async () => {
      const driver = bench.host(HOME);
      const plain = bench.spec(
        HOME,
        'r1',
        `echo "$GREETING" >greeting; date +%Z >zone; echo out; echo err >&2; ${SLEEP}`,
      );
      const spec = { ...plain, env: { ...plain.env, GREETING: 'hello "you"' }, timeZone: 'Asia/Tokyo' };
      const run = await startAndSee(driver, spec);
      expect(text('greeting')).toBe('hello "you"\n');
      expect(text('zone')).toBe('JST\n');
      expect(run).toMatchObject({ runId: 'r1', sessionId: spec.sessionId, labels: spec.labels, logFile: spec.logFile });
      expect(await driver.logs('r1')).toBe('out\nerr\n');
      expect(readFileSync(spec.logFile, 'utf8')).toBe('out\nerr\n');
    });

    it('a run that leaves by itself tells its exit code and is no longer listed', async () => {
      const driver = bench.host(HOME);
      const run = await driver.start(
        bench.spec(HOME, 'r1', 'touch ready; until [ -e leave ]; do sleep 0.02; done; exit 7'),
      );
      expect(await running(driver)).toEqual(['r1']);
      writeFileSync(join(bench.outbound, 'leave'), '');
      expect(await run.exited()).toEqual({ type: 'code', code: 7 });
      expect(await running(driver)).toEqual([]);
      expect(await driver.logs('r1')).toBeUndefined();
    });

    it('a run that ends well at once is a run with an exit, not a failed start', async () => {
      const run = await bench.host(HOME).start(bench.spec(HOME, 'r1', 'exit 0'));
      expect(await run.exited()).toEqual({ type: 'code', code: 0 });
    });

    it('a run that ends badly at once is a failed start that tells exit and output', async () => {
      const driver = bench.host(HOME);
      const spec = bench.spec(HOME, 'r1', 'echo cannot find my head; exit 3');
      expect(await problemOf(driver.start(spec))).toEqual({
        type: 'exit-at-once',
        exit: { type: 'code', code: 3 },
        output: 'cannot find my head\n',
        logFile: spec.logFile,
      });
      expect(await running(driver)).toEqual([]);
    });

    it('a stopped run may finish what it does within the grace', async () => {
      const driver = bench.host(HOME);
      await startAndSee(
        driver,
        bench.spec(HOME, 'r1', `trap 'echo done >finished; exit 5' TERM; touch ready; while :; do sleep 0.02; done`),
      );
      expect(await driver.stop('r1', 60_000)).toEqual({ type: 'code', code: 5 });
      expect(text('finished')).toBe('done\n');
      expect(await running(driver)).toEqual([]);
    });

    it('a run that ignores the request to leave is killed after the grace', async () => {
      const driver = bench.host(HOME);
      const run = await startAndSee(
        driver,
        bench.spec(HOME, 'r1', `trap '' TERM; touch ready; while :; do sleep 0.02; done`),
      );
      const exit = await driver.stop('r1', 100);
      expect(wasKilled(exit)).toBe(true);
      expect(await run.exited()).toEqual(exit);
      expect(await running(driver)).toEqual([]);
    });

    it('whoever stops a run twice at once gets the same exit', async () => {
      const driver = bench.host(HOME);
      await startAndSee(
        driver,
        bench.spec(HOME, 'r1', `trap 'exit 5' TERM; touch ready; while :; do sleep 0.02; done`),
      );
      const exits = await Promise.all([driver.stop('r1', 60_000), driver.stop('r1', 60_000)]);
      expect(exits).toEqual([
        { type: 'code', code: 5 },
        { type: 'code', code: 5 },
      ]);
    });

    it('to stop a run that is not alive is no error', async () => {
      expect((await bench.host(HOME).stop('never-was', 100)).type).toBe('unknown');
    });

    it('what a run has started dies with it when it is stopped', async () => {
      const driver = bench.host(HOME);
      await startAndSee(driver, bench.spec(HOME, 'r1', `${STUBBORN_BEAT} & ${SLEEP}`));
      await until('the grandchild beats', () => seen('beat'));
      await driver.stop('r1', 60_000);
      rmSync(join(bench.outbound, 'beat'));
      await aWhile();
      expect(seen('beat')).toBe(false);
    });

    it('what a run has started dies with it when it leaves by itself', async () => {
      const run = await bench
        .host(HOME)
        .start(bench.spec(HOME, 'r1', `${STUBBORN_BEAT} & until [ -e beat ]; do sleep 0.02; done`));
      await run.exited();
      rmSync(join(bench.outbound, 'beat'));
      await aWhile();
      expect(seen('beat')).toBe(false);
    });

    it('a host that starts anew finds the run, its labels, its spec and its output, and can stop it', async () => {
      const spec = bench.spec(HOME, 'r1', `echo before; ${SLEEP}`);
      const first = bench.host(HOME);
      await startAndSee(first, spec);
      first.close();

      const second = bench.host(HOME);
      const { runs, troubles } = await second.list();
      expect(troubles).toEqual([]);
      expect(runs).toHaveLength(1);
      expect(runs[0]).toMatchObject({
        runId: 'r1',
        sessionId: spec.sessionId,
        labels: spec.labels,
        specHash: specHash(spec),
        logFile: spec.logFile,
      });
      expect(await second.logs('r1')).toBe('before\n');
      const exited = runs[0]?.exited();
      const exit = await second.stop('r1', 60_000);
      expect(await exited).toEqual(exit);
      expect(await running(second)).toEqual([]);
    });

    it('two installs never see or stop the runs of each other', async () => {
      const home = bench.host(HOME);
      const other = bench.host(OTHER);
      await startAndSee(home, bench.spec(HOME, 'same-id', SLEEP));
      await other.start(bench.spec(OTHER, 'same-id', 'exec sleep 300'));
      await other.stop('same-id', 60_000);
      expect(await running(other)).toEqual([]);
      expect((await other.stop('same-id', 100)).type).toBe('unknown');
      expect(await running(home)).toEqual(['same-id']);
      expect((await problemOf(other.start(bench.spec(HOME, 'r2', SLEEP)))).type).toBe('bad-spec');
    });

    it('a missing program is a failed start that names it', async () => {
      const driver = bench.host(HOME);
      const spec: RunSpec = { ...bench.spec(HOME, 'r1', ''), command: ['no-such-program', 'x'] };
      expect(await problemOf(driver.start(spec))).toMatchObject({ type: 'no-runtime', executable: 'no-such-program' });
      expect(await running(driver)).toEqual([]);
    });

    it('a mount whose source is missing is a failed start, never a partial set of mounts', async () => {
      const driver = bench.host(HOME);
      const spec = bench.spec(HOME, 'r1', 'touch ready');
      const missing = { source: join(bench.outbound, 'not-there'), target: '/workspace/extra', readonly: true };
      const start = driver.start({ ...spec, mounts: [...spec.mounts, missing] });
      expect(await problemOf(start)).toMatchObject({ type: 'bad-mount', mount: missing });
      await aWhile();
      expect(seen('ready')).toBe(false);
      expect(existsSync(missing.source)).toBe(false);
    });

    it('a run id is used once', async () => {
      const first = bench.host(HOME);
      await startAndSee(first, bench.spec(HOME, 'r1', SLEEP));
      expect(await problemOf(first.start(bench.spec(HOME, 'r1', 'touch second')))).toEqual({
        type: 'duplicate-run',
        runId: 'r1',
      });
      const second = bench.host(HOME);
      expect(await problemOf(second.start(bench.spec(HOME, 'r1', 'touch second')))).toEqual({
        type: 'duplicate-run',
        runId: 'r1',
      });
      expect(seen('second')).toBe(false);
      expect(await running(second)).toEqual(['r1']);
    });
  });
}

async function running(driver: Driver): Promise<string[]> {
  const { runs } = await driver.list();
  return runs.map(({ runId }) => runId).toSorted();
}

async function problemOf(start: Promise<unknown>): Promise<SpawnProblem> {
  const error = await start.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof SpawnError)) throw new Error(`expected a SpawnError, got ${String(error)}`);
  return error.problem;
}
