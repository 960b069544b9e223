/** What a first start makes, so that there is somebody to talk to: one agent, wired to the terminal's main chat. */
import { type AgentGroup, type Registry, userId } from '@nanoclaw/registry';
import { DEFAULT_PROVIDER } from '../runs/index.ts';

/** The chat of the terminal channel that a prompt is in unless it names another. */
export const MAIN_CHAT = 'main';

/**
 * Makes the first owner in a registry that has none, and the default agent in one that has no agent yet; with a terminal channel
 * also the chat and wiring through which that agent is spoken to there. Does nothing in any other.
 */
export async function ensureDefaults(registry: Registry, hasTerminal = true): Promise<void> {
  await ensureOwner(registry);
  const existing = await registry.agentGroups();
  if (existing.some((group) => group.folder !== MAIN_CHAT)) return;
  const agent =
    existing[0] ??
    (await registry.createAgentGroup({
      folder: MAIN_CHAT,
      name: 'Nano',
      provider: DEFAULT_PROVIDER,
      model: null,
      effort: null,
      assistantName: null,
      messagesPerPrompt: 10,
    }));
  // Each step by itself, because a host may die between any two of them.
  if (hasTerminal) await ensureTerminalChat(registry, agent);
}

/** The agent that answers in chats which no one has wired: the first one that was made, or the oldest that is left. */
export async function defaultAgent(registry: Registry): Promise<AgentGroup | undefined> {
  return (await registry.agentGroupByFolder(MAIN_CHAT)) ?? (await registry.agentGroups())[0];
}

async function ensureTerminalChat(registry: Registry, agent: AgentGroup): Promise<void> {
  const wired = await registry.wiringsFor('terminal', MAIN_CHAT);
  const chat =
    wired?.messagingGroup ??
    (await registry.createMessagingGroup({
      channelType: 'terminal',
      platformId: MAIN_CHAT,
      name: 'Terminal',
      kind: 'direct',
      strangers: 'public',
      denied: false,
    }));
  if (wired !== undefined && wired.wirings.length > 0) return;
  await registry.createWiring({
    messagingGroupId: chat.id,
    agentGroupId: agent.id,
    engage: { mode: 'pattern', pattern: '.' },
    senderScope: 'all',
    otherwise: 'drop',
    sessionMode: 'shared',
    // Only the host's own user is at the terminal.
    reach: 'all-destinations',
    priority: 0,
  });
}

/** Whoever can open the terminal's socket, which only the host's own user can, is the first owner. */
async function ensureOwner(registry: Registry): Promise<void> {
  const { people } = registry;
  const owner = userId('terminal', 'local');
  if (owner === undefined || (await people.roleGrants()).some(({ role }) => role.role === 'owner')) return;
  await people.ensureUser(owner, 'local');
  await people.grantRole(owner, { role: 'owner' }, 'host');
}
