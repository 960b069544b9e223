/**
 * What is asked of the engine for a run, as the client's arguments. Pure: read it to know how closed a container is.
 */
import { createHash } from 'node:crypto';
import type { Mount, RunSpec, Sandbox, SpawnProblem } from './driver.ts';
import type { EngineKind } from './engine-client.ts';
import { specHash } from './spec.ts';

/** By these a container or an image says what it is. Only `install` and `imageOf` are ever searched for. */
export const LABELS = {
  install: 'io.nanoclaw.install',
  session: 'io.nanoclaw.session',
  run: 'io.nanoclaw.run',
  started: 'io.nanoclaw.started',
  spec: 'io.nanoclaw.spec',
  logFile: 'io.nanoclaw.log',
  labels: 'io.nanoclaw.labels',
  /** On images: the version of the session files that the image was built for. */
  protocol: 'io.nanoclaw.protocol',
  /** On images: `slim` or `claude`. */
  variant: 'io.nanoclaw.variant',
  /** On images of groups: the id of the one that was built upon, and the install that had it built. */
  base: 'io.nanoclaw.base',
  imageOf: 'io.nanoclaw.image-of',
} as const;

/** What must be known of the engine and the moment. */
export interface EngineFacts {
  /** The two differ in some of their options. */
  readonly kind: EngineKind;
  /** The engine runs without root, so that a user inside is another one outside. */
  readonly isRootless: boolean;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  /** Whether a variable goes by name alone, its value in the client's environment, where no list of processes shows it. */
  readonly isByName: (variable: string) => boolean;
}

/** The client's arguments that start `spec` in a container of its own. */
export function runArguments(spec: RunSpec, sandbox: Sandbox, facts: EngineFacts): string[] {
  return [
    'run',
    '--detach',
    '--pull=never',
    `--name=${containerName(spec.installId, spec.runId)}`,
    ...labels(spec, facts.startedAt),
    ...hardening(facts),
    ...limits(sandbox),
    `--user=${sandbox.user.uid}:${sandbox.user.gid}`,
    `--network=${sandbox.network.type === 'none' ? 'none' : sandbox.network.name}`,
    '--hostname=agent',
    `--workdir=${spec.workdir}`,
    ...spec.mounts.map(mountArgument),
    ...Object.entries({ ...spec.env, TZ: spec.timeZone }).map(([name, value]) =>
      facts.isByName(name) ? `--env=${name}` : `--env=${name}=${value}`,
    ),
    ...logging(facts.kind),
    sandbox.image,
    ...spec.command,
  ];
}

/** The name of a run's container: the same in every life of the host, and another for another install. */
export function containerName(installId: string, runId: string): string {
  // Of a fixed length and at the end, so that no two pairs of ids make one name.
  return `nanoclaw-${runId}-${createHash('sha256').update(installId).digest('hex').slice(0, 12)}`;
}

/** What is wrong with `mounts` for an engine's command line, or `undefined`. */
export function mountArgumentProblem(mounts: readonly Mount[]): SpawnProblem | undefined {
  const mount = mounts.find(({ source, target }) => /[,"\r\n]/.test(source + target));
  return mount && { type: 'bad-mount', mount, reason: 'its path has a comma, a quotation mark or a line break' };
}

/** What holds for every run, whatever its spec says. */
function hardening({ kind, isRootless }: EngineFacts): string[] {
  return [
    '--cap-drop=ALL',
    '--security-opt=no-new-privileges',
    '--read-only',
    '--ipc=private',
    // podman passes proxies on, mounts writable places of its own, and takes some programs for an init system.
    ...(kind === 'podman' ? ['--read-only-tmpfs=false', '--http-proxy=false', '--systemd=false'] : []),
    // Without root the user inside has to be made the one outside, who owns the mounted folders.
    ...(kind === 'podman' && isRootless ? ['--userns=keep-id'] : []),
  ];
}

function limits({ limits: { pids, memoryBytes, cpus, openFiles, tmpBytes } }: Sandbox): string[] {
  return [
    `--pids-limit=${pids}`,
    `--memory=${memoryBytes}`,
    // Swap counts in: the same figure means none.
    `--memory-swap=${memoryBytes}`,
    `--cpus=${cpus}`,
    `--ulimit=nofile=${openFiles}:${openFiles}`,
    // Counted per user over the whole machine, so no limit to rely on; given, because podman's own default is refused
    // where the machine allows less.
    '--ulimit=nproc=16384:16384',
    '--ulimit=core=0:0',
    // Programs unpack libraries of theirs there, so it is executable.
    `--tmpfs=/tmp:rw,exec,nosuid,nodev,mode=1777,size=${tmpBytes}`,
  ];
}

function labels(spec: RunSpec, startedAt: number): string[] {
  const values: Record<string, string> = {
    [LABELS.install]: spec.installId,
    [LABELS.session]: spec.sessionId,
    [LABELS.run]: spec.runId,
    [LABELS.started]: String(startedAt),
    [LABELS.spec]: specHash(spec),
    [LABELS.logFile]: spec.logFile,
    [LABELS.labels]: JSON.stringify(spec.labels),
  };
  return Object.entries(values).map(([name, value]) => `--label=${name}=${value}`);
}

function mountArgument({ source, target, readonly }: Mount): string {
  return `--mount=type=bind,source=${source},target=${target}${readonly ? ',readonly' : ''}`;
}

/** The engine captures and bounds the output; the driver copies it into the run's log file. */
function logging(kind: EngineKind): string[] {
  return kind === 'docker'
    ? ['--log-driver=json-file', '--log-opt=max-size=8m', '--log-opt=max-file=1']
    : ['--log-driver=k8s-file', '--log-opt=max-size=8mb'];
}
