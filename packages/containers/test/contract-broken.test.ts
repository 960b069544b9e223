/** The contract catches drivers that break it: each case fails on a driver that breaks what the case promises. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type DriverUnderTest, driverContract } from '../src/contract/index.ts';
import { type Driver, type Exit, type Run, type RunSpec, SpawnError } from '../src/index.ts';
import type { Bench } from './bench.ts';
import { openProcessBench } from './process-bench.ts';
import { underTest } from './under-test.ts';

/** What a broken driver does differently from the one beneath it. */
interface Breach {
  readonly name: string;
  /** The case that catches it, and what its sentence holds. */
  readonly caughtBy: string;
  readonly says: string;
  /** Shorter than usual, in milliseconds, where the case waits for what never comes. */
  readonly deadlineMs?: number;
  readonly breaks: (driver: Driver, bench: Bench) => Partial<Driver>;
}

/** A start that is given another spec. */
const starts = (change: (spec: RunSpec) => RunSpec) => (driver: Driver) => ({
  start: (spec: RunSpec) => driver.start(change(spec)),
});

/** A start that gives another run. */
const runs = (change: (run: Run) => Partial<Run>) => (driver: Driver) => ({
  async start(spec: RunSpec) {
    return changedRun(await driver.start(spec), change);
  },
});

/** The end of a run is reported once something has been done to its log file. */
const spoilsLog = (spoil: (text: string) => string) =>
  runs((run) => ({
    async exited() {
      const exit = await run.exited();
      writeFileSync(run.logFile, spoil(readFileSync(run.logFile, 'utf8')));
      return exit;
    },
  }));

const safe = (id: string) => `safe-${id.length}-${id.replaceAll(/[^a-z0-9]/g, '')}`.slice(0, 60);
const withSafeIds = (spec: RunSpec) => ({ ...spec, runId: safe(spec.runId), sessionId: safe(spec.sessionId) });
const withScript = (spec: RunSpec, change: (script: string) => string): RunSpec => {
  const [shell, ...words] = spec.command;
  return { ...spec, command: [shell, ...words.map((word) => (word === '-c' ? word : change(word)))] };
};
const lines = (text: string) => text.slice(0, text.lastIndexOf('\n') + 1);
const childEscapes = starts((spec) =>
  withScript(spec, (script) => script.replaceAll("sh -c 'trap", "setsid sh -c 'trap")),
);

const BREACHES: readonly Breach[] = [
  {
    name: 'forgets the time zone',
    caughtBy: 'a run sees its folder, its environment and its time zone, and is what its spec says',
    says: 'The time zone in the run',
    breaks: starts((spec) => ({ ...spec, timeZone: 'UTC' })),
  },
  {
    name: 'gives runs the environment of the host',
    caughtBy: 'nothing of the environment of the host reaches a run',
    says: 'What a run sees of a variable that is set only in the host must be undefined, but is',
    breaks: starts((spec) => {
      const own = Object.entries(process.env).filter(([name]) => /^\w+$/.test(name));
      return { ...spec, env: { ...Object.fromEntries(own.map(([name, value]) => [name, value ?? ''])), ...spec.env } };
    }),
  },
  {
    name: 'starts a run with an unsafe id',
    caughtBy: 'ids that are no safe names are refused, and nothing of them is begun',
    says: "A start with the runId '' must be refused with a SpawnError, but gave",
    breaks: starts(withSafeIds),
  },
  {
    name: 'refuses an unsafe id once its command has begun',
    caughtBy: 'ids that are no safe names are refused, and nothing of them is begun',
    says: 'The command of a start that was refused has begun.',
    breaks: (driver) => ({
      async start(spec) {
        await driver.start(withSafeIds(spec)).catch(() => undefined);
        throw new SpawnError({ type: 'bad-spec', reason: 'too late' });
      },
    }),
  },
  {
    name: 'lets a run id be used again',
    caughtBy: 'a run id is used once, by this life of the host and by the next',
    says: 'A second start of run r1 must be refused with a SpawnError, but gave',
    breaks: (driver) => ({
      start: async (spec) => driver.start({ ...spec, runId: `${spec.runId}-${(await driver.list()).runs.length}` }),
    }),
  },
  {
    name: 'lists the runs of another install',
    caughtBy: 'two installs never see or stop the runs of each other',
    says: 'The runs of an install whose only run was stopped must be []',
    breaks: (_driver, bench) => ({ list: () => bench.host('install-a').list() }),
  },
  {
    name: 'does not name a missing program',
    caughtBy: 'a missing program is a failed start that names it',
    says: 'The program that a failed start says is missing',
    breaks: (driver) => ({
      start: (spec) =>
        driver.start(spec).catch(() => {
          throw new SpawnError({ type: 'refused', reason: 'something went wrong' });
        }),
    }),
  },
  {
    name: 'leaves out a mount whose source is missing',
    caughtBy: 'a mount whose source is missing is a failed start, never a partial set of mounts',
    says: 'A start with a mount whose source is missing must be refused with a SpawnError, but gave',
    breaks: starts((spec) => ({ ...spec, mounts: spec.mounts.filter(({ source }) => existsSync(source)) })),
  },
  {
    name: 'lets what a run has started go on after the start that rejects',
    caughtBy: 'after a start that rejects nothing of it is alive, and no life of the host lists it',
    says: 'What a run has started goes on after its start has rejected.',
    breaks: (driver) => ({
      start: (spec) =>
        driver.start(spec).catch(async (error: unknown) => {
          await driver.start({ ...withScript(spec, (script) => script.replace('exit 3', 'wait')), runId: 'left' });
          throw error;
        }),
    }),
  },
  {
    name: 'lists a run whose start has rejected',
    caughtBy: 'after a start that rejects nothing of it is alive, and no life of the host lists it',
    says: "The runs that are listed after starts that rejected must be [], but is [ 'r1', 'r2' ].",
    breaks(driver) {
      const rejected: Run[] = [];
      return {
        start: (spec) =>
          driver.start(spec).catch((error: unknown) => {
            rejected.push(runOf(spec, never()));
            throw error;
          }),
        list: async () => ({ runs: [...(await driver.list()).runs, ...rejected], troubles: [] }),
      };
    },
  },
  {
    name: 'leaves a run alive whose start it rejects',
    caughtBy: 'after a start that rejects nothing of it is alive, and no life of the host lists it',
    says: "The runs that are listed after starts that rejected must be [], but is [ 'r2' ].",
    breaks: (driver) => ({
      async start(spec) {
        const there = spec.mounts.filter(({ source }) => existsSync(source));
        const run = await driver.start({ ...spec, mounts: there });
        const [mount] = spec.mounts.filter((each) => !there.includes(each));
        if (mount !== undefined) throw new SpawnError({ type: 'bad-mount', mount, reason: 'it is noticed too late' });
        return run;
      },
    }),
  },
  {
    name: 'gives nothing of a live run',
    caughtBy: 'the lines that a live run has printed are in its log, those of both streams',
    says: "The lines that logs() gives of a live run must be [ 'err', 'out' ], but is [].",
    deadlineMs: 3_000,
    breaks: () => ({ logs: async () => '' }),
  },
  {
    name: 'loses what goes to standard error',
    caughtBy: 'the lines that a live run has printed are in its log, those of both streams',
    says: "must be [ 'err', 'out' ], but is [ 'out' ].",
    deadlineMs: 3_000,
    breaks: starts((spec) => withScript(spec, (script) => `exec 2>/dev/null\n${script}`)),
  },
  {
    name: 'reports an end before the last output is written',
    caughtBy: 'the last words of a run are in its log file when its end is reported, without a line end too',
    says: 'The log file of a run that has ended must be',
    breaks: spoilsLog(lines),
  },
  {
    name: 'leaves the output out of the error of a start',
    caughtBy: 'the last words of a run that ends badly at once are in the error of its start',
    says: 'The output in the error of a failed start must be',
    breaks: (driver) => ({
      start: (spec) =>
        driver.start(spec).catch((error: unknown) => {
          if (!(error instanceof SpawnError) || error.problem.type !== 'exit-at-once') throw error;
          throw new SpawnError({ ...error.problem, output: '' });
        }),
    }),
  },
  {
    name: 'keeps no more output than a pipe holds',
    caughtBy: 'a lot of output is kept whole and in order',
    says: 'of 20001 in the log file must be',
    breaks: spoilsLog((text) => text.slice(0, 64 * 1024)),
  },
  {
    name: 'swaps two lines of output',
    caughtBy: 'a lot of output is kept whole and in order',
    says: "Line 100 of 20001 in the log file must be 'line 100', but is 'line 101'.",
    breaks: spoilsLog((text) => text.replace('line 100\nline 101\n', 'line 101\nline 100\n')),
  },
  {
    name: 'reports every end as a good one',
    caughtBy: 'a run that leaves by itself reports its exit code and is no longer listed',
    says: "The exit of a run that left with code 7 must be { type: 'code', code: 7 }, but is { type: 'code', code: 0 }.",
    breaks: runs((run) => ({ exited: () => run.exited().then((): Exit => ({ type: 'code', code: 0 })) })),
  },
  {
    name: 'takes a quick good end for a failed start',
    caughtBy: 'a run that ends well at once is a run with an exit, not a failed start',
    says: 'The run ended at once',
    breaks: (driver) => ({
      async start(spec) {
        const run = await driver.start(spec);
        throw new SpawnError({ type: 'exit-at-once', exit: await run.exited(), output: '', logFile: run.logFile });
      },
    }),
  },
  {
    name: 'takes a quick bad end for a run',
    caughtBy: 'a run that ends badly at once is a failed start with its exit',
    says: 'The start of a run that ends badly at once must be refused with a SpawnError, but gave',
    breaks: (driver) => ({
      start: (spec) =>
        driver.start(spec).catch(() => runOf(spec, Promise.resolve({ type: 'unknown', reason: 'it is gone' }))),
    }),
  },
  {
    name: 'gives no grace',
    caughtBy: 'a stopped run may finish what it does within the grace',
    says: 'The exit of a run that cleans up and leaves with code 5 must be',
    breaks: (driver) => ({ stop: (runId) => driver.stop(runId, 0) }),
  },
  {
    name: 'reports a run that it has not killed as ended',
    caughtBy: 'a run that ignores the request to leave is ended after the grace',
    says: 'A run that ignores the request to leave must be killed, but its exit is unknown.',
    breaks: () => ({ stop: async () => ({ type: 'unknown', reason: 'it was asked to leave' }) }),
  },
  {
    name: 'knows nothing of a run that is being stopped',
    caughtBy: 'two stops of a run at once give the same exit',
    says: 'The exits that two stops at once give must be',
    breaks(driver) {
      const stopping = new Set<string>();
      return {
        async stop(runId, graceMs) {
          if (stopping.has(runId)) return { type: 'unknown', reason: 'it was not running' };
          stopping.add(runId);
          return driver.stop(runId, graceMs);
        },
      };
    },
  },
  {
    name: 'fails to stop what is not alive',
    caughtBy: 'to stop a run that is not alive is no error',
    says: 'no such run',
    breaks: () => ({ stop: () => Promise.reject(new Error('no such run')) }),
  },
  {
    name: 'lets what a stopped run has started go on',
    caughtBy: 'what a run has started dies with it when it is stopped',
    says: 'What a run has started goes on after the run was stopped.',
    breaks: childEscapes,
  },
  {
    name: 'lets what a run has started go on after it',
    caughtBy: 'what a run has started dies with it when it leaves by itself',
    says: 'What a run has started goes on after the run has left.',
    breaks: childEscapes,
  },
  {
    name: 'forgets the labels of runs of an earlier life',
    caughtBy: 'a host that starts anew finds the run, its labels, its spec and its output, and can stop it',
    says: 'What the next life of the host lists must be',
    breaks: (driver) => ({
      async list() {
        const listing = await driver.list();
        return { ...listing, runs: listing.runs.map((run) => changedRun(run, () => ({ labels: {} }))) };
      },
    }),
  },
  {
    name: 'begins a command before its run is on record',
    caughtBy: 'a command begins only when its run is on record, so that the next life of the host knows of it',
    says: 'had begun and goes on, but a new driver did not list the run',
    breaks(driver, bench) {
      const unrecorded = unrecordedOf(bench);
      return {
        async start(spec) {
          unrecorded.add(spec.runId);
          return driver.start(spec);
        },
        // On record just too late: the first look after the start does not find it, however slow the machine is.
        async list() {
          const listing = await driver.list();
          const known = listing.runs.filter(({ runId }) => !unrecorded.has(runId));
          unrecorded.clear();
          return { ...listing, runs: known };
        },
      };
    },
  },
];

describe('a driver that', () => {
  it.concurrent.each(BREACHES)('$name is caught', async ({ caughtBy, says, deadlineMs, breaks }) => {
    const open = async () => {
      const bench = await openProcessBench();
      return underTest(bench, (driver) => brokenDriver(driver, breaks(driver, bench)));
    };
    const failure = await failureOf(caughtBy, open, deadlineMs);
    expect(failure).toContain(says);
    expect(failure).not.toContain('\n\n');
  });

  it('breaks any promise of the contract is caught by some case: none is idle', () => {
    const catching = new Set(BREACHES.map(({ caughtBy }) => caughtBy));
    expect(
      driverContract(async () => underTest(await openProcessBench()))
        .map(({ name }) => name)
        .filter((name) => !catching.has(name)),
    ).toEqual([]);
  });
});

describe('a driver that never answers fails with a sentence, when', () => {
  const ENDS_WELL = 'a run that ends well at once is a run with an exit, not a failed start';
  it.each<[string, Partial<Driver>, string, string]>([
    ['a run is started', { start: never }, ENDS_WELL, "Waited 30 ms in vain for start() to answer for run 'r1'."],
    ['an end is awaited', {}, ENDS_WELL, 'Waited 30 ms in vain for the end of run r1 to be reported.'],
    [
      'a run is stopped',
      { stop: never },
      'to stop a run that is not alive is no error',
      "Waited 30 ms in vain for stop() to confirm the end of run 'never-was'.",
    ],
    [
      'the runs are listed',
      { list: never },
      'a run that leaves by itself reports its exit code and is no longer listed',
      'Waited 30 ms in vain for list() to answer.',
    ],
    [
      'a command is to begin',
      {},
      'a stopped run may finish what it does within the grace',
      'Waited 30 ms in vain for the command of run r1 to begin.',
    ],
  ])('%s', async (_when, broken, name, sentence) => {
    const open = async () => stillLife(brokenDriver(doesNothing, broken), async () => undefined);
    expect(await failureOf(name, open, 30)).toBe(sentence);
  });

  it('the case is over', async () => {
    const failure = await failureOf('to stop a run that is not alive is no error', closesNever, 30);
    expect(failure).toBe('Waited 30 ms in vain for what the case has started to be closed.');
  });
});

const never = () => new Promise<never>(() => undefined);
const closesNever = async () => stillLife(doesNothing, never);

const GONE: Exit = { type: 'unknown', reason: 'it was not running' };

/** Starts nothing, and nothing of it ever ends. */
const doesNothing: Driver = {
  start: async (spec) => runOf(spec, never()),
  stop: async () => GONE,
  list: async () => ({ runs: [], troubles: [] }),
  logs: async () => undefined,
  close: () => undefined,
};

function stillLife(driver: Driver, close: () => Promise<void>): DriverUnderTest {
  return {
    folder: '/nowhere',
    driver: () => driver,
    spec: (installId, runId) => ({
      runId,
      sessionId: 'session',
      installId,
      command: ['sh'],
      workdir: '/workspace',
      mounts: [],
      env: {},
      timeZone: 'UTC',
      labels: {},
      logFile: '/nowhere/log',
    }),
    close,
  };
}

/** What the case fails with, as a sentence; it must fail. */
async function failureOf(name: string, open: () => Promise<DriverUnderTest>, deadlineMs = 30_000): Promise<string> {
  const found = driverContract(open, { deadlineMs }).find((each) => each.name === name);
  if (found === undefined) throw new Error(`The contract has no case “${name}”.`);
  return found.run().then(
    () => 'the case did not fail',
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
}

function brokenDriver(driver: Driver, broken: Partial<Driver>): Driver {
  return {
    start: (spec) => driver.start(spec),
    stop: (runId, graceMs) => driver.stop(runId, graceMs),
    list: () => driver.list(),
    logs: (runId) => driver.logs(runId),
    close: () => driver.close(),
    ...broken,
  };
}

function changedRun(run: Run, change: (run: Run) => Partial<Run>): Run {
  const { runId, sessionId, startedAt, labels, specHash, logFile } = run;
  return { runId, sessionId, startedAt, labels, specHash, logFile, exited: () => run.exited(), ...change(run) };
}

function runOf({ runId, sessionId, labels, logFile }: RunSpec, exit: Promise<Exit>): Run {
  return { runId, sessionId, startedAt: 0, labels, specHash: '', logFile, exited: () => exit };
}

/** What all lives of the host on one machine have not put on record yet. */
const unrecordedOf = (() => {
  const all = new WeakMap<Bench, Set<string>>();
  return (bench: Bench) => {
    const known = all.get(bench) ?? new Set<string>();
    all.set(bench, known);
    return known;
  };
})();
