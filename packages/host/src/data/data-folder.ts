/** Where everything is in the data folder, and how the folder comes to be. */
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { isSafeId } from '@nanoclaw/containers';
import { replaceFile } from '@nanoclaw/session-db';
import { cannotBeWritten, messageOf, Problem } from '../errors/index.ts';

/** The places in a data folder; all paths are absolute. */
export interface DataFolder {
  /** The folder itself. */
  readonly root: string;
  /** The central database. */
  readonly registry: string;
  /** By which its runs are told from those of others on the machine. */
  readonly installId: string;
  /** The terminal channel's socket and history. */
  readonly terminal: string;
  /** The webhook channel's messages. */
  readonly webhook: string;
  /** The host's log file. */
  readonly log: string;
  /** When the host was started without having ended in order. */
  readonly starts: string;
  /** Token buckets that span sessions. */
  readonly rates: string;
  /** The process driver's records of what is alive. */
  readonly runs: string;
  /** Where the guard's processes make their copies. */
  readonly guard: string;
  /** All that agents and the host say to each other. */
  readonly sessions: string;
  /** Skills for agents, where the program brings none. */
  readonly skills: string;
  /** The folders in which agents can write: no program of the host is in them. */
  readonly ofAgents: readonly string[];
  /** `channels/<instance>`: what a channel keeps. */
  channel(instance: string): string;
  /** `groups/<folder>`: an agent's own folder, its to write. */
  agent(folder: string): string;
  /** `state/<agentGroupId>`: what the model keeps for itself; the agent's to write. */
  modelState(agentGroupId: string): string;
  /** `generated/<agentGroupId>`: what the host writes for an agent, which may only read it. */
  generated(agentGroupId: string): string;
  /** `sessions/<agentGroupId>/<sessionId>`. */
  session(agentGroupId: string, sessionId: string): string;
}

/** The places in the data folder `root`, an absolute path. */
export function dataFolder(root: string): DataFolder {
  return {
    root,
    registry: join(root, 'registry.db'),
    installId: join(root, 'install-id'),
    terminal: join(root, 'terminal'),
    webhook: join(root, 'webhook'),
    log: join(root, 'host.log'),
    starts: join(root, 'starts.json'),
    rates: join(root, 'rates.db'),
    runs: join(root, 'runs'),
    guard: join(root, 'guard'),
    sessions: join(root, 'sessions'),
    skills: join(root, 'skills'),
    ofAgents: ['groups', 'state', 'sessions'].map((name) => join(root, name)),
    channel: (instance) => join(root, 'channels', instance),
    agent: (folder) => join(root, 'groups', folder),
    modelState: (agentGroupId) => join(root, 'state', agentGroupId),
    generated: (agentGroupId) => join(root, 'generated', agentGroupId),
    session: (agentGroupId, sessionId) => join(root, 'sessions', agentGroupId, sessionId),
  };
}

/**
 * Makes the folder where it is missing, for its owner only; one that is there and open to others is closed to them: what
 * people say to agents is in it. Throws a `Problem` (exit code 4) when it cannot be made or closed.
 */
export function makeDataFolder(root: string): DataFolder {
  const folder = dataFolder(root);
  try {
    mkdirSync(folder.runs, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw cannotBeWritten(`The data folder ${root}`, error);
  }
  if (!isOpenToOthers(root)) return folder;
  try {
    chmodSync(root, 0o700);
  } catch (error) {
    throw new Problem(
      `The data folder ${root} is open to other users of this machine and cannot be closed to them ` +
        `(${messageOf(error)}); nothing was changed. Have its owner run \`chmod 700\` on it, or choose another one.`,
      4,
      { cause: error },
    );
  }
  return folder;
}

/** Whether users other than its owner can enter the folder, list it or write to it. Throws the file system's error. */
export function isOpenToOthers(root: string): boolean {
  return (statSync(root).mode & 0o077) !== 0;
}

/**
 * The name of this install, by which its runs are told from those of others on the machine: made with the folder and kept
 * in it. Its caller holds the lease. Throws a `Problem` (exit code 4) when the file is damaged, or cannot be read or written.
 */
export function installId(folder: DataFolder, newId: () => string): string {
  const { installId: file } = folder;
  try {
    const known = knownInstallId(folder);
    if (known !== undefined) return known;
    const made = newId();
    replaceFile(file, `${made}\n`, 0o600);
    return made;
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw cannotBeWritten(file, error);
  }
}

/**
 * The name that this install has; `undefined` for one that has none yet: no run was ever started under an empty one. Throws as
 * {@link installId} does.
 */
export function knownInstallId({ installId: file }: DataFolder): string | undefined {
  if (!existsSync(file)) return undefined;
  const id = readFileSync(file, 'utf8').trim();
  if (id === '') return undefined;
  if (isSafeId(id)) return id;
  throw new Problem(
    `${file} is damaged; it was left as it is, and no agent was started. Put it back from a backup. Without one remove ` +
      'it: this install then gets a new name, and agents that still run under the old one have to be ended by hand.',
    4,
  );
}
