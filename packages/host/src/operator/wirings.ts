/** `nanoclaw wirings`: which agent engages in which chat, and when. */
import { type Engage, reachOf, type Wiring } from '@nanoclaw/registry';
import { z } from 'zod';
import { Problem } from '../errors/index.ts';
import { argument, changes, type OperatorCommand, option, reads } from './command.ts';
import { ownGroupOnly } from './confine.ts';
import type { RegistryReader } from './contexts.ts';
import { agentGroupNamed, messagingGroupNamed, notFound, oneOf, onlyGroup } from './lookup.ts';
import { groupArgument, groupOption, Text, whole } from './parameters.ts';
import { column } from './view.ts';

const MODES = ['pattern', 'mention', 'mention-sticky'] as const;
const REACHES = ['default', 'own-chat', 'all-destinations'] as const;
const SESSION_MODES = ['shared', 'per-thread', 'agent-shared'] as const;

const wiring = argument(Text, 'the wiring: its id, or the beginning of it');
const settings = {
  engage: option(
    z.enum(MODES).exactOptional(),
    'when the agent engages: on a text that matches, on a mention, or on a mention and then on its whole thread',
    {
      value: 'mode',
      choices: MODES,
    },
  ),
  pattern: option(Text.exactOptional(), 'the regular expression of the mode `pattern`; `.` matches every message'),
  senderScope: option(z.enum(['all', 'known']).exactOptional(), 'whose messages it accepts', {
    value: 'scope',
    choices: ['all', 'known'],
  }),
  otherwise: option(
    z.enum(['drop', 'accumulate']).exactOptional(),
    'what happens to messages that do not engage the agent: dropped, or kept as context',
    { value: 'what', choices: ['drop', 'accumulate'] },
  ),
  sessionMode: option(
    z.enum(SESSION_MODES).exactOptional(),
    'one session per chat, per thread, or one for all chats of the agent',
    { value: 'mode', choices: SESSION_MODES },
  ),
  reach: option(
    z.enum(REACHES).exactOptional(),
    'where its sessions may write to; by default their own chat where strangers are heard, else all destinations',
    { value: 'reach', choices: REACHES },
  ),
  priority: option(whole(-1_000_000, 1_000_000).exactOptional(), 'wirings are tried from the highest priority down', {
    value: 'n',
  }),
} as const;

/** The commands about wirings. */
export const wiringCommands: readonly OperatorCommand[] = [
  reads({
    path: ['wirings', 'list'],
    summary: 'list which agent engages in which chat',
    parameters: z.object({ group: groupOption }),
    agents: ownGroupOnly(),
    view: {
      type: 'table',
      columns: [
        column('ID', 'id', 'id'),
        column('AGENT', 'agent'),
        column('CHAT', 'chat'),
        column('ENGAGES', 'engage.mode'),
        column('PATTERN', 'engage.pattern'),
        column('SENDERS', 'senderScope'),
        column('SESSIONS', 'sessionMode'),
        column('WRITES TO', 'writesTo'),
        column('PRIORITY', 'priority'),
      ],
      empty: 'There are no wirings yet. Create one with `nanoclaw wirings create`.',
    },
    run: async ({ registry }, { group }) => {
      const only = await onlyGroup(registry, group);
      const wirings = (await registry.wirings()).filter((each) => only === undefined || each.agentGroupId === only);
      return Promise.all(wirings.map((each) => toView(registry, each)));
    },
  }),
  reads({
    path: ['wirings', 'get'],
    summary: 'show one wiring',
    parameters: z.object({ wiring }),
    agents: async (parameters, own, { registry }) => {
      const { agentGroupId, id } = await wiringNamed(registry, parameters.wiring);
      return agentGroupId === own ? { wiring: id } : undefined;
    },
    view: { type: 'record' },
    run: async ({ registry }, parameters) => toView(registry, await wiringNamed(registry, parameters.wiring)),
  }),
  changes({
    path: ['wirings', 'create'],
    summary: 'wire an agent to a chat',
    parameters: z.object({
      group: groupArgument,
      chat: argument(Text, 'the chat: its id, or <channel type>:<platform id>'),
      ...settings,
    }),
    agents: 'all',
    view: { type: 'record' },
    run: async ({ registry }, { group, chat, engage, pattern, ...given }) =>
      toView(
        registry,
        await registry.createWiring({
          agentGroupId: (await agentGroupNamed(registry, group)).id,
          messagingGroupId: (await messagingGroupNamed(registry, chat)).id,
          engage: engageOf(engage ?? 'mention', pattern),
          senderScope: 'all',
          otherwise: 'drop',
          sessionMode: 'shared',
          priority: 0,
          ...given,
        }),
      ),
  }),
  changes({
    path: ['wirings', 'update'],
    summary: 'change a wiring; what is left out stays as it is',
    parameters: z.object({ wiring, ...settings }),
    agents: 'all',
    view: { type: 'record' },
    run: async ({ registry }, { wiring: named, engage, pattern, ...given }) => {
      const before = await wiringNamed(registry, named);
      const mode = engage ?? (pattern === undefined ? undefined : before.engage.mode);
      const after = await registry.updateWiring(before.id, {
        ...given,
        ...(mode && { engage: engageOf(mode, pattern) }),
      });
      if (after === undefined) throw notFound('wiring', named, 'wirings list');
      return toView(registry, after);
    },
  }),
  changes({
    path: ['wirings', 'delete'],
    summary: 'remove an agent from a chat; its sessions stay',
    parameters: z.object({ wiring }),
    agents: 'all',
    view: { type: 'message' },
    run: async ({ registry }, { wiring: named }) => {
      const { id } = await wiringNamed(registry, named);
      if (!(await registry.deleteWiring(id))) throw notFound('wiring', named, 'wirings list');
      return { id, message: `The wiring ${id} was deleted. Its sessions stay.` };
    },
  }),
];

async function wiringNamed(registry: RegistryReader, text: string): Promise<Wiring> {
  return oneOf(await registry.wirings(), text, 'wiring', 'wirings list');
}

function engageOf(mode: Engage['mode'], pattern: string | undefined): Engage {
  if (mode === 'pattern' && pattern !== undefined) return { mode, pattern };
  if (mode === 'pattern') {
    throw new Problem('The mode `pattern` needs --pattern; nothing was changed. `.` engages on every message.', 2);
  }
  if (pattern === undefined) return { mode };
  throw new Problem(`The mode \`${mode}\` takes no --pattern; nothing was changed. Use --engage pattern.`, 2);
}

/** A wiring with the names of its two ends. */
async function toView(registry: RegistryReader, of: Wiring) {
  const [agent, chat] = await Promise.all([
    registry.agentGroup(of.agentGroupId),
    registry.messagingGroup(of.messagingGroupId),
  ]);
  return {
    ...of,
    agent: agent?.folder ?? null,
    writesTo: chat === undefined ? null : reachOf(of, chat),
    chat: chat === undefined ? null : `${chat.channelType}:${chat.platformId}`,
  };
}
