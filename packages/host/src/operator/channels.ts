/** `nanoclaw channels`: the chat platforms that the configuration names, added and removed while the host runs. */
import { z } from 'zod';
import { messageOf, Problem } from '../errors/index.ts';
import {
  BUILT_IN_CHANNELS,
  ChannelName,
  type ChannelReference,
  readModuleReferences,
  writeChannelReference,
} from '../modules/index.ts';
import { argument, changes, liveOnly, type OperatorCommand, option, reads } from './command.ts';
import type { WriteContext } from './contexts.ts';
import { notFound } from './lookup.ts';
import { jsonOf, Text } from './parameters.ts';
import { column } from './view.ts';

const instance = argument(ChannelName, 'the name of the channel, as in addresses and commands');

/** One channel as `channels list` shows it. */
interface ChannelRow {
  readonly instance: string;
  /** What kind it is; `null` while the host is down or when it could not be made. */
  readonly type: string | null;
  /** The module it comes from; `null`: it came with the program. */
  readonly module: string | null;
  readonly newChats: string | null;
  readonly state: string;
  readonly reason: string | null;
}

/** Channels, by their instance names. */
export const channelCommands: readonly OperatorCommand[] = [
  reads({
    path: ['channels', 'list'],
    summary: 'list the chat platforms, and how each is connected',
    parameters: z.object({}),
    agents: 'all',
    view: {
      type: 'table',
      columns: [
        column('NAME', 'instance'),
        column('TYPE', 'type'),
        column('MODULE', 'module'),
        column('NEW CHATS', 'newChats'),
        column('STATE', 'state'),
        column('WHY', 'reason'),
      ],
      empty: 'There are no channels. Add one with `nanoclaw channels add`.',
    },
    run: async ({ data, live }): Promise<readonly ChannelRow[]> => {
      const { channels } = readModuleReferences(data.root);
      const states = live?.status().channels ?? [];
      const running = states.map(({ instance: name, type, state, reason }) => ({
        instance: name,
        type,
        module: channels[name]?.module ?? null,
        newChats: channels[name]?.newChats ?? null,
        state,
        reason,
      }));
      const others = Object.entries(channels).filter(([name]) => states.every((each) => each.instance !== name));
      const state = live === undefined ? 'the host is down' : 'not loaded';
      return [
        ...running,
        ...others.map(([name, { module, newChats }]) => ({
          instance: name,
          type: null,
          module,
          newChats,
          state,
          reason: null,
        })),
      ];
    },
  }),
  changes({
    path: ['channels', 'add'],
    summary: 'add a chat platform to the configuration, and connect it where the host runs',
    parameters: z.object({
      instance,
      module: option(Text, 'the package or the file (./name.js in the data folder) that has the channel'),
      options: option(jsonOf(z.record(z.string(), z.json())).default({}), 'its options, as JSON', { value: 'json' }),
      newChats: option(
        z.enum(['ask', 'answer']).default('ask'),
        'what becomes of chats that no agent is wired to: an admin is asked, or the default agent answers',
        { choices: ['ask', 'answer'] },
      ),
    }),
    agents: 'never',
    view: { type: 'message' },
    run: async (context, { instance: name, ...reference }) => {
      const { channels } = readModuleReferences(context.data.root);
      const taken = context.live?.status().channels.find((each) => each.instance === name);
      if (channels[name] !== undefined || taken !== undefined || BUILT_IN_CHANNELS.includes(name)) {
        throw new Problem(
          `There is a channel ${name} already; nothing was changed. Remove it first, or take another name.`,
          7,
        );
      }
      await checked(context, name, reference);
      writeChannelReference(context.data.root, name, reference);
      await context.live?.addChannel(name, reference);
      const state = context.live?.status().channels.find((each) => each.instance === name);
      return { instance: name, message: addedText(name, state) };
    },
  }),
  changes({
    path: ['channels', 'remove'],
    summary: 'disconnect a chat platform and take it out of the configuration; its chats and sessions stay',
    parameters: z.object({ instance }),
    agents: 'never',
    view: { type: 'message' },
    run: async ({ data, live }, { instance: name }) => {
      const { channels } = readModuleReferences(data.root);
      if (channels[name] === undefined) throw notFound('configured channel', name, 'channels list');
      writeChannelReference(data.root, name, undefined);
      await live?.removeChannel(name);
      return { instance: name, message: `The channel ${name} was removed. Its chats and sessions stay.` };
    },
  }),
  liveOnly({
    path: ['channels', 'check'],
    summary: 'see whether a chat platform of the configuration can be used, without connecting it',
    parameters: z.object({ instance }),
    agents: 'never',
    view: { type: 'message' },
    run: async (context, { instance: name }) => {
      const reference = readModuleReferences(context.data.root).channels[name];
      if (reference === undefined) throw notFound('configured channel', name, 'channels list');
      const type = await checked(context, name, reference);
      return {
        instance: name,
        type,
        message: `The channel ${name} can be used: its module makes a channel of type ${type}.`,
      };
    },
  }),
];

/** Gives the type of the channel; nothing is known of it while the host is down. Throws a `Problem` (exit code 2). */
async function checked(
  { live }: Pick<WriteContext, 'live'>,
  name: string,
  reference: ChannelReference,
): Promise<string | undefined> {
  try {
    return await live?.checkChannel(name, reference);
  } catch (error) {
    throw new Problem(`The channel ${name} cannot be used: ${messageOf(error)}. Nothing was changed.`, 2, {
      cause: error,
    });
  }
}

function addedText(
  name: string,
  state: { readonly state: string; readonly reason: string | null } | undefined,
): string {
  if (state === undefined) return `The channel ${name} was added; it is checked and connected when the host starts.`;
  if (state.state === 'online') return `The channel ${name} was added and is connected.`;
  return `The channel ${name} was added and is ${state.state}${state.reason === null ? '' : ` (${state.reason})`}; it is tried again by itself.`;
}
