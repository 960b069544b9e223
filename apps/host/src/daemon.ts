/**
 * `nanoclaw start`: a host on this machine, made of what the process and its configuration give, from its start to its
 * orderly end. On a terminal somebody talks with it; without one it is a daemon.
 */
import { tmpdir } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { TerminalChannel, terminalSocketPath } from '@nanoclaw/channels/terminal';
import { WebhookChannel } from '@nanoclaw/channels/webhook';
import { Guard } from '@nanoclaw/guard';
import { type Connections, Host, MAIN_CHAT, serveEndpoints } from '@nanoclaw/host';
import { type DataFolder, installId, makeDataFolder, noteEnd, noteStart, takeLease } from '@nanoclaw/host/data';
import { messageOf, Problem } from '@nanoclaw/host/errors';
import { type Log, type LoopDelay, openLog } from '@nanoclaw/host/observability';
import { readEndpoints, type WebhookEndpoint } from '@nanoclaw/host/operator';
import { chooseIsolation, isolationSentence } from '@nanoclaw/host/runs';
import { converse, sayOnce } from './cli/chat.ts';
import { type Config, configValues, readConfig } from './config.ts';
import {
  conversation,
  driverMaker,
  modelEnvironment,
  newId,
  newSecret,
  now,
  ownUser,
  RUNNER_FOLDER,
  SKILLS_FOLDER,
  setTimer,
  sleep,
  stopSignal,
  untilAborted,
} from './process.ts';
import { version } from './version.ts';

/**
 * Runs a host on the data folder `root` until it is told to end; with `say`, until the reply to that message is printed.
 * Gives the exit code. Throws a `Problem`.
 */
export async function start(say: string | undefined, root: string): Promise<number> {
  const config = readConfig(root, process.env);
  const folder = makeDataFolder(root);
  using _lease = takeLease(root, { pid: process.pid, since: new Date() });

  const isInteractive = say === undefined && process.stdin.isTTY && process.stdout.isTTY;
  const isDaemon = say === undefined && !isInteractive;
  const log = openLog(config.logLevel, folder.log, isDaemon);
  if (isDaemon) await heldBack(folder, log);
  const unanswered = Promise.withResolvers<string>();
  const install = installId(folder, newId);
  const isolation = await chooseIsolation(config, { env: process.env, user: ownUser() });
  const driver = driverMaker(config)(isolation, install, folder.runs);
  using guard = new Guard({
    setTimer,
    onTrouble: (trouble) => log.logger.warn({ trouble }, 'what an agent wrote could not be read'),
  });
  using stopping = stopSignal();
  const channels = channelsOf(folder, config, log);
  using loop = watchedLoop();
  const host = new Host({
    data: folder,
    installId: install,
    config,
    configValues: configValues(root, process.env),
    version: version(),
    pid: process.pid,
    driver,
    isolation,
    guard,
    log,
    channels: channels.atStart,
    onEndpoints: channels.serve,
    scratch: tmpdir(),
    loopDelay: loop.delay,
    onDrained: stopping.abort,
    modelEnv: modelEnvironment(process.env),
    runnerFolder: RUNNER_FOLDER,
    skillsFolder: SKILLS_FOLDER,
    now,
    monotonic: () => performance.now(),
    random: () => Math.random(),
    newId,
    newSecret,
    setTimer,
    triesAtOnce: !isDaemon,
    onUnanswered: unanswered.resolve,
  });
  const socket = terminalSocketPath(folder.terminal);
  try {
    await started(host, root);
    process.stderr.write(`${isolationSentence(isolation)}\n`);
    if (say !== undefined) {
      const { answerMs } = config;
      const reply = await sayOnce(say, { socket, newId, answerMs, unanswered: unanswered.promise });
      process.stdout.write(`${reply}\n`);
    } else if (isInteractive) {
      process.stdout.write('Say something. /quit or Ctrl-D leaves.\n');
      const { signal } = stopping;
      await converse({ ...conversation(folder, socket), chat: MAIN_CHAT, history: 0, signal });
    } else {
      await untilAborted(stopping.signal);
    }
  } finally {
    // A daemon's agents go on and are adopted at the next start; those of a session at a terminal end with it.
    await host.stop(isDaemon ? 'leave-runs' : 'stop-runs');
  }
  if (isDaemon) noteEnd(folder.starts);
  return 0;
}

/** Waits where the last starts have ended in crashes at once, so that whoever restarts this hammers nothing. */
async function heldBack(folder: DataFolder, { logger }: Log): Promise<void> {
  const { waitMs, crashes } = noteStart(folder.starts, Date.now());
  // One that has lived for a while does not crash at every start.
  setTimeout(() => noteEnd(folder.starts), waitMs + PROVEN_MS).unref();
  if (waitMs === 0) return;
  logger.warn({ crashes, waitMs }, 'the host did not end in order the last times: waiting before this start');
  await sleep(waitMs, new AbortController().signal);
}

const PROVEN_MS = 60_000;

/** The channels of a host: those it begins with, and what takes over the endpoints of the webhook channel later. */
function channelsOf(folder: DataFolder, config: Config, { logger }: Log) {
  const onTrouble = (trouble: object) => logger.warn({ trouble }, 'a channel reports');
  const terminal = new TerminalChannel({ folder: folder.terminal, now, onTrouble });
  let endpoints = readEndpoints(folder);
  const webhook = new WebhookChannel({
    folder: folder.webhook,
    port: config.webhookPort,
    endpoints,
    now,
    setTimer,
    onTrouble,
  });
  return {
    atStart: endpoints.length === 0 ? [terminal] : [terminal, webhook],
    serve: async (next: readonly WebhookEndpoint[], connections: Connections) => {
      await serveEndpoints(webhook, next, endpoints, connections);
      endpoints = next;
    },
  };
}

/** Watches how late the event loop is. */
function watchedLoop(): { readonly delay: () => LoopDelay } & Disposable {
  const histogram = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
  histogram.enable();
  // What is measured is the time between two looks: what a look is late by is what is above its own interval.
  const late = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - LOOP_RESOLUTION_MS);
  return {
    delay: () => {
      const delay = {
        p50: late(histogram.percentile(50)),
        p99: late(histogram.percentile(99)),
        max: late(histogram.max),
      };
      histogram.reset();
      return delay;
    },
    [Symbol.dispose]: () => void histogram.disable(),
  };
}

const LOOP_RESOLUTION_MS = 10;

async function started(host: Host, root: string): Promise<void> {
  try {
    await host.start();
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem(`The host could not be started on ${root}: ${messageOf(error)} Nothing accepted was lost.`, 4, {
      cause: error,
    });
  }
}
