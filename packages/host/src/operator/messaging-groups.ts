/** `nanoclaw messaging-groups`: the chats. */
import { z } from 'zod';
import { argument, changes, type OperatorCommand, option, reads } from './command.ts';
import { messagingGroupNamed, notFound } from './lookup.ts';
import { Text, YesNo } from './parameters.ts';
import { column } from './view.ts';

const KINDS = ['direct', 'group'] as const;
const POLICIES = ['strict', 'request_approval', 'public'] as const;

const chat = argument(Text, 'the chat: its id, the beginning of it, or <channel type>:<platform id>', {
  value: 'chat',
});
const settings = {
  name: option(z.string().exactOptional(), 'its display name'),
  kind: option(z.enum(KINDS).exactOptional(), 'a chat with one person, or with several', { choices: KINDS }),
  strangers: option(
    z.enum(POLICIES).exactOptional(),
    'messages of strangers: ignore them, ask an admin first, or accept them',
    {
      value: 'policy',
      choices: POLICIES,
    },
  ),
  denied: option(YesNo.exactOptional(), 'yes: ignore the chat', { value: 'yes|no', choices: ['yes', 'no'] }),
} as const;

/** The commands about messaging groups. */
export const messagingGroupCommands: readonly OperatorCommand[] = [
  reads({
    path: ['messaging-groups', 'list'],
    summary: 'list the chats',
    parameters: z.object({}),
    agents: 'all',
    view: {
      type: 'table',
      columns: [
        column('ID', 'id', 'id'),
        column('CHANNEL', 'channelType'),
        column('PLATFORM ID', 'platformId'),
        column('NAME', 'name'),
        column('KIND', 'kind'),
        column('STRANGERS', 'strangers'),
        column('DENIED', 'denied'),
      ],
      empty: 'There are no chats yet.',
    },
    run: ({ registry }) => registry.messagingGroups(),
  }),
  reads({
    path: ['messaging-groups', 'get'],
    summary: 'show one chat',
    parameters: z.object({ chat }),
    agents: 'all',
    view: { type: 'record' },
    run: ({ registry }, parameters) => messagingGroupNamed(registry, parameters.chat),
  }),
  changes({
    path: ['messaging-groups', 'create'],
    summary: 'register a chat; wire an agent to it with `wirings create`',
    parameters: z.object({
      channelType: argument(Text, 'the channel: terminal, webhook, …'),
      platformId: argument(Text, "the platform's own id of the chat"),
      ...settings,
    }),
    agents: 'all',
    view: { type: 'record' },
    run: ({ registry }, given) =>
      registry.createMessagingGroup({
        name: given.platformId,
        kind: 'group',
        strangers: 'strict',
        denied: false,
        ...given,
      }),
  }),
  changes({
    path: ['messaging-groups', 'update'],
    summary: 'change a chat; what is left out stays as it is',
    parameters: z.object({ chat, ...settings }),
    agents: 'all',
    view: { type: 'record' },
    run: async ({ registry }, { chat: named, ...given }) => {
      const { id } = await messagingGroupNamed(registry, named);
      const after = await registry.updateMessagingGroup(id, given);
      if (after === undefined) throw notFound('messaging group', named, 'messaging-groups list');
      return after;
    },
  }),
  changes({
    path: ['messaging-groups', 'delete'],
    summary: 'delete a chat that has no sessions, with its wirings',
    parameters: z.object({ chat }),
    agents: 'all',
    view: { type: 'message' },
    run: async ({ registry }, { chat: named }) => {
      const { id, channelType, platformId } = await messagingGroupNamed(registry, named);
      if (!(await registry.deleteMessagingGroup(id))) throw notFound('messaging group', named, 'messaging-groups list');
      return { id, message: `The chat ${channelType}:${platformId} was deleted, with its wirings.` };
    },
  }),
];
