/**
 * A running host from outside: what operators may ask of it and change in it, and what it tells whoever watches it. It
 * decides nothing; every answer is that of one of its parts.
 */

import type { Gauges, Readiness } from '../observability/index.ts';
import {
  type DrainReport,
  type LiveHost,
  type LiveStatus,
  type Operators,
  openSessionFiles,
  SessionViews,
} from '../operator/index.ts';
import { type ImageRebuilt, isolationSentence, type Rebuilt, timeZoneOf } from '../runs/index.ts';
import type { HostOptions } from './host-options.ts';
import type { Running } from './running.ts';

/** What operators work with while the host runs. `drain` ends its work, and gives what was unfinished. */
export function operatorsOf(running: Running, options: HostOptions, drain: () => Promise<DrainReport>): Operators {
  const { data, configValues, config, version, now, newId, newSecret, guard, scratch } = options;
  const { registry, sessions } = running;
  const live = liveHost(running, options, drain);
  const common = { data, config: configValues, timeZone: timeZoneOf(config), version, now, live, registry };
  return {
    reading: {
      ...common,
      sessions: new SessionViews({ data, readerFor: (folder) => guard.reader(folder), scratch }),
    },
    changing: {
      ...common,
      sessions: openSessionFiles(sessions),
      actor: 'operator',
      newId,
      newSecret,
      onProgress: () => undefined,
    },
  };
}

function liveHost(running: Running, options: HostOptions, drain: () => Promise<DrainReport>): LiveHost {
  const { sessions, runs, groupImages, people, delivery, sweep, upkeep, connections } = running;
  return {
    status: () => status(running, options),
    drain: async (onProgress) => {
      onProgress('taking up nothing more, and ending what is under way');
      const report = await drain();
      options.onDrained();
      return report;
    },
    poke: (id) => sweep.poke(id),
    stopRun: async (id, reason) => {
      const session = sessions.known(id);
      return session !== undefined && runs.stop(session, reason);
    },
    forget: async (id) => {
      const session = sessions.known(id);
      if (session === undefined) return;
      await sweep.remove(id);
      await runs.stop(session, 'its session is removed');
      await delivery.remove(id);
      upkeep.forget(id);
      sessions.forget(id);
    },
    applyApproval: (id) => people.approvals.apply(id),
    reloadWebhooks: (endpoints) => options.onEndpoints(endpoints, connections),
    rebuildImage: async (id, onProgress) => imageRebuilt(await groupImages.rebuild(id, onProgress)),
  };
}

function status({ runs, connections, since }: Running, { pid, isolation }: HostOptions): LiveStatus {
  return {
    pid,
    since,
    isolation: isolationSentence(isolation),
    channels: connections.states().map(({ type, health }) => ({
      type,
      state: health.state,
      reason: health.state === 'offline' ? health.reason : null,
    })),
    running: runs.running(),
  };
}

/** What came of a build, for whoever asked for it. */
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
export function readinessOf(running: Pick<Running, 'connections'> | undefined): Readiness {
  if (running === undefined) return { type: 'not-ready', reasons: ['The host starts or stops just now.'] };
  const away = running.connections.states().filter(({ health }) => health.state !== 'online');
  if (away.length === 0) return { type: 'ready' };
  return { type: 'not-ready', reasons: away.map(({ type }) => `The channel "${type}" is not connected.`) };
}

/** What is so in the host now, to be measured. */
export function gaugesOf(
  { sessions, runs, upkeep, connections }: Pick<Running, 'sessions' | 'runs' | 'upkeep' | 'connections'>,
  now: number,
): Gauges {
  const { dueMessages, oldestDueAt } = upkeep.queue();
  return {
    sessions: sessions.all().length,
    runs: runs.running().length,
    dueMessages,
    oldestDueMs: oldestDueAt === undefined ? 0 : Math.max(0, now - oldestDueAt),
    channels: connections.states().map(({ type, health }) => ({ type, isOnline: health.state === 'online' })),
  };
}
