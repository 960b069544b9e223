import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { type ContainersOptions } from '../src/containers.ts';
import { Containers, type Run, type RunEnd, type RunSpec, SpawnError } from '../src/index.ts';
import { until } from './bench.ts';
import { FakeDriver } from './fake-driver.ts';
import { openProcessBench, processesIn } from './process-bench.ts';

const GONE = { type: 'code', code: 0 } as const;

let driver: FakeDriver;
let ended: RunEnd[];
beforeEach(() => {
  driver = new FakeDriver();
  ended = [];
});

function containersOf(options: Partial<ContainersOptions> = {}): Containers {
  return new Containers({ driver, runsMax: 10, graceMs: 100, onExit: (end) => ended.push(end), ...options });
}

function spec(sessionId: string, runId: string): RunSpec {
  return {
    runId,
    sessionId,
    installId: 'install',
    command: ['true'],
    workdir: '/',
    mounts: [],
    env: {},
    timeZone: 'UTC',
    labels: {},
    logFile: '/nowhere',
  };
}

/** Lets everything that is ready go on. */
async function settled(): Promise<void> {
  for (let round = 0; round < 5; round += 1) await turn();
}

/** A session's agent is the first letter of its name. */
const sharesOf = (id: string) => [{ name: id.slice(0, 1), most: 8 }];

describe('shares of the places', () => {
  it('eight sessions of one agent that hold its share do not keep the ninth, of another agent, waiting (failure 70)', async () => {
    const containers = containersOf({ sharesOf });
    await Promise.all(Array.from({ length: 8 }, (_, n) => containers.wake(spec(`hog-${n}`, `h${n}`))));
    void containers.wake(spec('hog-8', 'h8'));
    void containers.wake(spec('hog-9', 'h9'));
    void containers.wake(spec('other', 'o'));
    await settled();
    expect(driver.started).toContain('o');
    expect(driver.started).not.toContain('h8');
    expect(containers.inTheWayOf('hog-8')).toHaveLength(8);
    expect(containers.inTheWayOf('other-2')).toEqual([]);
    driver.end('h0', GONE);
    await settled();
    expect(driver.started).toContain('h8');
    expect(driver.started).not.toContain('h9');
  });

  it('of those that wait the one whose agent uses least goes first, whoever came before', async () => {
    const containers = containersOf({ runsMax: 2, sharesOf });
    await Promise.all(['hog-0', 'hog-1'].map((id) => containers.wake(spec(id, id))));
    void containers.wake(spec('hog-2', 'hog-2'));
    void containers.wake(spec('other', 'other'));
    driver.end('hog-0', GONE);
    await settled();
    expect(driver.started).toEqual(['hog-0', 'hog-1', 'other']);
  });
});

describe('waking', () => {
  it('many wakes of one session at once start one run and give it to all', async () => {
    const containers = containersOf();
    const runs = await Promise.all(['r1', 'r2', 'r3'].map((runId) => containers.wake(spec('s', runId))));
    expect(driver.started).toEqual(['r1']);
    expect(new Set(runs.map(({ runId }) => runId))).toEqual(new Set(['r1']));
    expect((await containers.wake(spec('s', 'r4'))).runId).toBe('r1');
    expect(containers.running('s')?.runId).toBe('r1');
  });

  it('with real processes too, many wakes at once make one process', async () => {
    const bench = await openProcessBench();
    try {
      const containers = containersOf({ driver: bench.host('install') });
      const wakes = ['r1', 'r2', 'r3'].map((runId) =>
        containers.wake({ ...bench.spec('install', runId, 'exec sleep 300'), sessionId: 's' }),
      );
      const runs = await Promise.all(wakes);
      expect(runs.map(({ runId }) => runId)).toEqual(['r1', 'r1', 'r1']);
      expect(processesIn(bench.folder)).toHaveLength(1);
      expect(await containers.stop('s', 'test is over')).toEqual({ type: 'signal', signal: 'SIGTERM' });
      expect(ended).toMatchObject([{ run: { runId: 'r1', logFile: join(bench.folder, 'install-r1.log') } }]);
      expect(processesIn(bench.folder)).toEqual([]);
    } finally {
      await bench.dispose();
    }
  });

  it('a session whose run has left gets a new one', async () => {
    const containers = containersOf();
    await containers.wake(spec('s', 'r1'));
    driver.end('r1', GONE);
    await settled();
    expect(containers.running('s')).toBeUndefined();
    expect((await containers.wake(spec('s', 'r2'))).runId).toBe('r2');
    expect(ended).toMatchObject([{ run: { runId: 'r1' }, exit: GONE, stopReason: undefined }]);
  });

  it('a start that fails is told to every waker and leaves the session free', async () => {
    const containers = containersOf();
    driver.failing.start = new SpawnError({ type: 'refused', reason: 'no more processes' });
    const wakes = await Promise.allSettled([containers.wake(spec('s', 'r1')), containers.wake(spec('s', 'r2'))]);
    expect(wakes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(driver.started).toEqual(['r1']);
    delete driver.failing.start;
    expect((await containers.wake(spec('s', 'r3'))).runId).toBe('r3');
    expect(ended).toEqual([]);
  });

  it('the host learns the run that is really started before it is started', async () => {
    const before: string[] = [];
    const containers = containersOf({
      beforeStart: async ({ runId }) => {
        await turn();
        before.push(`${runId} after ${driver.started.length} starts`);
      },
    });
    await Promise.all([containers.wake(spec('s', 'r1')), containers.wake(spec('s', 'r2'))]);
    expect(before).toEqual(['r1 after 0 starts']);
  });

  it('a host that cannot prepare a start has nothing started', async () => {
    const containers = containersOf({ beforeStart: () => Promise.reject(new Error('file is locked')) });
    await expect(containers.wake(spec('s', 'r1'))).rejects.toThrow('file is locked');
    expect(driver.started).toEqual([]);
    expect(containers.running('s')).toBeUndefined();
  });
});

describe('the cap', () => {
  it('those over it wait, and are served in the order in which they came', async () => {
    const containers = containersOf({ runsMax: 2 });
    const woken: string[] = [];
    for (const session of ['a', 'b', 'c', 'd']) {
      void containers.wake(spec(session, `${session}1`)).then(({ runId }) => woken.push(runId));
    }
    await settled();
    expect(woken).toEqual(['a1', 'b1']);
    expect(containers.waitingSessions()).toEqual(['c', 'd']);
    driver.end('b1', GONE);
    await settled();
    expect(woken).toEqual(['a1', 'b1', 'c1']);
    driver.end('a1', GONE);
    await settled();
    expect(woken).toEqual(['a1', 'b1', 'c1', 'd1']);
  });

  it('a busy session that comes back queues behind those that wait, however often it is woken', async () => {
    const containers = containersOf({ runsMax: 1 });
    await containers.wake(spec('busy', 'busy1'));
    for (const session of ['quiet', 'late']) void containers.wake(spec(session, `${session}1`));
    await settled();
    driver.end('busy1', GONE);
    await settled();
    for (const runId of ['busy2', 'busy3']) void containers.wake(spec('busy', runId));
    await settled();
    expect(containers.waitingSessions()).toEqual(['late', 'busy']);
    driver.end('quiet1', GONE);
    await settled();
    driver.end('late1', GONE);
    await settled();
    expect(driver.started).toEqual(['busy1', 'quiet1', 'late1', 'busy2']);
  });

  it('a failed start gives its place to the next', async () => {
    const containers = containersOf({
      runsMax: 1,
      beforeStart: async ({ runId }) => {
        await settled();
        if (runId === 'a1') throw new Error('not today');
      },
    });
    const first = expect(containers.wake(spec('a', 'a1'))).rejects.toThrow('not today');
    const second = containers.wake(spec('b', 'b1'));
    await turn();
    expect(containers.waitingSessions()).toEqual(['b']);
    await first;
    expect((await second).runId).toBe('b1');
  });

  it('a waiting wake of a stopped session is told so and never starts', async () => {
    const containers = containersOf({ runsMax: 1 });
    await containers.wake(spec('a', 'a1'));
    const waiting = containers.wake(spec('b', 'b1'));
    await settled();
    expect(await containers.stop('b', 'not needed')).toBeUndefined();
    await expect(waiting).rejects.toMatchObject({ problem: { type: 'stopped', reason: 'not needed' } });
    driver.end('a1', GONE);
    await settled();
    expect(driver.started).toEqual(['a1']);
  });

  it('a cap that is no number of places is refused', () => {
    expect(() => containersOf({ runsMax: 0 })).toThrow(RangeError);
    expect(() => containersOf({ graceMs: -1 })).toThrow(RangeError);
  });
});

describe('stopping', () => {
  it('is confirmed, reported once with its reason, and leaves the session free', async () => {
    const containers = containersOf();
    await containers.wake(spec('s', 'r1'));
    const exits = await Promise.all([containers.stop('s', 'too slow'), containers.stop('s', 'again')]);
    await settled();
    expect(exits).toEqual([
      { type: 'signal', signal: 'SIGTERM' },
      { type: 'signal', signal: 'SIGTERM' },
    ]);
    expect(driver.stopped).toEqual(['r1']);
    expect(ended).toMatchObject([{ run: { runId: 'r1' }, stopReason: 'too slow' }]);
    expect(containers.running('s')).toBeUndefined();
    expect(await containers.stop('s', 'once more')).toBeUndefined();
  });

  it('a wake during a stop waits for the confirmed exit, then starts', async () => {
    const containers = containersOf();
    await containers.wake(spec('s', 'r1'));
    const gate = Promise.withResolvers<void>();
    driver.gate = gate.promise;
    const stop = containers.stop('s', 'new version');
    const wake = containers.wake(spec('s', 'r2'));
    await settled();
    expect(driver.started).toEqual(['r1']);
    expect(containers.running('s')?.runId).toBe('r1');
    gate.resolve();
    await stop;
    expect((await wake).runId).toBe('r2');
    expect(ended).toHaveLength(1);
  });

  it('a session that waits for its own stop holds up nobody else', async () => {
    const containers = containersOf({ runsMax: 2 });
    await containers.wake(spec('s', 'r1'));
    const stopGate = Promise.withResolvers<void>();
    driver.gate = stopGate.promise;
    const stop = containers.stop('s', 'new version');
    const again = containers.wake(spec('s', 'r2'));
    driver.gate = Promise.resolve();
    expect((await containers.wake(spec('t', 't1'))).runId).toBe('t1');
    stopGate.resolve();
    await Promise.all([stop, again]);
  });

  it('a run that is only starting is stopped as soon as it has started', async () => {
    const containers = containersOf();
    const gate = Promise.withResolvers<void>();
    await containers.reconcile();
    driver.gate = gate.promise;
    const wake = containers.wake(spec('s', 'r1'));
    const stop = containers.stop('s', 'changed my mind');
    await settled();
    expect(driver.stopped).toEqual([]);
    gate.resolve();
    await wake;
    expect((await stop)?.type).toBe('signal');
    expect(driver.stopped).toEqual(['r1']);
  });

  it('one that fails leaves the run live and tracked, and can be tried again', async () => {
    const containers = containersOf();
    await containers.wake(spec('s', 'r1'));
    driver.failing.stop = new Error('engine does not answer');
    await expect(containers.stop('s', 'too slow')).rejects.toThrow('engine does not answer');
    expect(containers.running('s')?.runId).toBe('r1');
    expect((await containers.wake(spec('s', 'r2'))).runId).toBe('r1');
    expect(ended).toEqual([]);
    delete driver.failing.stop;
    expect(await containers.stop('s', 'too slow')).toEqual({ type: 'signal', signal: 'SIGTERM' });
  });
});

describe('reconciling', () => {
  it('a run of an earlier life is adopted, and a wake finds it instead of starting a second', async () => {
    driver.live('old', 's', 1);
    const containers = containersOf();
    expect((await containers.wake(spec('s', 'new'))).runId).toBe('old');
    expect(driver.started).toEqual([]);
    driver.end('old', GONE);
    await settled();
    expect(ended).toMatchObject([{ run: { runId: 'old' } }]);
  });

  it('while nobody knows what is alive, nothing is started', async () => {
    const containers = containersOf();
    driver.failing.list = new Error('engine does not answer');
    await expect(containers.wake(spec('s', 'r1'))).rejects.toThrow('engine does not answer');
    expect(driver.started).toEqual([]);
    delete driver.failing.list;
    expect((await containers.wake(spec('s', 'r2'))).runId).toBe('r2');
  });

  it('adopted runs count against the cap', async () => {
    driver.live('old', 'a', 1);
    const containers = containersOf({ runsMax: 1 });
    void containers.wake(spec('b', 'b1'));
    await settled();
    expect(containers.waitingSessions()).toEqual(['b']);
    driver.end('old', GONE);
    await settled();
    expect(driver.started).toEqual(['b1']);
  });

  it('of two runs of one session the newer stays and the older is stopped', async () => {
    driver.live('older', 's', 1);
    driver.live('newer', 's', 2);
    const containers = containersOf();
    const { adopted, duplicates, troubles } = await containers.reconcile();
    expect([adopted.map(({ runId }) => runId), duplicates.map(({ runId }) => runId), troubles]).toEqual([
      ['newer'],
      ['older'],
      [],
    ]);
    expect(driver.stopped).toEqual(['older']);
    expect(containers.running('s')?.runId).toBe('newer');
  });

  it('a second run that cannot be stopped is told', async () => {
    driver.live('older', 's', 1);
    driver.live('newer', 's', 2);
    driver.failing.stop = new Error('engine does not answer');
    const { troubles } = await containersOf().reconcile();
    expect(troubles).toEqual([expect.stringMatching(/older.*could not be stopped.*alive still/)]);
  });

  it('changes nothing for runs that are known, starting ones included', async () => {
    const containers = containersOf();
    await containers.wake(spec('s', 'r1'));
    expect(await containers.reconcile()).toEqual({ adopted: [], replaced: [], duplicates: [], troubles: [] });
    expect(containers.running('s')?.runId).toBe('r1');
  });

  it('a run that ends while the list is made is not brought back by it', async () => {
    const containers = containersOf();
    await containers.wake(spec('s', 'r1'));
    const gate = Promise.withResolvers<void>();
    driver.gate = gate.promise;
    const reconciling = containers.reconcile();
    driver.end('r1', GONE);
    await settled();
    gate.resolve();
    expect((await reconciling).adopted).toEqual([]);
    expect(ended).toHaveLength(1);
  });

  it('a run that cannot be watched is no exit: it stays until the runtime no longer lists it', async () => {
    const containers = containersOf();
    await containers.reconcile();
    driver.failing.exited = new Error('engine does not answer');
    await containers.wake(spec('s', 'r1'));
    await settled();
    expect(containers.running('s')?.runId).toBe('r1');
    expect((await containers.reconcile()).troubles).toEqual([
      'Run r1 could not be watched for a while: engine does not answer',
    ]);
    await settled();
    expect(ended).toEqual([]);
    driver.end('r1', GONE);
    await containers.reconcile();
    expect(ended).toMatchObject([{ run: { runId: 'r1' }, exit: { type: 'unknown' } }]);
    expect(containers.running('s')).toBeUndefined();
  });
});

describe('closing', () => {
  it('tells those that wait, starts nothing more, and lets runs go on', async () => {
    const containers = containersOf({ runsMax: 1 });
    await containers.wake(spec('a', 'a1'));
    const waiting = containers.wake(spec('b', 'b1'));
    const refused = expect(waiting).rejects.toMatchObject({ problem: { type: 'stopped' } });
    await settled();
    containers.close();
    await refused;
    await expect(containers.wake(spec('c', 'c1'))).rejects.toMatchObject({ problem: { type: 'stopped' } });
    expect(driver.stopped).toEqual([]);
    driver.end('a1', GONE);
    await settled();
    expect(driver.started).toEqual(['a1']);
    expect(ended).toEqual([]);
  });

  it('a start that fails afterwards does not give its place to those that were told', async () => {
    const containers = containersOf({ runsMax: 1 });
    await containers.reconcile();
    const gate = Promise.withResolvers<void>();
    driver.gate = gate.promise;
    driver.failing.start = new SpawnError({ type: 'refused', reason: 'no more processes' });
    const wakes = Promise.allSettled([containers.wake(spec('a', 'a1')), containers.wake(spec('b', 'b1'))]);
    await settled();
    containers.close();
    gate.resolve();
    expect((await wakes).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(driver.started).toEqual(['a1']);
  });
});

const oldOne = (run: Run) => (run.runId === 'old' ? 'started from another spec' : undefined);

describe('a run of an earlier life that does not fit any more', () => {
  it('is stopped and reported as ended, and the next wake starts anew', async () => {
    driver.live('old', 's', 1);
    driver.live('fine', 't', 2);
    const containers = containersOf({ outdatedReason: oldOne });
    const { adopted, replaced, troubles } = await containers.reconcile();
    expect(adopted.map(({ runId }) => runId)).toEqual(['fine']);
    expect(replaced.map(({ runId }) => runId)).toEqual(['old']);
    expect(troubles).toEqual([]);
    expect(ended).toMatchObject([{ run: { runId: 'old' }, stopReason: 'started from another spec' }]);
    expect((await containers.wake(spec('s', 'new'))).runId).toBe('new');
  });

  it('and cannot be stopped is told, and stays the session’s run', async () => {
    driver.live('old', 's', 1);
    driver.failing.stop = new Error('the engine is gone');
    const containers = containersOf({ outdatedReason: () => 'too old' });
    expect((await containers.reconcile()).troubles).toEqual(['the engine is gone']);
    expect(containers.running('s')?.runId).toBe('old');
    expect(ended).toEqual([]);
  });
});

function judge(run: Run): string | undefined {
  if (run.runId === 'odd') throw new Error('its folder cannot be read.');
  return oldOne(run);
}

describe('a run that cannot be judged', () => {
  it('goes on, and those after it are adopted or replaced (failure 89)', async () => {
    driver.live('old', 's', 1);
    driver.live('fine', 't', 2);
    driver.live('odd', 'u', 3);
    const containers = containersOf({ outdatedReason: judge });
    const { adopted, replaced, troubles } = await containers.reconcile();
    expect(adopted.map(({ runId }) => runId)).toEqual(['odd', 'fine']);
    expect(replaced.map(({ runId }) => runId)).toEqual(['old']);
    expect(troubles).toEqual(['The run of session u goes on without being looked at: its folder cannot be read.']);
  });

  it('does not keep others from being replaced while they live, and is told', async () => {
    let isLate = false;
    const containers = containersOf({ outdatedReason: (run) => (isLate ? judge(run) : undefined) });
    await containers.wake(spec('u', 'odd'));
    await containers.wake(spec('s', 'old'));
    isLate = true;
    await expect(containers.replaceOutdatedRuns(() => false)).rejects.toThrow('its folder cannot be read.');
    expect(containers.running('s')).toBeUndefined();
    expect(containers.running('u')?.runId).toBe('odd');
  });
});

describe('runs that do not fit any more', () => {
  it('are replaced once they rest, and those that fit go on', async () => {
    let changed = false;
    const containers = containersOf({
      outdatedReason: (run) => (changed && run.runId !== 'b1' ? 'other settings' : undefined),
    });
    for (const id of ['a', 'b', 'c']) await containers.wake(spec(id, `${id}1`));
    changed = true;
    expect((await containers.replaceOutdatedRuns(({ runId }) => runId === 'c1')).map(({ runId }) => runId)).toEqual([
      'a1',
    ]);
    expect(ended).toMatchObject([{ run: { runId: 'a1' }, stopReason: 'other settings', problem: undefined }]);
    expect((await containers.wake(spec('a', 'a2'))).runId).toBe('a2');
    expect(containers.running('c')?.runId).toBe('c1');
    expect((await containers.replaceOutdatedRuns(() => false)).map(({ runId }) => runId)).toContain('c1');
  });

  it('are left alone when they ended while they were looked at', async () => {
    const gate = Promise.withResolvers<string>();
    const containers = containersOf({ outdatedReason: () => gate.promise });
    await containers.wake(spec('s', 'r1'));
    const replacing = containers.replaceOutdatedRuns(() => false);
    driver.end('r1', GONE);
    await settled();
    await containers.wake(spec('s', 'r2'));
    gate.resolve('other settings');
    expect(await replacing).toEqual([]);
    expect(containers.running('s')?.runId).toBe('r2');
  });
});

const CRASH = { type: 'code', code: 1 } as const;

/** A session with a live run `r1`. */
async function live(options: Partial<ContainersOptions>): Promise<Containers> {
  const containers = containersOf(options);
  await containers.wake(spec('s', 'r1'));
  return containers;
}

describe('a run that ends badly by itself', () => {
  it('before it had begun is a failed start, with its exit', async () => {
    await live({ hasBegun: async () => false });
    driver.end('r1', CRASH);
    await settled();
    await until('its end is told', () => ended.length === 1);
    expect(ended[0]?.problem).toEqual({ type: 'exit-before-handshake', exit: CRASH, output: '', logFile: '' });
  });

  it('after it had begun, or where that cannot be told, is an ordinary end', async () => {
    await live({ hasBegun: () => true });
    driver.end('r1', CRASH);
    await settled();
    await live({ hasBegun: () => Promise.reject(new Error('the file is locked')) });
    driver.end('r1', CRASH);
    await settled();
    expect(ended.map(({ problem }) => problem)).toEqual([undefined, undefined]);
  });

  it('is never a failed start when somebody asked for it, or it ended well', async () => {
    const containers = await live({ hasBegun: () => false });
    await containers.stop('s', 'asked to');
    await containers.wake(spec('s', 'r2'));
    driver.end('r2', GONE);
    await settled();
    expect(ended.map(({ problem }) => problem)).toEqual([undefined, undefined]);
  });

  it('keeps its place until its end is judged, so that no second run starts beside it', async () => {
    const gate = Promise.withResolvers<boolean>();
    const containers = await live({ hasBegun: () => gate.promise });
    driver.end('r1', CRASH);
    await settled();
    expect((await containers.wake(spec('s', 'r2'))).runId).toBe('r1');
    gate.resolve(true);
    await settled();
    expect((await containers.wake(spec('s', 'r3'))).runId).toBe('r3');
    expect(ended).toHaveLength(1);
  });
});

it('a wake is refused, with a reason of its own, while it cannot be found out what is alive', async () => {
  driver.failing.list = new Error('the engine is down');
  const containers = containersOf();
  expect(await problem(containers.wake(spec('s', 'r1')))).toEqual({
    type: 'not-reconciled',
    reason: 'the engine is down',
  });
  expect(driver.started).toEqual([]);
  delete driver.failing.list;
  expect((await containers.wake(spec('s', 'r2'))).runId).toBe('r2');
});

const problem = (wake: Promise<unknown>) =>
  wake.then(
    () => undefined,
    (error: unknown) => (error instanceof SpawnError ? error.problem : error),
  );
