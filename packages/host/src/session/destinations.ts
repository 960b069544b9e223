/**
 * Where an agent may write to, as its session has it: what its address book has, and the chats it is wired to; only the
 * session's own chat where its wiring says so.
 */
import type { ReachableDestination, Registry, SessionKey } from '@nanoclaw/registry';
import type { Destination } from '@nanoclaw/session-db';

/** A session's destinations. Names are the address book's; a chat that it has no name for is called by its place. */
export async function destinationsOf(
  { key }: { readonly key: SessionKey },
  registry: Registry,
): Promise<Destination[]> {
  return withNames(await registry.destinations.reachableFrom(key));
}

/** A name that the address book has given to another place stays that place's; the chat is to be had all the same. */
function withNames(reachable: readonly ReachableDestination[]): Destination[] {
  const taken = new Set(reachable.flatMap(({ name }) => name ?? []));
  return reachable.map((destination) => {
    if (destination.type === 'agent') return destination;
    const name = destination.name ?? freeName(`${destination.channelType}-${destination.platformId}`, taken);
    taken.add(name);
    return { ...destination, name };
  });
}

/** The name, numbered from 2 where it is taken. Pure. */
export function freeName(wanted: string, taken: ReadonlySet<string>): string {
  for (let number = 1; ; number++) {
    const name = number === 1 ? wanted : `${wanted}-${number}`;
    if (!taken.has(name)) return name;
  }
}
