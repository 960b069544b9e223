/** A host's people in a temporary folder: the real registry, real session files, a platform in memory. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Channel, ReceivedChoice, ReceivedMessage } from '@nanoclaw/channels';
import { MemoryPlatform, type MemoryPlatformOptions } from '@nanoclaw/channels/testing';
import {
  type AgentGroup,
  type MessagingGroup,
  type MessagingGroupSettings,
  openRegistry,
  type Registry,
  type Role,
  type UserId,
  userId,
  type WiringSettings,
} from '@nanoclaw/registry';
import { inProcessReader, type TimelineEntry } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { hostMessenger } from '../src/channels/host-messenger.ts';
import { dataFolder, makeDataFolder } from '../src/data/data-folder.ts';
import type { ApprovalEffect, EndedApproval } from '../src/decisions/approvals.ts';
import { People } from '../src/inbound/people.ts';
import { type SessionHandle, Sessions } from '../src/session/sessions.ts';
import { setTimer } from './whole-host.ts';

/** What outlives the host: the disk and the platform. */
export interface Ground {
  readonly root: string;
  readonly platform: MemoryPlatform;
  readonly clock: { now: number };
  readonly newId: () => string;
}

export function openGround(options: MemoryPlatformOptions = {}): Ground & Disposable {
  const root = mkdtempSync(join(tmpdir(), 'nanoclaw-people-'));
  makeDataFolder(root);
  let ids = 0;
  return {
    root,
    platform: new MemoryPlatform(options),
    clock: { now: 1_000_000 },
    newId: () => `id-${++ids}`,
    [Symbol.dispose]: () => rmSync(root, { recursive: true }),
  };
}

/** Wraps what a host works with, for hosts that are to die. */
export type Wrap = <Port extends object>(port: Port) => Port;

/** One life of a host on that ground. */
export class World implements AsyncDisposable {
  readonly ground: Ground;
  readonly registry: Registry;
  readonly sessions: Sessions;
  readonly people: People;
  readonly woken: string[] = [];
  readonly dropped: string[] = [];
  readonly troubles: string[] = [];
  readonly acted: EndedApproval[] = [];
  /** How often actions fail before they are done. */
  actionFailures = 0;
  readonly #channel: Channel;

  private constructor(ground: Ground, registry: Registry, wrap: Wrap) {
    this.ground = ground;
    this.registry = registry;
    this.sessions = new Sessions({
      registry,
      data: dataFolder(ground.root),
      setTimer,
      monotonic: () => performance.now(),
      readerFor: (folder) => inProcessReader(folder, openSqlite),
      openMax: 16,
      onKnown: () => undefined,
      onRing: () => undefined,
      onFlood: () => undefined,
      onLocked: () => undefined,
    });
    this.#channel = ground.platform.channel();
    const applyActionOutcome: ApprovalEffect = async (approval) => {
      if (this.actionFailures-- > 0) throw new Error('The image could not be built.');
      this.acted.push(approval);
    };
    this.people = new People({
      registry: wrap(registry),
      sessions: wrap(this.sessions),
      messenger: hostMessenger(new Map([[this.#channel.type, wrap(this.#channel)]]), () => () => undefined),
      now: () => ground.clock.now,
      newChats: () => 'ask',
      defaultAgent: async () => undefined,
      applyActionOutcome,
      wake: (id) => this.woken.push(id),
      onDropped: (_, reason) => this.dropped.push(reason),
      onTrouble: (_, reason) => this.troubles.push(reason),
    });
  }

  /** `stillAlive` throws when the host died over what it received: the platform never hears that it was taken. */
  static async open(
    ground: Ground,
    wrap: Wrap = (port) => port,
    stillAlive: () => void = () => undefined,
  ): Promise<World> {
    const { root, newId, clock } = ground;
    const registry = await openRegistry({ file: dataFolder(root).registry, now: () => clock.now, newId });
    const world = new World(ground, registry, wrap);
    await world.#channel.start((event) => world.people.receive(event).then(stillAlive));
    return world;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#channel.stop();
    this.sessions[Symbol.dispose]();
    await this.registry.close();
  }

  agent(folder = 'main'): Promise<AgentGroup> {
    return this.registry.createAgentGroup({
      folder,
      name: folder === 'main' ? 'Nano' : folder,
      provider: 'offline',
      model: null,
      effort: null,
      assistantName: null,
      messagesPerPrompt: 10,
    });
  }

  chat(platformId = 'room', settings: Partial<MessagingGroupSettings> = {}): Promise<MessagingGroup> {
    return this.registry.createMessagingGroup({
      channelType: 'memory',
      platformId,
      name: platformId,
      kind: 'group',
      strangers: 'public',
      denied: false,
      ...settings,
    });
  }

  wire(chat: MessagingGroup, agent: AgentGroup, settings: Partial<WiringSettings> = {}) {
    return this.registry.createWiring({
      messagingGroupId: chat.id,
      agentGroupId: agent.id,
      engage: { mode: 'pattern', pattern: '.' },
      senderScope: 'all',
      otherwise: 'drop',
      sessionMode: 'shared',
      priority: 0,
      ...settings,
    });
  }

  async grant(handle: string, role: Role): Promise<UserId> {
    const user = userOf(handle);
    await this.registry.people.ensureUser(user, handle);
    await this.registry.people.grantRole(user, role, 'host');
    return user;
  }

  /** All sessions, opened. */
  handles(): Promise<readonly SessionHandle[]> {
    return this.sessions.loadAll();
  }

  /** What all sessions were given, each as `id: text`. */
  async inboxes(): Promise<string[]> {
    const lists = (await this.handles()).map((session) => session.files.history({ limit: 100 }).entries.map(line));
    return lists.flat();
  }

  /** The texts and questions that people were shown, each as `chat: text`. */
  get shown(): string[] {
    return this.ground.platform.shown.map(({ address, message: said }) => {
      const text = said.kind === 'text' ? said.text : said.kind === 'question' ? said.question : '';
      return `${address.platformId}: ${text}`;
    });
  }

  /** The cards that ask for a decision. */
  get cards() {
    return this.ground.platform.shown.filter(({ key }) => key.startsWith('card/'));
  }
}

function line(entry: TimelineEntry): string {
  if (entry.type !== 'in') return entry.id;
  const { text, event } = entry.content;
  return `${entry.id}: ${String(text ?? event)}`;
}

export function userOf(handle: string): UserId {
  const user = userId('memory', handle);
  if (user === undefined) throw new Error(`${handle} is no handle`);
  return user;
}

export function message(changes: Partial<ReceivedMessage> = {}): ReceivedMessage {
  return {
    kind: 'message',
    platformMessageId: 'p1',
    address: at('room'),
    sender: { id: 'ann', name: 'Ann' },
    text: 'hello',
    files: [],
    timestamp: 999_000,
    isMention: false,
    isDirect: false,
    ...changes,
  };
}

export function choice(questionId: string, index: number, changes: Partial<ReceivedChoice> = {}): ReceivedChoice {
  return {
    kind: 'choice',
    platformMessageId: `press-${index}`,
    address: at('dm-owner'),
    sender: { id: 'owner', name: 'Owner' },
    questionId,
    choice: index,
    timestamp: 1_000_000,
    ...changes,
  };
}

export function at(platformId: string, threadId: string | null = null) {
  return { channelType: 'memory', platformId, threadId };
}

export function by(handle: string) {
  return { id: handle, name: handle };
}

export function file(name: string, text: string, mediaType?: string) {
  return {
    name,
    ...(mediaType === undefined ? {} : { mediaType }),
    bytes: async function* () {
      yield Buffer.from(text);
    },
  };
}
