/**
 * `nanoclaw start`: a host on this machine, made of what the process and its configuration give, from its start to its
 * orderly end. On a terminal a person talks with it; without one it is a daemon.
 */
import { realpathSync } from 'node:fs';
import { TerminalChannel, terminalSocketPath } from '@nanoclaw/channels/terminal';
import { WebhookChannel } from '@nanoclaw/channels/webhook';
import { createHost, MAIN_CHAT, type RunningHost } from '@nanoclaw/host';
import { type DataFolder, makeDataFolder } from '@nanoclaw/host/data';
import { UncaughtErrors } from '@nanoclaw/host/errors';
import { type Log, openLog } from '@nanoclaw/host/observability';
import { converse, sendAndWait } from './cli/chat.ts';
import { type Config, configValues, readConfig } from './config.ts';
import {
  conversation,
  PROGRAM_FOLDER,
  ports,
  RUNNER_FOLDER,
  SKILLS_FOLDER,
  stopSignal,
  untilAborted,
  watchUncaught,
} from './process.ts';
import { version } from './version.ts';

/**
 * Runs a host on the data folder `root` until it is told to end; with `say`, until the reply to that message is printed.
 * Gives the exit code. Throws a `Problem`.
 */
export async function start(say: string | undefined, root: string): Promise<number> {
  const config = readConfig(root, process.env);
  const folder = makeDataFolder(root);
  const isInteractive = say === undefined && process.stdin.isTTY && process.stdout.isTTY;
  const isDaemon = say === undefined && !isInteractive;
  const log = openLog(config.logLevel, folder.log, isDaemon);
  const unanswered = Promise.withResolvers<string>();
  using stopping = stopSignal();
  const uncaught = new UncaughtErrors({
    program: PROGRAM_FOLDER,
    data: realpathSync(folder.root),
    now: ports.clock.now,
  });
  using _watch = watchUncaught(uncaught, stopping.abort, config.drainMs + config.stopGraceMs);
  const host = await createHost({
    data: root,
    settings: config,
    configValues: configValues(root, process.env),
    version: version(),
    log,
    uncaught,
    ...channelsOf(folder, config, log),
    runnerFolder: RUNNER_FOLDER,
    skillsFolder: SKILLS_FOLDER,
    starts: isDaemon ? 'patient' : 'at-once',
    signal: stopping.signal,
    onDrained: stopping.abort,
    onUnanswered: unanswered.resolve,
  }).catch((error: unknown) => {
    if (error !== stopping.signal.reason) throw error;
    return undefined;
  });
  if (host === undefined) {
    process.stderr.write('The host was told to end while it waited, and was not started. Nothing accepted was lost.\n');
    return 0;
  }
  try {
    process.stderr.write(`Isolation: ${host.isolation}\n`);
    void host.guardTrouble.then((trouble) => trouble && process.stderr.write(`${trouble}\n`));
    if (isDaemon) await untilAborted(stopping.signal);
    else await talk(host, say, config, unanswered.promise, stopping.signal);
  } finally {
    // A daemon's agents go on and are adopted at the next start; those of a session at a terminal end with it.
    await host.stop(isDaemon ? 'leave-runs' : 'stop-runs');
  }
  return uncaught.isHostBroken ? 1 : 0;
}

/** Says one message and prints its reply, or holds a conversation until the person leaves. */
async function talk(
  { data }: RunningHost,
  say: string | undefined,
  { answerMs }: Config,
  unanswered: Promise<string>,
  signal: AbortSignal,
): Promise<void> {
  const socket = terminalSocketPath(data.terminal);
  const { newId } = ports;
  if (say !== undefined) {
    const ended = untilAborted(signal).then(() => 'The host was told to end before a reply came.');
    const never = Promise.race([unanswered, ended]);
    process.stdout.write(`${await sendAndWait(say, { socket, newId, answerMs, unanswered: never })}\n`);
    return;
  }
  process.stdout.write('Say something. /quit or Ctrl-D leaves.\n');
  await converse({ ...conversation(data, socket, newId), chat: MAIN_CHAT, history: 0, signal });
}

/** The channels that come with the program. */
function channelsOf(folder: DataFolder, config: Config, { logger }: Log) {
  const { clock } = ports;
  const onTrouble = (trouble: object) => logger.warn({ trouble }, 'a channel reports');
  const terminal = new TerminalChannel({ folder: folder.terminal, now: clock.now, onTrouble });
  const webhooks = new WebhookChannel({
    folder: folder.webhook,
    port: config.webhookPort,
    endpoints: [],
    now: clock.now,
    setTimer: clock.setTimer,
    onTrouble,
  });
  return { channels: { terminal: { channel: terminal } }, webhooks };
}
