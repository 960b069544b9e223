/** What waits for a person: questions of agents, approvals of admins. */
export { Approvals, type Deed, type EndedApproval, type Requested } from './approvals.ts';
export { isStillOpen, openUntil, Questions } from './questions.ts';
export { once } from './single-flight.ts';
