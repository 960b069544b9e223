/**
 * The host: ties the packages together and owns their order of start and stop. What it decides itself is in the files
 * beside this one; here is who calls whom.
 */
import type { Channel } from '@nanoclaw/channels';
import { TerminalChannel, terminalSocketPath } from '@nanoclaw/channels';
import type { Driver } from '@nanoclaw/containers';
import {
  type Attempt,
  DELIVERY_POLICY,
  DeliveryLoop,
  Gate,
  RateLimits,
  type SessionPort,
  SqliteRateStore,
  type World,
} from '@nanoclaw/delivery';
import { openRegistry, type Registry } from '@nanoclaw/registry';
import { changeToken, type Millis, type OutboundMessage, type SendResult, type SetTimer } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { checkedPolicy, observe, SWEEP_POLICY, SweepLoop, sweepSession, type Vitals } from '@nanoclaw/sweep';
import { act } from './actions.js';
import type { Config } from './config.js';
import type { DataFolder } from './data-folder.js';
import { ensureDefaults } from './defaults.js';
import type { Isolation } from './driver-choice.js';
import { receive } from './inbound.js';
import type { Logger } from './log.js';
import { Notices } from './notices.js';
import { routeOf, send } from './outbound.js';
import { messageOf } from './problem.js';
import { timeZoneOf } from './run-spec.js';
import { Runs } from './runs.js';
import { type SessionHandle, Sessions } from './sessions.js';

export interface HostOptions {
  readonly data: DataFolder;
  readonly installId: string;
  readonly config: Config;
  readonly log: Logger;
  /** The folder with the bundled agent-runner. */
  readonly runnerFolder: string;
  /** The folder with the skills of this version. */
  readonly skillsFolder: string;
  /** Runs the agents; closed with the host. */
  readonly driver: Driver;
  readonly isolation: Isolation;
  /** The environment that the model's client gets: the keys that begin with `ANTHROPIC_`. */
  readonly modelEnv: Readonly<Record<string, string>>;
  readonly now: () => Millis;
  readonly monotonic: () => number;
  readonly random: () => number;
  readonly newId: () => string;
  readonly setTimer: SetTimer;
  /**
   * Sessions whose runs could not be started are tried again at the start, whatever wait they have left: somebody who sits
   * at the terminal has come to mend it. A daemon keeps to its waits, so that restarting it in a loop hammers nothing.
   */
  readonly triesAtOnce: boolean;
  /** A message will not be answered now, and why, as one sentence. Must not throw. */
  readonly onUnanswered: (reason: string) => void;
}

/** What ended a month ago is forgotten: no platform sends a message again after that. */
const RETENTION = { keepMs: 30 * 24 * 3_600_000, batch: 500 };
const FORGET_EVERY_MS = 3_600_000;

export class Host {
  readonly #options: HostOptions;
  readonly #driver: Driver;
  readonly #channels: ReadonlyMap<string, Channel>;
  readonly #notices: Notices;
  readonly #vitals = new Map<string, Vitals>();
  readonly #forgotAt = new Map<string, Millis>();
  readonly #parts = new DisposableStack();
  #running: Running | undefined;

  constructor(options: HostOptions) {
    this.#options = options;
    this.#driver = options.driver;
    const terminal = new TerminalChannel({
      folder: options.data.terminal,
      now: options.now,
      onTrouble: (trouble) => options.log.warn({ trouble }, 'terminal channel'),
    });
    this.#channels = new Map([[terminal.type, terminal]]);
    this.#notices = new Notices(this.#channels, options.log, options.setTimer);
  }

  /**
   * Opens the registry, adopts what is alive, brings up the channels and begins to work. Rejects with what went wrong;
   * nothing then runs that did not run before.
   */
  async start(): Promise<void> {
    const { data, now, newId, log } = this.#options;
    const registry = await openRegistry({ file: data.registry, now, newId });
    this.#parts.defer(() => void registry.close());
    await ensureDefaults(registry);

    const running = this.#compose(registry);
    this.#running = running;
    const known = await running.sessions.loadAll();
    if (this.#options.triesAtOnce) for (const session of known) session.files.trouble.retryNow('wake', now());
    for (const trouble of await running.runs.adopt(known)) log.warn({ trouble }, 'adoption');
    for (const channel of this.#channels.values()) {
      await channel.start((message) =>
        receive(message, {
          registry,
          sessions: running.sessions,
          now,
          wake: (id) => running.sweep.poke(id),
          answer: (to, text) => this.#notices.say(to.address, text, `answer/${to.platformMessageId}`),
          onDropped: ({ address }, reason) => log.info({ address, reason }, 'dropped'),
        }),
      );
    }
    running.delivery.start();
    running.sweep.start();
    this.#parts.use(this.#keptReconciled(running.runs));
    log.info({ sessions: known.length, data: data.root }, 'started');
  }

  /**
   * Stops taking part: no new run, no new attempt, and what is under way gets the configured time. Runs end with the host
   * or go on alone, to be adopted at the next start. Nothing accepted is lost either way.
   */
  async stop(runs: 'stop-runs' | 'leave-runs'): Promise<void> {
    const { config, log } = this.#options;
    const running = this.#running;
    this.#running = undefined;
    if (running) {
      await running.sweep.stop();
      if (runs === 'stop-runs') await stopRuns(running, log);
      running.runs.close();
      const unfinished = await running.delivery.stop(config.drainMs);
      if (unfinished.length > 0) log.warn({ unfinished }, 'stopped before these deliveries had an outcome');
    }
    for (const channel of this.#channels.values()) await channel.stop();
    this.#driver.close();
    this.#parts.dispose();
    log.info('stopped');
  }

  /** Where terminals connect. */
  socket(): string {
    return terminalSocketPath(this.#options.data.terminal);
  }

  #compose(registry: Registry): Running {
    const { data, config, installId, log, now, newId, setTimer, modelEnv, runnerFolder } = this.#options;
    const { skillsFolder, isolation } = this.#options;
    const sessions: Sessions = this.#parts.use(
      new Sessions({
        registry,
        data,
        setTimer,
        onKnown: (session) => {
          delivery.watch(portOf(session));
          sweep.add(session.id);
        },
        onRing: (id) => {
          delivery.poke(id);
          sweep.poke(id);
        },
      }),
    );
    const runs = new Runs({
      driver: this.#driver,
      registry,
      sessions,
      context: { installId, data, config, runnerFolder, skillsFolder, isolation, modelEnv },
      now,
      newId,
      onChange: (id) => {
        delivery.poke(id);
        sweep.poke(id);
      },
      onWakeFailed: (id, reason) => {
        log.error({ session: id, reason }, 'a run could not be started');
        this.#options.onUnanswered(reason);
      },
    });
    const delivery = new DeliveryLoop(
      this.#world(sessions, (id) => sweep.poke(id)),
      {
        onReport: (session, report) => {
          if (report.finding) log.warn({ session, finding: report.finding }, 'outbound.db is not readable');
          if (report.refused.length > 0) log.warn({ session, refused: report.refused }, 'rows passed over');
        },
        onTrouble: (session, { error, nextAt }) => log.error({ session, error: messageOf(error), nextAt }, 'delivery'),
      },
    );
    const policy = checkedPolicy(SWEEP_POLICY);
    const sweep = new SweepLoop({
      visit: (id, { steadySince }) => this.#visit(id, steadySince, sessions, runs, policy),
      token: (id) => {
        const session = sessions.known(id);
        return session && changeToken(session.folder.outbound);
      },
      clock: { wall: now, monotonic: this.#options.monotonic },
      setTimer,
      onTrouble: (trouble) =>
        log.error({ ...trouble, error: 'error' in trouble ? messageOf(trouble.error) : '' }, 'sweep'),
    });
    return { sessions, runs, delivery, sweep };
  }

  /** Reconciles now and then, until it is disposed of. */
  #keptReconciled(runs: Runs): Disposable {
    const { setTimer, log } = this.#options;
    let isOver = false;
    const pass = async () => {
      try {
        for (const trouble of await runs.reconcile()) log.warn({ trouble }, 'reconciliation');
      } catch (error) {
        log.warn({ error: messageOf(error) }, 'the runtime cannot be asked what is alive');
      }
      if (!isOver) cancel = setTimer(RECONCILE_EVERY_MS, () => void pass());
    };
    let cancel = setTimer(RECONCILE_EVERY_MS, () => void pass());
    return {
      [Symbol.dispose]: () => {
        isOver = true;
        cancel();
      },
    };
  }

  /** One visit of the sweep, and what follows from it. Starting and stopping are not waited for: they poke when done. */
  async #visit(
    id: string,
    steadySince: Millis,
    sessions: Sessions,
    runs: Runs,
    policy: typeof SWEEP_POLICY,
  ): Promise<Millis | undefined> {
    const { log, now } = this.#options;
    const session = sessions.known(id);
    if (session === undefined) return undefined;
    const seen = await observe(session.files, session.reader, () => runs.state(session));
    const report = sweepSession(session.files, { ...seen, vitals: this.#vitals.get(id), steadySince }, now(), policy);
    if (report.vitals) this.#vitals.set(id, report.vitals);
    else this.#vitals.delete(id);

    for (const settled of report.settled) {
      if (settled.to === 'completed') continue;
      log.warn({ session: id, message: settled.messageId, to: settled.to, reason: settled.error }, 'attempt failed');
      if (settled.to === 'failed') {
        this.#options.onUnanswered(`The message was given up: ${settled.error}`);
        await this.#notices.givenUp(session, settled.messageId, settled.error);
      }
    }
    for (const seriesId of report.pausedSeries) await this.#notices.paused(session, seriesId, now());
    await this.#notices.owed(session, report.notices);

    const { verdict } = report;
    if (verdict.type === 'wake') void runs.wake(session);
    if (verdict.type === 'kill') {
      log.warn({ session: id, run: verdict.runId, reason: verdict.reason, tool: verdict.tool }, 'killing a run');
      void runs.stop(session, verdict.reason).catch((error: unknown) => {
        log.error({ session: id, error: messageOf(error) }, 'a run could not be stopped');
      });
    }
    if (verdict.type === 'nothing' && verdict.because === 'idle') {
      this.#forgetOld(session);
      session.rest();
    }
    return report.lookAgainAt;
  }

  /** Forgets what ended long ago, now and then and a batch at a time. */
  #forgetOld(session: SessionHandle): void {
    const now = this.#options.now();
    if (now - (this.#forgotAt.get(session.id) ?? Number.NEGATIVE_INFINITY) < FORGET_EVERY_MS) return;
    this.#forgotAt.set(session.id, now);
    session.files.prune(now, RETENTION);
    session.files.series.prune(now - RETENTION.keepMs);
  }

  #world(sessions: Sessions, onActed: (sessionId: string) => void): World {
    const { data, config, now, setTimer, random, log, onUnanswered } = this.#options;
    const rates = this.#parts.use(new SqliteRateStore(openSqlite, data.rates, now()));
    const routing = (id: string) => sessions.known(id)?.files.routing() ?? { destinations: [], replyTo: null };
    return {
      route: (session, message) => routeOf(message, routing(session), this.#channels),
      send: async (message: OutboundMessage, attempt: Attempt): Promise<SendResult> => {
        if (message.kind !== 'system') return send(message, attempt, routing(attempt.session), this.#channels);
        const session = sessions.known(attempt.session);
        if (session === undefined) return { type: 'offline' };
        act(session.files, message, timeZoneOf(config), now());
        onActed(session.id);
        return { type: 'sent', platformMessageId: null };
      },
      // No message of this host has files yet, so nothing is ever left behind.
      cleanUp: () => Promise.resolve(),
      notify: async (session, notice) => {
        log.error({ session, reason: notice.reason }, 'messages given up');
        onUnanswered(`The reply could not be delivered: ${notice.reason}`);
      },
      gate: new Gate(new RateLimits(rates)),
      now,
      setTimer,
      random,
      policy: DELIVERY_POLICY,
    };
  }
}

/** What is alive costs the runtime a question; ends are told by themselves as a rule. */
const RECONCILE_EVERY_MS = 60_000;

interface Running {
  readonly sessions: Sessions;
  readonly runs: Runs;
  readonly delivery: DeliveryLoop;
  readonly sweep: SweepLoop;
}

function portOf(session: SessionHandle): SessionPort {
  return {
    key: session.id,
    folder: session.folder,
    inSession: (use) => use(session.files),
    reader: session.reader,
  };
}

async function stopRuns({ runs, sessions, delivery }: Running, log: Logger): Promise<void> {
  for (const session of await sessions.loadAll()) {
    try {
      await runs.stop(session, 'the host stops');
      await delivery.drain(session.id);
    } catch (error) {
      log.error({ session: session.id, error: messageOf(error) }, 'a run could not be stopped and goes on');
    }
  }
}
