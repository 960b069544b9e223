/**
 * The host as a process of the simulation: the shipping `Host`, with the world's clock, chance and names
 * in it, and whoever starts it again when it is gone (a service manager, a person).
 */
import { join } from 'node:path';
import { SimulatedGuard } from './guard.ts';
import { RuntimeDriver } from './runtime.ts';
import { DEFAULT_SETTINGS, dataFolder, Host, openLog } from './shipping-host.ts';
import { Actor, CrashSignal, type Doom, type Surroundings } from './world.ts';

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
  readonly #around: Surroundings;
  readonly #events: HostEvents;
  #actor: Actor | undefined;
  #host: Host | undefined;
  #doom: Doom | undefined;
  /** How long it stays down after its next end. */
  downMs = 0;
  #startedAt = 0;
  /** How often in a row it ended soon after it had been started. */
  #ends = 0;

  constructor(around: Surroundings, events: HostEvents) {
    this.#around = around;
    this.#events = events;
  }

  /** The process, while there is one. */
  get actor(): Actor | undefined {
    return this.#actor;
  }

  /** Starts it. When it ends, it is started again after `downMs`. */
  start(): void {
    const { world } = this.#around;
    const actor = new Actor(this.#around, 'host', 'host', () => this.#restart());
    actor.doom = this.#doom;
    this.#doom = undefined;
    this.#actor = actor;
    world.actors.add(actor);
    this.#startedAt = world.time;
    world.trace('host: starts');
    world.act(actor, () => void this.#run(actor));
  }

  /** It dies at a touch of this life, or of the next one while it is down. */
  dieAt(doom: Doom): void {
    if (this.#actor === undefined) this.#doom = doom;
    else this.#actor.doom = { ...doom, touch: this.#actor.touches + doom.touch };
  }

  /** Asks it to leave, as a signal does. */
  stop(runs: 'stop-runs' | 'leave-runs'): void {
    const [actor, host] = [this.#actor, this.#host];
    if (actor === undefined || host === undefined) return;
    this.#around.world.trace(`host: is asked to leave, ${runs}`);
    this.#host = undefined;
    this.#around.world.act(actor, () => void this.#leave(actor, () => host.stop(runs)));
  }

  async #run(actor: Actor): Promise<void> {
    await this.#leave(actor, async () => {
      const host = new Host(this.#options(actor));
      await host.start();
      this.#host = host;
      // It works from now on, until it is told to leave or dies.
      await new Promise(() => undefined);
    });
  }

  /** Does something at whose end the process ends. */
  async #leave(actor: Actor, last: () => Promise<void>): Promise<void> {
    const { world } = this.#around;
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
    const { world } = this.#around;
    // Who starts it again waits longer each time that it does not stay.
    this.#ends = world.time - this.#startedAt < STAYED_MS ? this.#ends + 1 : 0;
    const downMs = Math.max(this.downMs, Math.min(1_000 * 2 ** this.#ends, DOWN_MAX_MS));
    this.downMs = 0;
    world.after(downMs, () => this.start(), undefined);
  }

  #options(actor: Actor): ConstructorParameters<typeof Host>[0] {
    const { world, platform } = this.#around;
    const say = (level: string) => (fields: object | string, message?: string) => {
      world.trace(`host ${level}: ${message ?? ''} ${JSON.stringify(fields)}`);
      if (message !== 'killing a run' || typeof fields !== 'object') return;
      const { session, run, reason } = { session: '', run: '', reason: '', ...fields };
      this.#events.onKill(session, run, reason);
    };
    return {
      data: dataFolder(world.folder),
      installId: 'simulated',
      config: { ...DEFAULT_SETTINGS, provider: 'offline', timeZone: 'Europe/Lisbon' },
      configValues: [],
      version: '0.0.0',
      pid: 1,
      log: {
        logger: Object.assign(Object.create(SILENT), { info: say('info'), warn: say('warn'), error: say('error') }),
        rotate: () => undefined,
      },
      runnerFolder: world.folder,
      skillsFolder: join(world.folder, 'no-skills'),
      scratch: world.folder,
      channels: platform.channels(actor),
      driver: new RuntimeDriver(actor),
      isolation: { type: 'none', because: 'everything is simulated' },
      guard: new SimulatedGuard(world),
      modelEnv: {},
      now: () => world.wall('host'),
      monotonic: () => world.monotonic(),
      random: () => world.chance.share('host'),
      newId: () => world.newId('id'),
      newSecret: () => world.newId('secret'),
      setTimer: (delayMs, action) => world.after(delayMs, action, actor),
      loopDelay: () => ({ p50: 0, p99: 0, max: 0 }),
      onEndpoints: async () => undefined,
      onDrained: () => undefined,
      triesAtOnce: false,
      onUnanswered: () => undefined,
    };
  }
}
