/** What waits for a person: questions that agents ask, approvals that admins give. */
export { type ApprovalEffect, Approvals, type EndedApproval, type RequestOutcome } from './approvals.ts';
export { openUntil, Questions } from './questions.ts';
export { singleFlight } from './single-flight.ts';
