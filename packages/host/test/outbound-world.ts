// Hop 8 on real files: a registry, sessions with both of their sides, a chat platform in memory, and delivery's own pass.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Channel } from '@nanoclaw/channels';
import { MemoryPlatform, type MemoryPlatformOptions } from '@nanoclaw/channels/testing';
import {
  DELIVERY_POLICY,
  type DeliveryPorts,
  type DeliveryReport,
  deliverSession,
  Gate,
  type Notice,
} from '@nanoclaw/delivery';
import {
  type AgentGroup,
  type Approval,
  type MessagingGroup,
  openRegistry,
  type Registry,
  type SessionKey,
  userId,
} from '@nanoclaw/registry';
import {
  type Ack,
  HostSession,
  inProcessReader,
  type NewOutbound,
  RunnerSession,
  removeAttachments,
  runId,
  spoolAttachments,
} from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { messageFiles } from '@nanoclaw/session-db/protocol';
import type { ActionPorts } from '../src/actions/action.ts';
import { performAction } from '../src/actions/actions.ts';
import { dataFolder, makeDataFolder } from '../src/data/data-folder.ts';
import { Questions } from '../src/decisions/questions.ts';
import { cleanUp, type OutboundPorts, routeOf, send } from '../src/outbound/outbound.ts';
import type { ImageRebuilt } from '../src/runs/group-images.ts';
import { destinationsOf } from '../src/session/destinations.ts';
import { inboundId } from '../src/session/received.ts';
import { type SessionHandle, Sessions } from '../src/session/sessions.ts';
import { setTimer } from './whole-host.ts';

export const START = 1_700_000_000_000;
const NEVER = () => () => undefined;

export class OutboundWorld implements AsyncDisposable {
  readonly root = mkdtempSync(join(tmpdir(), 'nanoclaw-outbound-'));
  readonly platform: MemoryPlatform;
  readonly channel: Channel;
  readonly gate = new Gate();
  readonly woken: string[] = [];
  readonly notices: Notice[] = [];
  /** How often the runs that no longer fit were to be replaced. */
  replacements = 0;
  /** How often a runner's file was read. */
  reads = 0;
  readonly commands: { words: readonly string[]; scope: string; agentGroupId: string }[] = [];
  now = START;
  image: ImageRebuilt = { type: 'built', image: 'nanoclaw-group:test' };
  /** When set, the next clean-up fails with it. */
  cleanUpError: Error | undefined;
  sessions!: Sessions;
  readonly #runners = new Map<string, RunnerSession>();
  #rows = 0;

  readonly registry: Registry;

  private constructor(registry: Registry, platform: MemoryPlatformOptions) {
    this.registry = registry;
    this.platform = new MemoryPlatform(platform);
    this.channel = this.platform.channel();
  }

  static async make(platform: MemoryPlatformOptions = {}): Promise<OutboundWorld> {
    let ids = 0;
    const folder = mkdtempSync(join(tmpdir(), 'nanoclaw-registry-'));
    const clock = { now: START };
    const registry = await openRegistry({
      file: join(folder, 'registry.db'),
      now: () => clock.now,
      newId: () => `id-${++ids}`,
    });
    const world = new OutboundWorld(registry, platform);
    world.#folder = folder;
    makeDataFolder(world.root);
    world.#open();
    await world.channel.start(async () => undefined);
    return world;
  }
  #folder = '';

  async [Symbol.asyncDispose](): Promise<void> {
    for (const runner of this.#runners.values()) runner[Symbol.dispose]();
    this.sessions[Symbol.dispose]();
    await this.channel.stop();
    await this.registry.close();
    for (const folder of [this.root, this.#folder]) rmSync(folder, { recursive: true });
  }

  #open(): void {
    this.sessions = new Sessions({
      registry: this.registry,
      data: dataFolder(this.root),
      setTimer,
      monotonic: () => performance.now(),
      readerFor: (folder) => {
        const reader = inProcessReader(folder, openSqlite);
        return {
          read: (request) => {
            this.reads += 1;
            return reader.read(request);
          },
        };
      },
      openMax: 16,
      onKnown: () => undefined,
      onRing: () => undefined,
      onFlood: () => undefined,
      onLocked: () => undefined,
    });
  }

  /** An agent wired to a chat of its own name. */
  async agent(name: string, more: Partial<AgentGroup> = {}): Promise<{ agent: AgentGroup; chat: MessagingGroup }> {
    const agent = await this.registry.createAgentGroup({
      folder: name,
      name,
      provider: 'offline',
      model: null,
      effort: null,
      assistantName: null,
      messagesPerPrompt: 10,
      ...more,
    });
    const chat = await this.registry.createMessagingGroup({
      channelType: this.platform.type,
      platformId: name,
      name,
      kind: 'group',
      strangers: 'public',
      denied: false,
    });
    await this.registry.createWiring({
      messagingGroupId: chat.id,
      agentGroupId: agent.id,
      engage: { mode: 'pattern', pattern: '.' },
      senderScope: 'all',
      otherwise: 'drop',
      sessionMode: 'shared',
      reach: 'all-destinations',
      priority: 0,
    });
    return { agent, chat };
  }

  /** A session in the chat of an agent, with a live run. */
  async session(name: string, more: Partial<AgentGroup> = {}): Promise<SessionHandle> {
    const { agent, chat } = await this.agent(name, more);
    const session = await this.open({ scope: 'chat', agentGroupId: agent.id, messagingGroupId: chat.id });
    await this.refresh(session, this.address(name));
    return session;
  }

  async open(key: SessionKey): Promise<SessionHandle> {
    return this.sessions.forKey(key);
  }

  /** Writes the session's address book anew, as every message of a person does. */
  async refresh(session: SessionHandle, replyTo = session.files.routing().replyTo): Promise<void> {
    const destinations = await destinationsOf(session, this.registry);
    await session.write((files) => files.setRouting({ destinations, replyTo }, this.now));
  }

  address(platformId: string, threadId: string | null = null) {
    return { channelType: this.platform.type, platformId, threadId };
  }

  async mayMail(from: SessionHandle, to: SessionHandle, name = 'friend'): Promise<void> {
    const target = { type: 'agent', agentGroupId: to.agentGroupId } as const;
    await this.registry.destinations.create({ agentGroupId: from.agentGroupId, name, target });
    await this.refresh(from);
  }

  async owner(handle: string): Promise<void> {
    const user = userId(this.platform.type, handle);
    if (user === undefined) throw new Error('no user id');
    await this.registry.people.ensureUser(user, handle);
    await this.registry.people.grantRole(user, { role: 'owner' }, 'operator');
  }

  /** Somebody writes in a chat; gives the id of the message in the session. */
  async hear(session: SessionHandle, platformMessageId: string, sender = 'anna', place?: string): Promise<string> {
    const agent = await this.registry.agentGroup(session.agentGroupId);
    const address = this.address(place ?? agent?.folder ?? '');
    await this.platform.say({
      kind: 'message',
      platformMessageId,
      address,
      sender: { id: sender, name: sender },
      text: 'hello',
      files: [],
      timestamp: this.now,
      isMention: true,
      isDirect: false,
    });
    const id = inboundId(address, platformMessageId);
    const content = { text: 'hello', sender: { id: sender, name: sender } };
    const message = { id, kind: 'chat', timestamp: this.now, trigger: 'wakes', address, content } as const;
    await session.write((own) => own.enqueue(message, this.now));
    return id;
  }

  runner(session: SessionHandle): RunnerSession {
    const known = this.#runners.get(session.id);
    if (known) return known;
    const run = runId(`run-${session.id}`);
    asHost(session, (own) => own.beginRun(run, this.now));
    const handshake = { runId: run, runnerVersion: '0', provider: 'offline' };
    const runner = RunnerSession.open(session.folder, openSqlite, handshake, this.now);
    this.#runners.set(session.id, runner);
    return runner;
  }

  /** The agent writes a row; gives its number and id. */
  row(session: SessionHandle, row: Partial<NewOutbound>): { seq: number; id: string } {
    this.#rows += 1;
    const id = row.id ?? `row-${this.#rows}`;
    const whole = { kind: 'chat', address: null, inReplyTo: null, content: { text: 'hi' }, ...row, id } as const;
    return { seq: this.runner(session).send(whole, this.now).seq, id };
  }

  /** What the agent puts beside a row, as files. */
  files(session: SessionHandle, rowId: string, files: Readonly<Record<string, string>>): void {
    const folder = messageFiles(session.folder.outbound.files, rowId);
    mkdirSync(folder, { recursive: true });
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  }

  /** The run has answered a message: it is completed. */
  complete(session: SessionHandle, messageId: string): void {
    const ack = {
      messageId,
      attempt: 1,
      runId: `run-${session.id}`,
      status: 'completed',
      statusChanged: this.now,
      error: null,
    };
    const acks: Ack[] = [{ ...ack, status: 'completed' }];
    asHost(session, (own) => own.settle({ acks, openClaims: [], changesThrough: 0 }, this.now, RETRY));
  }

  /** One pass of delivery. */
  deliver(session: SessionHandle): Promise<DeliveryReport> {
    const { id, folder, reader } = session;
    return deliverSession({ key: id, folder, reader, inSession: (use) => session.write(use) }, this.world());
  }

  world(): DeliveryPorts {
    const known = (id: string) => {
      const session = this.sessions.known(id);
      if (session === undefined) throw new Error(`no session ${id}`);
      return session;
    };
    return {
      route: (id, message) => routeOf(known(id), message, this.channels()),
      send: (message, attempt) => send(known(attempt.session), message, attempt, this.outbound()),
      cleanUp: async (id, messageOutId) => {
        const error = this.cleanUpError;
        this.cleanUpError = undefined;
        if (error) throw error;
        await cleanUp(known(id), messageOutId, this.outbound());
      },
      notify: async (_, notice) => void this.notices.push(notice),
      gate: this.gate,
      now: () => this.now,
      setTimer: NEVER,
      random: () => 0,
      policy: DELIVERY_POLICY,
    };
  }

  channels(): Map<string, Channel> {
    return new Map([[this.channel.type, this.channel]]);
  }

  outbound(): OutboundPorts {
    const questions = new Questions({
      registry: this.registry,
      sessions: this.sessions,
      now: () => this.now,
      wake: (id) => void this.woken.push(id),
    });
    return {
      registry: this.registry,
      sessions: this.sessions,
      now: () => this.now,
      spool: async (session, messageId, names) => spoolAttachments(session.folder, messageId, names),
      remove: async (session, messageId) => removeAttachments(session.folder, messageId),
      wake: (id) => void this.woken.push(id),
      isFirst: (name) => this.gate.rates.take([{ key: name, burst: 1, everyMs: 86_400_000 }], this.now) === 0,
      channels: this.channels(),
      openQuestion: (session, message, address) => questions.open(session, message, address),
      performAction: (session, row, attempt) => performAction(session, row, attempt.uncertain, this.actions()),
    };
  }

  actions(): ActionPorts {
    return {
      registry: this.registry,
      sessions: this.sessions,
      data: dataFolder(this.root),
      timeZone: 'UTC',
      now: () => this.now,
      wake: (id) => void this.woken.push(id),
      requestApproval: async (wish) => {
        const expiresAt = this.now + 3_600_000;
        const asked = await this.registry.approvals.request(
          { ...wish, messagingGroupId: null, expiresAt },
          { openMax: 3 },
        );
        return asked === undefined ? { type: 'refused', reason: 'Too much waits already.' } : { type: 'asked' };
      },
      rebuildImage: async () => this.image,
      replaceOutdatedRuns: async () => void (this.replacements += 1),
      runAgentCommand: async (words, scope, agentGroupId) => {
        this.commands.push({ words, scope, agentGroupId });
        if (words[0] === 'explode') throw new Error('There is no such command.');
        return { did: words.join(' ') };
      },
    };
  }

  /** The one approval that waits. */
  async waiting(): Promise<Approval | undefined> {
    return (await this.registry.approvals.list({ state: 'open', now: this.now, limit: 10 }))[0];
  }
}

const RETRY = { triesMax: 5, backoffBaseMs: 1_000, backoffMaxMs: 10_000 };

/** Writes a session's file as the host does, from a helper that waits for nothing. */
export function asHost<T>(session: Pick<SessionHandle, 'folder'>, use: (files: HostSession) => T): T {
  using files = HostSession.open(session.folder, openSqlite);
  return use(files);
}
