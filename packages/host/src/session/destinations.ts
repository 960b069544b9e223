/** Where an agent may write to, as its session is told: the chats it is wired to, and what its address book has. */
import type { AgentGroupId, MessagingGroup, MessagingGroupId, Registry } from '@nanoclaw/registry';
import type { Destination } from '@nanoclaw/session-db';

/** An agent's destinations. Names are the address book's; a chat that it has no name for is called by its place. */
export async function destinationsOf(agentGroupId: AgentGroupId, registry: Registry): Promise<Destination[]> {
  const book = await registry.destinations.list(agentGroupId);
  const named: Destination[] = [];
  const inBook = new Set<MessagingGroupId>();
  for (const { name, target } of book) {
    if (target.type === 'channel') inBook.add(target.messagingGroupId);
    const destination =
      target.type === 'channel'
        ? await chat(target.messagingGroupId, registry, name)
        : await agent(target.agentGroupId, registry, name);
    if (destination !== undefined) named.push(destination);
  }
  const taken = new Set(named.map(({ name }) => name));
  for (const wired of await registry.messagingGroupsOf(agentGroupId)) {
    if (inBook.has(wired.id)) continue;
    // A name that the address book has given to another place stays that place's; the chat is to be had all the same.
    const name = freeName(`${wired.channelType}-${wired.platformId}`, taken);
    taken.add(name);
    named.push(asChat(wired, name));
  }
  return named;
}

async function chat(id: MessagingGroupId, registry: Registry, name: string): Promise<Destination | undefined> {
  const found = await registry.messagingGroup(id);
  return found && asChat(found, name);
}

function asChat({ name: displayName, channelType, platformId }: MessagingGroup, name: string): Destination {
  return { type: 'channel', name, displayName, channelType, platformId };
}

async function agent(id: AgentGroupId, registry: Registry, name: string): Promise<Destination | undefined> {
  const found = await registry.agentGroup(id);
  return found && { type: 'agent', name, displayName: found.name, agentGroupId: found.id };
}

/** The name, numbered from 2 where it is taken. Pure. */
export function freeName(wanted: string, taken: ReadonlySet<string>): string {
  for (let number = 1; ; number++) {
    const name = number === 1 ? wanted : `${wanted}-${number}`;
    if (!taken.has(name)) return name;
  }
}
