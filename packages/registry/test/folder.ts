import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import type { AgentGroup, MessagingGroup, Registry, Wiring } from '../src/index.js';
import { openRegistry } from '../src/index.js';

const cleanups: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** A folder that is gone after the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'registry-'));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** An open registry whose clock ticks at each look and whose ids count up; closed after the test. */
export async function temporaryRegistry(file = join(temporaryFolder(), 'registry.db')): Promise<Registry> {
  let made = 0;
  let looked = 0;
  const registry = await openRegistry({ file, now: () => (looked += 1), newId: () => `id-${(made += 1)}` });
  cleanups.push(() => registry.close());
  return registry;
}

export const anAgent = {
  folder: 'andy',
  name: 'Andy',
  provider: 'claude',
  model: null,
  effort: null,
  assistantName: null,
  messagesPerPrompt: 10,
} satisfies Parameters<Registry['createAgentGroup']>[0];

export const aChat = {
  channelType: 'telegram',
  platformId: '-100200',
  name: 'Family',
  kind: 'group',
  strangers: 'strict',
  denied: false,
} satisfies Parameters<Registry['createMessagingGroup']>[0];

export const aWiring = {
  engage: { mode: 'mention' },
  senderScope: 'all',
  otherwise: 'drop',
  sessionMode: 'shared',
  priority: 0,
} as const;

/** One agent wired to one chat. */
export async function wiredPair(
  registry: Registry,
): Promise<{ agent: AgentGroup; chat: MessagingGroup; wiring: Wiring }> {
  const agent = await registry.createAgentGroup(anAgent);
  const chat = await registry.createMessagingGroup(aChat);
  const wiring = await registry.createWiring({ ...aWiring, agentGroupId: agent.id, messagingGroupId: chat.id });
  return { agent, chat, wiring };
}
