/** What the in-process driver does over and above what the contract asks of every driver. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Driver, type DriverFactory, inProcess, type RunSpec } from '../src/index.ts';
import { clock } from './bench.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'in-process-'));
  mkdirSync(join(folder, 'out bound'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const made = async (factory: DriverFactory): Promise<Driver> =>
  factory({ installId: 'home', stateFolder: join(folder, 'state'), clock });

const specOf = (runId: string): RunSpec => ({
  runId,
  sessionId: `session-of-${runId}`,
  installId: 'home',
  command: ['bun', '/app/src/main.js', '--run', runId, '/workspace/outbound/x', '--at=/workspace/outbound'],
  workdir: '/workspace/outbound',
  mounts: [{ source: join(folder, 'out bound'), target: '/workspace/outbound', readonly: false }],
  env: { PLACE: '/workspace/outbound', PLAIN: 'plain' },
  timeZone: 'Asia/Tokyo',
  labels: {},
  logFile: join(folder, `${runId}.log`),
});

describe('a program in this process', () => {
  it('gets the arguments after its own words and its environment, with paths of the host', async () => {
    const got = Promise.withResolvers<unknown>();
    const driver = await made(
      inProcess(async (args, { env }) => {
        got.resolve({ args, env });
        return 0;
      }),
    );
    const run = await driver.start(specOf('r1'));
    const place = join(folder, 'out bound');
    expect(await got.promise).toEqual({
      args: ['--run', 'r1', join(place, 'x'), '--at=/workspace/outbound'],
      env: { PLACE: place, PLAIN: 'plain', TZ: 'Asia/Tokyo' },
    });
    expect(await run.exited()).toEqual({ type: 'code', code: 0 });
  });

  it('that throws has exit code 1 and its error in the log', async () => {
    const driver = await made(
      inProcess(() => {
        throw new Error('no head');
      }),
    );
    await expect(driver.start(specOf('r1'))).rejects.toMatchObject({
      problem: { type: 'exit-at-once', exit: { type: 'code', code: 1 }, output: expect.stringContaining('no head') },
    });
    expect((await driver.list()).runs).toEqual([]);
  });

  it('that does not leave is abandoned after the grace, and what it writes afterwards is dropped', async () => {
    const later = Promise.withResolvers<void>();
    const wrote = Promise.withResolvers<void>();
    const driver = await made(
      inProcess(async (_args, { write }) => {
        write('before\n');
        await later.promise;
        write('after\n');
        wrote.resolve();
        return 0;
      }),
    );
    const run = await driver.start(specOf('r1'));
    const exit = await driver.stop('r1', 1);
    expect(exit).toEqual({ type: 'unknown', reason: expect.stringContaining('abandoned') });
    expect(await run.exited()).toEqual(exit);
    expect((await driver.list()).runs).toEqual([]);
    later.resolve();
    await wrote.promise;
    expect(readFileSync(run.logFile, 'utf8')).toBe('before\n');
  });

  it('is asked to leave when its driver is closed, and a later driver lists it until it has', async () => {
    const last = Promise.withResolvers<number>();
    const factory = inProcess(async (_args, { signal, write }) => {
      signal.addEventListener('abort', () => write('asked\n'));
      return last.promise;
    });
    const first = await made(factory);
    const run = await first.start(specOf('r1'));
    first.close();
    await expect(first.start(specOf('r2'))).rejects.toThrow('the driver is closed');
    expect(readFileSync(run.logFile, 'utf8')).toBe('asked\n');

    const second = await made(factory);
    expect((await second.list()).runs.map(({ runId }) => runId)).toEqual(['r1']);
    last.resolve(0);
    await run.exited();
    expect((await second.list()).runs).toEqual([]);
  });

  it('is not known to the driver of another factory', async () => {
    const last = Promise.withResolvers<number>();
    const driver = await made(inProcess(() => last.promise));
    const run = await driver.start(specOf('r1'));
    const other = await made(inProcess(async () => 0));
    expect((await other.list()).runs).toEqual([]);
    expect((await other.stop('r1', 0)).type).toBe('unknown');
    expect((await driver.list()).runs).toHaveLength(1);
    last.resolve(0);
    await run.exited();
  });
});
