/**
 * A running host from outside: what operators may ask of it and change in it, and what it tells whoever watches it. It
 * decides nothing; every answer is that of one of its parts.
 */
import type { Registry } from '@nanoclaw/registry';
import type { Millis } from '@nanoclaw/session-db';
import type { Connections, WebhookEndpoints } from '../channels/index.ts';
import { messageOf, Problem } from '../errors/index.ts';
import type { People } from '../inbound/index.ts';
import type { Gauges, Readiness } from '../observability/index.ts';
import {
  type CommandContexts,
  type DrainReport,
  type LiveHost,
  type LiveProvider,
  type LiveStatus,
  openSessionFiles,
  SessionViews,
} from '../operator/index.ts';
import {
  BUILT_IN_PROVIDERS,
  DEFAULT_PROVIDER,
  type GroupImages,
  type ImageRebuilt,
  isolationSentence,
  providerOf,
  providerProblems,
  type Rebuilt,
  type Runs,
  timeZoneOf,
} from '../runs/index.ts';
import type { Sessions } from '../session/index.ts';
import type { Activity, ModelTroubles } from '../upkeep/index.ts';
import type { HostEmitter } from './events.ts';
import type { GuardWatch } from './guard-watch.ts';
import type { HostSetup } from './host-setup.ts';
import { addChannel, loadChannel } from './load-channel.ts';

/** What operators reach into. */
interface Reachable {
  readonly registry: Registry;
  readonly events: HostEmitter;
  readonly sessions: Sessions;
  readonly runs: Runs;
  readonly groupImages: GroupImages;
  readonly people: People;
  readonly modelTroubles: ModelTroubles;
  readonly guardWatch: GuardWatch;
  readonly since: Millis;
}

/** What the host itself does for an operator. */
export interface Drain {
  /** Ends its work, and gives what was unfinished. */
  readonly drain: () => Promise<DrainReport>;
  /** `undefined`: this host has no webhook channel. */
  readonly webhooks: WebhookEndpoints | undefined;
}

/** What operators work with while the host runs. */
export function operatorsOf(host: Reachable, setup: HostSetup, drain: Drain): CommandContexts {
  const { data, configValues, settings, version, guard, ports } = setup;
  const { registry, sessions } = host;
  const { newId, newSecret, scratch } = ports;
  const live = liveHost(host, setup, drain);
  const common = {
    data,
    config: configValues,
    timeZone: timeZoneOf(settings),
    version,
    now: ports.clock.now,
    live,
    registry,
  };
  return {
    read: {
      ...common,
      sessions: new SessionViews({ data, readerFor: (folder) => guard.reader(folder), scratch }),
    },
    write: {
      ...common,
      sessions: openSessionFiles(sessions),
      actor: 'operator',
      newId,
      newSecret,
      onProgress: () => undefined,
    },
  };
}

function liveHost(host: Reachable, setup: HostSetup, { drain, webhooks }: Drain): LiveHost {
  const { sessions, runs, groupImages, people, events } = host;
  const { connections, data, load, ports, log } = setup;
  const channelOptions = { data, load, clock: ports.clock, log: log.logger };
  return {
    status: () => status(host, setup),
    drain: async (onProgress) => {
      onProgress('taking up nothing more, and ending what is under way');
      const report = await drain();
      setup.onDrained();
      return report;
    },
    poke: (id) => void events.emit('changed', id),
    stopRun: async (id, reason) => {
      const session = sessions.known(id);
      return session !== undefined && runs.stop(session, reason);
    },
    forget: async (id) => {
      const session = sessions.known(id);
      if (session === undefined) return;
      const letGo: Promise<void>[] = [];
      events.emit('removed', id, letGo);
      await runs.stop(session, 'its session is removed');
      await Promise.all(letGo);
      sessions.forget(id);
    },
    applyApproval: (id) => people.approvals.apply(id),
    reloadWebhooks: (endpoints) => serveWebhooks(webhooks, endpoints),
    rebuildImage: async (id, onProgress) => imageRebuilt(await groupImages.rebuild(id, onProgress)),
    checkChannel: async (instance, reference) => (await loadChannel(instance, reference, channelOptions)).type,
    addChannel: (instance, reference) => addChannel(instance, reference, connections, channelOptions),
    removeChannel: async (instance) => void (await connections.remove(instance)),
  };
}

async function serveWebhooks(
  webhooks: WebhookEndpoints | undefined,
  endpoints: Parameters<WebhookEndpoints['serve']>[0],
): Promise<void> {
  if (webhooks === undefined) throw new Problem('This host has no webhook channel; nothing was changed.', 2);
  try {
    await webhooks.serve(endpoints);
  } catch (error) {
    throw new Problem(`The webhook channel cannot serve that: ${messageOf(error)} Nothing was changed.`, 2, {
      cause: error,
    });
  }
}

function status({ runs, modelTroubles, guardWatch, since }: Reachable, setup: HostSetup): LiveStatus {
  const { ports, isolation, connections, modules, load, uncaught } = setup;
  return {
    pid: ports.pid,
    since,
    isolation: isolationSentence(isolation),
    guard: guardWatch.sentence,
    channels: connections.states().map(({ instance, type, health }) => ({
      instance,
      type,
      state: health.state,
      reason: 'reason' in health ? health.reason : null,
    })),
    providers: isolation.type === 'custom' && isolation.driver === undefined ? [] : providersOf(setup),
    modelTroubles: modelTroubles.all(),
    problems: providerProblems(modules.providers, load),
    uncaught: uncaught.records,
    running: runs.running(),
    waiting: runs.waiting(),
  };
}

function providersOf({ settings, modelEnv, modules }: HostSetup): LiveProvider[] {
  const standard = providerOf({ provider: DEFAULT_PROVIDER }, settings, modelEnv);
  const own = Object.entries(modules.providers).map(([name, { module }]) => ({ name, module }));
  return [...BUILT_IN_PROVIDERS.map((name) => ({ name, module: null })), ...own].map((each) => ({
    ...each,
    isDefault: each.name === standard,
  }));
}

/** The result of a build, for the caller who asked for it. */
export function imageRebuilt(rebuilt: Rebuilt): ImageRebuilt {
  switch (rebuilt.type) {
    case 'built':
      return rebuilt;
    case 'common':
      return { type: 'built', image: 'the common image' };
    case 'broken-off':
    case 'failed':
      return { type: 'failed', reason: rebuilt.reason };
  }
}

/** Whether the host does its work; `undefined`: it has not begun, or ends. */
export function readinessOf(connections: Connections | undefined): Readiness {
  if (connections === undefined) return { type: 'not-ready', reasons: ['The host starts or stops just now.'] };
  const away = connections.states().filter(({ health }) => health.state !== 'online');
  if (away.length === 0) return { type: 'ready' };
  return { type: 'not-ready', reasons: away.map(({ instance }) => `The channel "${instance}" is not connected.`) };
}

/** What is so in the host now, to be measured. */
export function gaugesOf(
  host: {
    readonly sessions: Sessions;
    readonly runs: Runs;
    readonly activity: Activity;
    readonly modelTroubles: ModelTroubles;
    readonly connections: Connections;
  },
  now: Millis,
): Gauges {
  const { sessions, runs, activity, modelTroubles, connections } = host;
  const { dueMessages, oldestDueAt } = activity.queue();
  return {
    sessions: sessions.all().length,
    runs: runs.running().length,
    runsWaiting: runs.waiting().length,
    dueMessages,
    oldestDueMs: oldestDueAt === undefined ? 0 : Math.max(0, now - oldestDueAt),
    modelTroubles: modelTroubles.all(),
    channels: connections.states().map(({ instance, health }) => ({ instance, isOnline: health.state === 'online' })),
  };
}
