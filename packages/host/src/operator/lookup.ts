/** Finds what the command line names in the registry. A name that fits nothing, or more than one thing, is a `Problem`. */
import type { AgentGroup, MessagingGroup, Session } from '@nanoclaw/registry';
import { Problem } from '../errors/index.ts';
import type { ReadContext, RegistryReader } from './contexts.ts';

/** The agent group of an id, the beginning of one, or a folder. Rejects with a `Problem`: exit code 6 for none, 2 for several. */
export async function agentGroupNamed(registry: RegistryReader, text: string): Promise<AgentGroup> {
  const groups = await registry.agentGroups();
  const byFolder = groups.find(({ folder }) => folder === text);
  return byFolder ?? oneOf(groups, text, 'agent group', 'groups list');
}

/** The id of the agent group that a list is confined to; `undefined` for all of them. Throws as `agentGroupNamed`. */
export async function onlyGroup(
  registry: RegistryReader,
  text: string | undefined,
): Promise<AgentGroup['id'] | undefined> {
  return text === undefined ? undefined : (await agentGroupNamed(registry, text)).id;
}

/** The messaging group of an id, the beginning of one, or `<channel type>:<platform id>`. Throws as `agentGroupNamed`. */
export async function messagingGroupNamed(registry: RegistryReader, text: string): Promise<MessagingGroup> {
  const groups = await registry.messagingGroups();
  const byPlace = groups.find(({ channelType, platformId }) => `${channelType}:${platformId}` === text);
  return byPlace ?? oneOf(groups, text, 'messaging group', 'messaging-groups list');
}

/** The session of an id or the beginning of one. Throws as `agentGroupNamed`. */
export async function sessionNamed({ registry }: Pick<ReadContext, 'registry'>, text: string): Promise<Session> {
  return oneOf(await registry.sessions(), text, 'session', 'sessions list');
}

/** The one of `things` whose id is the text or begins with it. Throws a `Problem`: exit code 6 for none, 2 for several. */
export function oneOf<Thing extends { readonly id: string }>(
  things: readonly Thing[],
  text: string,
  what: string,
  listing: string,
): Thing {
  const exact = things.find(({ id }) => id === text);
  if (exact) return exact;
  const begun = text.length < BEGINNING_LENGTH_MIN ? [] : things.filter(({ id }) => id.startsWith(text));
  const [only] = begun;
  if (only !== undefined && begun.length === 1) return only;
  if (only === undefined) throw notFound(what, text, listing);
  throw new Problem(
    `${begun.length} ${what}s begin with ${JSON.stringify(text)}; nothing was done. Give more of the id.`,
    2,
  );
}

/** Fewer characters than this would find by accident. */
const BEGINNING_LENGTH_MIN = 4;

/** The `Problem` (exit code 6) that a thing was not found, with the command that lists its kind. */
export function notFound(what: string, text: string, listing: string): Problem {
  return new Problem(`There is no ${what} ${JSON.stringify(text)}; nothing was done. See \`nanoclaw ${listing}\`.`, 6);
}
