import { describe, expect, it } from 'vitest';
import {
  type AgentGroupId,
  admission,
  isId,
  mayAdminister,
  type Person,
  type Standing,
  type StrangerPolicy,
  standing,
} from '../src/index.js';

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

function agent(text: string): AgentGroupId {
  if (!isId<AgentGroupId>(text)) throw new Error(`${text} is not an id`);
  return text;
}
