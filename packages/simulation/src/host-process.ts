/**
 * The host as a process of the simulation: the host that ships, with the world's clock, chance and names
 * in it, and the service manager or operator that starts it again when it is gone.
 */
import { createHost, type HostOptions, type RunningHost } from '@nanoclaw/host';
import { openLog } from '@nanoclaw/host/observability';
import type { CrashPoint } from './faults.ts';
import { SimulatedGuard } from './guard.ts';
import type { HistoryParts } from './history-parts.ts';
import { RuntimeDriver } from './runtime.ts';
import { Actor, CrashSignal } from './world.ts';

/** What a checker hears of the host. */
export interface HostEvents {
  /** The sweep kills a run. */
  readonly onKill: (session: string, run: string, reason: string) => void;
}

/** One for all: each has a file open for as long as its process lives. */
const SILENT: ReturnType<typeof openLog>['logger'] = openLog('silent', '/dev/null', false).logger;

/** As service managers do it. */
const STAYED_MS = 10_000;
const DOWN_MAX_MS = 60_000;

export class HostProcess {
  readonly #parts: HistoryParts;
  readonly #events: HostEvents;
  #actor: Actor | undefined;
  #host: RunningHost | undefined;
  #crashPoint: CrashPoint | undefined;
  /** How long it stays down after its next end. */
  downMs = 0;
  #startedAt = 0;
  /** How often in a row it ended soon after it had been started. */
  #ends = 0;

  constructor(parts: HistoryParts, events: HostEvents) {
    this.#parts = parts;
    this.#events = events;
  }

  /** The process, while there is one. */
  get actor(): Actor | undefined {
    return this.#actor;
  }

  /** Starts it. When it ends, it is started again after `downMs`. */
  start(): void {
    const { world } = this.#parts;
    const actor = new Actor(world, 'host', 'host', () => this.#restart());
    actor.crashPoint = this.#crashPoint;
    this.#crashPoint = undefined;
    this.#actor = actor;
    world.actors.add(actor);
    this.#startedAt = world.time;
    world.trace('host: starts');
    world.act(actor, () => void this.#run(actor));
  }

  /** It dies at a touch of this life, or of the next one while it is down. */
  dieAt(crashPoint: CrashPoint): void {
    if (this.#actor === undefined) this.#crashPoint = crashPoint;
    else this.#actor.crashPoint = { ...crashPoint, touch: this.#actor.touches + crashPoint.touch };
  }

  /** Asks it to leave, as a signal does. */
  stop(runs: 'stop-runs' | 'leave-runs'): void {
    const [actor, host] = [this.#actor, this.#host];
    if (actor === undefined || host === undefined) return;
    this.#parts.world.trace(`host: is asked to leave, ${runs}`);
    this.#host = undefined;
    this.#parts.world.act(actor, () => void this.#leave(actor, () => host.stop(runs)));
  }

  async #run(actor: Actor): Promise<void> {
    await this.#leave(actor, async () => {
      this.#host = await createHost(this.#options(actor));
      // It works from now on, until it is told to leave or dies.
      await new Promise(() => undefined);
    });
  }

  /** Does something at whose end the process ends. */
  async #leave(actor: Actor, last: () => Promise<void>): Promise<void> {
    const { world } = this.#parts;
    try {
      await last();
      world.trace('host: leaves');
    } catch (error) {
      if (error instanceof CrashSignal || !actor.isAlive) return;
      world.trace(`host: ends with ${error instanceof Error ? error.message : String(error)}`);
    }
    world.kill(actor);
  }

  #restart(): void {
    this.#actor = undefined;
    this.#host = undefined;
    const { world } = this.#parts;
    // Who starts it again waits longer each time that it does not stay.
    this.#ends = world.time - this.#startedAt < STAYED_MS ? this.#ends + 1 : 0;
    const downMs = Math.max(this.downMs, Math.min(1_000 * 2 ** this.#ends, DOWN_MAX_MS));
    this.downMs = 0;
    world.after(downMs, () => this.start(), undefined);
  }

  #options(actor: Actor): HostOptions {
    const { world, platform } = this.#parts;
    const say = (level: string) => (fields: object | string, message?: string) => {
      world.trace(`host ${level}: ${message ?? ''} ${JSON.stringify(fields)}`);
      if (message !== 'killing a run' || typeof fields !== 'object') return;
      const { session, run, reason } = { session: '', run: '', reason: '', ...fields };
      this.#events.onKill(session, run, reason);
    };
    const logger = Object.assign(Object.create(SILENT), { info: say('info'), warn: say('warn'), error: say('error') });
    return {
      data: world.folder,
      settings: { provider: 'offline', timeZone: 'Europe/Lisbon' },
      log: { logger, rotate: () => undefined },
      channels: Object.fromEntries(platform.channels(actor).map((channel) => [channel.type, { channel }])),
      driver: () => new RuntimeDriver(this.#parts.runtime, actor),
      modules: { channels: {}, providers: {}, drivers: {} },
      guard: new SimulatedGuard(world),
      // A process that is gone has no lock, and the lock of one that is simulated would be this process's.
      lease: { [Symbol.dispose]: () => undefined },
      // Whoever starts it again waits by itself.
      starts: 'patient',
      ports: {
        clock: { now: () => world.wall('host'), setTimer: (delayMs, action) => world.after(delayMs, action, actor) },
        monotonic: () => world.monotonic(),
        random: () => world.chance.share('host'),
        newId: () => world.newId('id'),
        newSecret: () => world.newId('secret'),
        loopDelay: () => ({ p50: 0, p99: 0, max: 0 }),
        pid: 1,
        scratch: world.folder,
        machine: { env: {}, user: undefined },
      },
    };
  }
}
