import { describe, expect, it } from 'vitest';
import type { Standing } from '../src/access.ts';
import type { CardHolder } from '../src/approvals.ts';
import type { StrangerPolicy } from '../src/entities.ts';
import {
  type AgentGroupId,
  admission,
  isId,
  mayAdminister,
  mayAnswer,
  mayDecide,
  type Person,
  standing,
  type UserId,
} from '../src/index.ts';
import { user } from './folder.ts';

const here = agent('here');
const there = agent('there');

describe('standing', () => {
  const owner = { role: 'owner' } as const;
  const globalAdmin = { role: 'admin', agentGroupId: null } as const;
  const adminHere = { role: 'admin', agentGroupId: here } as const;
  const adminThere = { role: 'admin', agentGroupId: there } as const;

  it.each<[string, Person, Standing]>([
    ['an owner', { roles: [owner], memberOf: [] }, 'owner'],
    ['a global admin', { roles: [globalAdmin], memberOf: [] }, 'global-admin'],
    ['an admin of this agent', { roles: [adminHere], memberOf: [] }, 'scoped-admin'],
    ['an admin of another agent', { roles: [adminThere], memberOf: [] }, 'stranger'],
    ['a member of this agent', { roles: [], memberOf: [here] }, 'member'],
    ['a member of another agent', { roles: [], memberOf: [there] }, 'stranger'],
    ['an admin elsewhere who is a member here', { roles: [adminThere], memberOf: [here] }, 'member'],
    ['somebody who is everything', { roles: [adminHere, globalAdmin, owner], memberOf: [here] }, 'owner'],
    ['nobody', { roles: [], memberOf: [] }, 'stranger'],
  ])('of %s', (_, person, expected) => {
    expect(standing(person, here)).toBe(expected);
  });
});

describe('admission', () => {
  it.each<[Standing, StrangerPolicy, 'all' | 'known', ReturnType<typeof admission>]>([
    ['owner', 'strict', 'known', 'admit'],
    ['global-admin', 'strict', 'known', 'admit'],
    ['scoped-admin', 'strict', 'known', 'admit'],
    ['member', 'strict', 'known', 'admit'],
    ['stranger', 'strict', 'all', 'refuse'],
    ['stranger', 'strict', 'known', 'refuse'],
    ['stranger', 'request_approval', 'all', 'ask'],
    ['stranger', 'request_approval', 'known', 'ask'],
    ['stranger', 'public', 'all', 'admit'],
    ['stranger', 'public', 'known', 'refuse'],
  ])('of a(n) %s in a %s chat at a wiring for %s senders is %s', (of, strangers, scope, expected) => {
    expect(admission(of, strangers, scope)).toBe(expected);
  });
});

it('Owners and admins may administer, members and strangers may not', () => {
  const all: Standing[] = ['owner', 'global-admin', 'scoped-admin', 'member', 'stranger'];
  expect(all.filter(mayAdminister)).toEqual(['owner', 'global-admin', 'scoped-admin']);
});

describe('mayDecide', () => {
  const clicker = user('clicker');
  const owner: Person = { roles: [{ role: 'owner' }], memberOf: [] };
  const globalAdmin: Person = { roles: [{ role: 'admin', agentGroupId: null }], memberOf: [] };
  const adminHere: Person = { roles: [{ role: 'admin', agentGroupId: here }], memberOf: [] };
  const memberHere: Person = { roles: [], memberOf: [here] };
  const nobody: Person = { roles: [], memberOf: [] };

  it.each<[string, Person, AgentGroupId | null, CardHolder | null, boolean]>([
    ['who was asked', nobody, here, asked(clicker), true],
    ['who was not asked', nobody, here, asked(user('other')), false],
    ['a member', memberHere, here, null, false],
    ['an admin of the agent, though another was asked', adminHere, here, asked(user('other')), true],
    ['an admin of another agent', adminHere, there, null, false],
    ['a global admin', globalAdmin, here, null, true],
    ['an owner', owner, here, null, true],
    ['an admin of one agent, of what is of none', adminHere, null, null, false],
    ['a global admin, of what is of no agent', globalAdmin, null, null, true],
    ['an owner, of what is of no agent', owner, null, null, true],
    ['a stranger, of what is of no agent', nobody, null, null, false],
  ])('of %s', (_, person, agentGroupId, askedPerson, expected) => {
    expect(mayDecide(clicker, person, { agentGroupId, asked: askedPerson })).toBe(expected);
  });
});

describe('mayAnswer', () => {
  const clicker = user('clicker');
  it.each<[string, Standing, UserId | null, boolean]>([
    ['who was asked', 'stranger', clicker, true],
    ['another member', 'member', user('other'), false],
    ['an admin', 'scoped-admin', user('other'), true],
    ['anybody, where nobody was named', 'member', null, true],
  ])('of %s', (_, of, askedOf, expected) => {
    expect(mayAnswer(clicker, of, askedOf)).toBe(expected);
  });
});

function asked(of: UserId): CardHolder {
  return { of, place: { channelType: 'telegram', platformId: '1', threadId: null } };
}

function agent(text: string): AgentGroupId {
  if (!isId<AgentGroupId>(text)) throw new Error(`${text} is not an id`);
  return text;
}
