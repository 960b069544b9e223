/** `nanoclaw dropped-messages` and `nanoclaw audit`: messages that no agent got, and who did what. */
import { z } from 'zod';
import { Problem } from '../errors/index.ts';
import { argument, changes, type OperatorCommand, option, reads } from './command.ts';
import { limit, Text, whole } from './parameters.ts';
import { column } from './view.ts';

/** The commands about dropped messages. */
export const droppedMessageCommands: readonly OperatorCommand[] = [
  reads({
    path: ['dropped-messages', 'list'],
    summary: 'list the chats with messages that no agent got, and why',
    parameters: z.object({}),
    agents: 'all',
    view: {
      type: 'table',
      columns: [
        column('CHANNEL', 'channelType'),
        column('PLATFORM ID', 'platformId'),
        column('REASON', 'reason'),
        column('COUNT', 'count'),
        column('FIRST', 'firstSeen', 'time'),
        column('LAST', 'lastSeen', 'time'),
      ],
      empty: 'No message was dropped.',
    },
    run: ({ registry }) => registry.dropped.list(),
  }),
  reads({
    path: ['dropped-messages', 'get'],
    summary: 'show the dropped messages of one chat',
    parameters: z.object({
      channelType: argument(Text, 'the channel'),
      platformId: argument(Text, "the platform's own id of the chat"),
    }),
    agents: 'all',
    view: {
      type: 'table',
      columns: [
        column('REASON', 'reason'),
        column('COUNT', 'count'),
        column('FIRST', 'firstSeen', 'time'),
        column('LAST', 'lastSeen', 'time'),
      ],
      empty: 'No message of this chat was dropped.',
    },
    run: async ({ registry }, { channelType, platformId }) =>
      (await registry.dropped.list()).filter(
        (each) => each.channelType === channelType && each.platformId === platformId,
      ),
  }),
  changes({
    path: ['dropped-messages', 'delete'],
    alias: 'forget',
    summary: 'reset the counts of one chat, or of all',
    parameters: z.object({
      channelType: argument(Text.exactOptional(), 'the channel; left out: every chat'),
      platformId: argument(Text.exactOptional(), "the platform's own id of the chat"),
    }),
    agents: 'never',
    view: { type: 'message' },
    run: async ({ registry }, { channelType, platformId }) => {
      if (channelType !== undefined && platformId === undefined) {
        throw new Problem('A chat is a channel and a platform id; nothing was changed. Give both or neither.', 2);
      }
      const count =
        channelType === undefined || platformId === undefined
          ? await registry.dropped.forget()
          : await registry.dropped.forget({ channelType, platformId });
      return { count, message: `${count} counts were reset.` };
    },
  }),
];

/** The command about the audit log. */
export const auditCommands: readonly OperatorCommand[] = [
  reads({
    path: ['audit'],
    summary: 'show the audit log: who did what that needed a permission',
    parameters: z.object({
      limit: limit(50),
      before: option(whole(1, Number.MAX_SAFE_INTEGER).exactOptional(), 'only entries before this number', {
        value: 'no',
      }),
      action: option(Text.exactOptional(), 'only this action'),
    }),
    agents: 'all',
    view: {
      type: 'table',
      columns: [
        column('NUMBER', 'id'),
        column('TIME', 'at', 'time'),
        column('ACTOR', 'actor'),
        column('ACTION', 'action'),
        column('TARGET', 'target'),
        column('OUTCOME', 'outcome'),
        column('REASON', 'detail.reason'),
      ],
      empty: 'The audit log is empty.',
    },
    run: ({ registry }, page) => registry.audit.list(page),
  }),
];
