/** The table of operator commands. Everything that knows commands by their words starts here. */
import { approvalCommands } from './approvals.ts';
import { channelCommands } from './channels.ts';
import type { Declared, OperatorCommand } from './command.ts';
import { deadLetterCommands } from './dead-letters.ts';
import { destinationCommands } from './destinations.ts';
import { groupCommands } from './groups.ts';
import { messagingGroupCommands } from './messaging-groups.ts';
import { memberCommands, roleCommands, userCommands } from './people.ts';
import { auditCommands, droppedMessageCommands } from './records.ts';
import { sessionCommands } from './sessions.ts';
import { hostCommands } from './status.ts';
import { taskCommands } from './tasks.ts';
import { webhookCommands } from './webhooks.ts';
import { wiringCommands } from './wirings.ts';

/** Every command that works on the host's data, in the order of the help. */
export const OPERATOR_COMMANDS: readonly OperatorCommand[] = [
  ...hostCommands,
  ...groupCommands,
  ...messagingGroupCommands,
  ...wiringCommands,
  ...userCommands,
  ...roleCommands,
  ...memberCommands,
  ...destinationCommands,
  ...sessionCommands,
  ...taskCommands,
  ...approvalCommands,
  ...deadLetterCommands,
  ...droppedMessageCommands,
  ...auditCommands,
  ...channelCommands,
  ...webhookCommands,
];

/** What the first word of a command is about. */
export const TOPICS: Readonly<Record<string, string>> = {
  groups: 'the agents',
  'messaging-groups': 'the chats',
  wirings: 'which agent engages in which chat',
  users: 'the people that the host has heard of',
  roles: 'who owns and administers',
  members: 'whom an agent listens to as one of its own',
  destinations: 'where agents may write to',
  sessions: 'the conversations',
  tasks: 'what sessions do by the clock',
  approvals: 'what waits for a yes or a no',
  'dead-letters': 'messages that were given up',
  'dropped-messages': 'messages that went to nobody',
  channels: 'the chat platforms',
  webhooks: 'the endpoints for other programs',
  service: 'the host as a service of this machine',
};

/** Which of the usual commands about a thing there are not, why, and what to use instead. */
export const ABSENT: Readonly<Record<string, string>> = {
  roles: 'There is no `update`: take the one role away with `delete` and give the other with `create`.',
  members: 'There is no `update`: a membership is there or not.',
  sessions:
    'There is no `update`: what a session goes by is changed with `groups update`, `wirings update` and `tasks update`.',
  approvals:
    'There is no `create`, `update`, `delete`: agents and strangers ask, `approve` and `deny` decide, and some time ' +
    'after that the host forgets them.',
  'dropped-messages': 'There is no `create`, `update`: the host counts what it drops.',
  channels: 'There is no `get`, `update`: `list` shows all; remove one and add it anew to change it.',
};

/** The command of these words, its alias included; `undefined` when there is none. */
export function commandOf<Command extends Pick<Declared, 'path' | 'alias'>>(
  words: readonly string[],
  commands: readonly Command[],
): Command | undefined {
  const [key, last] = [words.join(' '), words.at(-1)];
  return commands.find(
    ({ path, alias }) =>
      path.join(' ') === key || (alias === last && path.slice(0, -1).join(' ') === words.slice(0, -1).join(' ')),
  );
}
