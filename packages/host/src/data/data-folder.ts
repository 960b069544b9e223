/** Where everything is in the data folder, and how the folder comes to be. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cannotBeWritten, systemCode } from '../errors/index.ts';

/** The places in a data folder; all paths are absolute. */
export interface DataFolder {
  /** The folder itself. */
  readonly root: string;
  /** The central database. */
  readonly registry: string;
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
    terminal: join(root, 'terminal'),
    webhook: join(root, 'webhook'),
    log: join(root, 'host.log'),
    starts: join(root, 'starts.json'),
    rates: join(root, 'rates.db'),
    runs: join(root, 'runs'),
    skills: join(root, 'skills'),
    ofAgents: ['groups', 'state', 'sessions'].map((name) => join(root, name)),
    channel: (instance) => join(root, 'channels', instance),
    agent: (folder) => join(root, 'groups', folder),
    modelState: (agentGroupId) => join(root, 'state', agentGroupId),
    generated: (agentGroupId) => join(root, 'generated', agentGroupId),
    session: (agentGroupId, sessionId) => join(root, 'sessions', agentGroupId, sessionId),
  };
}

/** Makes the folder where it is missing, for its owner only. Throws a `Problem` (exit code 4) when it cannot be made. */
export function makeDataFolder(root: string): DataFolder {
  const folder = dataFolder(root);
  try {
    mkdirSync(folder.runs, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw cannotBeWritten(`The data folder ${root}`, error);
  }
  return folder;
}

/**
 * The name of this install, by which its runs are told from those of others on the machine: made with the folder and kept
 * in it. Throws the file system's error.
 */
export function installId(folder: DataFolder, newId: () => string): string {
  const file = join(folder.root, 'install-id');
  try {
    writeFileSync(file, newId(), { flag: 'wx' });
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
  }
  return readFileSync(file, 'utf8').trim();
}
