/**
 * The `docker` and `podman` drivers: a run is a container, its record the engine's own. What the engine lists under the
 * install's label is all there is, so a host that dies at any moment loses nothing, and there is no file to keep.
 *
 * Ends are reported by the engine's events, one client for all runs. Events are a hint: the truth is what `inspect` says, and
 * it is asked every `pollMs` as well.
 */
import { constants } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock } from '@nanoclaw/session-db';
import {
  type Driver,
  type Exit,
  KILLED,
  type Listing,
  type Run,
  type RunSpec,
  type Sandbox,
  SpawnError,
  type SpawnProblem,
} from './driver.ts';
import { containerName, LABELS, mountArgumentProblem, runArguments } from './engine-arguments.ts';
import {
  type Container,
  EngineClient,
  EngineError,
  type EngineOptions,
  isUnknownImage,
  lastLine,
} from './engine-client.ts';
import { ERROR_OUTPUT_BYTES_MAX, LOGS_BYTES_MAX, logTail } from './log-file.ts';
import { errorCode } from './process-table.ts';
import { specHash as hashOf, isSafeId, specProblem } from './spec.ts';
import { openRunLog, requireMountSources } from './start-checks.ts';
import { resolvesWithin, sleep } from './waiting.ts';

/** What the driver of an engine takes. */
export interface EngineDriverOptions extends EngineOptions {
  /** Whose runs these are; a safe name. */
  readonly installId: string;
  /** The time and timers of the host's process. */
  readonly clock: Clock;
  /** Whether the engine runs without root, where that is known already; else it is asked at the first start. */
  readonly isRootless?: boolean;
  /** How long after its start the end of a run counts as "at once". Default 200 ms; the run does not wait for it. */
  readonly settleMs?: number;
  /** How often live containers are looked at, should an event be missed, in milliseconds. Default 5 000. */
  readonly pollMs?: number;
}

/**
 * Runs sessions as containers of docker or podman: closed in as `engine-arguments.ts` says, on record by the engine's own
 * list, and alive for the next host when this one is gone.
 */
export class EngineDriver implements Driver {
  readonly #client: EngineClient;
  readonly #installId: string;
  readonly #clock: Clock;
  readonly #settleMs: number;
  readonly #pollMs: number;
  readonly #runs = new Map<string, EngineRun>();
  readonly #starting = new Set<string>();
  /** Protocol versions by image id: what an id stands for never changes. */
  readonly #protocols = new Map<string, string | undefined>();
  readonly #closing = new AbortController();
  /** What upkeep could not do, for the next `list()` to tell. */
  #troubles: string[] = [];
  #isRootless: Promise<boolean> | undefined;
  #watching = false;
  #bell = Promise.withResolvers<void>();

  /** Throws a `RangeError` for an install id that is not a safe name. */
  constructor(options: EngineDriverOptions) {
    if (!isSafeId(options.installId)) throw new RangeError(`installId ${options.installId} is not a safe name`);
    this.#client = new EngineClient(options);
    this.#installId = options.installId;
    this.#clock = options.clock;
    this.#isRootless = options.isRootless === undefined ? undefined : Promise.resolve(options.isRootless);
    this.#settleMs = options.settleMs ?? 200;
    this.#pollMs = options.pollMs ?? 5_000;
  }

  async start(spec: RunSpec): Promise<Run> {
    const problem = specProblem(spec, this.#installId) ?? mountArgumentProblem(spec.mounts);
    if (problem !== undefined) throw new SpawnError(problem);
    if (this.#starting.has(spec.runId)) throw new SpawnError({ type: 'duplicate-run', runId: spec.runId });
    this.#starting.add(spec.runId);
    try {
      const run = await this.#begin(spec);
      await this.#settle(run, spec);
      return run;
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      const engine = this.#client.kind;
      throw new SpawnError({ type: 'no-engine', engine, reason: error.message }, { cause: error });
    } finally {
      this.#starting.delete(spec.runId);
    }
  }

  async stop(runId: string, graceMs: number): Promise<Exit> {
    const run = await this.#find(runId);
    if (run === undefined) return { type: 'unknown', reason: 'it was not running' };
    await this.#client.kill(run.containerId, 'TERM');
    if (!(await resolvesWithin(this.#clock, graceMs, run.exited()))) {
      run.isKilled = true;
      await this.#client.kill(run.containerId, 'KILL');
      await this.#look();
    }
    return run.exited();
  }

  async list(): Promise<Listing> {
    const ids = await this.#client.withLabel(LABELS.install, this.#installId);
    const runs: Run[] = [];
    for (const container of await this.#client.containers(ids)) {
      const facts = factsOf(container);
      if (facts === undefined) {
        this.#troubles.push(
          `Container ${container.id.slice(0, 12)} has labels that are not understood: it was left alone.`,
        );
      } else if (container.state === 'alive') {
        runs.push(this.#runs.get(facts.runId) ?? this.#track(facts));
      } else if (this.#runs.has(facts.runId)) {
        await this.#look();
      } else if (!this.#starting.has(facts.runId)) {
        await this.#clearAway(container, facts);
      }
    }
    const troubles = this.#troubles;
    this.#troubles = [];
    return { runs, troubles };
  }

  async logs(runId: string): Promise<string | undefined> {
    const run = await this.#find(runId);
    if (run === undefined) return undefined;
    await this.#copyOutput(run.containerId, run.logFile);
    return logTail(run.logFile, LOGS_BYTES_MAX);
  }

  close(): void {
    this.#closing.abort();
  }

  /** From the checks to the container that runs. */
  async #begin(spec: RunSpec): Promise<EngineRun> {
    const sandbox = await this.#checked(spec);
    const startedAt = this.#clock.now();
    const secrets: Record<string, string> = {};
    const args = runArguments(spec, sandbox, {
      kind: this.#client.kind,
      isRootless: await this.#rootless(),
      startedAt,
      isByName: (variable) => {
        const value = spec.env[variable];
        if (value === undefined || this.#client.uses(variable)) return false;
        secrets[variable] = value;
        return true;
      },
    });
    const name = containerName(spec.installId, spec.runId);
    const answer = await this.#client.ask(args, secrets, dirname(spec.logFile)).catch(async (error: unknown) => {
      // A client that was killed, or took too long, may have left a container that lives.
      await this.#client.remove(name);
      throw error;
    });
    if (answer.exitCode !== 0) {
      const problem = startProblem(answer.stderr, spec, sandbox);
      if (problem.type !== 'duplicate-run') await this.#client.remove(name);
      throw new SpawnError(problem);
    }
    const { runId, sessionId, labels, logFile } = spec;
    const containerId = lastLine(answer.stdout);
    return this.#track({ containerId, runId, sessionId, startedAt, labels, specHash: hashOf(spec), logFile });
  }

  /** Proves on this machine what the spec relies on. */
  async #checked(spec: RunSpec): Promise<Sandbox> {
    const { sandbox } = spec;
    if (sandbox === undefined) throw new SpawnError({ type: 'bad-spec', reason: 'it has no sandbox' });
    await requireMountSources(spec);
    const log = await openRunLog(spec.logFile);
    await log.close();
    // One that an earlier run has left says nothing of this one.
    await takeOomNote(spec.logFile);
    const { image, protocolVersion: wanted } = sandbox;
    if (!this.#protocols.has(image)) {
      const found = await this.#client.image(image);
      if (found === undefined) throw new SpawnError({ type: 'no-image', image });
      if (found.id !== image) throw new SpawnError({ type: 'bad-spec', reason: `${image} is not the id of an image` });
      this.#protocols.set(image, found.labels[LABELS.protocol]);
    }
    const found = this.#protocols.get(image);
    if (found !== String(wanted)) throw new SpawnError({ type: 'wrong-image', image, wanted, found });
    return sandbox;
  }

  async #rootless(): Promise<boolean> {
    this.#isRootless ??= this.#client.state().then((state) => {
      if (state.type === 'usable') return state.isRootless;
      this.#isRootless = undefined;
      throw new EngineError(state.reason);
    });
    return this.#isRootless;
  }

  /** Rejects if the run ends, and not well, within the settling time. */
  async #settle(run: EngineRun, spec: RunSpec): Promise<void> {
    if (!(await resolvesWithin(this.#clock, this.#settleMs, run.exited()))) await this.#look();
    if (!run.hasExited) return;
    const exit = await run.exited();
    if (exit.type === 'code' && exit.code === 0) return;
    const output = (await logTail(run.logFile, ERROR_OUTPUT_BYTES_MAX)) ?? '';
    const [executable] = spec.command;
    // The image's init could not become the command.
    if (exit.type === 'code' && exit.code === 127 && output.includes(`exec ${executable} failed`)) {
      throw new SpawnError({ type: 'no-runtime', executable, lookedIn: 'the image' });
    }
    throw new SpawnError({ type: 'exit-at-once', exit, output, logFile: run.logFile });
  }

  /** A live run by its id: known in this life, or adopted. */
  async #find(runId: string): Promise<EngineRun | undefined> {
    const known = this.#runs.get(runId);
    if (known !== undefined || this.#starting.has(runId) || !isSafeId(runId)) return known;
    const [container] = await this.#client.containers([containerName(this.#installId, runId)]);
    if (container === undefined || container.state !== 'alive') return undefined;
    const facts = factsOf(container);
    if (facts === undefined || container.labels[LABELS.install] !== this.#installId) return undefined;
    // Somebody else may have adopted it during the asking.
    return this.#runs.get(runId) ?? this.#track(facts);
  }

  #track(facts: RunFacts): EngineRun {
    const run = new EngineRun(facts);
    this.#runs.set(run.runId, run);
    void this.#watch();
    return run;
  }

  /** One loop for all runs, as long as there is one. */
  async #watch(): Promise<void> {
    if (this.#watching) return;
    this.#watching = true;
    const over = new AbortController();
    const signal = AbortSignal.any([over.signal, this.#closing.signal]);
    let isTold = false;
    try {
      while (this.#runs.size > 0 && !signal.aborted) {
        // An end between the last look and the first event would be missed, so the first look comes soon.
        const waitMs = isTold ? this.#pollMs : Math.min(this.#pollMs, FIRST_LOOK_MS);
        if (!isTold) {
          isTold = true;
          void this.#client
            .ends(LABELS.install, this.#installId, () => this.#bell.resolve(), signal)
            .finally(() => {
              isTold = false;
            });
        }
        await this.#rungOrLate(waitMs, signal);
        if (signal.aborted) return;
        this.#bell = Promise.withResolvers();
        await this.#lookOrTell();
      }
    } finally {
      over.abort();
      this.#watching = false;
    }
  }

  async #rungOrLate(ms: number, signal: AbortSignal): Promise<void> {
    const timer = new AbortController();
    try {
      await Promise.race([this.#bell.promise, sleep(this.#clock, ms, AbortSignal.any([timer.signal, signal]))]);
    } finally {
      timer.abort();
    }
  }

  /** An engine that cannot be asked has reported no end: the runs stay, and are looked at again. */
  async #lookOrTell(): Promise<void> {
    try {
      await this.#look();
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      this.#troubles = [...new Set([...this.#troubles, `The engine does not answer: ${error.message}`])];
    }
  }

  /** Looks at every run that is known, and reports the ends. */
  async #look(): Promise<void> {
    const runs = [...this.#runs.values()];
    const found = await this.#client.containers(runs.map(({ containerId }) => containerId));
    const containers = new Map(found.map((container) => [container.id, container]));
    for (const run of runs) {
      const container = containers.get(run.containerId);
      if (container?.state === 'alive' || container?.state === 'created') continue;
      run.ending ??= this.#end(run, container);
      await run.ending;
    }
  }

  async #end(run: EngineRun, container: Container | undefined): Promise<void> {
    if (container !== undefined) await this.#clearAway(container, run.facts);
    const isNoted = await takeOomNote(run.logFile);
    this.#runs.delete(run.runId);
    const isOutOfMemory = isNoted || container?.isOutOfMemory === true;
    run.end(exitOf(container, isOutOfMemory && !run.isKilled));
  }

  /** Saves a dead container's output and removes it. What fails is tried again by the next `list()`. */
  async #clearAway(container: Container, facts: RunFacts): Promise<void> {
    try {
      // One that never ran has nothing to say, and the folder of its log file may be gone.
      if (container.state === 'gone') await this.#copyOutput(container.id, facts.logFile);
      await this.#client.remove(container.id);
    } catch (error) {
      this.#troubles.push(`Run ${facts.runId} has ended and could not be cleared away: ${messageOf(error)}`);
    }
  }

  async #copyOutput(containerId: string, logFile: string): Promise<void> {
    const output = await this.#client.output(containerId);
    const file = await open(
      logFile,
      constants.O_WRONLY | constants.O_TRUNC | constants.O_CREAT | constants.O_NOFOLLOW,
      0o600,
    );
    try {
      await file.writeFile(output);
    } finally {
      await file.close();
    }
  }
}

const FIRST_LOOK_MS = 500;

/** What a container's labels say of its run. */
interface RunFacts extends Omit<Run, 'exited'> {
  readonly containerId: string;
}

class EngineRun implements Run {
  readonly facts: RunFacts;
  hasExited = false;
  /** We have killed it ourselves: then that is how it ended. */
  isKilled = false;
  /** Looks that overlap see the same end, and one of them deals with it. */
  ending: Promise<void> | undefined;
  readonly #exit = Promise.withResolvers<Exit>();

  constructor(facts: RunFacts) {
    this.facts = facts;
  }

  get containerId(): string {
    return this.facts.containerId;
  }
  get runId(): string {
    return this.facts.runId;
  }
  get sessionId(): string {
    return this.facts.sessionId;
  }
  get startedAt(): number {
    return this.facts.startedAt;
  }
  get labels(): Readonly<Record<string, string>> {
    return this.facts.labels;
  }
  get specHash(): string {
    return this.facts.specHash;
  }
  get logFile(): string {
    return this.facts.logFile;
  }

  exited(): Promise<Exit> {
    return this.#exit.promise;
  }

  end(exit: Exit): void {
    this.hasExited = true;
    this.#exit.resolve(exit);
  }
}

function factsOf({ id, labels }: Container): RunFacts | undefined {
  const runId = labels[LABELS.run];
  const sessionId = labels[LABELS.session];
  const specHash = labels[LABELS.spec];
  const logFile = labels[LABELS.logFile];
  const own = textsIn(labels[LABELS.labels] ?? '');
  const startedAt = Number(labels[LABELS.started]);
  if (!runId || !sessionId || !specHash || !logFile || own === undefined || !Number.isFinite(startedAt))
    return undefined;
  return { containerId: id, runId, sessionId, specHash, logFile, labels: own, startedAt };
}

function textsIn(json: string): Record<string, string> | undefined {
  try {
    const value: unknown = JSON.parse(json);
    if (typeof value !== 'object' || value === null) return undefined;
    const texts = Object.entries(value).filter(([, text]) => typeof text === 'string');
    return Object.fromEntries(texts);
  } catch {
    return undefined; // a label that is not ours
  }
}

/**
 * Whether podman's monitor noted that the kernel killed it when it was out of memory. Some versions lay that note, an empty
 * file `oom`, into the folder in which the client was started, where only this driver looks; that folder is the log's.
 */
async function takeOomNote(logFile: string): Promise<boolean> {
  try {
    await rm(join(dirname(logFile), 'oom'));
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}

/** `isKilledForMemory`: the engine, or its monitor, has said that something in there was killed when out of memory. */
function exitOf(container: Container | undefined, isKilledForMemory: boolean): Exit {
  if (container === undefined) return { type: 'unknown', reason: 'its container was removed' };
  // It may have been some child of the program, which went on and ended in its own way: then that is the end.
  const isOutOfMemory = isKilledForMemory && container.exitCode === KILLED;
  return isOutOfMemory ? { type: 'out-of-memory' } : { type: 'code', code: container.exitCode };
}

/** Why the engine did not start a container, read from what its client said. */
function startProblem(stderr: string, spec: RunSpec, sandbox: Sandbox): SpawnProblem {
  const reason = lastLine(stderr);
  if (/already in use/i.test(stderr)) return { type: 'duplicate-run', runId: spec.runId };
  if (isUnknownImage(stderr)) return { type: 'no-image', image: sandbox.image };
  const mount = spec.mounts.find(({ source }) => stderr.includes(source));
  return mount === undefined ? { type: 'refused', reason } : { type: 'bad-mount', mount, reason };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
