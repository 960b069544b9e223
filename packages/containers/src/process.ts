/**
 * The `process` driver: a run is a child process in a group of its own, WITHOUT ANY ISOLATION. It sees the host's files
 * with the host's rights, "read-only" mounts are not read-only, and what it starts and puts into a group of its own
 * escapes it. For development, and for machines without a container engine.
 *
 * No run is ever alive and unknown, whenever the host dies. The child begins as a shell that waits on a pipe for a word
 * from the host before it becomes the command (`exec` keeps number and starting time). The host writes the run's record
 * to disk between the spawn and the word. A host that dies in between closes the pipe, and the shell leaves.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import type { Clock } from '@nanoclaw/session-db';
import {
  type Driver,
  type Exit,
  type Listing,
  type Run,
  type RunSpec,
  SpawnError,
  type SpawnProblem,
} from './driver.ts';
import { LOG_BYTES_MAX, LOGS_BYTES_MAX, logTail, trimLog } from './log-file.ts';
import { errorCode, type ProcessTable } from './process-table.ts';
import { type RunRecord, readRecord, recordedRuns, removeRecord, writeRecord } from './run-records.ts';
import { hostPath, isSafeId, specHash, specProblem } from './spec.ts';
import { openRunLog, requireMountSources, requireSettled, statOf } from './start-checks.ts';
import { resolvesWithin, sleep } from './waiting.ts';

/** What the process driver takes. */
export interface ProcessDriverOptions {
  /** Whose runs these are; a safe name. */
  readonly installId: string;
  /** Host folder for the records of runs; each install keeps to a folder of its own in it. Made when needed. */
  readonly stateFolder: string;
  /** Where programs are looked for, as in `PATH`; also the run's `PATH` unless its spec sets one. */
  readonly path: string;
  /** Host path of the program to use for a command that begins with `bun`. Otherwise `path` is searched. */
  readonly bunPath?: string;
  /** The time and timers of the host's process. */
  readonly clock: Clock;
  /** The machine's processes; see `processTable`. */
  readonly processes: ProcessTable;
  /** How long after its start the end of a run counts as "at once". Default 200 ms; the run does not wait for it. */
  readonly settleMs?: number;
  /** How often an adopted process is looked at, in milliseconds; the end of one of this life is an event. Default 500. */
  readonly pollMs?: number;
  /** A log file over this many bytes is cut at the next `list()`. Default 8 MiB. */
  readonly logBytesMax?: number;
}

/**
 * Runs sessions as plain processes WITHOUT ANY ISOLATION: a run can do whatever the host can. Runs are on record in
 * `stateFolder` and alive for the next host when this one is gone. One driver per install and state folder at a time.
 */
export class ProcessDriver implements Driver {
  readonly #options: Required<Omit<ProcessDriverOptions, 'bunPath'>> & { bunPath: string | undefined };
  readonly #folder: string;
  readonly #runs = new Map<string, ProcessRun>();
  readonly #starting = new Set<string>();
  readonly #closing = new AbortController();

  /** Throws a `RangeError` for an install id that is not a safe name or a figure that is not positive. */
  constructor(options: ProcessDriverOptions) {
    if (!isSafeId(options.installId)) throw new RangeError(`installId ${options.installId} is not a safe name`);
    this.#options = {
      ...options,
      bunPath: options.bunPath,
      settleMs: positive('settleMs', options.settleMs ?? 200),
      pollMs: positive('pollMs', options.pollMs ?? 500),
      logBytesMax: positive('logBytesMax', options.logBytesMax ?? LOG_BYTES_MAX),
    };
    this.#folder = join(options.stateFolder, options.installId);
  }

  async start(spec: RunSpec): Promise<Run> {
    const problem = specProblem(spec, this.#options.installId);
    if (problem !== undefined) throw new SpawnError(problem);
    if (this.#starting.has(spec.runId)) throw new SpawnError({ type: 'duplicate-run', runId: spec.runId });
    this.#starting.add(spec.runId);
    try {
      const run = await this.#begin(spec);
      await requireSettled(run, this.#options.settleMs, this.#options.clock);
      return run;
    } finally {
      this.#starting.delete(spec.runId);
    }
  }

  async stop(runId: string, graceMs: number): Promise<Exit> {
    const run = await this.#find(runId);
    if (run === undefined) return { type: 'unknown', reason: 'it was not running' };
    await this.#signal(run.record, 'SIGTERM');
    const left = await resolvesWithin(this.#options.clock, graceMs, run.exited());
    if (!left) await this.#signal(run.record, 'SIGKILL');
    return run.exited();
  }

  async list(): Promise<Listing> {
    const runs: Run[] = [];
    const troubles: string[] = [];
    for (const runId of await recordedRuns(this.#folder)) {
      try {
        const run = await this.#find(runId);
        if (run === undefined) continue;
        if (!(await this.#isAlive(run.record))) {
          // Waits for the rest of its group to be gone and its record removed, then there is nothing to list.
          await run.exited();
          continue;
        }
        runs.push(run);
        await trimLog(run.logFile, this.#options.logBytesMax);
      } catch (error) {
        // One run's trouble must not hide the others.
        troubles.push(`Run ${runId}: ${messageOf(error)}`);
      }
    }
    return { runs, troubles };
  }

  async logs(runId: string): Promise<string | undefined> {
    const run = await this.#find(runId);
    return run === undefined ? undefined : logTail(run.logFile, LOGS_BYTES_MAX);
  }

  close(): void {
    this.#closing.abort();
  }

  /** From the checks to the word that lets the command begin. */
  async #begin(spec: RunSpec): Promise<ProcessRun> {
    const plan = await this.#plan(spec);
    const child = await spawnWaiting(plan, spec.logFile);
    let record: RunRecord;
    try {
      record = await this.#record(spec, child.pid);
    } catch (error) {
      child.dismiss();
      await child.exit;
      throw asSpawnError(error, spec.runId);
    }
    child.begin();
    const run = this.#track(record, () => child.exit.then((known) => this.#afterOwn(record, known)));
    // Not only when a caller asks: what the run leaves is cleared away as soon as it ends. Should that fail, its record
    // stays, and the next `list()` tries again and reports.
    run.exited().catch(() => undefined);
    return run;
  }

  async #record(spec: RunSpec, pid: number): Promise<RunRecord> {
    const { clock, processes } = this.#options;
    const state = await processes.state(pid);
    if (state === undefined) {
      throw new SpawnError({ type: 'refused', reason: 'the process was gone before it could be put on record' });
    }
    const record: RunRecord = {
      version: 1,
      runId: spec.runId,
      sessionId: spec.sessionId,
      pid,
      identity: state.identity,
      startedAt: clock.now(),
      labels: spec.labels,
      specHash: specHash(spec),
      logFile: spec.logFile,
    };
    try {
      await writeRecord(this.#folder, record);
    } catch (error) {
      // EEXIST is the record of another run, and not ours to remove.
      if (errorCode(error) !== 'EEXIST') await removeRecord(this.#folder, spec.runId);
      throw error;
    }
    return record;
  }

  /** Everything the spawn needs, with each of the spec's paths proved on the host first. */
  async #plan(spec: RunSpec): Promise<Plan> {
    const translated = (text: string) => hostPath(text, spec.mounts);
    await requireMountSources(spec);
    const cwd = translated(spec.workdir);
    if (!(await isDirectory(cwd))) {
      throw new SpawnError({
        type: 'bad-spec',
        reason: `the working directory ${spec.workdir} is not a folder (${cwd})`,
      });
    }
    const [program, ...rest] = spec.command;
    return {
      command: [await this.#executable(translated(program)), ...rest.map(translated)],
      cwd,
      env: {
        PATH: this.#options.path,
        ...Object.fromEntries(Object.entries(spec.env).map(([name, value]) => [name, translated(value)])),
        TZ: spec.timeZone,
        [MARK_NAME]: this.#mark(spec.runId),
      },
    };
  }

  async #executable(program: string): Promise<string> {
    const { path, bunPath } = this.#options;
    const given = program === 'bun' && bunPath !== undefined ? bunPath : program;
    const candidates = given.includes('/') ? [given] : path.split(delimiter).map((folder) => join(folder, given));
    for (const candidate of candidates) {
      if (await isExecutable(candidate)) return candidate;
    }
    const lookedIn = given.includes('/') ? given : path;
    throw new SpawnError({ type: 'no-runtime', executable: program, lookedIn });
  }

  /** A run by its id: known in this life, or adopted from its record. */
  async #find(runId: string): Promise<ProcessRun | undefined> {
    const known = this.#runs.get(runId);
    // A start that is still putting its run on record answers for it.
    if (known !== undefined || this.#starting.has(runId) || !isSafeId(runId)) return known;
    const found = await readRecord(this.#folder, runId);
    switch (found.type) {
      case 'none':
        return undefined;
      case 'cut-short':
        await removeRecord(this.#folder, runId);
        return undefined;
      case 'not-understood':
        throw new Error(`${found.file} is not understood and was kept: end its process by hand, then remove the file.`);
      case 'record':
        // Somebody else may have adopted it during the reading.
        return this.#runs.get(runId) ?? this.#track(found.record, () => this.#watch(found.record));
    }
  }

  #track(record: RunRecord, exit: () => Promise<Exit>): ProcessRun {
    const run = new ProcessRun(record, exit);
    this.#runs.set(record.runId, run);
    return run;
  }

  /** The end of a process that is not our child can only be seen by looking. */
  async #watch(record: RunRecord): Promise<Exit> {
    while (await this.#isAlive(record)) {
      await this.#sleep(this.#options.pollMs);
    }
    if (await this.#isStillOurGroup(record)) await this.#killGroup(record.pid);
    return this.#forget(record, { type: 'unknown', reason: 'it ended as an adopted process' });
  }

  /** A child of ours is gone: kill what it left, then the exit is true for all of the run. */
  async #afterOwn(record: RunRecord, exit: Exit): Promise<Exit> {
    // Its number was free from the moment before; the kernel does not give it away while the group has members.
    await this.#killGroup(record.pid);
    return this.#forget(record, exit);
  }

  async #forget(record: RunRecord, exit: Exit): Promise<Exit> {
    await removeRecord(this.#folder, record.runId);
    this.#runs.delete(record.runId);
    return exit;
  }

  async #killGroup(groupId: number): Promise<void> {
    const { processes } = this.#options;
    while (processes.signalGroup(groupId, 'SIGKILL')) {
      // The dead still count as members until their parent collects them, which may be never.
      if ((await processes.group(groupId)).length === 0) return;
      await this.#sleep(KILL_CHECK_MS);
    }
  }

  /**
   * Whether the group of an adopted run, whose leader is gone, is still that run's and not one that got the number later:
   * a member carries the run's mark.
   */
  async #isStillOurGroup(record: RunRecord): Promise<boolean> {
    const { processes } = this.#options;
    const mark = `${MARK_NAME}=${this.#mark(record.runId)}`;
    for (const pid of await processes.group(record.pid)) {
      if (await processes.hasEnvironment(pid, mark)) return true;
    }
    return false;
  }

  /** Looks first, so that no process is hit that got the number since; between look and signal no number comes round. */
  async #signal(record: RunRecord, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (await this.#isAlive(record)) this.#options.processes.signalGroup(record.pid, signal);
  }

  async #isAlive(record: RunRecord): Promise<boolean> {
    const state = await this.#options.processes.state(record.pid);
    return state !== undefined && !state.isZombie && state.identity === record.identity;
  }

  /** Once the driver is closed this never returns: what is closed watches no more. */
  async #sleep(ms: number): Promise<void> {
    const { signal } = this.#closing;
    await sleep(this.#options.clock, ms, signal);
    if (signal.aborted) await new Promise<never>(() => undefined);
  }

  #mark(runId: string): string {
    return `${this.#options.installId}/${runId}`;
  }
}

/** The word for which the shell waits. A line, so that a half-written one does not count. */
const GO = 'go\n';
/**
 * The command reads from nothing: were the pipe left to it, the host would hold its end open for each run.
 * 125 is what container engines answer for "the command was never begun".
 */
const WAIT_THEN_BECOME = 'read -r word && [ "$word" = go ] || exit 125; exec "$@" </dev/null';
/** Stands in the environment of each process of a run that does not take it out. */
const MARK_NAME = 'NANOCLAW_PROCESS_RUN';
const KILL_CHECK_MS = 20;

interface Plan {
  readonly command: readonly string[];
  readonly cwd: string;
  readonly env: Record<string, string>;
}

/** The run handed out: its facts, and one answer to how it ended however often it is asked. */
class ProcessRun implements Run {
  readonly record: RunRecord;
  readonly #exit: () => Promise<Exit>;
  #asked: Promise<Exit> | undefined;

  constructor(record: RunRecord, exit: () => Promise<Exit>) {
    this.record = record;
    this.#exit = exit;
  }

  get runId(): string {
    return this.record.runId;
  }
  get sessionId(): string {
    return this.record.sessionId;
  }
  get startedAt(): number {
    return this.record.startedAt;
  }
  get labels(): Readonly<Record<string, string>> {
    return this.record.labels;
  }
  get specHash(): string {
    return this.record.specHash;
  }
  get logFile(): string {
    return this.record.logFile;
  }

  exited(): Promise<Exit> {
    // After a failure the question is open again; an answer stays.
    this.#asked ??= this.#exit().catch((error: unknown) => {
      this.#asked = undefined;
      throw error;
    });
    return this.#asked;
  }
}

/** A shell that waits for the word. */
interface WaitingChild {
  readonly pid: number;
  readonly exit: Promise<Exit>;
  /** Gives the word: the shell becomes the command. */
  begin(): void;
  /** Closes the pipe without the word: the shell leaves. */
  dismiss(): void;
}

async function spawnWaiting({ command, cwd, env }: Plan, logFile: string): Promise<WaitingChild> {
  const log = await openRunLog(logFile);
  try {
    // Node's own `spawn`, for execa takes no open file descriptor above 9.
    const child = spawn('/bin/sh', ['-c', WAIT_THEN_BECOME, 'nanoclaw', ...command], {
      cwd,
      env,
      detached: true, // a session and a group of its own: outlives the host, and can be signalled as a whole
      stdio: ['pipe', log.fd, log.fd],
    });
    // Before anything is awaited: both events may come at the next turn.
    const exit = ending(child);
    // A shell that is gone cannot be given the word, which is no news: its exit says so.
    child.stdin?.on('error', () => undefined);
    if (child.pid === undefined) {
      await exit;
      throw new Error('the process could not be created');
    }
    child.unref(); // the host may end while its runs go on
    return { pid: child.pid, exit, begin: () => child.stdin?.end(GO), dismiss: () => child.stdin?.end() };
  } catch (error) {
    throw new SpawnError({ type: 'refused', reason: messageOf(error) }, { cause: error });
  } finally {
    await log.close(); // the child has its own
  }
}

/** The end of a child as its parent sees it; rejects if it had no beginning. */
function ending(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      if (signal !== null) resolve({ type: 'signal', signal });
      else if (code !== null) resolve({ type: 'code', code });
      else resolve({ type: 'unknown', reason: 'the system did not say how it ended' });
    });
  });
}

function asSpawnError(error: unknown, runId: string): SpawnError {
  if (error instanceof SpawnError) return error;
  const problem: SpawnProblem =
    errorCode(error) === 'EEXIST'
      ? { type: 'duplicate-run', runId }
      : { type: 'not-recorded', reason: messageOf(error) };
  return new SpawnError(problem, { cause: error });
}

async function isDirectory(path: string): Promise<boolean> {
  return (await statOf(path))?.isDirectory() ?? false;
}

async function isExecutable(path: string): Promise<boolean> {
  if (!(await statOf(path))?.isFile()) return false;
  try {
    await access(path, constants.X_OK);
    return true;
  } catch (error) {
    if (errorCode(error) === 'EACCES') return false;
    throw error;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function positive(name: string, value: number): number {
  if (!(value > 0 && Number.isFinite(value))) throw new RangeError(`${name} must be positive, not ${value}`);
  return value;
}
