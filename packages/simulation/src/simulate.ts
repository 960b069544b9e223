/**
 * One history from its beginning to its end: people talk, things go wrong, faults stop, and everything that was accepted
 * comes to its end. The checkers look all the way.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ReceivedMessage } from '@nanoclaw/channels';
import { ensureDefaults } from '@nanoclaw/host';
import { openRegistry } from '@nanoclaw/registry';
import { SESSION_LOOP, SqliteError } from '@nanoclaw/session-db';
import Database from 'better-sqlite3';
import { broughtFile, saying } from './agent.ts';
import type { DiskImage } from './disk.ts';
import type { HistoryParts } from './history-parts.ts';
import { HostProcess } from './host-process.ts';
import { Checker, type CheckerMemory, InvariantViolation } from './invariants.ts';
import { CHATS, type FaultEvent, type Plan } from './plan.ts';
import { Platform, type PlatformMemory } from './platform.ts';
import { Runtime, type RuntimeMemory } from './runtime.ts';
import { CrashSignal, type Recorder, World } from './world.ts';

/** What a simulation needs of the process that it runs in. */
export interface Bench {
  /** Where its folders are made: on a disk in memory if there is one. */
  readonly scratch: string;
  /** Resolves when every promise that could go on has gone on. */
  readonly settled: () => Promise<void>;
  /** Resolves when Node's own loop has turned: what was not caught is reported by then. */
  readonly turned: () => Promise<void>;
  /** Takes what was not caught since the last call. */
  readonly uncaught: () => readonly unknown[];
}

/** All there is of a history at one moment at which everybody in it died. */
export interface Crash {
  readonly at: number;
  readonly ids: number;
  readonly disk: DiskImage;
  readonly platform: PlatformMemory;
  readonly runtime: RuntimeMemory;
  readonly checker: CheckerMemory;
}

/** What came of a history. */
export interface Outcome {
  /** `undefined`: everything held. */
  readonly failure: { readonly invariant: string; readonly message: string; readonly step: number } | undefined;
  /** It was cut off where it was to be: what held, held that far. */
  readonly isCut: boolean;
  readonly simulatedMs: number;
  readonly steps: number;
  /** Changes of files and sends, by all processes. */
  readonly touches: number;
  /** How many states the last planned death could choose from; `undefined`: no process died as planned. */
  readonly statesOfDeath: number | undefined;
  readonly trace: readonly string[];
}

/** Lines kept for the reader of a failure. */
const TRACE_MAX = 20_000;
/** What the slowest thing takes when all faults are over: twelve attempts at a delivery, or a run silent to its limit. */
const LIVENESS_MS = 40 * 3_600_000;
const LOOK_EVERY_MS = 60_000;
/** How long a run without work stays: long enough for a follow-up to meet it, short enough to be cheap. */
const IDLE_EXIT_MS = 10_000;
/** More than any sound history has: beyond it something goes round in a circle. */
const STEPS_MAX = 3_000_000;

/** A data folder with its registry as each history begins, to be copied. */
export async function template(bench: Bench): Promise<string> {
  const folder = mkdtempSync(join(bench.scratch, 'nanoclaw-sim-'));
  let ids = 0;
  const registry = await openRegistry({
    file: join(folder, 'registry.db'),
    now: () => START,
    newId: () => `made-${++ids}`,
  });
  await ensureDefaults(registry);
  const agentGroup = (await registry.agentGroups())[0];
  if (agentGroup === undefined) throw new Error('The default agent is missing.');
  for (const chat of CHATS) {
    const [channelType = '', platformId = ''] = chat.split('/');
    const group = await registry.createMessagingGroup({
      channelType,
      platformId,
      name: chat,
      kind: 'group',
      strangers: 'public',
      denied: false,
    });
    await registry.createWiring({
      messagingGroupId: group.id,
      agentGroupId: agentGroup.id,
      engage: { mode: 'pattern', pattern: '.' },
      senderScope: 'all',
      otherwise: 'drop',
      sessionMode: 'shared',
      priority: 0,
    });
  }
  await registry.close();
  return folder;
}

/** 2026-11-21 08:00 UTC. */
const START = 1_795_248_000_000;

/**
 * Runs the history of a plan in a copy of `from`, not further than step `cutAt`. The same plan gives the same history.
 */
export function simulate(plan: Plan, from: string, bench: Bench, cutAt = Number.POSITIVE_INFINITY): Promise<Outcome> {
  return play(plan, bench, { cutAt, prepare: (folder) => copyOf(from, folder) });
}

/** Runs the history of a plan and tells of every touch in it, each time with what memory there is outside of the disk. */
export function recordedHistory(
  plan: Plan,
  from: string,
  bench: Bench,
  recorder: (folder: string, memory: () => Omit<Crash, 'disk'>) => Recorder,
): Promise<Outcome> {
  return play(plan, bench, { prepare: (folder) => copyOf(from, folder), recorder });
}

/** Goes on after a crash: the machine starts again, the host after it, and everything has to come to its end. */
export function resumed(plan: Plan, crash: Crash, bench: Bench): Promise<Outcome> {
  return play(plan, bench, { prepare: (folder) => putOnDisk(crash.disk, folder), crash });
}

interface Beginning {
  /** The reader of its trace wishes to see no further: of what comes after it nothing is known. */
  readonly cutAt?: number;
  readonly prepare: (folder: string) => void;
  readonly crash?: Crash;
  readonly recorder?: (folder: string, memory: () => Omit<Crash, 'disk'>) => Recorder;
}

function copyOf(from: string, folder: string): void {
  cpSync(from, folder, { recursive: true });
  mkdirSync(join(folder, 'runs'), { recursive: true });
}

function putOnDisk({ files, directories }: DiskImage, folder: string): void {
  for (const directory of directories) mkdirSync(join(folder, directory), { recursive: true });
  for (const [path, contents] of files) {
    // What lies in a directory that was lost is lost with it.
    if (existsSync(dirname(join(folder, path)))) writeFileSync(join(folder, path), contents);
  }
}

async function play(plan: Plan, bench: Bench, beginning: Beginning): Promise<Outcome> {
  const folder = mkdtempSync(join(bench.scratch, 'nanoclaw-sim-'));
  const { crash, cutAt = Number.POSITIVE_INFINITY } = beginning;
  const trace: string[] = [];
  const world = new World({
    seed: plan.seed,
    folder,
    startsAt: START,
    goesOn: crash && { time: crash.at, ids: crash.ids },
    settled: bench.settled,
    trace: (line) => {
      if (trace.length < TRACE_MAX) trace.push(line);
    },
  });
  const outcome = (failure: Outcome['failure'], isCut = false): Outcome => ({
    failure,
    isCut,
    simulatedMs: world.time - (crash?.at ?? START),
    steps: world.steps,
    touches: world.touches,
    statesOfDeath: world.statesOfDeath,
    trace,
  });
  try {
    beginning.prepare(folder);
    using history = new History(plan, world, bench, crash);
    world.recorder = beginning.recorder?.(folder, () => history.memory());
    const isCut = (await history.run(cutAt)) === 'cut';
    return outcome(undefined, isCut);
  } catch (error) {
    const { invariant, message } = violationOf(error, plan.seed);
    world.trace(message);
    return outcome({ invariant, message, step: world.steps });
  } finally {
    for (const actor of world.actors) actor.isAlive = false;
    for (const actor of world.actors) for (const handle of actor.handles) handle.close();
    await bench.turned();
    bench.uncaught();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Which invariant an error says does not hold; throws what says nothing of the kind, with the seed to find it again. */
function violationOf(error: unknown, seed: number): InvariantViolation {
  if (error instanceof InvariantViolation) return error;
  // The checkers wait for locks and know of journals: whatever else SQLite refuses to read is damaged.
  if (error instanceof Database.SqliteError) {
    return new InvariantViolation('I24', `A session's file is damaged: ${error.message} (${error.code}).`);
  }
  throw new Error(`The simulation itself fails in the history of seed ${seed}.`, { cause: error });
}

class History implements Disposable {
  readonly #plan: Plan;
  readonly #world: World;
  readonly #bench: Bench;
  readonly #platform: Platform;
  readonly #runtime: Runtime;
  readonly #host: HostProcess;
  readonly #checker: Checker;
  readonly #said = new Map<number, ReceivedMessage>();
  /** How long the history had gone on before it came into this world, in milliseconds. */
  readonly #lived: number;
  readonly #isAnew: boolean;
  #lookedAtTouch = 0;
  #lastJump = 0;
  #isTroubled = true;
  #violation: InvariantViolation | undefined;

  constructor(plan: Plan, world: World, bench: Bench, crash: Crash | undefined) {
    this.#plan = plan;
    this.#world = world;
    this.#bench = bench;
    this.#platform = new Platform(world, crash?.platform);
    this.#runtime = new Runtime(world, IDLE_EXIT_MS, crash?.runtime);
    const parts: HistoryParts = { world, platform: this.#platform, runtime: this.#runtime };
    this.#checker = new Checker(parts, plan.strict === 'prompt', crash?.checker);
    this.#lived = crash === undefined ? 0 : crash.at - START;
    this.#isAnew = crash === undefined;
    const run = (id: string) => this.#runtime.run(id);
    this.#host = new HostProcess(parts, {
      onKill: (session, id, reason) => {
        const livedMs = world.time - (run(id)?.begunAt ?? 0);
        this.#note(() => this.#checker.killed(session, reason, world.time - this.#lastJump, livedMs));
      },
    });
    this.#platform.onSend = (key, attempt) => this.#note(() => this.#checker.sends(key, attempt));
    world.onRunaway = (actor, what) =>
      this.#note(() => {
        throw new InvariantViolation('I27', `${actor.name} goes round in a circle: ${what}.`);
      });
    world.onWrite = (path, actor) => this.#note(() => this.#checker.written(path, actor.kind));
  }

  /** Plays it to its end, or to the step at which it is cut off. */
  async run(cutAt: number): Promise<'ended' | 'cut'> {
    const world = this.#world;
    const { events, troubledMs } = this.#plan;
    if (this.#isAnew) for (const event of events) if (event.at === 0) this.#play(event);
    this.#host.start();
    for (const event of events) {
      if (event.at <= this.#lived) continue;
      world.after(Math.min(event.at, troubledMs) - this.#lived, () => this.#play(event), undefined);
    }
    world.after(troubledMs - this.#lived, () => this.#calm(), undefined);
    // The host begins in this moment, and not with whatever happens next.
    await this.#bench.settled();
    if ((await this.#until(cutAt, () => !this.#isTroubled)) === 'cut') return 'cut';
    const calmAt = world.time;
    let lookedAt = world.time;
    const came = await this.#until(cutAt, () => {
      if (world.time - lookedAt < LOOK_EVERY_MS) return false;
      lookedAt = world.time;
      return world.time - calmAt > LIVENESS_MS || this.#checker.isOver();
    });
    if (came === 'ended') this.#checker.end();
    return came;
  }

  [Symbol.dispose](): void {
    this.#checker[Symbol.dispose]();
  }

  /** All there is of it outside of the disk, when everybody in it is dead. */
  memory(): Omit<Crash, 'disk'> {
    const { time: at, ids } = this.#world;
    const [platform, runtime, checker] = [this.#platform, this.#runtime, this.#checker];
    return { at, ids, platform: platform.memory(), runtime: runtime.memory(), checker: checker.memory() };
  }

  async #until(cutAt: number, isOver: () => boolean): Promise<'ended' | 'cut'> {
    const world = this.#world;
    while (!isOver()) {
      if (world.steps >= cutAt) return 'cut';
      if (world.steps > STEPS_MAX)
        throw new InvariantViolation('I17', `It has not come to its end after ${world.steps} steps.`);
      if (!(await world.step()))
        throw new InvariantViolation('I17', 'No event is left, and the history has not come to its end.');
      if (this.#violation !== undefined) throw this.#violation;
      for (const error of this.#bench.uncaught()) this.#judgeUncaught(error);
      if (world.touches - this.#lookedAtTouch < 1 + world.chance.whole('look', 0, 5)) continue;
      this.#lookedAtTouch = world.touches;
      this.#checker.look();
    }
    return 'ended';
  }

  /** Checks within the code of a process, which might catch what a checker throws. */
  #note(check: () => void): void {
    try {
      check();
    } catch (error) {
      if (!(error instanceof InvariantViolation)) throw error;
      this.#violation ??= error;
    }
  }

  /** What was not caught ends the process that it was in, and no process of ours is to end so. */
  #judgeUncaught(error: unknown): void {
    if (error instanceof CrashSignal) return;
    if (error instanceof InvariantViolation) throw error;
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    throw new InvariantViolation('I27', `No code caught ${text}`);
  }

  #play(event: FaultEvent): void {
    const world = this.#world;
    const host = this.#host.actor;
    if (event.type !== 'say' && event.type !== 'say-again') world.trace(`plan: ${JSON.stringify(event)}`);
    switch (event.type) {
      case 'say':
        this.#say(event.number, event.chat, saying(event.number, event.mood), event.brings);
        return;
      case 'stop-command':
        this.#say(event.number, event.chat, '/stop');
        return;
      case 'say-again': {
        const message = this.#said.get(event.number);
        if (message !== undefined) this.#platform.say(message);
        return;
      }
      case 'host-dies':
        this.#host.downMs = event.downMs;
        this.#host.dieAt(event.crashPoint);
        return;
      case 'run-dies':
        for (const { actor } of this.#runtime.alive()) {
          actor.crashPoint = { ...event.crashPoint, touch: actor.touches + event.crashPoint.touch };
        }
        return;
      case 'host-restarts':
        this.#host.downMs = event.downMs;
        this.#host.stop(event.runs);
        return;
      case 'host-stalls':
        if (host !== undefined) world.freeze(host, world.time + event.ms);
        return;
      case 'offline':
        this.#platform.isOnline = false;
        world.after(
          event.ms,
          () => {
            this.#platform.isOnline = true;
          },
          undefined,
        );
        return;
      case 'send-goes-wrong':
        this.#platform.faults.set(event.number, event.how);
        return;
      case 'run-goes-wrong':
        this.#runtime.faults.set(event.number, [event.how, ...(this.#runtime.faults.get(event.number) ?? [])]);
        return;
      case 'locked':
        this.#trouble(event.ms, (what) => {
          const isLocked = what.endsWith(event.file) && world.chance.happens('lock', event.share);
          return isLocked ? new SqliteError('SQLITE_BUSY', 'database is locked') : undefined;
        });
        return;
      case 'disk-is-full':
        this.#trouble(event.ms, diskFull);
        return;
      case 'model-is-away':
        world.modelTrouble = event.kind;
        world.after(
          event.ms,
          () => {
            world.modelTrouble = undefined;
          },
          undefined,
        );
        return;
      case 'guard-fails':
        world.guardFault = () => (world.chance.happens('guard', event.share) ? event.how : undefined);
        world.after(
          event.ms,
          () => {
            world.guardFault = () => undefined;
          },
          undefined,
        );
        return;
      case 'clock-is-set':
        this.#jumped(event.byMs);
        world.clockError.host += event.byMs;
        world.clockError.runner += event.byMs;
        return;
      case 'clocks-drift':
        world.clockError.runner += event.byMs;
        return;
      case 'machine-sleeps':
        world.sleep(event.ms);
        this.#jumped(event.ms);
    }
  }

  /** The host's clock has jumped. Less is within what it takes for an even one. */
  #jumped(byMs: number): void {
    if (Math.abs(byMs) > SESSION_LOOP.jumpMs) this.#lastJump = this.#world.time;
  }

  #say(number: number, chat: string, text: string, brings = false): void {
    const [channelType = '', platformId = ''] = chat.split('/');
    const message: ReceivedMessage = {
      kind: 'message',
      platformMessageId: `m${number}`,
      address: { channelType, platformId, threadId: null },
      sender: channelType === 'terminal' ? { id: 'local', name: 'local' } : { id: 'ada', name: 'Ada' },
      text,
      files: brings ? [broughtFile(number)] : [],
      timestamp: this.#world.time,
      isMention: false,
      isDirect: chat === 'terminal/main',
    };
    this.#said.set(number, message);
    this.#world.trace(`people: ${JSON.stringify(text)} in ${chat}`);
    this.#platform.say(message);
  }

  #trouble(ms: number, trouble: (what: string) => Error | undefined): void {
    const world = this.#world;
    const before = world.troubleAt;
    world.troubleAt = (what, actor) => trouble(what) ?? before(what, actor);
    world.after(
      ms,
      () => {
        // Troubles that overlap end together, with the first.
        world.troubleAt = () => undefined;
      },
      undefined,
    );
  }

  /** Faults stop: what lies broken is as an operator would find it, and nothing new goes wrong. */
  #calm(): void {
    const world = this.#world;
    this.#isTroubled = false;
    world.trace('plan: faults are over');
    if (this.#plan.strict === 'host-alone') this.#note(() => this.#checker.takenIn());
    world.troubleAt = () => undefined;
    world.guardFault = () => undefined;
    this.#platform.isOnline = true;
    this.#platform.faults.clear();
    this.#runtime.faults.clear();
    for (const actor of world.actors) actor.crashPoint = undefined;
  }
}

function diskFull(what: string): Error | undefined {
  if (/^(commit|write) .*\.db$/.test(what)) return new SqliteError('SQLITE_FULL', 'database or disk is full');
  if (!/^(open|mkdir|write) /.test(what) || what.endsWith('.db')) return undefined;
  return Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
}
