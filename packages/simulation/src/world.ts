/**
 * The world under one seed: a clock, what is to happen next, and the processes in it, which can die at every touch of a
 * disk or of a platform. It steps one event at a time; after each, everything that follows from it without waiting has
 * happened.
 *
 * Which process is at work is known from where its code was called (`acting`), across its promises too.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { DeferralKind } from '@nanoclaw/session-db';
import { Chance } from './chance.ts';
import type { CrashPoint, GuardFault } from './faults.ts';
import type { Committed, Image, Synchronous } from './sqlite/commits.ts';
import type { Connection } from './sqlite/connection.ts';

/** The process whose code runs just now; none when the world itself looks. */
// tidy: allow state — it has no value of its own: what it gives belongs to the process whose code is running
export const acting = new AsyncLocalStorage<Actor>();

/** Thrown through the code of a process that has died. Nothing of it runs to an effect after that. */
export class CrashSignal extends Error {
  override readonly name = 'CrashSignal';
}

/** What a touch changes on disk. */
export type Change =
  | { readonly type: 'entry'; readonly paths: readonly string[] }
  | { readonly type: 'rename'; readonly from: string; readonly to: string }
  | { readonly type: 'sync'; readonly path: string }
  | { readonly type: 'database'; readonly path: string; readonly synchronous: () => Synchronous };

/** One touch of the world. */
export interface Touch<T> {
  readonly what: string;
  /** Nothing for a platform. */
  readonly change?: Change;
  /** Does all of it. */
  perform(): T;
  /** Does all of it as well, and tells of the states in between. Without it there are two: before and after. */
  watched?(): { readonly result: T; readonly commit: Committed };
  /** Leaves one of those states, once the process is dead. */
  leave?(image: Image): void;
}

/** Told of every touch as it is made, in the place of making it. */
export interface Recorder {
  record<T>(touch: Touch<T>, actor: Actor): T;
}

/** Something that is to happen. */
export interface WorldEvent {
  at: number;
  readonly order: number;
  readonly owner: Actor | undefined;
  readonly action: () => void;
  cancelled: boolean;
}

/** A process. */
export class Actor {
  readonly world: World;
  readonly name: string;
  readonly kind: 'host' | 'runner';
  isAlive = true;
  /** True time until which it does not run: a machine that stalls, a container that is paused. See `World.freeze`. */
  frozenUntil = 0;
  /** What would have happened to it while it was frozen. */
  held: WorldEvent[] = [];
  touches = 0;
  crashPoint: CrashPoint | undefined;
  /** What the system closes when it dies. */
  readonly handles = new Set<{ close(): void }>();
  /** Connections that are closed for the process and kept for its next look, by their paths. */
  readonly connections = new Map<string, { readonly connection: Connection; readonly inode: number }>();
  readonly onDeath: () => void;

  constructor(world: World, name: string, kind: 'host' | 'runner', onDeath: () => void) {
    this.world = world;
    this.name = name;
    this.kind = kind;
    this.onDeath = onDeath;
  }
}

/** What a world is made of besides its seed. */
export interface WorldOptions {
  readonly seed: number;
  /** A folder of its own, which is there. */
  readonly folder: string;
  /** Epoch milliseconds at which it begins. */
  readonly startsAt: number;
  /** Where a history goes on that began in another world; not given for one that begins. */
  readonly goesOn?: { readonly time: number; readonly ids: number } | undefined;
  /** Resolves when every promise that could go on has gone on. */
  readonly settled: () => Promise<void>;
  /** Told of each thing that happens, as one line. */
  readonly trace: (line: string) => void;
}

export class World {
  readonly chance: Chance;
  readonly folder: string;
  readonly startsAt: number;
  /** True time, epoch milliseconds: never set, never slept through. */
  time: number;
  /** What the clocks of the processes are set wrong by, in milliseconds. */
  readonly clockError = { host: 0, runner: 0 };
  /** How long the machine has slept, in milliseconds: the monotonic clock stood still. */
  sleptMs = 0;
  /** Events since the beginning. */
  steps = 0;
  /** Touches since the beginning, of all processes. */
  touches = 0;
  /** How many states the last death found at its touch. */
  statesOfDeath: number | undefined;
  readonly actors = new Set<Actor>();
  /** What the open descriptors were opened by. */
  readonly descriptors = new Map<number, string>();
  /** Faults that a touch may meet; set by the faults in force. Gives the error to throw. */
  troubleAt: (what: string, actor: Actor) => Error | undefined = () => undefined;
  /** What goes wrong with the next answer of the process that reads for the host. */
  guardFault: () => GuardFault | undefined = () => undefined;
  /** What is in the way of the model just now. */
  modelTrouble: DeferralKind | undefined;
  /** A process touches the world again and again without ever waiting; it is ended. */
  onRunaway: (actor: Actor, what: string) => void = () => undefined;
  /** Watches what is done to the disk, for crash images. */
  recorder: Recorder | undefined;
  /** A session's file was written to. */
  onWrite: (path: string, actor: Actor) => void = () => undefined;
  readonly #options: WorldOptions;
  readonly #queue: WorldEvent[] = [];
  readonly #watchers = new Map<string, Set<() => void>>();
  readonly #versions = new Map<string, number>();
  #order = 0;
  #touchesBefore = 0;
  #ids = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.chance = new Chance(options.seed);
    this.folder = options.folder;
    this.startsAt = options.startsAt;
    this.time = options.goesOn?.time ?? options.startsAt;
    this.#ids = options.goesOn?.ids ?? 0;
  }

  /** What the wall clock of a process says. */
  wall(kind: 'host' | 'runner'): number {
    return Math.floor(this.time + this.clockError[kind]);
  }

  monotonic(): number {
    return this.time - this.startsAt - this.sleptMs;
  }

  /** How many names it has given. */
  get ids(): number {
    return this.#ids;
  }

  newId(prefix: string): string {
    this.#ids += 1;
    return `${prefix}-${this.#ids}`;
  }

  trace(line: string): void {
    this.#options.trace(`${((this.time - this.startsAt) / 1000).toFixed(3).padStart(12)} s  ${line}`);
  }

  /** Calls `action` after `ms` of true time, as `owner` if it is alive then. The result cancels it. */
  after(ms: number, action: () => void, owner: Actor | undefined = acting.getStore()): () => void {
    this.#order += 1;
    const event = { at: this.time + Math.max(0, ms), order: this.#order, owner, action, cancelled: false };
    push(this.#queue, event);
    return () => {
      event.cancelled = true;
    };
  }

  /** Resolves after `ms`, as `after` does. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(ms, resolve);
    });
  }

  /** When the next event is; `undefined` when there is none. */
  nextAt(): number | undefined {
    return this.#queue[0]?.at;
  }

  /** Lets the next event happen, and all that follows from it at once. False when there is none. */
  async step(): Promise<boolean> {
    const event = pop(this.#queue) ?? (await this.#lateEvent());
    if (event === undefined) return false;
    const { owner } = event;
    if (event.cancelled || owner?.isAlive === false) return true;
    this.time = Math.max(this.time, event.at);
    if (owner !== undefined && owner.frozenUntil > this.time) {
      owner.held.push(event);
      return true;
    }
    this.steps += 1;
    this.#touchesBefore = this.touches;
    this.act(owner, event.action);
    await this.#options.settled();
    return true;
  }

  /**
   * What closes a host takes turns of Node's own loop, sockets for one: an event that comes of it may be later than all others are
   * done. With others about it comes in their time.
   */
  async #lateEvent(): Promise<WorldEvent | undefined> {
    for (let i = 0; i < LATE_MAX && this.#queue.length === 0; i += 1) await this.#options.settled();
    return pop(this.#queue);
  }

  /** Runs `action` as this process. A death in it ends here. */
  act(actor: Actor | undefined, action: () => void): void {
    if (actor?.isAlive === false) return;
    try {
      if (actor === undefined) acting.exit(action);
      else acting.run(actor, action);
    } catch (error) {
      if (!(error instanceof CrashSignal)) throw error;
    }
  }

  /** Nothing of a process goes on until a time, or until it is set to go on earlier by another call. */
  freeze(actor: Actor, until: number): void {
    actor.frozenUntil = until;
    const thaw = (): void => {
      if (actor.frozenUntil > this.time) return;
      for (const event of actor.held.splice(0)) push(this.#queue, event);
    };
    this.after(until - this.time, thaw, undefined);
  }

  /** The machine sleeps: every process is late by `ms`, and the wall clocks are not. */
  sleep(ms: number): void {
    this.sleptMs += ms;
    for (const event of this.#queue) if (event.owner !== undefined) event.at += ms;
    this.#queue.sort((a, b) => a.at - b.at || a.order - b.order);
    this.time += ms;
  }

  /** One touch of the world by the process at work: done, met by trouble, or its death. */
  touch<T>(touch: Touch<T>): T {
    const actor = acting.getStore();
    if (actor === undefined) return touch.perform();
    this.assertAlive(actor);
    this.touches += 1;
    actor.touches += 1;
    if (this.touches - this.#touchesBefore > TOUCHES_PER_STEP_MAX) {
      this.onRunaway(actor, touch.what);
      this.kill(actor);
      throw new CrashSignal(`${actor.name} goes round in a circle.`);
    }
    const { crashPoint } = actor;
    if (crashPoint !== undefined && crashPoint.touch === actor.touches) this.#die(actor, crashPoint, touch);
    const trouble = this.troubleAt(touch.what, actor);
    if (trouble !== undefined) {
      this.trace(`${actor.name}: ${touch.what} meets ${trouble.message}`);
      throw trouble;
    }
    return this.recorder === undefined ? touch.perform() : this.recorder.record(touch, actor);
  }

  /** Throws into code of a process that has died. */
  assertAlive(actor: Actor | undefined): void {
    if (actor?.isAlive === false) throw new CrashSignal(`${actor.name} is dead.`);
  }

  /** Ends a process where it stands: its files are closed as by the system, and nothing of it goes on. */
  kill(actor: Actor): void {
    if (!actor.isAlive) return;
    actor.isAlive = false;
    this.actors.delete(actor);
    for (const handle of actor.handles) handle.close();
    actor.handles.clear();
    acting.exit(() => actor.onDeath());
  }

  #die<T>(actor: Actor, crashPoint: CrashPoint, touch: Touch<T>): never {
    const images = touch.watched?.().commit.images;
    const count = images?.length ?? 2;
    this.statesOfDeath = count;
    const { where } = crashPoint;
    const wanted = 'state' in where ? where.state : Math.floor(where.share * count);
    const state = Math.min(wanted, count - 1);
    this.trace(`${actor.name}: DIES at ${touch.what}, state ${state} of ${count}`);
    if (images === undefined && state === 1) touch.perform();
    const dead = crashPoint.with === 'everybody' ? [...this.actors] : [actor];
    for (const one of dead) this.kill(one);
    const image = images?.[state];
    // Only now, because a death closes its files.
    if (image !== undefined) touch.leave?.(image);
    throw new CrashSignal(`${actor.name} died at ${touch.what}.`);
  }

  /** Listens for changes of a file, as file notification does: late, and now and then not at all. */
  watch(path: string, heard: () => void): () => void {
    const owner = acting.getStore();
    const listeners = this.#watchers.get(path) ?? new Set();
    this.#watchers.set(path, listeners);
    const listener = (): void => {
      if (owner?.isAlive === false || this.chance.happens('lost bell', 0.05)) return;
      this.after(this.chance.whole('bell delay', 1, 5), heard, owner);
    };
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  /** A file has changed: its watchers are called, and its change time is a new one. */
  changed(path: string): void {
    this.#versions.set(path, (this.#versions.get(path) ?? 0) + 1);
    for (const listener of this.#watchers.get(path) ?? []) listener();
  }

  /** Stands for a file's change time, which in the world of a seed must not come from a real clock. */
  version(path: string): number {
    return this.#versions.get(path) ?? 0;
  }
}

/** Far more than any process does between two waits. */
const TOUCHES_PER_STEP_MAX = 5_000;
/** Of what was ready to go on; of Node's loop these are some fifty turns. */
const LATE_MAX = 3_000;

// ── the queue: a binary heap ordered by time, then by order of asking ──

function isBefore(a: WorldEvent, b: WorldEvent): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

function push(heap: WorldEvent[], event: WorldEvent): void {
  heap.push(event);
  for (let at = heap.length - 1; at > 0; ) {
    const above = (at - 1) >> 1;
    const parent = heap[above];
    if (parent === undefined || !isBefore(event, parent)) return;
    heap[at] = parent;
    heap[above] = event;
    at = above;
  }
}

function pop(heap: WorldEvent[]): WorldEvent | undefined {
  const first = heap[0];
  const last = heap.pop();
  if (first === undefined || last === undefined || first === last) return first;
  let at = 0;
  for (;;) {
    const left = heap[2 * at + 1];
    const right = heap[2 * at + 2];
    const child = right !== undefined && left !== undefined && isBefore(right, left) ? 2 * at + 2 : 2 * at + 1;
    const below = heap[child];
    if (below === undefined || !isBefore(below, last)) break;
    heap[at] = below;
    at = child;
  }
  heap[at] = last;
  return first;
}
