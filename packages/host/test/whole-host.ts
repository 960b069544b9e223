/** A whole host in the test's own process, on a data folder of its own, with a platform and runs that live in memory. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Channel } from '@nanoclaw/channels';
import { MemoryPlatform } from '@nanoclaw/channels/testing';
import { Guard } from '@nanoclaw/guard';
import { type AgentGroup, openRegistry, type Registry } from '@nanoclaw/registry';
import { pino } from 'pino';
import { type DataFolder, makeDataFolder } from '../src/data/data-folder.ts';
import type { HostSettings } from '../src/data/settings.ts';
import { createHost, type HostOptions, type RunningHost } from '../src/host/create-host.ts';
import { ensureDefaults, MAIN_CHAT } from '../src/host/defaults.ts';
import { NO_MODULES } from '../src/modules/references.ts';
import { inLoop, StandInDriver, type StandInHome } from './stand-in-driver.ts';

export interface WholeHostOptions {
  readonly settings?: Partial<HostSettings>;
  /** Where the agents live: by default on the host's own event loop, where each says what it heard. */
  readonly agents?: StandInHome;
  /** What the host is made with besides. */
  readonly options?: Partial<HostOptions>;
  /** Channels besides the platform in memory. */
  readonly channels?: readonly Channel[];
}

export class WholeHost {
  readonly root: string;
  readonly data: DataFolder;
  /** Where its figures are; 0: nowhere. */
  readonly healthPort: number;
  readonly platform = new MemoryPlatform({ type: 'memory' });
  /** Starts it and stops it, once each. */
  readonly host = {
    start: async (): Promise<void> => {
      this.#running = await createHost(this.#options);
    },
    stop: async (runs: 'stop-runs' | 'leave-runs'): Promise<void> => {
      await this.#running?.stop(runs);
    },
  };
  readonly #options: HostOptions;
  readonly #guard: Guard;
  #running: RunningHost | undefined;
  readonly #ids = { next: 0 };
  isDrained = false;

  /** The host, while it runs. */
  get running(): RunningHost {
    if (this.#running === undefined) throw new Error('The host was not started.');
    return this.#running;
  }

  constructor({ settings, agents = echoing('You said'), options, channels = [] }: WholeHostOptions = {}) {
    this.root = mkdtempSync(join(tmpdir(), 'nano-'));
    this.data = makeDataFolder(join(this.root, 'data'));
    this.healthPort = settings?.healthPort ?? 0;
    const all = [this.platform.channel(), ...channels];
    this.#guard = testGuard(this.data);
    this.#options = {
      data: this.data.root,
      settings: { provider: 'offline', ...settings },
      channels: Object.fromEntries(all.map((channel) => [channel.type, { channel }])),
      driver: () => new StandInDriver(agents, () => Date.now()),
      modules: NO_MODULES,
      log: { logger: pino({ level: 'silent' }), rotate: () => undefined },
      guard: this.#guard,
      onDrained: () => {
        this.isDrained = true;
      },
      ...options,
      ports: { newId: () => `id-${++this.#ids.next}`, ...options?.ports },
    };
  }

  /** Wires chats of the platform, named `chat-0` and so on, each with a session of its own, to one agent for every 20. */
  async wire(chats: number): Promise<void> {
    const options = { file: this.data.registry, now: () => Date.now(), newId: () => `id-${++this.#ids.next}` };
    await using registry = await openRegistry(options);
    await ensureDefaults(registry);
    let agent = await defaultAgent(registry);
    for (let chat = 0; chat < chats; chat += 1) {
      if (chat > 0 && chat % 20 === 0) {
        const folder = `agent-${chat / 20}`;
        const { provider, model, effort, messagesPerPrompt } = await defaultAgent(registry);
        agent = await registry.createAgentGroup({
          folder,
          name: folder,
          provider,
          model,
          effort,
          assistantName: null,
          messagesPerPrompt,
        });
      }
      const group = await registry.createMessagingGroup({
        channelType: 'memory',
        platformId: `chat-${chat}`,
        name: `Chat ${chat}`,
        kind: 'direct',
        strangers: 'public',
        denied: false,
      });
      await registry.createWiring({
        messagingGroupId: group.id,
        agentGroupId: agent.id,
        engage: { mode: 'pattern', pattern: '.' },
        senderScope: 'all',
        otherwise: 'drop',
        sessionMode: 'shared',
        priority: 0,
      });
    }
  }

  /** A person says something; resolves once the platform has heard that it was taken. */
  async say(chat: number, id: string, text: string): Promise<'acknowledged' | 'kept'> {
    return this.platform.say({
      kind: 'message',
      platformMessageId: id,
      address: { channelType: 'memory', platformId: `chat-${chat}`, threadId: null },
      sender: { id: `person-${chat}`, name: `Person ${chat}` },
      text,
      files: [],
      timestamp: Date.now(),
      isMention: true,
      isDirect: true,
    });
  }

  async close(): Promise<void> {
    await this.host.stop('stop-runs');
    this.#guard[Symbol.dispose]();
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** Agents on the host's own event loop; each says this and what it heard. */
export function echoing(words: string, clock = { now: () => Date.now(), setTimer }): StandInHome {
  return inLoop({ ...clock, answer: ({ content }) => `${words} ${content['text']}` });
}

/** The guard that a host would start, over the program that the set-up of the run has made. */
export function testGuard({ sessions, guard }: Pick<DataFolder, 'sessions' | 'guard'>): Guard {
  const program = process.env['NANOCLAW_TEST_GUARD'];
  return new Guard({
    ...(program === undefined ? {} : { program }),
    sessions,
    scratch: guard,
    setTimer,
    monotonic: () => performance.now(),
    onTrouble: () => undefined,
  });
}

async function defaultAgent(registry: Registry): Promise<AgentGroup> {
  const agent = await registry.agentGroupByFolder(MAIN_CHAT);
  if (agent === undefined) throw new Error('There is no default agent.');
  return agent;
}

export function setTimer(delayMs: number, action: () => void): () => void {
  const timer = setTimeout(action, delayMs);
  return () => clearTimeout(timer);
}

/** A port of this machine that nothing listens on just now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('A server on TCP has an address with a port.');
  return address.port;
}

/** Looks every 10 ms until `condition` holds; rejects after `limitMs`. */
export async function until(condition: () => boolean, limitMs = 60_000): Promise<void> {
  const end = Date.now() + limitMs;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`It did not happen within ${limitMs / 1_000} s: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Looks every 500 ms until `value` has been the same for four looks; rejects after `limitMs`. */
export async function untilSteady(value: () => number, limitMs = 60_000): Promise<void> {
  const seen: number[] = [];
  for (const end = Date.now() + limitMs; new Set(seen.slice(-4)).size !== 1 || seen.length < 4; ) {
    if (Date.now() > end) throw new Error(`It did not come to rest within ${limitMs / 1_000} s: ${value}`);
    seen.push(value());
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

/** Measures how late the event loop is, from now on: in milliseconds, by percentile. */
export function loopDelay(): (percentile: number) => number {
  const resolution = 1;
  const histogram = monitorEventLoopDelay({ resolution });
  histogram.enable();
  return (percentile) => Math.max(0, histogram.percentile(percentile) / 1e6 - resolution);
}
