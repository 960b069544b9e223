/** `nanoclaw users`, `roles` and `members`: who people are and what they may do. None of it is for agents. */
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

/** The people that the host has heard of. */
export const userCommands: readonly OperatorCommand[] = [
  reads({
    path: ['users', 'list'],
    summary: 'list the people that the host has heard of',
    parameters: z.object({}),
    agents: 'all',
    view: {
      type: 'table',
      columns: [column('USER', 'id'), column('NAME', 'name'), column('SINCE', 'createdAt', 'time')],
      empty: 'Nobody has written yet.',
    },
    run: ({ registry }) => registry.people.users(),
  }),
  reads({
    path: ['users', 'get'],
    summary: 'show one person, with roles and memberships',
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
    summary: 'make a person known before they write for the first time',
    parameters: z.object({ user, name: option(Text.exactOptional(), 'their name; the handle when left out') }),
    agents: 'never',
    view: { type: 'record' },
    run: ({ registry }, { user: id, name }) =>
      registry.people.createUser({ id, name: name ?? id.slice(id.indexOf(':') + 1) }),
  }),
  changes({
    path: ['users', 'update'],
    summary: "change a person's name, until the platform tells another one",
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
    summary: 'forget a person, with their roles and memberships',
    parameters: z.object({ user }),
    agents: 'never',
    view: { type: 'message' },
    run: async ({ registry }, { user: id }) => {
      if (!(await registry.people.deleteUser(id))) throw notFound('user', id, 'users list');
      return { id, message: `${id} was forgotten, with all roles and memberships.` };
    },
  }),
];

/** Who owns and administers. */
export const roleCommands: readonly OperatorCommand[] = [
  reads({
    path: ['roles', 'list'],
    summary: 'list who owns and administers what',
    parameters: z.object({}),
    agents: 'all',
    view: {
      type: 'table',
      columns: [
        column('USER', 'userId'),
        column('ROLE', 'role'),
        column('GRANTED BY', 'grantedBy'),
        column('AT', 'createdAt', 'time'),
      ],
      empty: 'Nobody has a role yet.',
    },
    run: async ({ registry }) =>
      (await registry.people.roleGrants()).map((grant) => ({ ...grant, role: roleText(grant.role) })),
  }),
  reads({
    path: ['roles', 'get'],
    summary: "show one person's roles",
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
    summary: 'give a person a role',
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
    summary: 'take a role away; the last owner stays',
    parameters: z.object({ user, role, group: scopeOption() }),
    agents: 'never',
    view: { type: 'message' },
    run: async ({ registry }, { user: id, ...named }) => {
      const revoked = await roleOf(registry, named.role, named.group);
      if (!(await registry.people.revokeRole(id, revoked))) {
        throw new Problem(`${id} is not ${roleText(revoked)}; nothing was changed. See \`nanoclaw roles list\`.`, 6);
      }
      return { userId: id, role: roleText(revoked), message: `${id} is not ${roleText(revoked)} any more.` };
    },
  }),
];

/** Who belongs to which agent. */
export const memberCommands: readonly OperatorCommand[] = [
  reads({
    path: ['members', 'list'],
    summary: 'list whom which agent listens to as one of its own',
    parameters: z.object({ group: groupOption }),
    agents: 'all',
    view: {
      type: 'table',
      columns: [
        column('USER', 'userId'),
        column('AGENT', 'agent'),
        column('ADDED BY', 'addedBy'),
        column('AT', 'createdAt', 'time'),
      ],
      empty: 'There are no members. Owners and admins count as members without being listed.',
    },
    run: async ({ registry }, { group }) => memberships(registry, group),
  }),
  reads({
    path: ['members', 'get'],
    summary: "show one person's memberships",
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
    summary: 'make a person a member of an agent group',
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
          `${id} is no member of ${agent.folder}; nothing was changed. See \`nanoclaw members list\`.`,
          6,
        );
      }
      return { userId: id, agentGroupId: agent.id, message: `${id} is no member of ${agent.folder} any more.` };
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
    throw new Problem('An owner owns everything, so --group means nothing here; nothing was changed. Leave it out.', 2);
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
