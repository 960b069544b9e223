/** A data folder with an agent, a chat and a session in it, for tests of operator commands. Everything is real but the host. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AgentGroup, openRegistry, type Registry, type Session } from '@nanoclaw/registry';
import {
  createSession,
  HostSession,
  inProcessReader,
  type JsonObject,
  type Outcome,
  RunnerSession,
  readOutbound,
  runId,
  type SessionFolder,
} from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { type DataFolder, makeDataFolder } from '../src/data/data-folder.ts';
import { parseCommandLine } from '../src/operator/arguments.ts';
import type { LiveHost } from '../src/operator/contexts.ts';
import type { OfflineOptions } from '../src/operator/offline.ts';
import { type CommandContexts, runPrepared as done, prepare } from '../src/operator/run.ts';
import { OwnSessionFiles, SessionViews } from '../src/operator/session-files.ts';
import { OPERATOR_COMMANDS, TOPICS } from '../src/operator/table.ts';

/** The time of the tests. */
export const NOW = Date.UTC(2026, 10, 21, 12);
export const ADDRESS = { channelType: 'terminal', platformId: 'main', threadId: null };

export class OperatorInstall implements AsyncDisposable {
  readonly scratch = mkdtempSync(join(tmpdir(), 'nano-scratch-'));
  readonly data: DataFolder = makeDataFolder(mkdtempSync(join(tmpdir(), 'nano-operator-')));
  /** What the host was asked, in order, while there is one. */
  readonly asked: string[] = [];
  #registry: Registry | undefined;
  #ids = 0;

  /** Two agents, `main` and `other`, each wired to a chat of its own and with a session there. */
  static async make(): Promise<OperatorInstall> {
    const install = new OperatorInstall();
    const registry = await install.open();
    for (const folder of ['main', 'other']) await addAgent(registry, folder);
    for (const session of await registry.sessions()) install.files(session)[Symbol.dispose]();
    return install;
  }

  get registry(): Registry {
    if (this.#registry === undefined) throw new Error('The registry is closed.');
    return this.#registry;
  }

  /** Opens the registry again after `close`. */
  async open(): Promise<Registry> {
    const { registry: file } = this.data;
    this.#registry ??= await openRegistry({ file, now: () => NOW, newId: this.newId });
    return this.#registry;
  }

  /** Closes the registry, as a host does that goes down. */
  async close(): Promise<void> {
    await this.#registry?.close();
    this.#registry = undefined;
  }

  readonly newId = () => `id${String(++this.#ids).padStart(4, '0')}-of-test`;

  async agent(folder = 'main'): Promise<AgentGroup> {
    const agent = await this.registry.agentGroupByFolder(folder);
    if (agent === undefined) throw new Error(`There is no agent ${folder}.`);
    return agent;
  }

  async session(folder = 'main'): Promise<Session> {
    const { id } = await this.agent(folder);
    const session = (await this.registry.sessions()).find(({ key }) => key.agentGroupId === id);
    if (session === undefined) throw new Error(`The agent ${folder} has no session.`);
    return session;
  }

  folder({ id, key }: Session): SessionFolder {
    return createSession(this.data.session(key.agentGroupId, id));
  }

  /** The session's own file. To be disposed of. */
  files(session: Session): HostSession {
    return HostSession.open(this.folder(session), openSqlite);
  }

  /** Writes a message for the agent. */
  enqueue(session: Session, id: string, content: JsonObject): void {
    using files = this.files(session);
    files.enqueue({ id, kind: 'chat', timestamp: NOW, trigger: 'wakes', address: ADDRESS, content }, NOW);
  }

  /**
   * Lets a message be given up in each direction: the agent fails on one for good, and its answer to another finds no
   * chat. Gives the numbers of the two.
   */
  giveUp(session: Session): { readonly in: number; readonly out: number } {
    this.enqueue(session, 'fails', { text: 'this one fails' });
    this.turn(session, { type: 'failed', reason: 'the model said no' });
    this.enqueue(session, 'answered', { text: 'this one is answered' });
    this.turn(session, { type: 'completed' }, { text: 'an answer to nowhere' });
    using files = this.files(session);
    const [failed] = files.deadLetters.list(1);
    const [refused] = files.deliveries.deadLetters(1);
    if (failed === undefined || refused === undefined) throw new Error('Nothing was given up.');
    return { in: failed.seq, out: refused.seq };
  }

  /** One run that takes what is due and ends it like that; the host settles it, and refuses to deliver the answer. */
  turn(session: Session, outcome: Outcome, answer?: JsonObject): void {
    const folder = this.folder(session);
    using files = this.files(session);
    const run = runId(this.newId());
    files.beginRun(run, NOW);
    {
      const handshake = { runId: run, runnerVersion: '0', provider: 'offline' };
      using runner = RunnerSession.open(folder, openSqlite, handshake, NOW);
      const claimed = runner.claim(NOW, { work: 10, control: 10, context: 10 });
      if (claimed.type !== 'claimed') throw new Error(`The claim is ${claimed.type}.`);
      const claims = claimed.claimed.map(({ claim }) => claim);
      const reply = { id: `${run}/1`, kind: 'chat', address: ADDRESS, inReplyTo: null } as const;
      runner.finish(claims, outcome, answer === undefined ? [] : [{ ...reply, content: answer }], NOW);
    }
    files.endRun(run);
    const read = readOutbound(folder, openSqlite, { ...files.cursor(), again: [] });
    if (read.type !== 'read') throw new Error(`The file is ${read.type}.`);
    files.settle(read, NOW, { triesMax: 1, backoffBaseMs: 1_000, backoffMaxMs: 60_000 });
    const refused = read.messages.map((message) => ({ message, refused: 'There is no such chat.' }));
    files.deliveries.accept(refused, read.messagesThrough, NOW);
  }

  /** The host that has the registry open, as commands see it; `live`: what they may ask of it. */
  operators(live?: LiveHost): CommandContexts {
    const { registry } = this;
    const common = { ...this.offline(), live };
    return {
      read: { ...common, registry, sessions: new SessionViews(common) },
      write: { ...common, registry, sessions: new OwnSessionFiles(common), actor: 'operator' },
    };
  }

  /** What the command line needs while the host is down. */
  offline(): OfflineOptions {
    return {
      data: this.data,
      config: [
        { key: 'provider', value: 'auto', source: 'default', variable: 'NANOCLAW_PROVIDER', help: 'who answers' },
      ],
      timeZone: 'UTC',
      version: '1.2.3',
      now: () => NOW,
      newId: this.newId,
      newSecret: () => 's'.repeat(43),
      onProgress: (line) => void this.asked.push(`progress: ${line}`),
      scratch: this.scratch,
      readerFor: (folder) => inProcessReader(folder, openSqlite),
      pid: 4711,
    };
  }

  /** A host that notes what it is asked. */
  readonly live: LiveHost = {
    status: () => ({
      pid: 4711,
      since: NOW - 60_000,
      isolation: 'Agents run as plain processes.',
      guard: 'The guard is closed in.',
      channels: [{ instance: 'terminal', type: 'terminal', state: 'online', reason: null }],
      providers: [
        { name: 'offline', module: null, isDefault: true },
        { name: 'claude', module: null, isDefault: false },
        { name: 'shout', module: './shout.js', isDefault: false },
      ],
      modelTroubles: [],
      problems: [],
      uncaught: [],
      running: [],
      waiting: [],
    }),
    drain: async (onProgress) => {
      onProgress('waiting for one session');
      this.asked.push('drain');
      return { unfinished: [], running: [] };
    },
    poke: (id) => void this.asked.push(`poke ${id}`),
    stopRun: async (id) => this.asked.push(`stop ${id}`) > 0,
    forget: async (id) => void this.asked.push(`forget ${id}`),
    applyApproval: async (id) => void this.asked.push(`apply ${id}`),
    checkChannel: async (instance) => {
      this.asked.push(`check ${instance}`);
      return 'memory';
    },
    addChannel: async (instance) => void this.asked.push(`add ${instance}`),
    removeChannel: async (instance) => void this.asked.push(`remove ${instance}`),
    reloadWebhooks: async (endpoints) => void this.asked.push(`webhooks ${endpoints.map(({ name }) => name).join()}`),
    rebuildImage: async () => ({ type: 'built', image: 'nanoclaw-agent:main' }),
  };

  /** Runs the words of a command and gives its result as data. Rejects with its `Problem`. */
  async run(words: readonly string[], live?: LiveHost) {
    const request = parseCommandLine(words, OPERATOR_COMMANDS, TOPICS);
    if (request.type !== 'run') throw new Error(`It is ${request.type}.`);
    return done(prepare(request.command, request.raw), this.operators(live), request.raw);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    for (const folder of [this.data.root, this.scratch]) rmSync(folder, { recursive: true, force: true });
  }
}

async function addAgent(registry: Registry, folder: string): Promise<void> {
  const agent = await registry.createAgentGroup({
    folder,
    name: folder,
    provider: 'offline',
    model: null,
    effort: null,
    assistantName: null,
    messagesPerPrompt: 10,
  });
  const chat = await registry.createMessagingGroup({
    channelType: 'terminal',
    platformId: folder,
    name: folder,
    kind: 'direct',
    strangers: 'public',
    denied: false,
  });
  await registry.createWiring({
    agentGroupId: agent.id,
    messagingGroupId: chat.id,
    engage: { mode: 'pattern', pattern: '.' },
    senderScope: 'all',
    otherwise: 'drop',
    sessionMode: 'shared',
    priority: 0,
  });
  await registry.sessionFor({ scope: 'chat', agentGroupId: agent.id, messagingGroupId: chat.id });
}
