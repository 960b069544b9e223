/**
 * One host on one data folder, from its start to its end. What it is made of is put together in `compose.ts`; here is in which
 * order its parts begin and end.
 */
import { openRegistry, type Registry } from '@nanoclaw/registry';
import type { Millis } from '@nanoclaw/session-db';
import { type Admit, WebhookEndpoints } from '../channels/index.ts';
import { isSessionTrouble, messageOf } from '../errors/index.ts';
import { Health } from '../observability/index.ts';
import { ControlServer, type DrainReport, dispatch, readEndpoints } from '../operator/index.ts';
import type { Isolation } from '../runs/index.ts';
import type { SessionHandle } from '../session/index.ts';
import { FORGET_EVERY_MS, forgetInRegistry } from '../upkeep/index.ts';
import { composeHost, endWait, type HostParts, refreshRouting, replaceOutdatedRuns, retentionOf } from './compose.ts';
import { ensureDefaults } from './defaults.ts';
import type { HostSetup } from './host-setup.ts';
import { readinessOf } from './operators.ts';
import { periodically } from './periodic.ts';

/** What is alive costs the runtime a question; ends are told by themselves as a rule. */
const RECONCILE_EVERY_MS = 60_000;
const PEOPLE_EVERY_MS = 60_000;
/** How often it is looked whether a run has had its place for too long while others wait, and whether a file is locked still. */
const WAITING_EVERY_MS = 10_000;
/** A run learns within this time that it may write elsewhere, or no longer, in milliseconds. */
const ROUTING_EVERY_MS = 10_000;

/** One host on one data folder. It is started once and stopped once. */
export class Host implements AsyncDisposable {
  readonly #setup: HostSetup;
  readonly #opened = new AsyncDisposableStack();
  readonly #webhooks: WebhookEndpoints | undefined;
  #registry: Registry | undefined;
  /** While it takes part. */
  #parts: HostParts | undefined;
  #quiet: Promise<DrainReport> | undefined;
  #guardTrouble: Promise<string | undefined> = Promise.resolve(undefined);

  constructor(setup: HostSetup) {
    this.#setup = setup;
    this.#webhooks = setup.webhooks && new WebhookEndpoints(setup.webhooks, setup.connections);
  }

  /** How its agents are closed in. */
  get isolation(): Isolation {
    return this.#setup.isolation;
  }

  /** Why its guard is not closed in as it should be, as a sentence; `undefined` when it is. Never rejects. */
  get guardTrouble(): Promise<string | undefined> {
    return this.#guardTrouble;
  }

  /** Its registry, from the start to the end. Throws outside of that. */
  get registry(): Registry {
    if (this.#registry === undefined) throw new Error('The host was not started.');
    return this.#registry;
  }

  /**
   * Opens the registry, adopts what is alive, brings up the channels and begins to work. Rejects with what went wrong;
   * nothing then runs that did not run before. A channel that cannot be set up is tried again in the background.
   */
  async start(): Promise<void> {
    const { data, settings, connections, triesAtOnce } = this.#setup;
    const { newId, clock } = this.#setup.ports;
    const log = this.#setup.log.logger;
    const registry = await openRegistry({ file: data.registry, now: clock.now, newId });
    this.#registry = registry;
    this.#opened.defer(() => registry.close());
    await ensureDefaults(registry, connections.byInstance.has('terminal'));

    const drain = { drain: () => this.#settleDown('leave-runs'), webhooks: this.#webhooks };
    const parts = composeHost(this.#setup, registry, drain, this.#opened);
    this.#parts = parts;
    const known = await parts.sessions.loadAll();
    for (const session of known) {
      // A start is how a key that was wrong is put right.
      await endWait(session, 'model', clock.now());
      if (triesAtOnce) await endWait(session, 'wake', clock.now());
    }
    await this.#adopt(parts);

    if (settings.healthPort > 0) {
      const { metrics } = parts;
      const options = {
        port: settings.healthPort,
        readiness: () => readinessOf(this.#parts === undefined ? undefined : connections),
      };
      this.#opened.use(
        await Health.open({ ...options, metrics: (request, response) => metrics.answer(request, response) }),
      );
    }
    const control = await ControlServer.listen({
      folder: data.root,
      run: (request, onProgress) => dispatch(request, parts.operators, onProgress),
      setTimer: clock.setTimer,
      onError: (error) => log.error({ error: messageOf(error) }, 'a command over the control socket failed'),
    });
    this.#opened.defer(() => control.close());

    await this.#webhooks?.serve(readEndpoints(data));
    await connections.start(
      async (event) => {
        await parts.people.receive(event);
        parts.metrics.count('messages_accepted', event.address.channelType);
      },
      admission(registry, clock.now),
    );
    parts.delivery.start();
    parts.sweep.start();
    await parts.people.upkeep();
    this.#keepUp(parts);
    this.#guardTrouble = parts.guardWatch.begin(() => this.#parts === undefined);
    log.info({ sessions: known.length, data: data.root }, 'started');
  }

  /**
   * Stops taking part: no new run, no new attempt, and what is under way gets the configured time. Runs end with the host
   * or go on alone, to be adopted at the next start. Nothing accepted is lost either way.
   */
  async stop(runs: 'stop-runs' | 'leave-runs'): Promise<void> {
    await this.#settleDown(runs);
    if (this.#opened.disposed) return;
    this.#setup.driver.close();
    await this.#opened.disposeAsync();
    this.#setup.log.logger.info('stopped');
  }

  /** As `stop`, with runs that go on. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('leave-runs');
  }

  /** Begins nothing more, and ends what is under way within the configured time. Once for all who ask. */
  #settleDown(runs: 'stop-runs' | 'leave-runs'): Promise<DrainReport> {
    this.#quiet ??= this.#endWork(runs);
    return this.#quiet;
  }

  async #endWork(runs: 'stop-runs' | 'leave-runs'): Promise<DrainReport> {
    const { settings, log, connections } = this.#setup;
    const parts = this.#parts;
    this.#parts = undefined;
    let left: DrainReport = { unfinished: [], running: [] };
    if (parts) {
      await parts.sweep.stop();
      if (runs === 'stop-runs') await this.#stopRuns(parts);
      parts.runs.close();
      await parts.groupImages.close();
      const unfinished = await parts.delivery.stop(settings.drainMs);
      left = { unfinished, running: parts.runs.running() };
      if (unfinished.length > 0) log.logger.warn({ unfinished }, 'stopped before these deliveries had an outcome');
    }
    await connections.stop();
    return left;
  }

  async #stopRuns({ runs, sessions, delivery }: HostParts): Promise<void> {
    const log = this.#setup.log.logger;
    for (const session of sessions.all()) {
      try {
        await runs.stop(session, 'the host stops');
        await delivery.drain(session.id);
      } catch (error) {
        log.error({ session: session.id, error: messageOf(error) }, 'a run could not be stopped and goes on');
      }
    }
  }

  /** Without its engine the host takes messages in and keeps them; it asks again by itself. */
  async #adopt({ runs }: HostParts): Promise<void> {
    const log = this.#setup.log.logger;
    try {
      for (const trouble of await runs.adopt()) log.warn({ trouble }, 'a run of an earlier start could not be adopted');
    } catch (error) {
      log.error({ error: messageOf(error) }, 'the runtime does not say which runs are alive; it is asked again');
    }
  }

  /** A session whose file cannot be used must not keep the others from learning where they may write to. */
  async #refreshRouting(session: SessionHandle, registry: Registry): Promise<void> {
    const { log, ports } = this.#setup;
    try {
      await refreshRouting(session, registry, ports.clock.now());
    } catch (error) {
      if (!isSessionTrouble(error)) throw error;
      log.logger.warn({ session: session.id, error: messageOf(error) }, 'a run was not told where it may write to');
    }
  }

  /** What is done again and again as long as the host runs. */
  #keepUp({ registry, sessions, runs, people }: HostParts): void {
    const { now, setTimer } = this.#setup.ports.clock;
    const { logger: log, rotate } = this.#setup.log;
    const every = (everyMs: Millis, what: string, action: () => Promise<void>) => {
      const onTrouble = (error: unknown) => log.warn({ error: messageOf(error) }, what);
      this.#opened.use(periodically(action, { everyMs, setTimer, onTrouble }));
    };
    every(ROUTING_EVERY_MS, 'agents that run could not be given their present destinations', async () => {
      for (const id of runs.running()) {
        const session = sessions.known(id);
        if (session !== undefined) await this.#refreshRouting(session, registry);
        // All at once, with many runs, would hold up everything else.
        await new Promise<void>((resolve) => setTimer(0, resolve));
        if (this.#parts === undefined) return;
      }
    });
    every(RECONCILE_EVERY_MS, 'the runtime does not say which runs are alive', async () => {
      for (const trouble of await runs.reconcile()) log.warn({ trouble }, 'a run is not as it should be');
    });
    every(RECONCILE_EVERY_MS, 'a run that would be started differently now goes on', () =>
      replaceOutdatedRuns(runs, this.#setup),
    );
    every(WAITING_EVERY_MS, 'what waits could not be looked after', async () => {
      runs.makeRoom();
      await people.retryKept();
    });
    every(PEOPLE_EVERY_MS, 'questions and approvals could not be looked after', () => people.upkeep());
    every(FORGET_EVERY_MS, 'old entries could not be deleted', async () => {
      rotate();
      await forgetInRegistry(registry, retentionOf(this.#setup.settings), now());
    });
  }
}

/**
 * An instance name stands for one type for good: chats, people and their roles are kept under it, and those of another platform
 * would inherit them.
 */
function admission(registry: Registry, now: () => Millis): Admit {
  return async (instance, type) => {
    try {
      const claim = await registry.channels.claim(instance, type, now());
      if (typeof claim === 'string') return undefined;
      return `The name ${instance} has been that of a channel of type ${claim.takenBy}, whose chats and people are kept under it; give this one another name.`;
    } catch (error) {
      return messageOf(error);
    }
  };
}
