/**
 * Who may do what. Pure: the caller brings what is known of the person; see SECURITY.md, rule 4.
 *
 * Order of standing: owner, global admin, scoped admin, member, stranger. Owner and admins count as members.
 */
import type { Approval } from './approvals.ts';
import type { AgentGroupId, Role, StrangerPolicy, UserId, WiringSettings } from './entities.ts';

/** What is on record about a person. A person who is not known has no roles and no memberships. */
export interface Person {
  /** Every role that the person has. */
  readonly roles: readonly Role[];
  /** The agent groups that the person may talk to as a member. */
  readonly memberOf: readonly AgentGroupId[];
}

/** What a person is to one agent group. */
export type Standing = 'owner' | 'global-admin' | 'scoped-admin' | 'member' | 'stranger';

/** The person's highest standing towards one agent group. */
export function standing(person: Person, agentGroupId: AgentGroupId): Standing {
  if (person.roles.some((held) => held.role === 'owner')) return 'owner';
  if (person.roles.some((held) => held.role === 'admin' && held.agentGroupId === null)) return 'global-admin';
  if (person.roles.some((held) => held.role === 'admin' && held.agentGroupId === agentGroupId)) return 'scoped-admin';
  if (person.memberOf.includes(agentGroupId)) return 'member';
  return 'stranger';
}

/** True for those who may run admin commands and press approval buttons for the agent group. */
export function mayAdminister(of: Standing): boolean {
  return of === 'owner' || of === 'global-admin' || of === 'scoped-admin';
}

/**
 * Whether a click on an approval counts: that of the person who was asked, or of an admin of the agent group; where it
 * is about no agent group, of a global admin or an owner.
 */
export function mayDecide(by: UserId, person: Person, approval: Pick<Approval, 'agentGroupId' | 'asked'>): boolean {
  if (approval.asked?.of === by) return true;
  if (approval.agentGroupId !== null) return mayAdminister(standing(person, approval.agentGroupId));
  return person.roles.some((held) => held.role === 'owner' || held.agentGroupId === null);
}

/**
 * Whether an answer to an agent's question counts: that of the user who was asked, or of an admin; where no user is
 * named, that of each user whom the agent hears in that place.
 */
export function mayAnswer(by: UserId, of: Standing, askedOf: UserId | null): boolean {
  return askedOf === null || askedOf === by || mayAdminister(of);
}

/**
 * Whether a person's message may reach the agent: `admit`; `ask` an admin first; or `refuse`.
 *
 * Known people always may. Strangers per the chat's policy; a wiring for known senders keeps strangers out of a public
 * chat too, but does not stop an admin from being asked, because approval is what makes a stranger known.
 */
export function admission(
  of: Standing,
  strangers: StrangerPolicy,
  senderScope: WiringSettings['senderScope'],
): 'admit' | 'ask' | 'refuse' {
  if (of !== 'stranger') return 'admit';
  switch (strangers) {
    case 'strict':
      return 'refuse';
    case 'request_approval':
      return 'ask';
    case 'public':
      return senderScope === 'all' ? 'admit' : 'refuse';
  }
}
