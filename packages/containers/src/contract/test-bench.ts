/** What the cases share: one driver under test, waits that end, and failures that are sentences. */
import { AssertionError } from 'node:assert';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect, isDeepStrictEqual } from 'node:util';
import { type Driver, type Run, type RunSpec, SpawnError, type SpawnProblem } from '../driver.ts';
import type { DriverKind, DriverUnderTest } from './driver-under-test.ts';
import type { ContractProgram } from './test-program.ts';

/** One case: a sentence, the kinds of drivers that it is for, and what throws when the sentence is not true. */
export interface ContractCheck {
  readonly name: string;
  readonly kinds: readonly DriverKind[];
  readonly check: (bench: TestBench) => Promise<void>;
}

/** For every driver. */
export const ANY: readonly DriverKind[] = ['process', 'in-process'];
/** For a driver whose runs are processes: they can be killed, they start others, and they outlive the host. */
export const PROCESS: readonly DriverKind[] = ['process'];

/** The install that most cases use, and one that must never meet it. */
export const HOME = 'install-a';
export const OTHER = 'install-b';

/** The driver under test, as one case uses it. */
export class TestBench {
  /** What a run is to the driver. */
  readonly kind: DriverKind;
  readonly #under: DriverUnderTest;
  readonly #deadlineMs: number;

  constructor(under: DriverUnderTest, kind: DriverKind, deadlineMs: number) {
    this.#under = under;
    this.kind = kind;
    this.#deadlineMs = deadlineMs;
  }

  /** A driver in a new life of the host, each of whose answers is waited for only so long. */
  async driver(install: string): Promise<Driver> {
    const driver = await this.within('the driver to be made', Promise.resolve(this.#under.driver(install)));
    const bounded = (run: Run): Run => ({
      runId: run.runId,
      sessionId: run.sessionId,
      startedAt: run.startedAt,
      labels: run.labels,
      specHash: run.specHash,
      logFile: run.logFile,
      exited: () => this.within(`the end of run ${run.runId} to be reported`, run.exited()),
    });
    return {
      start: async (spec) =>
        bounded(await this.within(`start() to answer for run ${inspect(spec.runId)}`, driver.start(spec))),
      stop: (runId, graceMs) =>
        this.within(`stop() to confirm the end of run ${inspect(runId)}`, driver.stop(runId, graceMs)),
      list: async () => {
        const { runs, troubles } = await this.within('list() to answer', driver.list());
        return { runs: runs.map(bounded), troubles };
      },
      logs: (runId) => this.within(`logs() to answer for run ${inspect(runId)}`, driver.logs(runId)),
      close: () => driver.close(),
    };
  }

  /** What starts `program` as this run. */
  spec(install: string, runId: string, program: ContractProgram): RunSpec {
    return this.#under.spec(install, runId, program);
  }

  /** Starts a program that makes the file `ready`, and waits for that file. */
  async startUntilReady(driver: Driver, spec: RunSpec): Promise<Run> {
    const run = await driver.start(spec);
    await this.until(`the command of run ${spec.runId} to begin`, () => this.has('ready'));
    return run;
  }

  /** Host path of a file that a program has made, or is to find. */
  path(file: string): string {
    return join(this.#under.folder, file);
  }

  /** Whether a program has made this file. */
  has(file: string): boolean {
    return existsSync(this.path(file));
  }

  /** What a program has written into this file. */
  text(file: string): string {
    return readFileSync(this.path(file), 'utf8');
  }

  /** Makes a file for a program to find. */
  make(file: string): void {
    writeFileSync(this.path(file), '');
  }

  /** Removes a file that a program makes again and again, and says whether it comes back within a while. */
  async isMadeAgain(file: string): Promise<boolean> {
    rmSync(this.path(file), { force: true });
    for (let waitedMs = 0; waitedMs < QUIET_MS && !this.has(file); waitedMs += LOOK_EVERY_MS)
      await pause(LOOK_EVERY_MS);
    return this.has(file);
  }

  /** Waits until `see` gives true. Fails with a sentence that says what was waited for. */
  async until(what: string, see: () => boolean): Promise<void> {
    // tidy: allow clock — the suite waits for a real driver
    const end = Date.now() + this.#deadlineMs;
    while (!see()) {
      // tidy: allow clock — the suite waits for a real driver
      if (Date.now() > end) throw lateError(this.#deadlineMs, what);
      await pause(LOOK_EVERY_MS);
    }
  }

  /** Reads until what is read is as expected. Fails, when it has not become so in time, with a sentence about `what`. */
  async untilSame<T>(what: string, read: () => Promise<T>, expected: T): Promise<void> {
    // tidy: allow clock — the suite waits for a real driver
    const end = Date.now() + this.#deadlineMs;
    let actual = await read();
    // tidy: allow clock — the suite waits for a real driver
    while (!isDeepStrictEqual(actual, expected) && Date.now() < end) {
      await pause(LOOK_EVERY_MS);
      actual = await read();
    }
    expectSame(what, actual, expected);
  }

  /** What `done` resolves with. Fails with a sentence that says what was waited for. */
  within<T>(what: string, done: Promise<T>): Promise<T> {
    return within(this.#deadlineMs, what, done);
  }
}

/** What `done` resolves with, if it does within `deadlineMs`. Fails with a sentence that says what was waited for. */
export async function within<T>(deadlineMs: number, what: string, done: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  // tidy: allow sleep — the suite waits for a real driver
  const timer = setTimeout(() => late.reject(lateError(deadlineMs, what)), deadlineMs);
  try {
    return await Promise.race([done, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function lateError(deadlineMs: number, what: string): AssertionError {
  return new AssertionError({ message: `Waited ${deadlineMs} ms in vain for ${what}.` });
}

/** Fails unless the two are deeply equal; `what` is the subject of the sentence. */
export function expectSame(what: string, actual: unknown, expected: unknown): void {
  if (isDeepStrictEqual(actual, expected)) return;
  throw new AssertionError({ message: `${what} must be ${shown(expected)}, but is ${shown(actual)}.` });
}

/** Fails with this sentence unless it holds. */
export function expectThat(holds: boolean, sentence: string): void {
  if (!holds) throw new AssertionError({ message: sentence });
}

/** The ids of the runs that the driver lists, in order. */
export async function listed(driver: Driver): Promise<string[]> {
  const { runs } = await driver.list();
  return runs.map(({ runId }) => runId).toSorted();
}

/** Why a start failed. Fails when it did not, or with anything but a `SpawnError`. */
export async function problemOf(what: string, start: Promise<unknown>): Promise<SpawnProblem> {
  let started: unknown;
  try {
    started = await start;
  } catch (error) {
    if (error instanceof SpawnError) return error.problem;
    if (error instanceof AssertionError) throw error;
    throw new AssertionError({
      message: `${what} must be refused with a SpawnError, but failed with ${String(error)}.`,
    });
  }
  throw new AssertionError({ message: `${what} must be refused with a SpawnError, but gave ${shown(started)}.` });
}

function shown(value: unknown): string {
  return inspect(value, { breakLength: Number.POSITIVE_INFINITY, maxStringLength: 200, depth: 4 });
}

/** A while in which something that must not happen would have happened. */
export function quietWhile(): Promise<void> {
  return pause(QUIET_MS);
}

const QUIET_MS = 250;
const LOOK_EVERY_MS = 2;

function pause(ms: number): Promise<void> {
  // tidy: allow sleep — the suite waits for a real driver
  return new Promise((resolve) => setTimeout(resolve, ms));
}
