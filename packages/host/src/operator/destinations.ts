/** `nanoclaw destinations`: where an agent may write to on its own initiative. Address book and permission in one. */
import type { Destination, DestinationTarget } from '@nanoclaw/registry';
import { z } from 'zod';
import { Problem } from '../errors/index.ts';
import { argument, changes, type OperatorCommand, option, reads } from './command.ts';
import { ownGroupOnly } from './confine.ts';
import type { RegistryReader } from './contexts.ts';
import { agentGroupNamed, messagingGroupNamed, notFound, oneOf, onlyGroup } from './lookup.ts';
import { groupArgument, groupOption, Text } from './parameters.ts';
import { column } from './view.ts';

const destination = argument(Text, 'the destination: its id, or the beginning of it');

/** The commands about destinations. */
export const destinationCommands: readonly OperatorCommand[] = [
  reads({
    path: ['destinations', 'list'],
    summary: 'list the destinations of agents',
    parameters: z.object({ group: groupOption }),
    agents: ownGroupOnly(),
    view: {
      type: 'table',
      columns: [
        column('ID', 'id', 'id'),
        column('AGENT', 'agent'),
        column('NAME', 'name'),
        column('TO', 'to'),
        column('SINCE', 'createdAt', 'time'),
      ],
      empty: 'There are no destinations. An agent still answers where it was asked.',
    },
    run: async ({ registry }, { group }) => {
      const only = await onlyGroup(registry, group);
      return Promise.all((await registry.destinations.list(only)).map((each) => toView(registry, each)));
    },
  }),
  reads({
    path: ['destinations', 'get'],
    summary: 'show one destination',
    parameters: z.object({ destination }),
    agents: async (parameters, own, { registry }) => {
      const { agentGroupId, id } = await destinationNamed(registry, parameters.destination);
      return agentGroupId === own ? { destination: id } : undefined;
    },
    view: { type: 'record' },
    run: async ({ registry }, parameters) => toView(registry, await destinationNamed(registry, parameters.destination)),
  }),
  changes({
    path: ['destinations', 'create'],
    summary: 'let an agent write to a chat or to another agent',
    parameters: z.object({
      group: groupArgument,
      name: argument(Text, 'the name that the agent uses for it'),
      chat: option(Text.exactOptional(), 'the chat: its id, or <channel type>:<platform id>'),
      agent: option(Text.exactOptional(), 'the other agent: its folder or its id'),
    }),
    agents: 'never',
    view: { type: 'record' },
    run: async ({ registry }, { group, name, chat, agent }) => {
      const agentGroupId = (await agentGroupNamed(registry, group)).id;
      const target = await targetOf(registry, chat, agent);
      return toView(registry, await registry.destinations.create({ agentGroupId, name, target }));
    },
  }),
  changes({
    path: ['destinations', 'update'],
    summary: 'change the name that the agent uses for a destination',
    parameters: z.object({ destination, name: option(Text, 'the new name') }),
    agents: 'never',
    view: { type: 'record' },
    run: async ({ registry }, { destination: named, name }) => {
      const { id } = await destinationNamed(registry, named);
      const after = await registry.destinations.update(id, { name });
      if (after === undefined) throw notFound('destination', named, 'destinations list');
      return toView(registry, after);
    },
  }),
  changes({
    path: ['destinations', 'delete'],
    summary: 'delete a destination: its agent may no longer write there',
    parameters: z.object({ destination }),
    agents: 'never',
    view: { type: 'message' },
    run: async ({ registry }, { destination: named }) => {
      const { id, name } = await destinationNamed(registry, named);
      if (!(await registry.destinations.delete(id))) throw notFound('destination', named, 'destinations list');
      return { id, message: `The destination ${name} was deleted: its agent may no longer write there.` };
    },
  }),
];

async function destinationNamed(registry: RegistryReader, text: string): Promise<Destination> {
  return oneOf(await registry.destinations.list(), text, 'destination', 'destinations list');
}

async function targetOf(
  registry: RegistryReader,
  chat: string | undefined,
  agent: string | undefined,
): Promise<DestinationTarget> {
  if (chat !== undefined && agent === undefined) {
    return { type: 'channel', messagingGroupId: (await messagingGroupNamed(registry, chat)).id };
  }
  if (agent !== undefined && chat === undefined) {
    return { type: 'agent', agentGroupId: (await agentGroupNamed(registry, agent)).id };
  }
  throw new Problem('A destination is a chat or an agent: give --chat or --agent. Nothing was changed.', 2);
}

/** A destination with the names of its two ends. */
async function toView(registry: RegistryReader, of: Destination) {
  const agent = await registry.agentGroup(of.agentGroupId);
  return { ...of, agent: agent?.folder ?? of.agentGroupId, to: await endText(registry, of.target) };
}

async function endText(registry: RegistryReader, target: DestinationTarget): Promise<string> {
  if (target.type === 'agent') {
    return `agent ${(await registry.agentGroup(target.agentGroupId))?.folder ?? target.agentGroupId}`;
  }
  const chat = await registry.messagingGroup(target.messagingGroupId);
  return chat === undefined ? target.messagingGroupId : `${chat.channelType}:${chat.platformId}`;
}
