#!/usr/bin/env node
/**
 * The composition root: the one place that knows the process, its environment, its clock and its terminal. Everything
 * below it is handed what it needs.
 */
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { help, parseCommand } from './arguments.js';
import { converse, sayOnce } from './cli/chat.js';
import { dataFolderOf, readConfig } from './config.js';
import { installId, makeDataFolder } from './data-folder.js';
import { diagnose, report } from './doctor.js';
import { chooseIsolation, driverFor, isolationSentence } from './driver-choice.js';
import { Host } from './host.js';
import { takeLease } from './lease.js';
import { openLog } from './log.js';
import { messageOf, Problem } from './problem.js';
import { version } from './version.js';

process.exitCode = await main(process.argv.slice(2)).catch(exitCodeOf);

async function main(words: readonly string[]): Promise<number> {
  const command = parseCommand(words);
  switch (command.type) {
    case 'help':
      process.stdout.write(help());
      return 0;
    case 'version':
      process.stdout.write(`${version()}\n`);
      return 0;
    case 'doctor':
      return doctor(command.data);
    case 'start':
      return start(command.say, command.data);
  }
}

async function doctor(data: string | undefined): Promise<number> {
  const root = dataFolderOf(data, process.env);
  const config = readConfig(root, process.env);
  const checks = await diagnose({
    dataFolder: root,
    config,
    machine: { env: process.env, user: ownUser() },
    driver: (isolation, install, stateFolder) =>
      driverFor(isolation, {
        installId: install,
        config,
        stateFolder,
        env: process.env,
        process,
        clock: { now: () => Date.now(), sleep },
      }),
    newId: () => randomUUID(),
    sleep: (ms) => sleep(ms, new AbortController().signal),
  });
  process.stdout.write(`${report(checks)}\n`);
  return checks.some(({ verdict }) => verdict === 'trouble') ? 1 : 0;
}

async function start(say: string | undefined, data: string | undefined): Promise<number> {
  const root = dataFolderOf(data, process.env);
  const config = readConfig(root, process.env);
  const folder = makeDataFolder(root);
  using _lease = takeLease(root, { pid: process.pid, since: new Date() });

  const isInteractive = say === undefined && process.stdin.isTTY && process.stdout.isTTY;
  const isDaemon = say === undefined && !isInteractive;
  const log = openLog(config.logLevel, isDaemon ? undefined : folder.log);
  const unanswered = Promise.withResolvers<string>();
  const install = installId(folder, randomUUID);
  const isolation = await chooseIsolation(config, { env: process.env, user: ownUser() });
  const driver = driverFor(isolation, {
    installId: install,
    config,
    stateFolder: folder.runs,
    env: process.env,
    process,
    clock: { now: () => Date.now(), sleep },
  });
  const host = new Host({
    data: folder,
    installId: install,
    config,
    driver,
    isolation,
    log,
    modelEnv: modelEnvironment(process.env),
    runnerFolder: fileURLToPath(new URL('../../agent-runner/dist', import.meta.url)),
    skillsFolder: fileURLToPath(new URL('../../../container/skills', import.meta.url)),
    now: () => Date.now(),
    monotonic: () => performance.now(),
    random: () => Math.random(),
    newId: () => randomUUID(),
    setTimer: (delayMs, action) => {
      const timer = setTimeout(action, delayMs);
      return () => clearTimeout(timer);
    },
    triesAtOnce: !isDaemon,
    onUnanswered: unanswered.resolve,
  });
  const stopping = new AbortController();
  const onSignal = () => stopping.abort();
  // Any number of them: a signal to the whole group arrives twice under npm, and the stop has a deadline anyway.
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);

  try {
    await started(host, root);
    process.stderr.write(`${isolationSentence(isolation)}\n`);
    if (say !== undefined) {
      const options = { ...chatOptions(host), answerMs: config.answerMs, unanswered: unanswered.promise };
      process.stdout.write(`${await sayOnce(say, options)}\n`);
    } else if (isInteractive) {
      process.stdout.write('Say something. /quit or Ctrl-D leaves.\n');
      await converse({ ...chatOptions(host), signal: stopping.signal });
    } else {
      await untilAborted(stopping.signal);
    }
  } finally {
    // A daemon's agents go on and are adopted at the next start; those of a session at a terminal end with it.
    await host.stop(isDaemon ? 'leave-runs' : 'stop-runs');
  }
  return 0;
}

async function started(host: Host, root: string): Promise<void> {
  try {
    await host.start();
  } catch (error) {
    throw new Problem(`The host could not be started on ${root}: ${messageOf(error)} Nothing accepted was lost.`, 4, {
      cause: error,
    });
  }
}

function chatOptions(host: Host) {
  return { socket: host.socket(), newId: () => randomUUID() };
}

function modelEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) =>
      name.startsWith('ANTHROPIC_') && value !== undefined && value !== '' ? [[name, value]] : [],
    ),
  );
}

function ownUser() {
  const uid = process.getuid?.();
  const gid = process.getgid?.();
  return uid === undefined || gid === undefined ? undefined : { uid, gid };
}

/** Resolves after `ms` milliseconds, or at once when the signal aborts. */
function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    if (signal.aborted) end();
    else signal.addEventListener('abort', end);
  });
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

function exitCodeOf(error: unknown): number {
  if (error instanceof Problem) {
    process.stderr.write(`nanoclaw: ${error.message}\n`);
    return error.exitCode;
  }
  process.stderr.write(
    `nanoclaw: an unexpected error: ${messageOf(error)} Nothing accepted was lost; start it again.\n`,
  );
  if (error instanceof Error && process.env['NANOCLAW_LOG'] === 'debug') process.stderr.write(`${error.stack}\n`);
  return 1;
}
