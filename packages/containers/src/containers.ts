/**
 * At most one run per session, at most so many at once, and none forgotten.
 *
 * A session's slot goes `starting → live → stopping → none`. It is emptied only by an exit that the runtime confirmed;
 * a stop that failed leaves the run live and tracked. A wake while the old run is stopping waits for its exit, so that
 * a dying run never takes the message meant for its successor.
 */
import { type Driver, type Exit, type Run, type RunSpec, SpawnError, type SpawnProblem } from './driver.ts';
import { ERROR_OUTPUT_BYTES_MAX, logTail } from './log-file.ts';

/** What `Containers` takes. */
export interface ContainersOptions {
  /** Starts, stops and lists the runs. It stays open when `Containers` is closed. */
  readonly driver: Driver;
  /** How many runs may be alive at once: 1 or more. Adopted ones count, though they may exceed it. */
  readonly runsMax: number;
  /**
   * What a session's run takes a share of, such as its agent's places, the most important first. No run is started that would
   * take one of them above its `most`, and of those that may be started one whose shares are in least use goes first.
   * Without this, first come is first served. Must not throw.
   */
  readonly sharesOf?: (sessionId: string) => readonly Share[];
  /** What a run that is stopped gets to finish its transaction, in milliseconds. */
  readonly graceMs: number;
  /**
   * Called just before each start, with the spec that is really started: the moment to make its `runId` the live run in
   * the session's file. If it fails, nothing is started and the wake rejects with its error.
   */
  readonly beforeStart?: (spec: RunSpec) => void | Promise<void>;
  /**
   * Why a run of an earlier life must not go on, for example that it was started from another spec than today's (see
   * `Run.specHash`); `undefined` to adopt it. Without this, every run is adopted.
   */
  readonly outdatedReason?: (run: Run) => string | undefined | Promise<string | undefined>;
  /**
   * Whether the run had shown that its program works (its handshake in the session's file), asked once after an end that
   * no `stop()` had asked for. An end without it is reported as a failed start. Without this, every end is an ordinary one;
   * so is one where it rejects.
   */
  readonly hasBegun?: (run: Run) => boolean | Promise<boolean>;
  /**
   * Called once per run that was live, after its confirmed exit and before the session's next start. Must not throw: an
   * error becomes an unhandled rejection.
   */
  readonly onExit: (end: RunEnd) => void;
}

/** A number of places that some runs have together. */
export interface Share {
  /** Runs with the same name share them. */
  readonly name: string;
  /** How many of them may be alive at once: 1 or more. */
  readonly most: number;
}

/** The end of a run that was live. */
export interface RunEnd {
  /** The run that has ended. */
  readonly run: Run;
  /** How, as the runtime confirmed it. */
  readonly exit: Exit;
  /** The reason given to `stop()`, or `undefined` if the run left by itself. */
  readonly stopReason: string | undefined;
  /** Why this end is a failed start: the run left by itself, and badly, before it had begun. */
  readonly problem: SpawnProblem | undefined;
}

/** What `reconcile()` found and did. */
export interface Reconciliation {
  /** Runs of an earlier life of the host that are live again. */
  readonly adopted: readonly Run[];
  /** Outdated runs of an earlier life (see `outdatedReason`); they were stopped, unless a trouble says otherwise. */
  readonly replaced: readonly Run[];
  /** Second runs of a session that has one already; they were stopped, unless a trouble says otherwise. */
  readonly duplicates: readonly Run[];
  /** One sentence each; none keeps the rest from being reconciled. */
  readonly troubles: readonly string[];
}

type Slot =
  | { readonly state: 'starting'; readonly runId: string; readonly started: Promise<Run> }
  | { readonly state: 'live'; readonly run: Run }
  | { readonly state: 'stopping'; readonly run: Run; readonly reason: string; readonly exit: Promise<Exit> };

interface Waiting {
  readonly spec: RunSpec;
  readonly started: PromiseWithResolvers<Run>;
}

interface Reconciling {
  readonly done: Promise<Reconciliation>;
  /** Runs that ended meanwhile: the list may still name them, and must not bring them back. */
  readonly ended: Set<string>;
}

/** The runs of one install, over a driver. Holds no timer and reads no clock. */
export class Containers {
  readonly #options: ContainersOptions;
  readonly #slots = new Map<string, Slot>();
  /** By session, in order of arrival. */
  readonly #waiting = new Map<string, Waiting>();
  /** Runs whose exit can no longer be waited for, and why. */
  readonly #unwatched = new Map<string, unknown>();
  #reconciling: Reconciling | undefined;
  #reconciled = false;
  #closed = false;

  /** Throws a `RangeError` for a `runsMax` that is not a whole number of 1 or more, or a negative `graceMs`. */
  constructor(options: ContainersOptions) {
    if (!Number.isInteger(options.runsMax) || options.runsMax < 1) {
      throw new RangeError(`runsMax must be a whole number of 1 or more, not ${options.runsMax}`);
    }
    if (!(options.graceMs >= 0)) throw new RangeError(`graceMs must not be negative, but is ${options.graceMs}`);
    this.#options = options;
  }

  /**
   * Starts a run for the spec's session unless there is one, and resolves with the session's run, which may have been
   * started from an earlier spec. Over the cap or its share (see `sharesOf`) it waits, one turn per session. The run may leave
   * the moment after: a caller that has work for it wakes again after its `onExit`.
   *
   * Rejects with a {@link SpawnError} if the start failed or the session was stopped before its turn; nothing is alive
   * then, and `onExit` is not called. The first wake reconciles if that was not done, and is refused if that fails.
   */
  async wake(spec: RunSpec): Promise<Run> {
    if (!this.#reconciled) await this.#reconcileFirst();
    if (this.#closed) throw new SpawnError({ type: 'stopped', reason: 'the host is shutting down' });
    const slot = this.#slots.get(spec.sessionId);
    if (slot?.state === 'starting') return slot.started;
    if (slot?.state === 'live') return slot.run;
    const waiting = this.#waiting.get(spec.sessionId) ?? { spec, started: Promise.withResolvers<Run>() };
    this.#waiting.set(spec.sessionId, waiting);
    this.#startWaiting();
    return waiting.started.promise;
  }

  /**
   * Stops the session's run and takes a waiting wake out of the queue. Resolves with the confirmed exit once `onExit`
   * knows of it, or with `undefined` if there was no run. Rejects if the runtime could not do it: the run is live still.
   */
  async stop(sessionId: string, reason: string): Promise<Exit | undefined> {
    this.#waiting.get(sessionId)?.started.reject(new SpawnError({ type: 'stopped', reason }));
    this.#waiting.delete(sessionId);
    const slot = this.#slots.get(sessionId);
    if (slot === undefined) return undefined;
    switch (slot.state) {
      case 'starting': {
        // A start that fails rejects its wake; here it only means that nothing is left to stop.
        const started = await slot.started.then(
          () => true,
          () => false,
        );
        return started ? this.stop(sessionId, reason) : undefined;
      }
      case 'stopping':
        return slot.exit;
      case 'live': {
        const exit = this.#stopLive(slot.run);
        this.#slots.set(sessionId, { state: 'stopping', run: slot.run, reason, exit });
        return exit;
      }
    }
  }

  /**
   * Makes what is known here agree with what is alive: adopts runs of an earlier life, stops the outdated
   * ones (each end goes to `onExit`, and the next wake starts anew) and second runs of a session, and reports as ended
   * what can no longer be watched and is not listed. To be called at start and in every sweep; calls that overlap are one.
   * Rejects when the runtime cannot be asked; nothing is changed then.
   */
  reconcile(): Promise<Reconciliation> {
    if (this.#reconciling === undefined) {
      const ended = new Set<string>();
      const done = this.#reconcile(ended).finally(() => {
        this.#reconciling = undefined;
      });
      this.#reconciling = { done, ended };
    }
    return this.#reconciling.done;
  }

  /**
   * Stops the live runs that are outdated (see `outdatedReason`) and not busy, and returns those that were stopped; each
   * end goes to `onExit`, and the next wake starts anew. A busy one goes on: call this again when it rests. Rejects, after all
   * were looked at, when a run could not be judged or stopped: it is live still.
   */
  async replaceOutdatedRuns(isBusy: (run: Run) => boolean): Promise<readonly Run[]> {
    const live = [...this.#slots.values()].flatMap((slot) => (slot.state === 'live' ? [slot.run] : []));
    const replaced: Run[] = [];
    const errors: unknown[] = [];
    for (const run of live) {
      try {
        const reason = await this.#options.outdatedReason?.(run);
        // Asking took a while: only what is live and at rest now is stopped.
        if (reason === undefined || this.#slots.get(run.sessionId)?.state !== 'live' || !this.#holds(run)) continue;
        if (isBusy(run)) continue;
        await this.stop(run.sessionId, reason);
        replaced.push(run);
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw new AggregateError(errors, errors.map(messageOf).join(' '));
    return replaced;
  }

  /** The session's run, unless it is only starting; one that is being stopped is still running. */
  running(sessionId: string): Run | undefined {
    const slot = this.#slots.get(sessionId);
    return slot === undefined || slot.state === 'starting' ? undefined : slot.run;
  }

  /** The sessions that wait for a place, in the order in which they came: a reason to ask idle runs to leave. */
  waitingSessions(): string[] {
    return [...this.#waiting.keys()];
  }

  /**
   * The live runs of which one has to end before a waiting session can have its own: all of them, or those of a share that is
   * taken up. Those that are being stopped already are not among them; none when nothing is in its way, or one is on its way out.
   */
  inTheWayOf(sessionId: string): Run[] {
    const inUse = this.#sharesInUse();
    const full = this.#sharesOf(sessionId).find(({ name, most }) => (inUse.get(name) ?? 0) >= most);
    if (full === undefined && this.#slots.size < this.#options.runsMax) return [];
    const isOf = (id: string) => full === undefined || this.#sharesOf(id).some(({ name }) => name === full.name);
    const slots = [...this.#slots].flatMap(([id, slot]) => (isOf(id) ? [slot] : []));
    if (slots.some(({ state }) => state === 'stopping')) return [];
    return slots.flatMap((slot) => (slot.state === 'live' ? [slot.run] : []));
  }

  /** Starts nothing more and reports nothing more. Runs go on, for the next host to adopt; the driver stays open. */
  close(): void {
    this.#closed = true;
    for (const { started } of this.#waiting.values()) {
      started.reject(new SpawnError({ type: 'stopped', reason: 'the host is shutting down' }));
    }
    this.#waiting.clear();
  }

  #startWaiting(): void {
    while (this.#slots.size < this.#options.runsMax) {
      const next = this.#nextWaiting();
      if (next === undefined) return;
      const { spec, started } = next;
      this.#waiting.delete(spec.sessionId);
      this.#slots.set(spec.sessionId, { state: 'starting', runId: spec.runId, started: started.promise });
      this.#start(spec).then(started.resolve, started.reject);
    }
  }

  #nextWaiting(): Waiting | undefined {
    const inUse = this.#sharesInUse();
    const may = [...this.#waiting.values()].flatMap((waiting) => {
      const { sessionId } = waiting.spec;
      // Its old run is still stopping: it keeps its turn, and holds up no other session.
      if (this.#slots.has(sessionId)) return [];
      const shares = this.#sharesOf(sessionId).map(({ name, most }) => ({ used: inUse.get(name) ?? 0, most }));
      if (shares.some(({ used, most }) => used >= most)) return [];
      return [{ waiting, used: shares.map(({ used }) => used) }];
    });
    return may.toSorted((a, b) => compareLists(a.used, b.used))[0]?.waiting;
  }

  #sharesOf(sessionId: string): readonly Share[] {
    return this.#options.sharesOf?.(sessionId) ?? [];
  }

  #sharesInUse(): Map<string, number> {
    const inUse = new Map<string, number>();
    for (const id of this.#slots.keys()) {
      for (const { name } of this.#sharesOf(id)) inUse.set(name, (inUse.get(name) ?? 0) + 1);
    }
    return inUse;
  }

  async #start(spec: RunSpec): Promise<Run> {
    try {
      await this.#options.beforeStart?.(spec);
      const run = await this.#options.driver.start(spec);
      this.#hold(run);
      return run;
    } catch (error) {
      this.#reconciling?.ended.add(spec.runId);
      this.#slots.delete(spec.sessionId);
      this.#startWaiting();
      throw error;
    }
  }

  async #stopLive(run: Run): Promise<Exit> {
    try {
      const exit = await this.#options.driver.stop(run.runId, this.#options.graceMs);
      this.#ended(run, exit);
      return exit;
    } catch (error) {
      if (this.#holds(run)) this.#slots.set(run.sessionId, { state: 'live', run });
      throw error;
    }
  }

  #hold(run: Run): void {
    this.#slots.set(run.sessionId, { state: 'live', run });
    this.#watch(run);
  }

  #watch(run: Run): void {
    this.#unwatched.delete(run.runId);
    void run.exited().then(
      (exit) => this.#left(run, exit),
      // Not an exit: the run stays, until `reconcile()` sees whether it is alive.
      (error: unknown) => this.#unwatched.set(run.runId, error),
    );
  }

  /** Ends a run that the runtime says is gone, once it is known whether it had ever begun. */
  async #left(run: Run, exit: Exit): Promise<void> {
    const isLive = this.#slots.get(run.sessionId)?.state === 'live' && this.#holds(run);
    const isSuspect = isLive && this.#options.hasBegun !== undefined && !isWell(exit);
    if (!isSuspect || (await this.#hasBegun(run))) this.#ended(run, exit);
    else this.#ended(run, exit, await neverBegun(run, exit));
  }

  async #hasBegun(run: Run): Promise<boolean> {
    try {
      return (await this.#options.hasBegun?.(run)) ?? true;
    } catch {
      return true; // not known: an ordinary end
    }
  }

  #ended(run: Run, exit: Exit, problem?: SpawnProblem): void {
    const slot = this.#slots.get(run.sessionId);
    if (slot === undefined || this.#closed || !this.#holds(run)) return;
    this.#reconciling?.ended.add(run.runId);
    this.#unwatched.delete(run.runId);
    this.#slots.delete(run.sessionId);
    try {
      const stopReason = slot.state === 'stopping' ? slot.reason : undefined;
      this.#options.onExit({ run, exit, stopReason, problem });
    } finally {
      this.#startWaiting();
    }
  }

  #holds(run: Run): boolean {
    const slot = this.#slots.get(run.sessionId);
    return slot !== undefined && slot.state !== 'starting' && slot.run.runId === run.runId;
  }

  async #reconcileFirst(): Promise<void> {
    try {
      await this.reconcile();
    } catch (error) {
      throw new SpawnError({ type: 'not-reconciled', reason: messageOf(error) }, { cause: error });
    }
  }

  async #reconcile(ended: ReadonlySet<string>): Promise<Reconciliation> {
    const { runs, troubles } = await this.#options.driver.list();
    const adopted: Run[] = [];
    const duplicates: Run[] = [];
    const outdated: { readonly run: Run; readonly reason: string }[] = [];
    const unjudged: string[] = [];
    // The newest first: of two runs of one session it is the one that the session's file names.
    for (const run of runs.toSorted((a, b) => b.startedAt - a.startedAt)) {
      const slot = this.#slots.get(run.sessionId);
      if (ended.has(run.runId)) continue;
      if (slot === undefined) {
        // Held at once, so that a wake meanwhile starts no second one.
        this.#hold(run);
        const reason = await this.#outdatedReason(run, unjudged);
        if (reason === undefined) adopted.push(run);
        else outdated.push({ run, reason });
      } else if (runIdOf(slot) !== run.runId) {
        duplicates.push(run);
      }
    }
    const unwatched = this.#reconcileUnwatched(runs);
    const stops = await Promise.allSettled([
      ...duplicates.map((run) => this.#stopDuplicate(run)),
      ...outdated.map(async ({ run, reason }) => void (await this.stop(run.sessionId, reason))),
    ]);
    this.#reconciled = true;
    const replaced = outdated.map(({ run }) => run);
    return {
      adopted,
      replaced,
      duplicates,
      troubles: [...troubles, ...unjudged, ...unwatched, ...stops.flatMap(failure)],
    };
  }

  /** `undefined` also for a run that cannot be judged: it goes on, and must not keep the others from being adopted. */
  async #outdatedReason(run: Run, unjudged: string[]): Promise<string | undefined> {
    try {
      return await this.#options.outdatedReason?.(run);
    } catch (error) {
      unjudged.push(`The run of session ${run.sessionId} goes on without being looked at: ${messageOf(error)}`);
      return undefined;
    }
  }

  #reconcileUnwatched(listed: readonly Run[]): string[] {
    const alive = new Set(listed.map(({ runId }) => runId));
    return [...this.#slots.values()].flatMap((slot) => {
      if (slot.state === 'starting' || !this.#unwatched.has(slot.run.runId)) return [];
      const { run } = slot;
      const reason = messageOf(this.#unwatched.get(run.runId));
      if (alive.has(run.runId)) this.#watch(run);
      else this.#ended(run, { type: 'unknown', reason: 'it ended while it could not be watched' });
      return [`Run ${run.runId} could not be watched for a while: ${reason}`];
    });
  }

  async #stopDuplicate(run: Run): Promise<void> {
    try {
      await this.#options.driver.stop(run.runId, this.#options.graceMs);
    } catch (error) {
      throw new Error(
        `Run ${run.runId} is a second run of session ${run.sessionId} and could not be stopped (${messageOf(error)}): it is alive still.`,
        { cause: error },
      );
    }
  }
}

/** By their first numbers, if those are equal by the second, and so on; what is equal in all stays in its order. */
function compareLists(a: readonly number[], b: readonly number[]): number {
  for (const [at, one] of a.entries()) {
    const difference = one - (b[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function isWell(exit: Exit): boolean {
  return exit.type === 'unknown' || (exit.type === 'code' && exit.code === 0);
}

/** The problem of a run that ended before its handshake. */
async function neverBegun({ logFile }: Run, exit: Exit): Promise<SpawnProblem> {
  const output = await logTail(logFile, ERROR_OUTPUT_BYTES_MAX).catch(() => undefined); // reported without it, then
  return { type: 'exit-before-handshake', exit, output: output ?? '', logFile };
}

function runIdOf(slot: Slot): string {
  return slot.state === 'starting' ? slot.runId : slot.run.runId;
}

function failure(result: PromiseSettledResult<void>): string[] {
  return result.status === 'rejected' ? [messageOf(result.reason)] : [];
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
