/**
 * One call gives a running host, with a default for everything: the data folder is made and leased, its log and registry are
 * opened, what containers write is read by a guard, agents run in what this machine has, channels are connected. Each part can
 * be handed over instead.
 */
import { mkdirSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Channel } from '@nanoclaw/channels';
import type { WebhookChannel } from '@nanoclaw/channels/webhook';
import type { DriverFactory } from '@nanoclaw/containers';
import { Guard } from '@nanoclaw/guard';
import type { Registry } from '@nanoclaw/registry';
import type { Clock } from '@nanoclaw/session-db';
import { Connections, type NewChats } from '../channels/index.ts';
import {
  type DataFolder,
  DEFAULT_SETTINGS,
  type HostSettings,
  installId,
  makeDataFolder,
  noteEnd,
  noteStart,
  takeLease,
} from '../data/index.ts';
import { isWorthALine, messageOf, Problem, UncaughtErrors } from '../errors/index.ts';
import { type LoadOptions, type ModuleReferences, readModuleReferences } from '../modules/index.ts';
import { type Log, openLog } from '../observability/index.ts';
import type { ConfigValue } from '../operator/index.ts';
import { chooseDriver, isolationSentence, modelEnvironment } from '../runs/index.ts';
import { type FileShares, fileShares } from './file-shares.ts';
import { Host } from './host.ts';
import type { OutboundGuard } from './host-setup.ts';
import { addChannel } from './load-channel.ts';
import { type HostPorts, processPorts } from './process-ports.ts';

/** What `createHost` takes. Only the data folder is needed. */
export interface HostOptions {
  /** The data folder: everything that the host keeps. Made where it is missing. One host at a time has it. */
  readonly data: string;
  /** Channels of the program, by the names that they have in addresses and commands; those of the configuration come besides. */
  readonly channels?: Readonly<Record<string, ChannelSetup>>;
  /** The channel behind `nanoclaw webhooks`, named `webhook`; it is connected with its first endpoint. */
  readonly webhooks?: WebhookChannel;
  /** What runs the agents. Without it: the driver that the settings name. */
  readonly driver?: DriverFactory;
  /** What is left out is as in `DEFAULT_SETTINGS`. */
  readonly settings?: Partial<HostSettings>;
  /** The modules that are loaded. Without it: those that `config.json` in the data folder names. */
  readonly modules?: ModuleReferences;
  /** The bundled program of the agents, for drivers that start one: a folder with `main.js`. */
  readonly runnerFolder?: string;
  /** The skills that agents can be given: a folder with a folder for each. */
  readonly skillsFolder?: string;
  /** Without it: lines of level `info` and above in `host.log` in the data folder. */
  readonly log?: Log;
  /** Reads what agents wrote. Without it: a guard process. */
  readonly guard?: OutboundGuard;
  /** The version of the program, for `status`. */
  readonly version?: string;
  /** Every key of the program's configuration with where its value comes from, for `config`. */
  readonly configValues?: readonly ConfigValue[];
  /** What the host takes from its process. What is left out is this process's own. */
  readonly ports?: Partial<HostPorts>;
  /**
   * What the program notes errors in that nothing caught: a host listens to no process. It says in it whose code is where,
   * logs and counts what comes, and shows it in `status`.
   */
  readonly uncaught?: UncaughtErrors;
  /** Keeps other hosts from the data folder; without it, a lock of the operating system. */
  readonly lease?: Disposable;
  /**
   * `patient` (the default): sessions whose runs could not be started keep to their waits, and a start after crashes waits, so
   * that a service manager that restarts the program in a loop hammers nothing. `at-once`: for a person at a terminal, who has
   * come to mend what was wrong.
   */
  readonly starts?: 'patient' | 'at-once';
  /** Told to end while a start waits after crashes, `createHost` rejects at once with this signal's reason, and nothing runs. */
  readonly signal?: AbortSignal;
  /** An operator wants the host to end: the program is to call `stop`. Must not throw. */
  readonly onDrained?: () => void;
  /**
   * The last starts ended in crashes, and this one waits before it does anything, a minute at most: why and how long, as one
   * sentence. Must not throw.
   */
  readonly onStartDelayed?: (reason: string) => void;
  /** A message will not be answered now, and why, as one sentence. Must not throw. */
  readonly onUnanswered?: (reason: string) => void;
}

/** A channel, and what becomes of messages in chats of it that no agent is wired to. */
export interface ChannelSetup {
  /** Made, and not yet started: the host starts and stops it. */
  readonly channel: Channel;
  /** `ask` (the default): an admin is asked. `answer`: the default agent is wired to the chat, and answers anybody there. */
  readonly newChats?: NewChats;
}

/** A host that runs. Disposing of it stops it, and its runs with it. */
export interface RunningHost extends AsyncDisposable {
  /** The central database: agents, chats, people. Open until the host is stopped. */
  readonly registry: Registry;
  /** Where everything is kept. */
  readonly data: DataFolder;
  /** How the agents are closed in: what to show behind the word “Isolation:”. */
  readonly isolation: string;
  /**
   * Once that has been tried: why the guard, which reads what agents wrote, is not closed in as it should be, with what to do, as
   * a sentence or two; `undefined` when it is. Never rejects.
   */
  readonly guardTrouble: Promise<string | undefined>;
  /**
   * Stops taking part: no new run, no new attempt, and what is under way gets the configured time. With `leave-runs` the runs
   * go on alone and are adopted at the next start. Nothing accepted is lost either way.
   */
  stop(runs?: 'stop-runs' | 'leave-runs'): Promise<void>;
}

/**
 * Makes a host and starts it. A channel, provider or driver that cannot be loaded or connected is no error: the host runs without
 * it and `status` says why. Rejects with a `Problem`, and nothing runs then: exit code 2 for a configuration that is wrong or a process that
 * may open too few files, 3 when
 * another host has the data folder, 4 when the folder cannot be used.
 */
export async function createHost(options: HostOptions): Promise<RunningHost> {
  await using opened = new AsyncDisposableStack();
  const ports = { ...opened.use(processPorts()), ...options.ports };
  const shares = fileShares(ports.openFiles());
  const data = makeDataFolder(resolve(options.data));
  opened.use(options.lease ?? takeLease(data.root, { pid: ports.pid, since: new Date(ports.clock.now()) }));
  const log = options.log ?? openLog('info', data.log, false);
  const uncaught =
    options.uncaught ?? new UncaughtErrors({ program: data.root, data: data.root, now: ports.clock.now });
  opened.use(
    uncaught.listen(({ origin, times, error: text }, error) => {
      if (!isWorthALine(times)) return;
      log.logger.error({ origin, times, error: text, stack: stackOf(error) }, 'an error that nothing caught');
    }),
  );
  const isPatient = options.starts !== 'at-once';
  let host: Host;
  try {
    if (isPatient) opened.defer(await waitAfterCrashes(data, log, ports, options));
    host = await assembled({ ...options, uncaught }, data, log, ports, shares, opened);
    opened.use(host);
    await host.start();
  } catch (error) {
    if (error instanceof Problem || error === options.signal?.reason) throw error;
    throw new Problem(
      `The host could not be started on ${data.root}: ${messageOf(error)} Nothing accepted was lost.`,
      4,
      { cause: error },
    );
  }
  const all = opened.move();
  const stop = async (runs: 'stop-runs' | 'leave-runs' = 'stop-runs') => {
    await host.stop(runs);
    await all.disposeAsync();
    // An end that the host's own error forced is a crash to the next start.
    if (isPatient && !uncaught.isHostBroken) noteEnd(data.starts);
  };
  return {
    registry: host.registry,
    data,
    isolation: isolationSentence(host.isolation),
    guardTrouble: host.guardTrouble,
    stop,
    [Symbol.asyncDispose]: () => stop(),
  };
}

/** A host with all its parts decided, not started. What has to be closed after it is left in `opened`. */
async function assembled(
  options: HostOptions & Required<Pick<HostOptions, 'uncaught'>>,
  data: DataFolder,
  log: Log,
  ports: HostPorts,
  shares: FileShares,
  opened: AsyncDisposableStack,
): Promise<Host> {
  const { clock, random, machine, process } = ports;
  const wished: HostSettings = { ...DEFAULT_SETTINGS, ...options.settings };
  const settings = { ...wished, runsMax: Math.min(wished.runsMax, shares.runsMax) };
  if (settings.runsMax < wished.runsMax) {
    const { max } = ports.openFiles();
    log.logger.warn(
      { openFilesMax: max, runsMax: settings.runsMax },
      'so few files may be open that fewer agents run at once',
    );
  }
  const modules = options.modules ?? readModuleReferences(data.root);
  const { uncaught } = options;
  const load: LoadOptions = { dataFolder: data.root, agentFolders: data.ofAgents, clock, uncaught };
  const install = installId(data, ports.newId);
  const driverPorts = { installId: install, stateFolder: data.runs, clock };
  const { driver, isolation } = await chooseDriver({
    settings,
    driver: options.driver,
    drivers: modules.drivers,
    load,
    machine,
    process,
    ports: driverPorts,
  });
  mkdirSync(data.sessions, { recursive: true });
  const guard =
    options.guard ??
    opened.use(
      new Guard({
        sessions: data.sessions,
        scratch: data.guard,
        setTimer: clock.setTimer,
        monotonic: ports.monotonic,
        onTrouble: (trouble) => log.logger.warn({ trouble }, 'what an agent wrote could not be read'),
      }),
    );
  const connections = new Connections({
    clock,
    random,
    uncaught,
    onTrouble: (trouble) => log.logger.warn({ trouble }, 'a channel is not connected'),
  });
  for (const [instance, { channel, newChats }] of Object.entries(options.channels ?? {})) {
    await connections.add(instance, channel, newChats);
  }
  const channelOptions = { data, load, clock, log: log.logger };
  for (const [instance, reference] of Object.entries(modules.channels)) {
    await addChannel(instance, reference, connections, channelOptions);
  }
  return new Host({
    data,
    installId: install,
    settings,
    configValues: options.configValues ?? [],
    version: options.version ?? '',
    log,
    runnerFolder: options.runnerFolder ?? data.root,
    skillsFolder: options.skillsFolder ?? data.skills,
    connections,
    webhooks: options.webhooks,
    modules,
    load,
    driver,
    isolation,
    guard,
    uncaught,
    modelEnv: modelEnvironment(machine.env),
    ports,
    shares,
    onDrained: options.onDrained ?? (() => undefined),
    triesAtOnce: options.starts === 'at-once',
    onUnanswered: options.onUnanswered ?? (() => undefined),
  });
}

/** Waits where the last starts have ended in crashes at once. Gives what ends its watch. */
async function waitAfterCrashes(
  data: DataFolder,
  { logger }: Log,
  { clock }: HostPorts,
  { onStartDelayed, signal }: Pick<HostOptions, 'onStartDelayed' | 'signal'>,
): Promise<() => void> {
  const { waitMs, crashes } = noteStart(data.starts, clock.now());
  if (waitMs > 0) {
    logger.warn({ crashes, waitMs }, 'the host did not end in order the last times: waiting before this start');
    onStartDelayed?.(
      `The host did not end in order the last ${crashes} times, so this start waits ${waitMs / 1_000} s. Nothing accepted was lost.`,
    );
    await waited(waitMs, clock, signal);
    if (signal?.aborted) {
      noteEnd(data.starts);
      throw signal.reason;
    }
  }
  // One that has lived for a while does not crash at every start.
  return clock.setTimer(PROVEN_MS, () => {
    try {
      noteEnd(data.starts);
    } catch (error) {
      logger.warn({ error: messageOf(error) }, 'that this start did well could not be noted');
    }
  });
}

function stackOf(error: unknown): string | undefined {
  return error instanceof Error ? error.stack : undefined;
}

/** Resolves after `ms` milliseconds, or once the signal aborts. */
async function waited(ms: number, { setTimer }: Clock, signal: AbortSignal | undefined): Promise<void> {
  const { promise, resolve: end } = Promise.withResolvers<void>();
  const onAbort = () => end();
  const cancel = setTimer(ms, end);
  signal?.addEventListener('abort', onAbort);
  if (signal?.aborted) end();
  await promise;
  cancel();
  signal?.removeEventListener('abort', onAbort);
}

const PROVEN_MS = 60_000;
