/** `nanoclaw users`, `roles` and `members`: who people are and what they may do. Agents may change none of it. */
import { type AgentGroupId, isUserId, type Role, type UserId } from '@nanoclaw/registry';
import { z } from 'zod';
import { Problem } from '../errors/index.ts';
import { argument, changes, type OperatorCommand, option, reads } from './command.ts';
import type { RegistryReader } from './contexts.ts';
import { agentGroupNamed, notFound } from './lookup.ts';
import { groupArgument, groupOption, Text } from './parameters.ts';
import { column } from './view.ts';

const user = argument(
  z.string().refine(isUserId, 'a user is <channel type>:<handle>, such as terminal:local'),
  'the user: <channel type>:<handle>',
);
const ROLES = ['owner', 'admin'] as const;
const role = argument(z.enum(ROLES), 'owner: of everything; admin: of everything, or of one agent group', {
  choices: ROLES,
});

/** The commands about users. */
export const userCommands: readonly OperatorCommand[] = [
  reads({
    path: ['users', 'list'],
    summary: 'list the users known to the host',
    parameters: z.object({}),
    agents: 'all',
    view: {
      type: 'table',
      columns: [column('USER', 'id'), column('NAME', 'name'), column('SINCE', 'createdAt', 'time')],
      empty: 'No user has written yet.',
    },
    run: ({ registry }) => registry.people.users(),
  }),
  reads({
    path: ['users', 'get'],
    summary: 'show one user, with roles and memberships',
    parameters: z.object({ user }),
    agents: 'all',
    view: { type: 'record' },
    run: async ({ registry }, { user: id }) => {
      const [found, person] = await Promise.all([registry.people.user(id), registry.people.person(id)]);
      if (found === undefined) throw notFound('user', id, 'users list');
      return { ...found, roles: person.roles.map(roleText), memberOf: person.memberOf };
    },
  }),
  changes({
    path: ['users', 'create'],
    summary: 'register a user before their first message',
    parameters: z.object({ user, name: option(Text.exactOptional(), 'their name (default: the handle)') }),
    agents: 'never',
    view: { type: 'record' },
    run: ({ registry }, { user: id, name }) =>
      registry.people.createUser({ id, name: name ?? id.slice(id.indexOf(':') + 1) }),
  }),
  changes({
    path: ['users', 'update'],
    summary: "change a user's name, until the platform reports another",
    parameters: z.object({ user, name: option(Text, 'their name') }),
    agents: 'never',
    view: { type: 'record' },
    run: async ({ registry }, { user: id, name }) => {
      const after = await registry.people.updateUser(id, { name });
      if (after === undefined) throw notFound('user', id, 'users list');
      return after;
    },
  }),
  changes({
    path: ['users', 'delete'],
    summary: 'delete a user, with their roles and memberships',
    parameters: z.object({ user }),
    agents: 'never',
    view: { type: 'message' },
    run: async ({ registry }, { user: id }) => {
      if (!(await registry.people.deleteUser(id))) throw notFound('user', id, 'users list');
      return { id, message: `${id} was deleted, with all roles and memberships.` };
    },
  }),
];

/** The commands about roles. */
export const roleCommands: readonly OperatorCommand[] = [
  reads({
    path: ['roles', 'list'],
    summary: 'list the owners and admins',
    parameters: z.object({}),
    agents: 'all',
    view: {
      type: 'table',
      columns: [
        column('USER', 'userId'),
        column('ROLE', 'role'),
        column('GRANTED BY', 'grantedBy'),
        column('SINCE', 'createdAt', 'time'),
      ],
      empty: 'No user has a role yet.',
    },
    run: async ({ registry }) =>
      (await registry.people.roleGrants()).map((grant) => ({ ...grant, role: roleText(grant.role) })),
  }),
  reads({
    path: ['roles', 'get'],
    summary: "show one user's roles",
    parameters: z.object({ user }),
    agents: 'all',
    view: { type: 'record' },
    run: async ({ registry }, { user: id }) => {
      if ((await registry.people.user(id)) === undefined) throw notFound('user', id, 'users list');
      return { userId: id, roles: (await registry.people.person(id)).roles.map(roleText) };
    },
  }),
  changes({
    path: ['roles', 'create'],
    alias: 'grant',
    summary: 'give a user a role',
    parameters: z.object({ user, role, group: scopeOption() }),
    agents: 'never',
    view: { type: 'message' },
    run: async ({ registry, actor }, { user: id, ...named }) => {
      const granted = await roleOf(registry, named.role, named.group);
      const isNew = await registry.people.grantRole(id, granted, actor);
      return {
        userId: id,
        role: roleText(granted),
        isNew,
        message: `${id} is ${roleText(granted)} ${isNew ? 'now' : 'already'}.`,
      };
    },
  }),
  changes({
    path: ['roles', 'delete'],
    alias: 'revoke',
    summary: 'revoke a role; the last owner cannot be removed',
    parameters: z.object({ user, role, group: scopeOption() }),
    agents: 'never',
    view: { type: 'message' },
    run: async ({ registry }, { user: id, ...named }) => {
      const revoked = await roleOf(registry, named.role, named.group);
      if (!(await registry.people.revokeRole(id, revoked))) {
        throw new Problem(`${id} is not ${roleText(revoked)}; nothing was changed. See \`nanoclaw roles list\`.`, 6);
      }
      return { userId: id, role: roleText(revoked), message: `${id} is no longer ${roleText(revoked)}.` };
    },
  }),
];

/** The commands about memberships. */
export const memberCommands: readonly OperatorCommand[] = [
  reads({
    path: ['members', 'list'],
    summary: 'list the members of agent groups',
    parameters: z.object({ group: groupOption }),
    agents: 'all',
    view: {
      type: 'table',
      columns: [
        column('USER', 'userId'),
        column('AGENT', 'agent'),
        column('ADDED BY', 'addedBy'),
        column('SINCE', 'createdAt', 'time'),
      ],
      empty: 'There are no members. Owners and admins count as members without being listed.',
    },
    run: async ({ registry }, { group }) => memberships(registry, group),
  }),
  reads({
    path: ['members', 'get'],
    summary: "show one user's memberships",
    parameters: z.object({ user }),
    agents: 'all',
    view: { type: 'record' },
    run: async ({ registry }, { user: id }) => {
      if ((await registry.people.user(id)) === undefined) throw notFound('user', id, 'users list');
      const own = (await memberships(registry)).filter(({ userId }) => userId === id);
      return { userId: id, memberOf: own.map(({ agent }) => agent) };
    },
  }),
  changes({
    path: ['members', 'create'],
    alias: 'add',
    summary: 'make a user a member of an agent group',
    parameters: z.object({ group: groupArgument, user }),
    agents: 'never',
    view: { type: 'message' },
    run: async ({ registry, actor }, { group, user: id }) => {
      const agent = await agentGroupNamed(registry, group);
      const isNew = await registry.people.addMember(id, agent.id, actor);
      return {
        userId: id,
        agentGroupId: agent.id,
        isNew,
        message: `${id} is a member of ${agent.folder} ${isNew ? 'now' : 'already'}.`,
      };
    },
  }),
  changes({
    path: ['members', 'delete'],
    alias: 'remove',
    summary: 'end a membership',
    parameters: z.object({ group: groupArgument, user }),
    agents: 'never',
    view: { type: 'message' },
    run: async ({ registry }, { group, user: id }) => {
      const agent = await agentGroupNamed(registry, group);
      if (!(await registry.people.removeMember(id, agent.id))) {
        throw new Problem(
          `${id} is not a member of ${agent.folder}; nothing was changed. See \`nanoclaw members list\`.`,
          6,
        );
      }
      return { userId: id, agentGroupId: agent.id, message: `${id} is no longer a member of ${agent.folder}.` };
    },
  }),
];

function scopeOption() {
  return option(Text.exactOptional(), 'admin of this agent group only: its folder or its id', { value: 'group' });
}

async function roleOf(
  registry: RegistryReader,
  named: (typeof ROLES)[number],
  group: string | undefined,
): Promise<Role> {
  if (named === 'owner' && group !== undefined) {
    throw new Problem(
      'An owner owns everything, so --group has no meaning here; nothing was changed. Leave it out.',
      2,
    );
  }
  if (named === 'owner') return { role: 'owner' };
  return { role: 'admin', agentGroupId: group === undefined ? null : (await agentGroupNamed(registry, group)).id };
}

function roleText(held: Role): string {
  if (held.role === 'owner') return 'owner';
  return held.agentGroupId === null ? 'admin' : `admin of ${held.agentGroupId}`;
}

async function memberships(registry: RegistryReader, group?: string) {
  const only: AgentGroupId | undefined = group === undefined ? undefined : (await agentGroupNamed(registry, group)).id;
  const folders = new Map((await registry.agentGroups()).map(({ id, folder }) => [id, folder]));
  const found: readonly { userId: UserId; agentGroupId: AgentGroupId }[] = await registry.people.memberships(only);
  return found.map((each) => ({ ...each, agent: folders.get(each.agentGroupId) ?? each.agentGroupId }));
}
