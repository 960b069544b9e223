/**
 * What closes the agents in on this machine: containers of docker or podman where they can be had, else nothing, said
 * loudly. Decided once, at the start; an engine that the configuration names and that cannot be used then is asked again
 * whenever an agent is to start, and until then none does.
 */
import {
  DEFAULT_LIMITS,
  type Driver,
  EngineClient,
  EngineDriver,
  EngineError,
  type EngineKind,
  type HostProcess,
  type Image,
  LABELS,
  type Limits,
  type Network,
  ProcessDriver,
  processTable,
  SpawnError,
} from '@nanoclaw/containers';
import type { Clock } from '@nanoclaw/session-db';
import { PROTOCOL_VERSION } from '@nanoclaw/session-db/protocol';
import type { HostSettings } from '../data/index.ts';

/** How the runs of this host are closed in. */
export type Isolation =
  | OwnIsolation
  /** As a driver does it that is not one of ours. */
  | {
      readonly type: 'custom';
      /** The driver's name in the configuration; `undefined`: the program's own. */
      readonly driver: string | undefined;
    };

/** What our own drivers can do. */
export type OwnIsolation =
  /** Not at all; `because` is one clause per thing that was tried. */
  { readonly type: 'none'; readonly because: string } | ContainerIsolation | AbsentEngine;

/** The configuration names an engine or a driver, and it cannot be used: nothing is run with less than it. */
export interface AbsentEngine {
  readonly type: 'absent';
  /** What the configuration names. */
  readonly engine: string;
  /** One clause. */
  readonly reason: string;
  /** Asks the engine again; what it was found as once stays. Never rejects for an engine that cannot be used. */
  readonly recheck: () => Promise<ContainerIsolation | AbsentEngine>;
}

/** Runs are containers of an engine that is there. */
export interface ContainerIsolation {
  readonly type: 'container';
  /** Which engine it is. */
  readonly engine: EngineKind;
  /** By which the engine is asked. */
  readonly client: EngineClient;
  /** The engine's own version, as it says it. */
  readonly version: string;
  /** The engine runs without root. */
  readonly isRootless: boolean;
  /** At least one of them. */
  readonly images: Images;
  /** Whom a run is inside, and who must own what it writes. */
  readonly user: {
    /** The user's number. */
    readonly uid: number;
    /** The number of the group. */
    readonly gid: number;
  };
  /** What a run may use at most. */
  readonly limits: Limits;
}

/** By variant; `claude` has all that `slim` has. */
export interface Images {
  readonly slim: Image | undefined;
  readonly claude: Image | undefined;
}

/** What is known of the machine. */
export interface Machine {
  /** The host's own environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The host's own user; `undefined` where users have no numbers. */
  readonly user:
    | {
        /** The user's number. */
        readonly uid: number;
        /** The number of the group. */
        readonly gid: number;
      }
    | undefined;
}

/**
 * Takes docker, else podman, else no isolation at all; an engine counts when it answers and has an image of ours. An
 * engine that the configuration names is never replaced by another, or by none.
 */
export async function chooseIsolation(config: HostSettings, machine: Machine): Promise<OwnIsolation> {
  if (config.driver === 'process') return { type: 'none', because: 'the configuration says driver: process' };
  if (config.driver === 'docker' || config.driver === 'podman') return namedEngine(config.driver, config, machine);
  if (config.driver !== 'auto')
    return absent(config.driver, `the configuration has no driver ${JSON.stringify(config.driver)}`);
  const reasons: string[] = [];
  for (const kind of ENGINES) {
    const found = await tried(kind, config, machine);
    if (found.type === 'container') return found;
    reasons.push(`${kind}: ${found.because}`);
  }
  return { type: 'none', because: reasons.join('; ') };
}

/** A driver that cannot be used, for good. */
export function absent(engine: string, reason: string): AbsentEngine {
  const it: AbsentEngine = { type: 'absent', engine, reason, recheck: async () => it };
  return it;
}

/** The preferred one first. */
export const ENGINES: readonly EngineKind[] = ['docker', 'podman'];

async function namedEngine(
  engine: EngineKind,
  config: HostSettings,
  machine: Machine,
): Promise<ContainerIsolation | AbsentEngine> {
  let known: ContainerIsolation | undefined;
  const look = async (): Promise<ContainerIsolation | AbsentEngine> => {
    if (known !== undefined) return known;
    const found = await tried(engine, config, machine);
    if (found.type === 'unusable') return { type: 'absent', engine, reason: found.because, recheck: look };
    known = found;
    return found;
  };
  return look();
}

/**
 * What closes in a run that is started now: an absent engine is asked again. Rejects with a `SpawnError` (`no-engine`)
 * while it cannot be used.
 */
export function isolationNow(isolation: OwnIsolation): Promise<Exclude<OwnIsolation, AbsentEngine>>;
export function isolationNow(isolation: Isolation): Promise<Exclude<Isolation, AbsentEngine>>;
export async function isolationNow(isolation: Isolation): Promise<Exclude<Isolation, AbsentEngine>> {
  if (isolation.type !== 'absent') return isolation;
  const now = await isolation.recheck();
  if (now.type === 'container') return now;
  throw new SpawnError({ type: 'no-engine', engine: now.engine, reason: now.reason });
}

/** The image for the runs of a provider; `undefined` when this machine has none that can serve it. */
export function imageFor(provider: string, images: Images): Image | undefined {
  return provider === 'claude' ? images.claude : (images.slim ?? images.claude);
}

/**
 * What a run can reach. Its group's own word comes first, then the configuration's; with neither, only a run that talks to
 * a model over the network gets one.
 */
export function networkFor(
  provider: string,
  config: Pick<HostSettings, 'network'>,
  modelEnv: Readonly<Record<string, string>>,
  ofGroup: string | null,
): Network {
  const wanted = ofGroup ?? config.network;
  if (wanted === 'none' || (wanted === 'auto' && !needsNetwork(provider, modelEnv))) return { type: 'none' };
  return { type: 'named', name: wanted === 'auto' ? 'bridge' : wanted };
}

/** Whether the provider's model is reached over a network from inside. */
export function needsNetwork(provider: string, modelEnv: Readonly<Record<string, string>>): boolean {
  return provider === 'claude' && !modelEnv['ANTHROPIC_UNIX_SOCKET'];
}

export interface DriverOptions {
  readonly installId: string;
  readonly config: HostSettings;
  /** Where the process driver keeps its records. */
  readonly stateFolder: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly process: HostProcess;
  readonly clock: Clock;
}

/** The driver for an isolation that is one of ours. */
export function driverFor(isolation: OwnIsolation, options: DriverOptions): Driver {
  const { installId, config, stateFolder, env, process, clock } = options;
  if (isolation.type !== 'none') {
    const kind = ENGINES.find((engine) => engine === isolation.engine);
    if (kind === undefined) return unavailableDriver({ engine: isolation.engine, reason: 'there is no such driver' });
    // One that is absent is asked at each start whether it runs without root, and each start fails while it is away.
    const isRootless = isolation.type === 'container' ? { isRootless: isolation.isRootless } : {};
    return new EngineDriver({ kind, env: clientEnvironment(env), installId, clock, ...isRootless });
  }
  return new ProcessDriver({
    installId,
    stateFolder,
    path: env['PATH'] ?? '',
    // The name alone is looked up in `path`; anything else is where it is.
    ...(config.bunPath === 'bun' ? {} : { bunPath: config.bunPath }),
    clock,
    processes: processTable(process),
  });
}

/**
 * Stands where a driver would be that cannot be used. It cannot say what is alive, so nothing of an earlier life is taken for
 * dead and nothing is started.
 */
export function unavailableDriver({ engine, reason }: Pick<AbsentEngine, 'engine' | 'reason'>): Driver {
  const refuse = () => Promise.reject(new SpawnError({ type: 'no-engine', engine, reason }));
  return { start: refuse, stop: refuse, list: refuse, logs: refuse, close: () => undefined };
}

/** How the agents are closed in, for a person who has read the word “isolation”: a sentence without a subject, and what to do. */
export function isolationSentence(isolation: Isolation): string {
  if (isolation.type === 'container') {
    const { engine, version } = isolation;
    return `containers of ${engine} ${version}, read-only, without capabilities, limited.`;
  }
  if (isolation.type === 'custom') {
    return isolation.driver === undefined
      ? 'decided by the driver that the program brings.'
      : `decided by the driver ${isolation.driver} of the configuration.`;
  }
  if (isolation.type === 'absent') {
    const { engine, reason } = isolation;
    return ENGINES.some((each) => each === engine)
      ? `containers of ${engine}, which cannot be used (${reason}). Messages are kept, and agents start as soon as it can. ` +
          'See `nanoclaw doctor`, or set the driver to auto.'
      : `decided by the driver ${engine}, which cannot be used (${reason}). Messages are kept, and no agent runs. Correct ` +
          'it, and start the host again.';
  }
  return (
    'none. Agents run as processes of yours, with your rights (driver: process). ' +
    `Containers are not used because: ${isolation.because}. See \`nanoclaw doctor\`.`
  );
}

/** As much of the host's environment as an engine's client is configured by. */
export function clientEnvironment(env: Machine['env']): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) =>
      value !== undefined && /^(PATH$|HOME$|XDG_|DOCKER_|CONTAINER|STORAGE_)/.test(name) ? [[name, value]] : [],
    ),
  );
}

/** The names of the images, by variant: the configured one for all, or ours. */
export function imageNames(config: Pick<HostSettings, 'image'>): { readonly slim: string; readonly claude: string } {
  return config.image === ''
    ? { slim: 'nanoclaw-agent:slim', claude: 'nanoclaw-agent:claude' }
    : { slim: config.image, claude: config.image };
}

async function tried(
  kind: EngineKind,
  config: HostSettings,
  machine: Machine,
): Promise<ContainerIsolation | { readonly type: 'unusable'; readonly because: string }> {
  const client = new EngineClient({ kind, env: clientEnvironment(machine.env) });
  const state = await client.state();
  if (state.type === 'unusable') return { type: 'unusable', because: state.reason };
  try {
    const names = imageNames(config);
    const [slim, claude] = [await ourImage(client, names.slim), await ourImage(client, names.claude)];
    if (slim === undefined && claude === undefined) {
      return {
        type: 'unusable',
        because: `it has no image ${names.slim} of this version (build one: node scripts/image.mjs --engine ${kind})`,
      };
    }
    return {
      type: 'container',
      engine: kind,
      client,
      version: state.version,
      isRootless: state.isRootless,
      images: { slim, claude },
      user: userInside(kind, state.isRootless, machine.user),
      limits: {
        ...DEFAULT_LIMITS,
        memoryBytes: config.runMemoryMb * 1024 ** 2,
        // Engines refuse more than there is.
        cpus: Math.min(config.runCpus, state.cpus || config.runCpus),
        pids: config.runPids,
      },
    };
  } catch (error) {
    if (error instanceof EngineError) return { type: 'unusable', because: error.message };
    throw error;
  }
}

/** The image of that name if it was built for this version of the session files. */
async function ourImage(client: EngineClient, name: string): Promise<Image | undefined> {
  const image = await client.image(name);
  return image?.labels[LABELS.protocol] === String(PROTOCOL_VERSION) ? image : undefined;
}

/** The host's own user where that is somebody; root makes way for the image's user. */
function userInside(kind: EngineKind, isRootless: boolean, user: Machine['user']): ContainerIsolation['user'] {
  // Rootless docker: root inside is the host's user outside, and every other user is nobody who owns anything here.
  if (kind === 'docker' && isRootless) return { uid: 0, gid: 0 };
  return user === undefined || user.uid === 0 ? { uid: 1000, gid: 1000 } : user;
}
