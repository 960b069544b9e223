/** The table of operator commands, from which come the parser, the help, the control socket and the agents' commands. */
import { approvalCommands } from './approvals.ts';
import { channelCommands } from './channels.ts';
import type { CommandDeclaration, OperatorCommand } from './command.ts';
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

/** What the commands of a first word are about, by that word. */
export const TOPICS: Readonly<Record<string, string>> = {
  groups: 'the agents',
  'messaging-groups': 'the chats',
  wirings: 'which agent engages in which chat',
  users: 'the users known to the host',
  roles: 'owners and admins',
  members: 'the members of agent groups',
  destinations: 'where agents may write to',
  sessions: 'the sessions, one for each conversation of an agent',
  tasks: 'the scheduled tasks of sessions',
  approvals: 'requests that wait for approval',
  'dead-letters': 'messages that were given up',
  'dropped-messages': 'messages that no agent got',
  channels: 'the chat platforms',
  webhooks: 'the endpoints for other programs',
  service: 'the host as a service of this machine',
};

/** Which of the usual commands about a thing are missing, why, and what to use instead; by the first word. */
export const MISSING_VERBS: Readonly<Record<string, string>> = {
  roles: 'There is no `update`: revoke one role with `delete` and give another with `create`.',
  members: 'There is no `update`: a membership has nothing to change.',
  sessions:
    'There is no `update`: the settings of a session are changed with `groups update`, `wirings update` and `tasks update`.',
  approvals:
    'There is no `create`, `update`, `delete`: agents and strangers make requests, `approve` and `deny` decide them, and ' +
    'the host deletes them some time after that.',
  'dropped-messages': 'There is no `create`, `update`: the host counts what it drops.',
  channels: 'There is no `get`, `update`: `list` shows all; remove one and add it anew to change it.',
};

/** The command of these words, its alias included; `undefined` when there is none. */
export function commandOf<Command extends Pick<CommandDeclaration, 'path' | 'alias'>>(
  words: readonly string[],
  commands: readonly Command[],
): Command | undefined {
  const [key, last] = [words.join(' '), words.at(-1)];
  return commands.find(
    ({ path, alias }) =>
      path.join(' ') === key || (alias === last && path.slice(0, -1).join(' ') === words.slice(0, -1).join(' ')),
  );
}
