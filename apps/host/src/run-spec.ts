/**
 * What a run is started with: the program, what it sees of the disk, and its configuration. The spec is the same for
 * every driver; the paths in it are as seen from inside.
 *
 * The configuration is generated into a folder of the host and shown read-only: nothing the host writes lies where an
 * agent can write.
 */
import { lchownSync, lstatSync, mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Mount, type RunSpec, type Sandbox, SpawnError, sessionMounts } from '@nanoclaw/containers';
import type { AgentGroup } from '@nanoclaw/registry';
import { PROTOCOL_VERSION, type RunId, type SessionFolder } from '@nanoclaw/session-db';
import type { Config } from './config.js';
import type { DataFolder } from './data-folder.js';
import { DEFAULT_PROVIDER } from './defaults.js';
import { type ContainerIsolation, type Isolation, imageFor, imageNames, networkFor } from './driver-choice.js';
import { generateSkills } from './skills.js';

export interface RunContext {
  readonly installId: string;
  readonly data: DataFolder;
  readonly config: Config;
  /** The folder with the bundled agent-runner. */
  readonly runnerFolder: string;
  /** The folder with the skills of this version. */
  readonly skillsFolder: string;
  readonly isolation: Isolation;
  /** What of the host's environment reaches the model's client: the keys that begin with `ANTHROPIC_`. */
  readonly modelEnv: Readonly<Record<string, string>>;
}

/**
 * Makes the folders of a run and gives its spec. Throws the file system's error when a folder cannot be made, and a
 * `SpawnError` when there is no image for the agent's provider.
 */
export function runSpec(
  session: { readonly id: string; readonly folder: SessionFolder },
  agent: AgentGroup,
  runId: RunId,
  context: RunContext,
): RunSpec {
  const { data, config, installId, isolation } = context;
  const agentFolder = data.agent(agent.folder);
  const stateFolder = data.modelState(agent.id);
  const generated = data.generated(agent.id);
  const logs = join(session.folder.host, 'logs');
  for (const folder of [agentFolder, stateFolder, join(generated, 'config'), logs])
    mkdirSync(folder, { recursive: true });

  const provider = providerOf(agent, config, context.modelEnv);
  const skills = generateSkills(context.skillsFolder, join(generated, 'skills'));
  writeWhole(join(generated, 'config', 'container.json'), containerJson(agent, provider, context));
  // Only a run that talks to the model gets the model's credentials.
  const model = provider === 'claude' ? modelAccess(context) : { env: {}, mounts: [] };
  const sandbox = isolation.type === 'container' ? sandboxOf(provider, isolation, context) : undefined;
  if (sandbox)
    for (const folder of [session.folder.outbound.root, agentFolder, stateFolder]) give(folder, sandbox.user);
  return {
    runId,
    sessionId: session.id,
    installId,
    command: [
      'bun',
      '/app/src/main.js',
      '--run',
      runId,
      '--config',
      '/app/config/container.json',
      '--inbound',
      '/workspace/inbound',
      '--outbound',
      '/workspace/outbound',
      '--agent',
      '/workspace/agent',
      ...(skills === undefined ? [] : ['--skills', '/app/skills']),
    ],
    workdir: '/workspace/agent',
    mounts: [
      ...sessionMounts({
        inbound: session.folder.inbound.root,
        outbound: session.folder.outbound.root,
        agent: agentFolder,
        state: stateFolder,
        config: join(generated, 'config'),
        runner: context.runnerFolder,
        skills,
        extras: [],
      }),
      ...model.mounts,
    ],
    env: { HOME: '/workspace/state', ...model.env },
    timeZone: timeZoneOf(config),
    labels: { agentGroup: agent.id },
    logFile: join(logs, `${runId}.log`),
    ...(sandbox && { sandbox }),
  };
}

/** How the model is reached from inside: by the host's own variables, and by the socket where they name one. */
function modelAccess({ modelEnv, isolation }: RunContext): { env: Record<string, string>; mounts: Mount[] } {
  const socket = modelEnv['ANTHROPIC_UNIX_SOCKET'];
  if (socket === undefined || isolation.type === 'none') return { env: modelEnv, mounts: [] };
  return {
    env: { ...modelEnv, ANTHROPIC_UNIX_SOCKET: MODEL_SOCKET },
    // To connect is no writing: a socket can be used through a read-only mount.
    mounts: [{ source: socket, target: MODEL_SOCKET, readonly: true }],
  };
}

/** Where a run in a container finds the socket of the model's API. */
const MODEL_SOCKET = '/run/model.sock';

/** Where the image has the Claude binary. */
const CLAUDE_INSIDE = '/usr/local/bin/claude';

function sandboxOf(provider: string, isolation: ContainerIsolation, { config, modelEnv }: RunContext): Sandbox {
  const image = imageFor(provider, isolation.images);
  if (image === undefined) throw new SpawnError({ type: 'no-image', image: imageNames(config).claude });
  return {
    image: image.id,
    protocolVersion: PROTOCOL_VERSION,
    network: networkFor(provider, config, modelEnv),
    user: isolation.user,
    limits: isolation.limits,
  };
}

/**
 * Makes a folder the run's own, with all in it, unless it is already: so a folder that was used without isolation, or
 * was just made by a host that is root, can be written from inside. The folder itself comes last, for it is the mark.
 */
function give(path: string, user: Sandbox['user']): void {
  const { uid, gid } = lstatSync(path);
  if (uid === user.uid && gid === user.gid) return;
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const inner = join(path, entry.name);
    // Links are not followed: neither by the listing nor by the change of owner.
    if (entry.isDirectory()) give(inner, user);
    else lchownSync(inner, user.uid, user.gid);
  }
  lchownSync(path, user.uid, user.gid);
}

/** Who answers for an agent: its own choice, or the configuration's. */
export function providerOf(
  agent: Pick<AgentGroup, 'provider'>,
  config: Pick<Config, 'provider'>,
  modelEnv: Readonly<Record<string, string>>,
): string {
  if (agent.provider !== DEFAULT_PROVIDER) return agent.provider;
  if (config.provider !== 'auto') return config.provider;
  return modelEnv['ANTHROPIC_API_KEY'] || modelEnv['ANTHROPIC_BASE_URL'] ? 'claude' : 'offline';
}

function containerJson(agent: AgentGroup, provider: string, { config, isolation }: RunContext) {
  return {
    protocolVersion: PROTOCOL_VERSION,
    agentGroupId: agent.id,
    assistantName: agent.assistantName ?? agent.name,
    provider,
    ...(agent.model === null ? {} : { model: agent.model }),
    ...(agent.effort === null ? {} : { effort: agent.effort }),
    timeZone: timeZoneOf(config),
    idleExitMs: config.idleExitMs,
    messagesPerPrompt: agent.messagesPerPrompt,
    ...(provider === 'claude'
      ? { claude: { executable: isolation.type === 'none' ? config.claudeBinary : CLAUDE_INSIDE } }
      : {}),
  };
}

/** The zone of all times that agents see and write. */
export function timeZoneOf(config: Pick<Config, 'timeZone'>): string {
  return config.timeZone || Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** Writes a file so that a reader finds the old one or the new one, whole. */
function writeWhole(path: string, value: unknown): void {
  const temporary = `${path}.new`;
  writeFileSync(temporary, `${JSON.stringify(value, null, 2)}\n`);
  renameSync(temporary, path);
}
