/**
 * Who calls whom: a host's parts, put together in the order in which they need each other. Each step takes what was made before
 * it and nothing that is made after it; what has to go the other way are events (`events.ts`).
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
import type { Registry } from '@nanoclaw/registry';
import {
  changeToken,
  isHostile,
  type Millis,
  type OutboundFinding,
  SESSION_LOOP,
  SessionLoop,
  type SessionLoopPorts,
  type VisitTrouble,
} from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { cut, oneLine } from '@nanoclaw/session-db/text';
import { checkedPolicy, SWEEP_POLICY } from '@nanoclaw/sweep';
import { type ActionPorts, applyActionOutcome, type EffectContext, performAction } from '../actions/index.ts';
import { type HostMessenger, hostMessenger } from '../channels/index.ts';
import { cannotBeWritten, isSessionTrouble, messageOf, Problem, systemCode } from '../errors/index.ts';
import { People } from '../inbound/index.ts';
import { type Counting, Metrics } from '../observability/index.ts';
import { type CommandContexts, runAgentCommand } from '../operator/index.ts';
import { cleanUp, type OutboundPorts, routeOf, send } from '../outbound/index.ts';
import { GroupImages, providerOf, Runs, timeZoneOf } from '../runs/index.ts';
import {
  destinationsOf,
  FindingRecords,
  type LockedFile,
  refusedRows,
  type SessionHandle,
  Sessions,
} from '../session/index.ts';
import {
  Activity,
  ModelTroubles,
  type RetentionPolicy,
  rateLimitedMessenger,
  Typing,
  Upkeep,
} from '../upkeep/index.ts';
import { defaultAgent } from './defaults.ts';
import { type HostEmitter, hostEmitter } from './events.ts';
import { GuardWatch } from './guard-watch.ts';
import type { HostSetup } from './host-setup.ts';
import { type Drain, gaugesOf, imageRebuilt, operatorsOf } from './operators.ts';

const DAY_MS = 86_400_000;

/** Every session's change token is looked at so often: what a missed bell costs at most. A look is some microseconds. */
const FLOOR_MS = 5_000;
/** A visit waits for its read and little else. */
const VISITS_MAX = 32;

/** The parts of a host that others reach into, from its start to the beginning of its end. */
export interface HostParts {
  readonly registry: Registry;
  readonly sessions: Sessions;
  readonly runs: Runs;
  readonly groupImages: GroupImages;
  readonly people: People;
  readonly delivery: DeliveryLoop;
  readonly sweep: SessionLoop;
  readonly metrics: Metrics;
  readonly operators: CommandContexts;
  readonly guardWatch: GuardWatch;
}

/** Puts a host together over its registry. What has to be closed is left in `opened`, in order. Nothing runs yet. */
export function composeHost(
  setup: HostSetup,
  registry: Registry,
  drain: Drain,
  opened: AsyncDisposableStack,
): HostParts {
  const { connections, ports } = setup;
  const events = hostEmitter();
  const activity = new Activity();
  const modelTroubles = new ModelTroubles();
  const rateStore = opened.use(rateStoreOf(setup));
  const metrics = opened.use(new Metrics());
  const noteFinding = findingNoter(setup, metrics, events);
  const ground: Ground = {
    registry,
    events,
    activity,
    modelTroubles,
    rates: new RateLimits(rateStore),
    metrics,
    noteFinding,
    messenger: countedMessenger(hostMessenger(connections.byInstance, ports.clock.setTimer), metrics),
    sessions: opened.use(composeSessions(setup, registry, events, noteFinding)),
  };
  const { sessions } = ground;
  const { groupImages, runs } = composeRuns(setup, ground);
  metrics.watch({
    gauges: () => gaugesOf({ sessions, runs, activity, modelTroubles, connections }, ports.clock.now()),
    loopDelay: ports.loopDelay,
    openFiles: ports.openFiles,
  });
  opened.use(setup.uncaught.listen(({ origin }) => metrics.count('uncaught_errors', origin)));
  const effects = composeActions(setup, ground, runs, groupImages);
  const people = composePeople(setup, ground, effects);
  const guardWatch = new GuardWatch(setup);
  const reachable = { ...ground, runs, groupImages, people, guardWatch, since: ports.clock.now() };
  const operators = operatorsOf(reachable, setup, drain);
  const delivery = composeDelivery(setup, ground, people, {
    ...effects,
    requestApproval: (request) => approvalFor(request, people),
    runAgentCommand: (words, scope, agentGroupId) => operatorCommand(words, scope, agentGroupId, operators),
  });
  const sweep = composeUpkeep(setup, ground, runs, delivery);
  return { registry, sessions, runs, groupImages, people, delivery, sweep, metrics, operators, guardWatch };
}

/** Keeps what may be sent how often; a file that is damaged is not worth a start. */
function rateStoreOf({ data, ports, log }: HostSetup): SqliteRateStore {
  try {
    return new SqliteRateStore(openSqlite, data.rates, ports.clock.now(), ({ type, path, error }) => {
      const what = type === 'made-anew' ? 'a damaged file was made anew' : 'what was sent how often cannot be kept';
      log.logger.warn({ file: path, error: messageOf(error) }, what);
    });
  } catch (error) {
    throw cannotBeWritten(data.rates, error);
  }
}

/** What everything else stands on. */
interface Ground {
  readonly registry: Registry;
  readonly events: HostEmitter;
  readonly activity: Activity;
  readonly modelTroubles: ModelTroubles;
  readonly rates: RateLimits;
  readonly metrics: Metrics;
  readonly noteFinding: NoteFinding;
  readonly messenger: HostMessenger;
  readonly sessions: Sessions;
}

/** Of what is kept of a finding, in characters. */
const FINDING_LENGTH_MAX = 500;

/**
 * Notes what of a session's agent was stopped: counted, kept with the session, and in the log now and then, since an agent can
 * cause any number of them. `finding` is one of a few names, `detail` a sentence.
 */
type NoteFinding = (session: Pick<SessionHandle, 'id' | 'folder'>, finding: string, detail: string) => void;

/** What everything that stops something of an agent tells. */
function findingNoter({ ports, log: { logger } }: HostSetup, metrics: Counting, events: HostEmitter): NoteFinding {
  const records = new FindingRecords();
  events.on('removed', (id) => records.forget(id));
  return ({ id, folder }, finding, given) => {
    const detail = oneLine(given, FINDING_LENGTH_MAX);
    metrics.count('findings', finding);
    try {
      if (!records.note(id, folder, finding, detail, ports.clock.now())) return;
      logger.warn({ session: id, finding, detail }, 'something of an agent was stopped');
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      logger.warn(
        { session: id, finding, detail, error: messageOf(error) },
        'what of an agent was stopped was not kept',
      );
    }
  };
}

function composeSessions(
  { data, guard, ports, shares }: HostSetup,
  registry: Registry,
  events: HostEmitter,
  noteFinding: NoteFinding,
): Sessions {
  return new Sessions({
    registry,
    data,
    setTimer: ports.clock.setTimer,
    monotonic: ports.monotonic,
    readerFor: (folder) => guard.reader(folder),
    openMax: shares.sessionsMax,
    onKnown: (session) => void events.emit('known', session),
    onRing: (id) => void events.emit('changed', id),
    onFlood: (session) =>
      noteFinding(session, 'bell-flood', 'It rings its bell without end, and is heard now and then.'),
    onLocked: (session, file, lockedMs) => {
      noteFinding(session, `${file}-locked`, LOCKED[file](Math.round(lockedMs / 1_000)));
      if (file === 'inbound') events.emit('locked', session.id);
    },
  });
}

/** What is told of a file that stays locked. */
const LOCKED: Readonly<Record<LockedFile, (seconds: number) => string>> = {
  inbound: (seconds) =>
    `Its inbound.db has been locked for ${seconds} s, and the host could write nothing. A run that it has is stopped.`,
  outbound: (seconds) => `It has locked its outbound.db for ${seconds} s, and nothing of it could be read.`,
};

// ── Runs ────────────────────────────────────────────────────────────────────────────────────────────────────────────

function composeRuns(setup: HostSetup, { registry, events, activity, metrics, sessions }: Ground) {
  const { data, settings, installId, modelEnv, runnerFolder, skillsFolder, isolation, modules, load, ports } = setup;
  const { now, setTimer } = ports.clock;
  const log = setup.log.logger;
  const groupImages = new GroupImages({
    registry,
    isolation,
    installId,
    data,
    config: settings,
    setTimer,
    providerOf: (agent) => providerOf(agent, settings, modelEnv),
    onMended: (agentGroup, rebuilt) => log.info({ agentGroup, rebuilt }, 'an image was built anew'),
  });
  const runs = new Runs({
    driver: setup.driver,
    registry,
    sessions,
    context: {
      installId,
      data,
      config: settings,
      runnerFolder,
      skillsFolder,
      isolation,
      groupImages,
      modelEnv,
      providers: modules.providers,
      load,
      onRefused: (agentGroup, refusals) =>
        log.warn({ agentGroup, refusals }, 'an agent starts without some of what its settings ask for'),
    },
    now,
    newId: ports.newId,
    beforeStart: (session) => refreshRouting(session, registry, now()),
    isBusy: (id) => activity.isBusy(id),
    finishedAt: (id) => activity.finishedAt(id),
    onUnfinished: (session, run, heldMs) => {
      metrics.count('kills', 'unfinished');
      log.warn({ session, run, heldMs }, 'a run has ended nothing for long, and its place is needed');
    },
    onChange: (id) => void events.emit('changed', id),
    onStarted: () => metrics.count('runs_started'),
    onWakeFailed: (id, reason) => {
      metrics.count('wake_failures');
      log.error({ session: id, reason }, 'a run could not be started');
      setup.onUnanswered(reason);
    },
  });
  groupImages.whenChanged(async (agentGroupId) => {
    // What waited for the image need not wait for its time.
    for (const session of sessions.of(agentGroupId)) {
      await endWait(session, 'wake', now());
      events.emit('wake', session.id);
    }
    await replaceOutdatedRuns(runs, setup);
  });
  return { groupImages, runs };
}

/** Ends the runs that would be started differently now and have nothing in hand. Rejects when one could not be ended. */
export async function replaceOutdatedRuns(runs: Runs, { log }: Pick<HostSetup, 'log'>): Promise<void> {
  for (const session of await runs.replaceOutdatedRuns()) log.logger.info({ session }, 'a run was replaced');
}

/** Tells a session's run where its agent may write to, as the registry has it now. */
export async function refreshRouting(session: SessionHandle, registry: Registry, now: Millis): Promise<void> {
  const destinations = await destinationsOf(session, registry);
  await session.write((files) => files.setRouting({ destinations, replyTo: files.routing().replyTo }, now));
}

/**
 * Ends a wait of a session: of one whose run could not be started, or of its messages that wait for their model. One whose file
 * cannot be used is left to the sweep.
 */
export async function endWait(session: SessionHandle, wait: 'wake' | 'model', now: Millis): Promise<void> {
  try {
    await session.write((files) => {
      if (wait === 'wake') files.trouble.retryNow('wake', now);
      else files.deferrals.retryNow(now);
    });
  } catch (error) {
    if (!isSessionTrouble(error)) throw error;
  }
}

// ── People and what agents ask ──────────────────────────────────────────────────────────────────────────────────────

function composeActions(
  setup: HostSetup,
  { registry, sessions, events }: Ground,
  runs: Runs,
  groupImages: GroupImages,
): EffectContext {
  const log = setup.log.logger;
  return {
    registry,
    sessions,
    data: setup.data,
    timeZone: timeZoneOf(setup.settings),
    now: setup.ports.clock.now,
    wake: (id) => void events.emit('wake', id),
    rebuildImage: async (id) => {
      const onProgress = (line: string) => log.debug({ agentGroup: id, line }, 'building an image');
      return imageRebuilt(await groupImages.rebuild(id, onProgress));
    },
    replaceOutdatedRuns: () => replaceOutdatedRuns(runs, setup),
  };
}

function composePeople(setup: HostSetup, ground: Ground, effects: EffectContext): People {
  const { registry, sessions, events, metrics, rates, messenger } = ground;
  const { connections, ports } = setup;
  const log = setup.log.logger;
  return new People({
    registry,
    sessions,
    messenger: rateLimitedMessenger(messenger, rates, ports.clock.now),
    now: ports.clock.now,
    newChats: (instance) => connections.newChats(instance),
    defaultAgent: () => defaultAgent(registry),
    applyActionOutcome: (approval) => applyActionOutcome(approval, effects),
    wake: (id) => void events.emit('wake', id),
    onDropped: ({ address }, reason) => {
      metrics.count('messages_dropped', reason);
      log.info({ address, reason }, 'a message was dropped');
    },
    onTrouble: (approval, reason) => log.warn({ approval, reason }, 'what an approval allows could not be done yet'),
  });
}

async function approvalFor(
  request: Parameters<ActionPorts['requestApproval']>[0],
  people: People,
): ReturnType<ActionPorts['requestApproval']> {
  const opened = await people.approvals.request({ ...request, messagingGroupId: null });
  return opened.type === 'open' ? { type: 'asked' } : { type: 'refused', reason: 'Too many requests wait already.' };
}

async function operatorCommand(
  words: Parameters<ActionPorts['runAgentCommand']>[0],
  scope: Parameters<ActionPorts['runAgentCommand']>[1],
  agentGroupId: Parameters<ActionPorts['runAgentCommand']>[2],
  operators: CommandContexts,
) {
  const outcome = await runAgentCommand(words, scope, agentGroupId, operators);
  if (outcome.type === 'refused') throw new Problem(outcome.reason, 8);
  return outcome.result;
}

/** A messenger whose notices are counted. */
function countedMessenger(messenger: HostMessenger, counting: Counting): HostMessenger {
  return {
    ...messenger,
    notify: async (address, text, key) => {
      const result = await messenger.notify(address, text, key);
      counting.count('notices', result.type);
      return result;
    },
  };
}

// ── Delivery ────────────────────────────────────────────────────────────────────────────────────────────────────────

function composeDelivery(setup: HostSetup, ground: Ground, people: People, actions: ActionPorts): DeliveryLoop {
  const { registry, sessions, events, metrics, rates, noteFinding } = ground;
  const { connections, guard, ports } = setup;
  const { now } = ports.clock;
  const log = setup.log.logger;
  const outbound: OutboundPorts = {
    registry,
    sessions,
    channels: connections.byInstance,
    now,
    wake: (id) => void events.emit('wake', id),
    spool: async (session, messageId, names) => {
      const files = await guard.spool(session.folder, messageId, names);
      for (const file of files) {
        if (file.type === 'stored' || file.finding === undefined) continue;
        noteFinding(session, `file-${file.finding}`, `${file.name}: ${file.reason}`);
      }
      return files;
    },
    remove: (session, messageId) => guard.remove(session.folder, messageId),
    isFirst: (key) => rates.take([{ key, burst: 1, everyMs: DAY_MS }], now()) === 0,
    openQuestion: (session, message, address) => people.questions.open(session, message, address),
    performAction: (session, row, { uncertain }) => performAction(session, row, uncertain, actions),
  };
  const delivery = new DeliveryLoop(deliveryWorld(setup, sessions, outbound, new Gate(rates)), {
    concurrency: Math.min(VISITS_MAX, setup.shares.visitsMax),
    // The sweep reads what runners write, and hands it on.
    newsFrom: 'pokes',
    onReport: (id, report) => {
      noteDelivery(report, metrics);
      const session = sessions.known(id);
      if (session !== undefined) for (const found of findingsIn(report)) noteFinding(session, ...found);
    },
    onTrouble: (trouble) => {
      log.error(
        { ...trouble, error: 'error' in trouble ? messageOf(trouble.error) : '' },
        'the delivery of a session is in trouble',
      );
    },
  });
  events.on('known', (session) => delivery.add(portOf(session)));
  events.on('removed', (id, letGo) => void letGo.push(delivery.remove(id)));
  return delivery;
}

function deliveryWorld(setup: HostSetup, sessions: Sessions, outbound: OutboundPorts, gate: Gate): DeliveryLoopPorts {
  const { ports, onUnanswered } = setup;
  const log = setup.log.logger;
  return {
    route: (id, message) => {
      const session = sessions.known(id);
      if (session === undefined) return { type: 'refused', reason: 'Its session is not known any more.' };
      return routeOf(session, message, outbound.channels);
    },
    send: async (message, attempt: Attempt) => {
      const session = sessions.known(attempt.session);
      // Not that its channel is away, which would hold up the others.
      if (session === undefined) throw new Error('Its session is not known any more.');
      return send(session, message, attempt, outbound);
    },
    cleanUp: async (id, messageOutId) => {
      const session = sessions.known(id);
      if (session !== undefined) await cleanUp(session, messageOutId, outbound);
    },
    notify: async (session, notice) => {
      log.error({ session, reason: notice.reason }, 'messages were given up');
      onUnanswered(`The reply could not be delivered: ${notice.reason}`);
    },
    gate,
    now: ports.clock.now,
    monotonic: ports.monotonic,
    setTimer: ports.clock.setTimer,
    random: ports.random,
    policy: DELIVERY_POLICY,
  };
}

/** What one look at a runner's file has found that no honest runner does, by name, and with a sentence on it. */
function findingsIn({ finding, refused, isHeldBack }: DeliveryReport): (readonly [finding: string, detail: string])[] {
  const isFound = finding !== undefined && isHostile(finding);
  return [
    ...(isFound ? [[`database-${finding.type}`, detailOf(finding)] as const] : []),
    ...(refused.length > 0 ? [['rows-refused', refusedRows(refused)] as const] : []),
    ...(isHeldBack ? [['messages-held-back', HELD_BACK] as const] : []),
  ];
}

const HELD_BACK = 'Too many of its messages wait already: the others stay in its file until some of those have ended.';

function detailOf(finding: OutboundFinding): string {
  return 'detail' in finding ? finding.detail : finding.type;
}

function noteDelivery(report: DeliveryReport, metrics: Counting): void {
  for (const { settled } of report.attempts) metrics.count('deliveries', settled.to);
  if (report.finding) metrics.count('quarantines', report.finding.type);
  for (const { table } of report.refused) metrics.count('rows_refused', table);
}

function portOf(session: SessionHandle): DeliverySession {
  return {
    key: session.id,
    folder: session.folder,
    inSession: (use) => session.write(use),
    reader: session.reader,
  };
}

// ── Upkeep ──────────────────────────────────────────────────────────────────────────────────────────────────────────

function composeUpkeep(setup: HostSetup, ground: Ground, runs: Runs, delivery: DeliveryLoop): SessionLoop {
  const { registry, sessions, events, activity, modelTroubles, metrics, rates, messenger, noteFinding } = ground;
  const { connections, ports, settings, modelEnv, onUnanswered } = setup;
  const log = setup.log.logger;
  const upkeep = new Upkeep({
    sessions,
    runs,
    activity,
    modelTroubles,
    providerOf: async ({ agentGroupId }) => {
      const agent = await registry.agentGroup(agentGroupId);
      return agent === undefined ? 'unknown' : providerOf(agent, settings, modelEnv);
    },
    onModelBack: (provider) => {
      askAgain(provider, ground, setup).catch((error: unknown) => {
        log.warn({ provider, error: messageOf(error) }, 'what waits for a model that is back keeps to its waits');
      });
    },
    messenger,
    rates,
    typing: new Typing(connections.byInstance),
    counting: metrics,
    noteFinding,
    policy: checkedPolicy(SWEEP_POLICY),
    retention: retentionOf(settings),
    now: ports.clock.now,
    log,
    onRead: (id, read) => delivery.poke(id, read),
    onUnanswered,
  });
  const loopPorts: SessionLoopPorts = {
    visit: async (id, { steadySince }) => ({ type: 'visited', nextAt: await upkeep.visit(id, steadySince) }),
    token: (id) => {
      const session = sessions.known(id);
      return session && changeToken(session.folder.outbound);
    },
    now: ports.clock.now,
    monotonic: ports.monotonic,
    setTimer: ports.clock.setTimer,
    onTrouble: (trouble) => {
      log.error(
        { ...trouble, error: 'error' in trouble ? messageOf(trouble.error) : '' },
        'the upkeep of a session is in trouble',
      );
      noteQuarantine(sessions.known(trouble.key), trouble, registry).catch((error: unknown) => {
        log.error(
          { session: trouble.key, error: messageOf(error) },
          'the trouble of a session could not be written down',
        );
      });
    },
  };
  const tickMs = Math.min(SESSION_LOOP.tickMs, FLOOR_MS);
  const sweep = new SessionLoop(loopPorts, {
    ...SESSION_LOOP,
    concurrency: Math.min(VISITS_MAX, setup.shares.visitsMax),
    floorMs: FLOOR_MS,
    tickMs,
  });
  events.on('known', ({ id }) => sweep.add(id));
  events.on('removed', (id, letGo) => {
    letGo.push(sweep.remove(id));
    upkeep.forget(id);
  });
  events.on('changed', (id) => {
    sweep.poke(id);
    if (upkeep.isSendingNotices(id)) delivery.poke(id);
  });
  events.on('wake', (id) => sweep.poke(id));
  events.on('locked', (id) => {
    const session = sessions.known(id);
    if (session === undefined || runs.state(session).type !== 'live') return;
    metrics.count('kills', 'locked');
    void runs.stop(session, 'it holds the file of its session').catch((error: unknown) => {
      log.error({ session: id, error: messageOf(error) }, 'a run could not be stopped');
    });
  });
  return sweep;
}

/** A model that has answered for one agent is asked for the others that wait for it, as often as once in this time. */
const ASKED_AGAIN_EVERY_MS = 60_000;

/** Ends the waits for a provider. That it is back is the word of a container, which must not keep the others busy with it. */
async function askAgain(
  provider: string,
  { sessions, modelTroubles, rates, events }: Ground,
  { ports }: HostSetup,
): Promise<void> {
  const { now } = ports.clock;
  const waiting = modelTroubles.waitingFor(provider).flatMap((id) => sessions.known(id) ?? []);
  if (waiting.length === 0) return;
  if (rates.take([{ key: `model-back/${provider}`, burst: 1, everyMs: ASKED_AGAIN_EVERY_MS }], now()) > 0) return;
  for (const session of waiting) {
    await endWait(session, 'model', now());
    events.emit('wake', session.id);
  }
}

/** How long what has ended is kept. */
export function retentionOf({ keepDays }: HostSetup['settings']): RetentionPolicy {
  return { keepMs: keepDays * DAY_MS };
}

/** Lets the registry say that a session cannot be looked after just now, and when it can again: its own file may not. */
async function noteQuarantine(
  session: SessionHandle | undefined,
  trouble: VisitTrouble,
  registry: Registry,
): Promise<void> {
  if (session === undefined || trouble.type === 'hangs') return;
  const quarantine =
    trouble.type === 'over' ? null : { reason: cut(messageOf(trouble.error), 500), until: trouble.retryAt };
  await registry.setSessionQuarantine(session.id, quarantine);
}
