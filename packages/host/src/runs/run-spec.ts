/**
 * What a run is started with: the program, what it sees of the disk, and its configuration. The spec is the same for
 * every driver; the paths in it are as seen from inside.
 *
 * The configuration is generated into a folder of the host and shown read-only: nothing the host writes lies where an
 * agent can write. All that makes a run differ is in the spec's hash, so a change of an agent's settings is seen by
 * comparing two of them.
 */
import { createHash } from 'node:crypto';
import { existsSync, lchownSync, lstatSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import {
  extraMounts,
  isNetworkName,
  type Mount,
  type RunSpec,
  type Sandbox,
  SpawnError,
  sessionMounts,
} from '@nanoclaw/containers';
import type { AgentGroup, AgentGroupId } from '@nanoclaw/registry';
import { type JsonObject, type RunId, replaceFile, type SessionFolder } from '@nanoclaw/session-db';
import { PROTOCOL_VERSION } from '@nanoclaw/session-db/protocol';
import { machineZone, zoneProblem } from '@nanoclaw/session-db/text';
import type { DataFolder, HostSettings } from '../data/index.ts';
import { messageOf, Problem } from '../errors/index.ts';
import { isFilePath, type LoadOptions, locate, type ModuleReference } from '../modules/index.ts';
import { type ContainerIsolation, type Isolation, isolationNow, networkFor } from './driver-choice.ts';
import type { GroupImages } from './group-images.ts';
import { generateSkills } from './skills.ts';

export interface RunContext {
  readonly installId: string;
  readonly data: DataFolder;
  readonly config: HostSettings;
  /** The folder with the bundled agent-runner. */
  readonly runnerFolder: string;
  /** The folder with the skills of this version. */
  readonly skillsFolder: string;
  readonly isolation: Isolation;
  readonly groupImages: Pick<GroupImages, 'imageFor'>;
  /** Providers of the configuration, by their names. */
  readonly providers: Readonly<Record<string, ModuleReference>>;
  readonly load: LoadOptions;
  /** What of the host's environment reaches the model's client: the keys that begin with `ANTHROPIC_`. */
  readonly modelEnv: Readonly<Record<string, string>>;
  /** What an agent was to have and does not get, one sentence each; it starts without. Must not throw. */
  readonly onRefused: (agentGroupId: AgentGroupId, refusals: readonly string[]) => void;
}

/**
 * Makes the folders of a run and gives its spec. Rejects with the file system's error when a folder cannot be made, and
 * with a `SpawnError` when the agent's settings make no sense, or there is no engine or image for it just now.
 */
export async function runSpec(
  session: { readonly id: string; readonly folder: SessionFolder },
  agent: AgentGroup,
  runId: RunId,
  context: RunContext,
): Promise<RunSpec> {
  const { data, config, installId } = context;
  const wrong = settingsProblem(agent);
  if (wrong !== undefined) throw new SpawnError({ type: 'bad-spec', reason: wrong });
  const isolation = await isolationNow(context.isolation);
  const provider = providerOf(agent, config, context.modelEnv);
  const sandbox = isolation.type === 'container' ? await sandboxOf(agent, provider, isolation, context) : undefined;
  const extras = await extraMounts(agent.mounts, config.mountAllowlist, guardedPlaces(context));

  const agentFolder = data.agent(agent.folder);
  const stateFolder = data.modelState(agent.id);
  const generated = data.generated(agent.id);
  const logs = join(session.folder.host, 'logs');
  for (const folder of [agentFolder, stateFolder, join(generated, 'config'), logs])
    mkdirSync(folder, { recursive: true });
  const skills = generateSkills(context.skillsFolder, join(generated, 'skills'), agent.skills);
  const plugged = pluggedProvider(provider, isolation, context);
  const settings = containerJson(agent, provider, plugged?.settings, isolation, config);
  writeWhole(join(generated, 'config', 'container.json'), settings);
  const refusals = [...extras.refusals, ...skills.missing.map((name) => `There is no skill ${JSON.stringify(name)}.`)];
  if (refusals.length > 0) context.onRefused(agent.id, refusals);

  // Only a run that talks to the model gets the model's credentials.
  const model = provider === 'claude' ? modelAccess(context.modelEnv, isolation) : { env: {}, mounts: [] };
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
      ...(skills.folder === undefined ? [] : ['--skills', '/app/skills']),
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
        skills: skills.folder,
        extras: extras.mounts,
      }),
      ...model.mounts,
      ...(plugged?.mounts ?? []),
    ],
    env: { HOME: '/workspace/state', ...model.env },
    timeZone: timeZoneOf(config),
    // The settings are in a file, of which the spec knows the place alone; their hash makes them part of the spec's.
    labels: { agentGroup: agent.id, settings: createHash('sha256').update(settings).digest('hex').slice(0, 16) },
    logFile: join(logs, `${runId}.log`),
    ...(sandbox && { sandbox }),
  };
}

/** What an agent's settings say that no run can be started with, as a clause; `undefined` when they make sense. */
export function settingsProblem(agent: Pick<AgentGroup, 'model' | 'effort' | 'network'>): string | undefined {
  const { model, effort, network } = agent;
  if (effort !== null && !EFFORTS.includes(effort)) {
    return `the agent's effort is ${JSON.stringify(effort)}, and must be one of ${EFFORTS.join(', ')}`;
  }
  if (model !== null && !/^[A-Za-z0-9][\w.:/@[\]-]{0,199}$/.test(model)) {
    return `the agent's model ${JSON.stringify(model)} is not the name of one`;
  }
  if (network !== null && !isNetworkName(network)) {
    return `the agent's network ${JSON.stringify(network)} is not the name of one, or is the host's own`;
  }
  return undefined;
}

/** As the agent's program knows them. */
const EFFORTS: readonly string[] = ['low', 'medium', 'high', 'xhigh', 'max'];

/** What no agent may be shown of the host's disk, whatever its owner's list says: the data folder, and the project. */
export function guardedPlaces({
  data,
  runnerFolder,
  skillsFolder,
}: Pick<RunContext, 'data' | 'runnerFolder' | 'skillsFolder'>): readonly string[] {
  return [data.root, commonFolder(runnerFolder, skillsFolder)];
}

/** The deepest folder that holds both. */
function commonFolder(a: string, b: string): string {
  let folder = dirname(a);
  while (!`${b}/`.startsWith(folder.endsWith('/') ? folder : `${folder}/`)) folder = dirname(folder);
  return folder;
}

/** What the client of the model gets of the host's environment: the variables that begin with `ANTHROPIC_`. */
export function modelEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) =>
      name.startsWith('ANTHROPIC_') && value !== undefined && value !== '' ? [[name, value]] : [],
    ),
  );
}

/** How the model is reached from inside: by the host's own variables, and by the socket where they name one. */
function modelAccess(
  modelEnv: RunContext['modelEnv'],
  isolation: Isolation,
): { env: Readonly<Record<string, string>>; mounts: readonly Mount[] } {
  const socket = modelEnv['ANTHROPIC_UNIX_SOCKET'];
  if (socket === undefined || isolation.type !== 'container') return { env: modelEnv, mounts: [] };
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

async function sandboxOf(
  agent: AgentGroup,
  provider: string,
  isolation: ContainerIsolation,
  { config, modelEnv, groupImages }: RunContext,
): Promise<Sandbox> {
  const image = await groupImages.imageFor(agent, provider, isolation);
  return {
    image: image.id,
    protocolVersion: PROTOCOL_VERSION,
    network: networkFor(provider, config, modelEnv, agent.network),
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

/** Stands in an agent group for the provider that the settings name. */
export const DEFAULT_PROVIDER = 'default';

/** The providers that come with the program. */
export const BUILT_IN_PROVIDERS: readonly string[] = ['offline', 'claude'];

/** Who answers for an agent: its own choice, or the configuration's. */
export function providerOf(
  agent: Pick<AgentGroup, 'provider'>,
  config: Pick<HostSettings, 'provider'>,
  modelEnv: Readonly<Record<string, string>>,
): string {
  if (agent.provider !== DEFAULT_PROVIDER) return agent.provider;
  if (config.provider !== 'auto') return config.provider;
  return modelEnv['ANTHROPIC_API_KEY'] || modelEnv['ANTHROPIC_BASE_URL'] ? 'claude' : 'offline';
}

/** A provider of the configuration, as a run is told of it. */
interface PluggedProvider {
  readonly settings: { readonly name: string; readonly module: string; readonly options: JsonObject };
  /** What of the host's disk it needs to be seen. */
  readonly mounts: readonly Mount[];
}

/**
 * The provider of that name, where it is one of the configuration. A file is shown to a container with the folder that it is in;
 * a package is what the image has under that name. Throws a `SpawnError` when the module is not there.
 */
function pluggedProvider(
  name: string,
  isolation: Isolation,
  { providers, load }: Pick<RunContext, 'providers' | 'load'>,
): PluggedProvider | undefined {
  const reference = providers[name];
  if (reference === undefined) return undefined;
  const { module, options } = reference;
  const isInside = isolation.type === 'container';
  if (isInside && !isFilePath(module)) return { settings: { name, module, options }, mounts: [] };
  const file = locatedProvider(name, module, load);
  if (!isInside) return { settings: { name, module: file, options }, mounts: [] };
  const folder = `/app/providers/${name}`;
  return {
    settings: { name, module: `${folder}/${basename(file)}`, options },
    mounts: [{ source: dirname(file), target: folder, readonly: true }],
  };
}

function locatedProvider(name: string, module: string, load: LoadOptions): string {
  try {
    return locate(module, load);
  } catch (error) {
    const reason = `the provider ${name} cannot be used: ${messageOf(error)}`;
    throw new SpawnError({ type: 'bad-spec', reason }, { cause: error });
  }
}

/** What of the configured providers cannot be used, one sentence each. Their code runs in the agents' place, never here. */
export function providerProblems(providers: RunContext['providers'], load: LoadOptions): string[] {
  return Object.entries(providers).flatMap(([name, { module }]) => {
    try {
      locate(module, load);
      return [];
    } catch (error) {
      return [`The provider "${name}" cannot be used: ${messageOf(error)}.`];
    }
  });
}

/** The text of `container.json`; see `container/README.md`. */
function containerJson(
  agent: AgentGroup,
  provider: string,
  plugged: PluggedProvider['settings'] | undefined,
  isolation: Isolation,
  config: HostSettings,
): string {
  const settings = {
    protocolVersion: PROTOCOL_VERSION,
    agentGroupId: agent.id,
    assistantName: agent.assistantName ?? agent.name,
    provider: plugged ?? {
      name: provider,
      ...(provider === 'claude'
        ? { options: { executable: isolation.type === 'container' ? CLAUDE_INSIDE : config.claudeBinary } }
        : {}),
    },
    ...(agent.model === null ? {} : { model: agent.model }),
    ...(agent.effort === null ? {} : { effort: agent.effort }),
    mcpServers: Object.fromEntries(agent.mcpServers.map(({ name, command, args }) => [name, { command, args }])),
    timeZone: timeZoneOf(config),
    idleExitMs: config.idleExitMs,
    messagesPerPrompt: agent.messagesPerPrompt,
  };
  return `${JSON.stringify(settings, null, 2)}\n`;
}

/** The zone of all times that agents see and write. Throws a `Problem` (exit code 2) for a setting that is no zone. */
export function timeZoneOf(config: Pick<HostSettings, 'timeZone'>): string {
  const { timeZone } = config;
  if (timeZone === '') return machineZone();
  const problem = zoneProblem(timeZone);
  if (problem !== undefined)
    throw new Problem(`${problem} The setting timeZone was not taken; nothing was started.`, 2);
  return timeZone;
}

/** Writes a file that agents may only read, unless it is as it should be: this is asked of live runs again and again. */
function writeWhole(path: string, text: string): void {
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return;
  replaceFile(path, text, 0o644);
}
