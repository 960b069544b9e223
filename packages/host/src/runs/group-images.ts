/**
 * Images of agent groups that have packages of their own: built as jobs, one at a time for each group, and looked up
 * before a start. Until a build has succeeded, and whenever one fails, what was in force before stays in force.
 */
import { join } from 'node:path';
import { buildGroupImage, EngineError, type Image, LABELS, SpawnError } from '@nanoclaw/containers';
import type { AgentGroup, AgentGroupId, Registry } from '@nanoclaw/registry';
import type { SetTimer } from '@nanoclaw/session-db';
import { PROTOCOL_VERSION } from '@nanoclaw/session-db/protocol';
import type { DataFolder, HostSettings } from '../data/index.ts';
import { messageOf } from '../errors/index.ts';
import { type ContainerIsolation, type Isolation, imageFor, imageNames, isolationNow } from './driver-choice.ts';

export interface GroupImagesOptions {
  readonly registry: Pick<Registry, 'agentGroup' | 'agentGroups' | 'updateAgentGroup'>;
  readonly isolation: Isolation;
  readonly installId: string;
  readonly data: DataFolder;
  readonly config: HostSettings;
  readonly setTimer: SetTimer;
  /** Who answers for an agent. */
  readonly providerOf: (agent: AgentGroup) => string;
  /** What came of a build that nobody asked for: the group's image was missing, or made for another version. */
  readonly onMended: (agentGroupId: AgentGroupId, rebuilt: Rebuilt) => void;
}

/** What came of a build. */
export type Rebuilt =
  | {
      readonly type: 'built';
      /** The engine's name of the image, in force now. */
      readonly image: string;
    }
  /** The group has no packages, so that the common image is in force. */
  | { readonly type: 'common' }
  /** A newer request has taken its place, or the host stops. What was in force before is so still. */
  | {
      readonly type: 'broken-off';
      /** Why, as a clause. */
      readonly reason: string;
    }
  /** What was in force before is so still. */
  | {
      readonly type: 'failed';
      /** What went wrong; ends with the last lines that the engine said. */
      readonly reason: string;
    };

/** What came of building an image. */
export type ImageRebuilt =
  | {
      readonly type: 'built';
      /** The engine's name of the image, in force now. */
      readonly image: string;
    }
  /** The image of before stays in force. */
  | {
      readonly type: 'failed';
      /** What went wrong; ends with the last lines that the engine said. */
      readonly reason: string;
    };

/** The images of agent groups that have packages of their own: which is in force, and building the next. */
export class GroupImages {
  readonly #options: GroupImagesOptions;
  #onChanged: (agentGroupId: AgentGroupId) => Promise<void> = async () => undefined;
  readonly #jobs = new Map<AgentGroupId, Job>();
  /** What was built, or tried in vain, without being asked for: once for each state of things, or it would never end. */
  readonly #mended = new Map<AgentGroupId, string>();

  constructor(options: GroupImagesOptions) {
    this.#options = options;
  }

  /**
   * Calls `follow` when another image is in force for a group: its runs are to be replaced, and those that waited for it tried
   * again. One follower at a time.
   */
  whenChanged(follow: (agentGroupId: AgentGroupId) => Promise<void>): void {
    this.#onChanged = follow;
  }

  /**
   * Builds the image of the group's packages and puts it in force; with no packages, the common one. A newer request for
   * the same group breaks this one off. `onProgress` gets each line that the engine says, and must not throw. Rejects only
   * when the registry does.
   */
  async rebuild(agentGroupId: AgentGroupId, onProgress: (line: string) => void): Promise<Rebuilt> {
    const before = this.#jobs.get(agentGroupId);
    before?.breakOff.abort('a newer request took its place');
    const breakOff = new AbortController();
    const done = (async () => {
      await before?.done.catch(() => undefined); // told to whoever asked for that one
      return this.#build(agentGroupId, breakOff.signal, onProgress);
    })();
    const job: Job = { breakOff, done };
    this.#jobs.set(agentGroupId, job);
    try {
      return await done;
    } finally {
      if (this.#jobs.get(agentGroupId) === job) this.#jobs.delete(agentGroupId);
    }
  }

  /**
   * The image for a run of the group: its own, or the common one for its provider. Rejects with a `SpawnError` when there
   * is none that fits; one of the group's own is then built anew, once.
   */
  async imageFor(agent: AgentGroup, provider: string, isolation: ContainerIsolation): Promise<Image> {
    const common = imageFor(provider, isolation.images);
    if (agent.image === null) {
      if (common !== undefined) return common;
      throw new SpawnError({ type: 'no-image', image: imageNames(this.#options.config).claude });
    }
    const own = await found(agent.image, isolation);
    const remedy = 'it is built anew in the background; see `nanoclaw doctor` if that comes to nothing';
    if (own === undefined) {
      this.#mend(agent, common);
      throw new SpawnError({ type: 'no-image', image: agent.image, remedy });
    }
    const version = own.labels[LABELS.protocol];
    if (version !== String(PROTOCOL_VERSION) || !serves(own, provider)) {
      this.#mend(agent, common);
      const wanted = PROTOCOL_VERSION;
      throw new SpawnError({ type: 'wrong-image', image: agent.image, wanted, found: version, remedy });
    }
    // Made of a common image that is no longer in force: good enough until the new one is there.
    if (common !== undefined && own.labels[LABELS.base] !== undefined && own.labels[LABELS.base] !== common.id) {
      this.#mend(agent, common);
    }
    return own;
  }

  /** Breaks off what is being built; resolves when nothing of it is left. */
  async close(): Promise<void> {
    const jobs = [...this.#jobs.values()];
    for (const { breakOff } of jobs) breakOff.abort('the host stops');
    await Promise.allSettled(jobs.map(({ done }) => done));
  }

  async #build(agentGroupId: AgentGroupId, signal: AbortSignal, onProgress: (line: string) => void): Promise<Rebuilt> {
    const { registry } = this.#options;
    const said: string[] = [];
    const onLine = (line: string) => {
      if (line.trim() !== '') said.push(line.trim());
      said.splice(0, said.length - LAST_LINES);
      onProgress(line);
    };
    try {
      const agent = await registry.agentGroup(agentGroupId);
      if (agent === undefined)
        return { type: 'failed', reason: 'The agent is not in the registry; nothing was built.' };
      const image = hasPackages(agent) ? await this.#built(agent, signal, onLine) : null;
      if (signal.aborted) return { type: 'broken-off', reason: String(signal.reason) };
      await registry.updateAgentGroup(agentGroupId, { image });
      await this.#follow(agentGroupId);
      return image === null ? { type: 'common' } : { type: 'built', image };
    } catch (error) {
      if (signal.aborted) return { type: 'broken-off', reason: String(signal.reason) };
      if (!(error instanceof EngineError || error instanceof SpawnError || error instanceof RangeError)) throw error;
      return { type: 'failed', reason: [messageOf(error), ...said].join('\n') };
    }
  }

  /** What follows from a change. The image is in force already, so an engine that fails now takes nothing back. */
  async #follow(agentGroupId: AgentGroupId): Promise<void> {
    try {
      await this.#onChanged(agentGroupId);
      await this.#removeUnused();
    } catch (error) {
      // A run that could not be stopped still differs from what it should be, and an image that is left still has no
      // group: both are found again.
      if (!(error instanceof EngineError || error instanceof SpawnError)) throw error;
    }
  }

  /** The id of the image with the group's packages. */
  async #built(agent: AgentGroup, signal: AbortSignal, onProgress: (line: string) => void): Promise<string> {
    const { data, installId, config, providerOf, setTimer } = this.#options;
    const isolation = await isolationNow(this.#options.isolation);
    if (isolation.type !== 'container') {
      throw new RangeError('Agents run without containers here, and packages are installed in images only.');
    }
    const base = imageFor(providerOf(agent), isolation.images);
    if (base === undefined) throw new SpawnError({ type: 'no-image', image: imageNames(config).claude });
    const late = new AbortController();
    const cancel = setTimer(BUILD_MAX_MS, () => late.abort('it took too long'));
    try {
      const { id } = await buildGroupImage({
        client: isolation.client,
        base,
        packages: agent.packages,
        installId,
        folder: join(data.generated(agent.id), 'image'),
        onProgress,
        signal: AbortSignal.any([signal, late.signal]),
      });
      return id;
    } finally {
      cancel();
    }
  }

  /** Builds what is missing; again only when something about it has changed since. */
  #mend(agent: AgentGroup, common: Image | undefined): void {
    // One that somebody has named by hand is theirs to provide; and what is being built already will do.
    if (!hasPackages(agent) || this.#jobs.has(agent.id)) return;
    const state = JSON.stringify([agent.image, agent.packages, common?.id]);
    if (this.#mended.get(agent.id) === state) return;
    this.#mended.set(agent.id, state);
    this.rebuild(agent.id, () => undefined)
      .catch((error: unknown): Rebuilt => ({ type: 'failed', reason: messageOf(error) }))
      .then((rebuilt) => this.#options.onMended(agent.id, rebuilt));
  }

  /** Removes this install's images that no group has any more; what a container still uses goes with a later build. */
  async #removeUnused(): Promise<void> {
    const isolation = await isolationNow(this.#options.isolation);
    if (isolation.type !== 'container') return;
    const used = new Set((await this.#options.registry.agentGroups()).map(({ image }) => image));
    const all = await isolation.client.images(LABELS.imageOf, this.#options.installId);
    for (const id of all) if (!used.has(id)) await isolation.client.removeImage(id);
  }
}

/** One build, from its request to its end. */
interface Job {
  readonly breakOff: AbortController;
  readonly done: Promise<Rebuilt>;
}

const BUILD_MAX_MS = 30 * 60_000;
/** How many of the engine's lines a failed build is told with. */
const LAST_LINES = 8;

function hasPackages({ packages: { apt, npm } }: AgentGroup): boolean {
  return apt.length + npm.length > 0;
}

/** Whether the image has what a run of the provider needs; one that does not say which it is was chosen by somebody. */
function serves(image: Image, provider: string): boolean {
  return provider !== 'claude' || image.labels[LABELS.variant] !== 'slim';
}

async function found(name: string, { client, engine }: ContainerIsolation): Promise<Image | undefined> {
  try {
    return await client.image(name);
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    throw new SpawnError({ type: 'no-engine', engine, reason: error.message }, { cause: error });
  }
}
