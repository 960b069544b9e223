/**
 * The in-process driver: a run is a call of a function in the host's own process. No Bun, no container, no isolation of
 * any kind: for agents that the embedder trusts as much as the host itself.
 *
 * It promises what a driver promises, but for what code in one process cannot: a run that does not leave when it is
 * asked cannot be killed, and no run outlives the process.
 */
import { appendFileSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { Clock } from '@nanoclaw/session-db';
import { type Driver, type Exit, type Listing, type Run, type RunSpec, SpawnError } from './driver.ts';
import type { DriverFactory, DriverPorts } from './driver-module.ts';
import { LOG_BYTES_MAX, LOGS_BYTES_MAX, logTail, trimLog } from './log-file.ts';
import { hostPath, specHash, specProblem } from './spec.ts';
import { openRunLog, requireMountSources, requireSettled } from './start-checks.ts';
import { resolvesWithin } from './waiting.ts';

/**
 * An agent's program, as a function: gets its arguments, runs, and resolves with its exit code, 0 for an end as it should
 * be. If it throws or rejects, the error is written into the run's log and the exit code is 1.
 */
export type RunProgram = (args: readonly string[], ports: RunProgramPorts) => Promise<number>;

/** What the program of a run gets of the world. */
export interface RunProgramPorts {
  /** Aborts when the run is asked to leave. The program then has the grace of the stop to resolve. */
  readonly signal: AbortSignal;
  /** The environment of the spec, paths translated, and `TZ`; nothing of the host's own. */
  readonly env: Readonly<Record<string, string>>;
  /** Appends text to the run's log file. Never throws; text of a run that has ended is dropped. */
  write(text: string): void;
}

/**
 * Makes drivers that run `program` in this process.
 *
 * The first two words of a spec's command are the program and its file elsewhere, and are left out here; the other words
 * and the values of the environment are given as they are, but that paths as seen from inside become host paths.
 *
 * `stop` aborts the program's signal and waits for the grace. A program that is still running then CANNOT BE KILLED: its
 * run is abandoned and reported as ended, `unknown` with a sentence, though its code may go on. `list()` knows the runs of
 * this process only; they die with it. `close()` asks all of them to leave, and a later driver of the same factory lists
 * those that have not left yet.
 */
export function inProcess(program: RunProgram): DriverFactory {
  const alive = new Map<string, InProcessRun>();
  return (ports) => new InProcessDriver(program, ports, alive);
}

class InProcessDriver implements Driver {
  readonly #program: RunProgram;
  readonly #installId: string;
  readonly #clock: Clock;
  /** Of all drivers of the factory, by install and run id. */
  readonly #alive: Map<string, InProcessRun>;
  /** What could not be written, for the next `list()` to tell. */
  #troubles: string[] = [];
  #isClosed = false;

  constructor(program: RunProgram, { installId, clock }: DriverPorts, alive: Map<string, InProcessRun>) {
    this.#program = program;
    this.#installId = installId;
    this.#clock = clock;
    this.#alive = alive;
  }

  async start(spec: RunSpec): Promise<Run> {
    const problem = specProblem(spec, this.#installId);
    if (problem !== undefined) throw new SpawnError(problem);
    await requireMountSources(spec);
    const log = await openRunLog(spec.logFile);
    const run = new InProcessRun(spec, this.#clock.now(), log, (trouble) => this.#troubles.push(trouble));
    const refusal = this.#alive.has(this.#key(spec.runId))
      ? new SpawnError({ type: 'duplicate-run', runId: spec.runId })
      : this.#isClosed
        ? new SpawnError({ type: 'refused', reason: 'the driver is closed' })
        : undefined;
    if (refusal !== undefined) {
      await log.close();
      throw refusal;
    }
    this.#alive.set(this.#key(spec.runId), run);
    void run.exited().then(() => this.#alive.delete(this.#key(spec.runId)));
    void run.begin(this.#program);
    await requireSettled(run, SETTLE_MS, this.#clock);
    return run;
  }

  async stop(runId: string, graceMs: number): Promise<Exit> {
    const run = this.#alive.get(this.#key(runId));
    if (run === undefined) return { type: 'unknown', reason: 'it was not running' };
    run.askToLeave();
    if (!(await resolvesWithin(this.#clock, graceMs, run.exited()))) await run.abandon();
    return run.exited();
  }

  async list(): Promise<Listing> {
    const troubles = this.#troubles;
    this.#troubles = [];
    const runs = this.#own();
    for (const { runId, logFile } of runs) {
      try {
        await trimLog(logFile, LOG_BYTES_MAX);
      } catch (error) {
        troubles.push(`Run ${runId}: its log file could not be cut: ${messageOf(error)}`);
      }
    }
    return { runs, troubles };
  }

  async logs(runId: string): Promise<string | undefined> {
    const run = this.#alive.get(this.#key(runId));
    return run === undefined ? undefined : logTail(run.logFile, LOGS_BYTES_MAX);
  }

  close(): void {
    this.#isClosed = true;
    for (const run of this.#own()) run.askToLeave();
  }

  #own(): InProcessRun[] {
    return [...this.#alive.values()].filter(({ installId }) => installId === this.#installId);
  }

  #key(runId: string): string {
    return `${this.#installId}/${runId}`;
  }
}

/** The program shares the host's event loop, so what fails at once has failed by then, however busy the machine is. */
const SETTLE_MS = 20;

class InProcessRun implements Run {
  readonly runId: string;
  readonly sessionId: string;
  readonly installId: string;
  readonly startedAt: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly specHash: string;
  readonly logFile: string;
  readonly #spec: RunSpec;
  readonly #log: FileHandle;
  readonly #onTrouble: (trouble: string) => void;
  readonly #leaving = new AbortController();
  readonly #exit = Promise.withResolvers<Exit>();
  #hasEnded = false;

  constructor(spec: RunSpec, startedAt: number, log: FileHandle, onTrouble: (trouble: string) => void) {
    this.runId = spec.runId;
    this.sessionId = spec.sessionId;
    this.installId = spec.installId;
    this.startedAt = startedAt;
    this.labels = spec.labels;
    this.specHash = specHash(spec);
    this.logFile = spec.logFile;
    this.#spec = spec;
    this.#log = log;
    this.#onTrouble = onTrouble;
  }

  /** Runs the program to its end; never rejects. */
  async begin(program: RunProgram): Promise<void> {
    const { command, mounts, env, timeZone } = this.#spec;
    const translated = (text: string) => hostPath(text, mounts);
    const args = command.slice(2).map(translated);
    const values = Object.entries(env).map(([name, value]) => [name, translated(value)] as const);
    try {
      const code = await program(args, {
        signal: this.#leaving.signal,
        env: { ...Object.fromEntries(values), TZ: timeZone },
        write: (text) => this.#write(text),
      });
      await this.#end({ type: 'code', code });
    } catch (error) {
      this.#write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
      await this.#end({ type: 'code', code: 1 });
    }
  }

  askToLeave(): void {
    this.#leaving.abort();
  }

  /** Reports the run as ended, whatever its code still does. */
  abandon(): Promise<void> {
    const reason =
      'it did not leave within the grace and was abandoned: code in the host’s own process cannot be killed and may go on';
    return this.#end({ type: 'unknown', reason });
  }

  exited(): Promise<Exit> {
    return this.#exit.promise;
  }

  #write(text: string): void {
    if (this.#hasEnded) return;
    try {
      // At once, so that what was written last is kept whatever becomes of the process.
      appendFileSync(this.#log.fd, text);
    } catch (error) {
      this.#onTrouble(`Run ${this.runId}: some of its output could not be written: ${messageOf(error)}`);
    }
  }

  async #end(exit: Exit): Promise<void> {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    try {
      await this.#log.close();
    } catch (error) {
      this.#onTrouble(`Run ${this.runId}: its log file could not be closed: ${messageOf(error)}`);
    }
    this.#exit.resolve(exit);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
