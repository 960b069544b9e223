/**
 * What runs the agents, as it outlives every host: each run is a process of the simulation with the shipping runner in
 * it. It promises what a driver promises, except where the plan says otherwise: then a start fails, an exit is never
 * reported, a stop cannot be made, or a run that was declared dead wakes up.
 */
import {
  type Driver,
  type Exit,
  type Listing,
  type Run,
  type RunSpec,
  SpawnError,
  specHash,
} from '@nanoclaw/containers';
import { Runner } from '@nanoclaw/runner';
import { Doorbell, inboundFolder, outboundFolder, RunnerSession, runId } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { agent, runScript } from './agent.ts';
import type { RunFault } from './faults.ts';
import { Actor, CrashSignal, type World } from './world.ts';

interface LiveRun {
  readonly spec: RunSpec;
  readonly actor: Actor;
  /** As the host's clock then said. */
  readonly startedAt: number;
  /** True time. */
  readonly begunAt: number;
  readonly fault: RunFault | undefined;
  readonly exit: PromiseWithResolvers<Exit>;
  /** As the runtime says. */
  isAlive: boolean;
  stop: () => void;
}

/** All that a runtime knows when everything in it is dead, for a history that goes on in another world. */
export interface RuntimeMemory {
  readonly faults: ReadonlyMap<number, readonly RunFault[]>;
  readonly begun: ReadonlyMap<string, string>;
  readonly starts: number;
}

export class Runtime {
  /** By the number of the start, from 1. */
  readonly faults: Map<number, readonly RunFault[]>;
  /** Runs that went on after the runtime had said that they were dead. */
  readonly zombies = new Set<string>();
  /** Every run that was ever begun, with the session it was for. */
  readonly begun: Map<string, string>;
  readonly #runs = new Map<string, LiveRun>();
  readonly #world: World;
  readonly #idleExitMs: number;
  #starts: number;

  constructor(world: World, idleExitMs: number, memory?: RuntimeMemory) {
    this.#world = world;
    this.#idleExitMs = idleExitMs;
    this.faults = new Map(memory?.faults);
    this.begun = new Map(memory?.begun);
    this.#starts = memory?.starts ?? 0;
  }

  /** As it is when everybody in it has died. */
  memory(): RuntimeMemory {
    return { faults: new Map(this.faults), begun: new Map(this.begun), starts: this.#starts };
  }

  /** The runs that are alive, by the runtime's word. */
  alive(): readonly { readonly runId: string; readonly sessionId: string; readonly actor: Actor }[] {
    return [...this.#runs.values()]
      .filter((run) => run.isAlive)
      .map(({ spec, actor }) => ({ runId: spec.runId, sessionId: spec.sessionId, actor }));
  }

  /** A run that was begun at some time; `undefined` for a name that is not known. */
  run(id: string): { readonly begunAt: number } | undefined {
    return this.#runs.get(id);
  }

  async start(spec: RunSpec): Promise<LiveRun> {
    const world = this.#world;
    this.#starts += 1;
    const faults = this.faults.get(this.#starts) ?? [];
    const of = <T extends RunFault['type']>(type: T): (RunFault & { type: T }) | undefined =>
      faults.find((fault): fault is RunFault & { type: T } => fault.type === type);
    world.trace(`runtime: start ${this.#starts} of ${spec.runId}${faults.map((fault) => `, ${fault.type}`).join('')}`);
    await world.pause(world.chance.wait('start', 20, 500) + (of('slow-start')?.ms ?? 0));
    if (of('refused')) throw new SpawnError({ type: 'refused', reason: 'no more processes' });
    const run = world.touch({ what: `start ${spec.runId}`, perform: () => this.#begin(spec, faults[0]) });
    const dies = of('dies');
    if (dies) run.actor.crashPoint = dies.crashPoint;
    const stalls = of('stalls');
    if (stalls) world.after(stalls.afterMs, () => this.#stall(run, stalls.ms), undefined);
    const zombie = of('zombie');
    if (zombie) world.after(zombie.afterMs, () => this.#stall(run, UNTIL_STOPPED_MS), undefined);
    await world.pause(5);
    if (of('exits-at-once')) {
      world.kill(run.actor);
      const exit: Exit = { type: 'code', code: 1 };
      throw new SpawnError({ type: 'exit-at-once', exit, output: '', logFile: spec.logFile });
    }
    return run;
  }

  async stop(id: string, graceMs: number): Promise<Exit> {
    const world = this.#world;
    const run = this.#runs.get(id);
    if (run === undefined || !run.isAlive) return { type: 'unknown', reason: 'it was not alive' };
    await world.pause(5);
    if (run.fault?.type === 'stop-fails' && world.chance.happens(`stop of ${id}`, 0.5)) {
      throw new Error('The runtime did not answer.');
    }
    // A process that is held still hears no signal, and one that wakes up later has heard none.
    if (run.actor.frozenUntil <= world.time) world.act(run.actor, () => run.stop());
    const grace = world.pause(graceMs);
    await Promise.race([run.exit.promise, grace]);
    if (!run.isAlive) return run.exit.promise;
    if (run.fault?.type === 'zombie') {
      this.zombies.add(id);
      world.freeze(run.actor, world.time + run.fault.ms);
      this.#ended(run, { type: 'signal', signal: 'SIGKILL' });
    } else world.kill(run.actor);
    return run.exit.promise;
  }

  list(): readonly LiveRun[] {
    return [...this.#runs.values()].filter((run) => run.isAlive);
  }

  #stall(run: LiveRun, ms: number): void {
    this.#world.freeze(run.actor, Math.max(run.actor.frozenUntil, this.#world.time + ms));
    this.#world.trace(`runtime: ${run.spec.runId} stalls for ${ms} ms`);
  }

  #begin(spec: RunSpec, fault: RunFault | undefined): LiveRun {
    const world = this.#world;
    const actor = new Actor(world, spec.runId, 'runner', () => this.#ended(run, { type: 'signal', signal: 'SIGKILL' }));
    const run: LiveRun = {
      spec,
      actor,
      startedAt: world.wall('host'),
      begunAt: world.time,
      fault,
      exit: Promise.withResolvers<Exit>(),
      isAlive: true,
      stop: () => undefined,
    };
    world.actors.add(actor);
    this.#runs.set(spec.runId, run);
    this.begun.set(spec.runId, spec.sessionId);
    world.after(world.chance.whole('boot', 5, 150), () => void this.#program(run), actor);
    return run;
  }

  /** The program inside, as `apps/agent-runner` composes it. */
  async #program(run: LiveRun): Promise<void> {
    const world = this.#world;
    const { actor, spec } = run;
    try {
      const folders = {
        inbound: inboundFolder(mounted(spec, '/workspace/inbound')),
        outbound: outboundFolder(mounted(spec, '/workspace/outbound')),
      };
      const provider = agent(world, actor, folders.inbound.files);
      const now = (): number => world.wall('runner');
      const setTimer = (ms: number, callback: () => void): (() => void) => world.after(ms, callback, actor);
      const handshake = { runId: runId(spec.runId), runnerVersion: '0.0.0', provider: provider.name };
      using session = RunnerSession.open(folders, openSqlite, handshake, now());
      const runner = new Runner({
        session,
        provider,
        agent: {
          assistantName: 'Nano',
          timeZone: spec.timeZone,
          cwd: mounted(spec, '/workspace/agent'),
          model: undefined,
        },
        clock: { now, setTimer },
        bell: {
          listen: (heard) => {
            const doorbell = new Doorbell(folders.inbound, heard, { setTimer });
            return () => doorbell[Symbol.dispose]();
          },
        },
        runScript: (script, signal) => runScript(script, signal, world),
        policy: { idleExitMs: this.#idleExitMs },
      });
      run.stop = () => runner.stop();
      const end = await runner.run();
      world.trace(`${actor.name}: leaves, ${end.type}`);
      this.#left(run, 0);
    } catch (error) {
      if (error instanceof CrashSignal) return;
      world.trace(`${actor.name}: breaks: ${error instanceof Error ? error.message : String(error)}`);
      this.#left(run, 1);
    }
  }

  #left(run: LiveRun, code: number): void {
    if (!run.actor.isAlive) return;
    this.#ended(run, { type: 'code', code });
    this.#world.kill(run.actor);
  }

  #ended(run: LiveRun, exit: Exit): void {
    if (!run.isAlive) return;
    run.isAlive = false;
    run.exit.resolve(exit);
  }
}

/** Longer than the sweep leaves any run alone. */
const UNTIL_STOPPED_MS = 10 * 3_600_000;

/** The driver of one life of the host. */
export class RuntimeDriver implements Driver {
  readonly #actor: Actor;
  readonly #runtime: Runtime;

  constructor(runtime: Runtime, actor: Actor) {
    this.#actor = actor;
    this.#runtime = runtime;
  }

  async start(spec: RunSpec): Promise<Run> {
    return this.#run(await this.#runtime.start(spec));
  }

  stop(id: string, graceMs: number): Promise<Exit> {
    return this.#runtime.stop(id, graceMs);
  }

  async list(): Promise<Listing> {
    await this.#actor.world.pause(5);
    return { runs: this.#runtime.list().map((run) => this.#run(run)), troubles: [] };
  }

  async logs(): Promise<undefined> {
    return undefined;
  }

  close(): void {
    // Nothing is watched by the driver itself.
  }

  #run(run: LiveRun): Run {
    const { spec, startedAt } = run;
    const { world } = this.#actor;
    return {
      runId: spec.runId,
      sessionId: spec.sessionId,
      startedAt,
      labels: spec.labels,
      specHash: specHash(spec),
      logFile: spec.logFile,
      exited: () =>
        new Promise((resolve) => {
          if (run.fault?.type === 'exit-is-lost') return;
          void run.exit.promise.then((exit) => world.after(10, () => resolve(exit), this.#actor));
        }),
    };
  }
}

function mounted(spec: RunSpec, target: string): string {
  const mount = spec.mounts.find((one) => one.target === target);
  if (mount === undefined) throw new Error(`The spec of ${spec.runId} mounts nothing at ${target}.`);
  return mount.source;
}
