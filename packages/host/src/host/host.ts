/**
 * The host: ties the packages together and owns their order of start and stop. What it decides itself is in the files
 * beside this one; here is who calls whom.
 */
import {
  type Attempt,
  DELIVERY_POLICY,
  DeliveryLoop,
  type DeliveryLoopPorts,
  type DeliveryReport,
  type DeliverySession,
  Gate,
  RateLimits,
  SqliteRateStore,
} from '@nanoclaw/delivery';
import { openRegistry, type Registry } from '@nanoclaw/registry';
import {
  changeToken,
  type Millis,
  SESSION_LOOP,
  SessionLoop,
  type SessionLoopPorts,
  SqliteError,
  type VisitTrouble,
} from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { checkedPolicy, SWEEP_POLICY } from '@nanoclaw/sweep';
import { type ActionContext, act, applyAction } from '../actions/index.ts';
import { Connections, type HostMessenger, hostMessenger } from '../channels/index.ts';
import { messageOf, Problem } from '../errors/index.ts';
import { People } from '../inbound/index.ts';
import { type Counting, Health, type Log, Metrics } from '../observability/index.ts';
import { ControlServer, type DrainReport, dispatch, type Operators, runOperatorCommand } from '../operator/index.ts';
import { cleanUp, type OutboundContext, routeOf, send } from '../outbound/index.ts';
import { GroupImages, providerOf, Runs, timeZoneOf } from '../runs/index.ts';
import { destinationsOf, type SessionHandle, Sessions } from '../session/index.ts';
import {
  FORGET_EVERY_MS,
  forgetInRegistry,
  type RetentionPolicy,
  rateLimitedMessenger,
  Typing,
  Upkeep,
} from '../upkeep/index.ts';
import { ensureDefaults } from './defaults.ts';
import type { HostOptions } from './host-options.ts';
import { gaugesOf, imageRebuilt, operatorsOf, readinessOf } from './live-host.ts';
import { periodically } from './periodic.ts';
import type { Running } from './running.ts';

/** What is alive costs the runtime a question; ends are told by themselves as a rule. */
const RECONCILE_EVERY_MS = 60_000;
const PEOPLE_EVERY_MS = 60_000;
/** A run learns within this time that it may write elsewhere, or no longer, in milliseconds. */
const ROUTING_EVERY_MS = 10_000;
const DAY_MS = 86_400_000;

/** Every session's change token is looked at so often: what a missed bell costs at most. A look is some microseconds. */
const FLOOR_MS = 5_000;
/** A visit waits for its read and little else. */
const VISITS_MAX = 32;

/** Of the rows that one look has passed over, so many are named in the log. */
const REFUSED_LOGGED_MAX = 3;

/** One host on one data folder. It is started once and stopped once. */
export class Host {
  readonly #options: HostOptions;
  readonly #connections: Connections;
  readonly #parts = new AsyncDisposableStack();
  #running: Running | undefined;
  #quiet: Promise<DrainReport> | undefined;

  constructor(options: HostOptions) {
    this.#options = options;
    const { channels, setTimer, random } = options;
    const log = options.log.logger;
    this.#connections = new Connections({
      channels,
      setTimer,
      random,
      onTrouble: (trouble) => log.warn({ trouble }, 'a channel is not connected'),
    });
  }

  /**
   * Opens the registry, adopts what is alive, brings up the channels and begins to work. Rejects with what went wrong;
   * nothing then runs that did not run before. A channel that cannot be set up is tried again in the background.
   */
  async start(): Promise<void> {
    const { data, config, now, newId, setTimer } = this.#options;
    const log = this.#options.log.logger;
    const registry = await openRegistry({ file: data.registry, now, newId });
    this.#parts.defer(() => registry.close());
    await ensureDefaults(registry);

    const running = this.#compose(registry);
    this.#running = running;
    const known = await running.sessions.loadAll();
    if (this.#options.triesAtOnce) for (const session of known) endWait(session, now());
    await this.#adopt(running);

    if (config.healthPort > 0) {
      const { metrics } = running;
      const options = { port: config.healthPort, readiness: () => readinessOf(this.#running) };
      this.#parts.use(
        await Health.open({ ...options, metrics: (request, response) => metrics.answer(request, response) }),
      );
    }
    const operators = this.#operators(running);
    const control = await ControlServer.listen({
      folder: data.root,
      run: (request, onProgress) => dispatch(request, operators, onProgress),
      setTimer,
      onError: (error) => log.error({ error: messageOf(error) }, 'control socket'),
    });
    this.#parts.defer(() => control.close());

    await this.#connections.start(async (event) => {
      await running.people.receive(event);
      running.metrics.count('messages_accepted', event.address.channelType);
    });
    running.delivery.start();
    running.sweep.start();
    await running.people.upkeep();
    this.#keepUp(running);
    log.info({ sessions: known.length, data: data.root }, 'started');
  }

  /**
   * Stops taking part: no new run, no new attempt, and what is under way gets the configured time. Runs end with the host
   * or go on alone, to be adopted at the next start. Nothing accepted is lost either way.
   */
  async stop(runs: 'stop-runs' | 'leave-runs'): Promise<void> {
    const log = this.#options.log.logger;
    await this.#settleDown(runs);
    this.#options.driver.close();
    await this.#parts.disposeAsync();
    log.info('stopped');
  }

  /** Begins nothing more, and ends what is under way within the configured time. Once for all who ask. */
  #settleDown(runs: 'stop-runs' | 'leave-runs'): Promise<DrainReport> {
    this.#quiet ??= this.#endWork(runs);
    return this.#quiet;
  }

  async #endWork(runs: 'stop-runs' | 'leave-runs'): Promise<DrainReport> {
    const { config, log } = this.#options;
    const running = this.#running;
    this.#running = undefined;
    let unfinished: readonly string[] = [];
    if (running) {
      await running.sweep.stop();
      if (runs === 'stop-runs') await this.#stopRuns(running);
      running.runs.close();
      await running.groupImages.close();
      unfinished = await running.delivery.stop(config.drainMs);
      if (unfinished.length > 0) log.logger.warn({ unfinished }, 'stopped before these deliveries had an outcome');
    }
    await this.#connections.stop();
    return { unfinished };
  }

  async #stopRuns({ runs, sessions, delivery }: Running): Promise<void> {
    const log = this.#options.log.logger;
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
  async #adopt({ runs }: Running): Promise<void> {
    const log = this.#options.log.logger;
    try {
      for (const trouble of await runs.adopt()) log.warn({ trouble }, 'adoption');
    } catch (error) {
      log.error({ error: messageOf(error) }, 'the runtime cannot be asked what is alive; it is asked again');
    }
  }

  #compose(registry: Registry): Running {
    const { data, config, installId, now, newId, setTimer, modelEnv, runnerFolder } = this.#options;
    const { skillsFolder, isolation, guard, onUnanswered } = this.#options;
    const log = this.#options.log.logger;
    const connections = this.#connections;
    const channels = connections.byType;
    const rateStore = new SqliteRateStore(openSqlite, data.rates, now());
    this.#parts.use(rateStore);
    const rates = new RateLimits(rateStore);
    const messenger = countedMessenger(hostMessenger(channels, setTimer), () => metrics);
    const poke = (id: string) => {
      sweep.poke(id);
      if (upkeep.isSendingNotices(id)) delivery.poke(id);
    };
    const wake = (id: string) => sweep.poke(id);

    const sessions: Sessions = this.#parts.use(
      new Sessions({
        registry,
        data,
        setTimer,
        readerFor: (folder) => guard.reader(folder),
        onKnown: (session) => {
          delivery.add(portOf(session));
          sweep.add(session.id);
        },
        onRing: poke,
      }),
    );
    const metrics: Metrics = this.#parts.use(
      new Metrics({
        gauges: () => gaugesOf({ sessions, runs, upkeep, connections }, now()),
        loopDelay: this.#options.loopDelay,
      }),
    );
    const groupImages: GroupImages = new GroupImages({
      registry,
      isolation,
      installId,
      data,
      config,
      setTimer,
      providerOf: (agent) => providerOf(agent, config, modelEnv),
      onChanged: async (agentGroupId) => {
        // What waited for the image need not wait for its time.
        for (const session of sessions.of(agentGroupId)) {
          endWait(session, now());
          wake(session.id);
        }
        await replaceOutdatedRuns(runs, this.#options.log);
      },
      onMended: (agentGroup, rebuilt) => log.info({ agentGroup, rebuilt }, 'an image was built anew'),
    });
    const runs: Runs = new Runs({
      driver: this.#options.driver,
      registry,
      sessions,
      context: {
        installId,
        data,
        config,
        runnerFolder,
        skillsFolder,
        isolation,
        groupImages,
        modelEnv,
        onRefused: (agentGroup, refusals) =>
          log.warn({ agentGroup, refusals }, 'an agent starts without what it wishes'),
      },
      now,
      newId,
      beforeStart: (session) => refreshRouting(session, registry, now()),
      isBusy: (id) => upkeep.isBusy(id),
      onChange: poke,
      onStarted: () => metrics.count('runs_started'),
      onWakeFailed: (id, reason) => {
        metrics.count('wake_failures');
        log.error({ session: id, reason }, 'a run could not be started');
        onUnanswered(reason);
      },
    });
    const actions: ActionContext = {
      registry,
      sessions,
      data,
      timeZone: timeZoneOf(config),
      now,
      wake,
      requestApproval: async (wish) => {
        const asked = await people.approvals.request({ ...wish, messagingGroupId: null });
        return asked.type === 'open'
          ? { type: 'asked' }
          : { type: 'refused', reason: 'Too many requests wait already.' };
      },
      rebuildImage: async (id) => {
        const onProgress = (line: string) => log.debug({ agentGroup: id, line }, 'building an image');
        return imageRebuilt(await groupImages.rebuild(id, onProgress));
      },
      replaceOutdatedRuns: () => replaceOutdatedRuns(runs, this.#options.log),
      runOperatorCommand: async (words, scope, agentGroupId) => {
        const came = await runOperatorCommand(words, scope, agentGroupId, this.#operators(running));
        if (came.type === 'refused') throw new Problem(came.reason, 8);
        return came.result;
      },
    };
    const people: People = new People({
      registry,
      sessions,
      messenger: rateLimitedMessenger(messenger, rates, now),
      now,
      applyAction: (approval) => applyAction(approval, actions),
      wake,
      onDropped: ({ address }, reason) => {
        metrics.count('messages_dropped', reason);
        log.info({ address, reason }, 'dropped');
      },
      onTrouble: (approval, reason) => log.warn({ approval, reason }, 'an approval waits'),
    });
    const outbound: OutboundContext = {
      registry,
      sessions,
      channels,
      now,
      wake,
      spool: (session, messageId, names) => guard.spool(session.folder, messageId, names),
      remove: (session, messageId) => guard.remove(session.folder, messageId),
      isFirst: (key) => rates.take([{ key, burst: 1, everyMs: DAY_MS }], now()) === 0,
      openQuestion: (session, message, address) => people.questions.open(session, message, address),
      act: (session, row, { uncertain }) => act(session, row, uncertain, actions),
    };
    const delivery: DeliveryLoop = new DeliveryLoop(this.#world(sessions, outbound, new Gate(rates)), {
      // The sweep reads what runners write, and hands it on.
      newsFrom: 'pokes',
      onReport: (session, report) => this.#noteDelivery(session, report, metrics),
      onTrouble: (trouble) => {
        log.error({ ...trouble, error: 'error' in trouble ? messageOf(trouble.error) : '' }, 'delivery');
      },
    });
    const upkeep: Upkeep = new Upkeep({
      sessions,
      runs,
      messenger,
      rates,
      typing: new Typing(channels),
      counting: metrics,
      policy: checkedPolicy(SWEEP_POLICY),
      retention: this.#retention(),
      now,
      log,
      onRead: (id, read) => delivery.poke(id, read),
      onUnanswered,
    });
    const sweepPorts: SessionLoopPorts = {
      visit: async (id, { steadySince }) => ({ type: 'visited', nextAt: await upkeep.visit(id, steadySince) }),
      token: (id) => {
        const session = sessions.known(id);
        return session && changeToken(session.folder.outbound);
      },
      now,
      monotonic: this.#options.monotonic,
      setTimer,
      onTrouble: (trouble) => {
        log.error({ ...trouble, error: 'error' in trouble ? messageOf(trouble.error) : '' }, 'sweep');
        noteQuarantine(sessions.known(trouble.key), trouble, registry).catch((error: unknown) => {
          log.error({ session: trouble.key, error: messageOf(error) }, 'the trouble of a session could not be noted');
        });
      },
    };
    const tickMs = Math.min(SESSION_LOOP.tickMs, FLOOR_MS);
    const sweep = new SessionLoop(sweepPorts, { ...SESSION_LOOP, concurrency: VISITS_MAX, floorMs: FLOOR_MS, tickMs });
    const parts = { registry, connections, sessions, runs, groupImages, people, delivery, sweep, upkeep, metrics };
    const running: Running = { ...parts, since: now() };
    return running;
  }

  #world(sessions: Sessions, outbound: OutboundContext, gate: Gate): DeliveryLoopPorts {
    const { now, monotonic, setTimer, random, onUnanswered } = this.#options;
    const log = this.#options.log.logger;
    return {
      route: (id, message) => {
        const session = sessions.known(id);
        if (session === undefined) return { type: 'refused', reason: 'Its session is not known any more.' };
        return routeOf(session, message, outbound.channels);
      },
      send: async (message, attempt: Attempt) => {
        const session = sessions.known(attempt.session);
        return session === undefined ? { type: 'offline' } : send(session, message, attempt, outbound);
      },
      cleanUp: async (id, messageOutId) => {
        const session = sessions.known(id);
        if (session !== undefined) await cleanUp(session, messageOutId, outbound);
      },
      notify: async (session, notice) => {
        log.error({ session, reason: notice.reason }, 'messages given up');
        onUnanswered(`The reply could not be delivered: ${notice.reason}`);
      },
      gate,
      now,
      monotonic,
      setTimer,
      random,
      policy: DELIVERY_POLICY,
    };
  }

  #noteDelivery(session: string, report: DeliveryReport, metrics: Metrics): void {
    const log = this.#options.log.logger;
    for (const { settled } of report.attempts) metrics.count('deliveries', settled.to);
    if (report.finding) {
      metrics.count('quarantines', report.finding.type);
      log.warn({ session, finding: report.finding }, 'outbound.db is not readable');
    }
    if (report.refused.length > 0) {
      for (const { table } of report.refused) metrics.count('rows_refused', table);
      // An agent can make any number of them, and must not fill the log with it.
      const [refused, count] = [report.refused.slice(0, REFUSED_LOGGED_MAX), report.refused.length];
      log.warn({ session, count, refused }, 'rows passed over');
    }
    if (report.isHeldBack) metrics.count('held_back');
  }

  /** What is done again and again as long as the host runs. */
  #keepUp({ registry, sessions, runs, people }: Running): void {
    const { setTimer, now } = this.#options;
    const log = this.#options.log.logger;
    const every = (everyMs: Millis, what: string, action: () => Promise<void>) => {
      const onTrouble = (error: unknown) => log.warn({ error: messageOf(error) }, what);
      this.#parts.use(periodically(action, { everyMs, setTimer, onTrouble }));
    };
    every(ROUTING_EVERY_MS, 'where agents may write to could not be told them', async () => {
      for (const id of runs.running()) {
        const session = sessions.known(id);
        if (session !== undefined) await refreshRouting(session, registry, now());
        // All at once, with many runs, would hold up everything else.
        await new Promise<void>((resolve) => setTimer(0, resolve));
        if (this.#running === undefined) return;
      }
    });
    every(RECONCILE_EVERY_MS, 'the runtime cannot be asked what is alive', async () => {
      for (const trouble of await runs.reconcile()) log.warn({ trouble }, 'reconciliation');
      await replaceOutdatedRuns(runs, this.#options.log);
    });
    every(PEOPLE_EVERY_MS, 'what waits for people could not be looked after', () => people.upkeep());
    every(FORGET_EVERY_MS, 'what is old could not be forgotten', async () => {
      this.#options.log.rotate();
      await forgetInRegistry(registry, this.#retention(), now());
    });
  }

  #operators(running: Running): Operators {
    return operatorsOf(running, this.#options, () => this.#settleDown('leave-runs'));
  }

  #retention(): RetentionPolicy {
    return { keepMs: this.#options.config.keepDays * DAY_MS };
  }
}

/** Ends the runs that would be started differently now and have nothing in hand. */
async function replaceOutdatedRuns(runs: Runs, { logger }: Log): Promise<void> {
  for (const session of await runs.replaceOutdatedRuns()) logger.info({ session }, 'a run was replaced');
}

/** A messenger whose notices are counted by their results. */
function countedMessenger(messenger: HostMessenger, counting: () => Counting): HostMessenger {
  return {
    ...messenger,
    notify: async (address, text, key) => {
      const result = await messenger.notify(address, text, key);
      counting().count('notices', result.type);
      return result;
    },
  };
}

/** Tells a session's run where its agent may write to, as the registry has it now. */
async function refreshRouting(session: SessionHandle, registry: Registry, now: Millis): Promise<void> {
  const destinations = await destinationsOf(session.agentGroupId, registry);
  session.files.setRouting({ destinations, replyTo: session.files.routing().replyTo }, now);
}

/** Ends the wait of a session whose run could not be started. One whose file cannot be used is left to the sweep. */
function endWait(session: SessionHandle, now: Millis): void {
  try {
    session.files.trouble.retryNow('wake', now);
  } catch (error) {
    if (!(error instanceof SqliteError)) throw error;
  }
}

/** Lets the registry say that a session cannot be looked after just now, and when it can again: its own file may not. */
async function noteQuarantine(
  session: SessionHandle | undefined,
  trouble: VisitTrouble,
  registry: Registry,
): Promise<void> {
  if (session === undefined || trouble.type === 'hangs') return;
  const quarantine =
    trouble.type === 'over' ? null : { reason: messageOf(trouble.error).slice(0, 500), until: trouble.retryAt };
  await registry.setSessionQuarantine(session.id, quarantine);
}

function portOf(session: SessionHandle): DeliverySession {
  return {
    key: session.id,
    folder: session.folder,
    inSession: (use) => use(session.files),
    reader: session.reader,
  };
}
