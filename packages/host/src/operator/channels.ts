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
import type { LiveChannel, WriteContext } from './contexts.ts';
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
        column('REASON', 'reason'),
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
      await checked(context, name, reference, 'Nothing was changed.');
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
    run: async (context, { instance: name }) => {
      const { data, live } = context;
      configured(context, name);
      writeChannelReference(data.root, name, undefined);
      await live?.removeChannel(name);
      return { instance: name, message: `The channel ${name} was removed. Its chats and sessions stay.` };
    },
  }),
  liveOnly({
    path: ['channels', 'check'],
    summary: 'see whether a chat platform of the configuration can be loaded as it is now, without connecting it',
    parameters: z.object({ instance }),
    agents: 'never',
    view: { type: 'message' },
    run: async (context, { instance: name }) => {
      const present = presentText(context.live.status().channels.find((each) => each.instance === name));
      const type = await checked(context, name, configured(context, name), present);
      const message = `The channel ${name} can be used: its module makes a channel of type ${type}. ${present}`;
      return { instance: name, type, message };
    },
  }),
];

/** The channel of the configuration. Throws a `Problem`: exit code 6 when there is none, 2 for one that is not in `config.json`. */
function configured({ data, live }: Pick<WriteContext, 'data' | 'live'>, name: string): ChannelReference {
  const reference = readModuleReferences(data.root).channels[name];
  if (reference !== undefined) return reference;
  const isOfProgram =
    BUILT_IN_CHANNELS.includes(name) || live?.status().channels.some((each) => each.instance === name) === true;
  if (!isOfProgram) throw notFound('channel', name, 'channels list');
  throw new Problem(
    `The channel ${name} comes with the program and is not in config.json: it can be neither checked nor removed. Nothing ` +
      'was changed. `nanoclaw channels list` says how it is connected.',
    2,
  );
}

/** Gives the type of the channel; nothing is known of it while the host is down. Throws a `Problem` (exit code 2). */
async function checked(
  { live }: Pick<WriteContext, 'live'>,
  name: string,
  reference: ChannelReference,
  kept: string,
): Promise<string | undefined> {
  try {
    return await live?.checkChannel(name, reference);
  } catch (error) {
    throw new Problem(`The channel ${name} cannot be used: ${messageOf(error)}. ${kept}`, 2, { cause: error });
  }
}

/** How the running host has a channel, which it loaded when it started or when the channel was added: a check changes nothing in it. */
function presentText(channel: LiveChannel | undefined): string {
  if (channel === undefined) return 'The running host does not have it: it connects it at its next start.';
  if (channel.state !== 'broken') return `The running host has it ${channel.state}, as it was when it was loaded.`;
  return 'In the running host it is still broken, as it was when it was loaded: start the host again to load it anew.';
}

function addedText(
  name: string,
  state: { readonly state: string; readonly reason: string | null } | undefined,
): string {
  if (state === undefined) return `The channel ${name} was added; it is checked and connected when the host starts.`;
  if (state.state === 'online') return `The channel ${name} was added and is connected.`;
  return `The channel ${name} was added and is ${state.state}${state.reason === null ? '' : ` (${state.reason})`}; it is tried again by itself.`;
}
