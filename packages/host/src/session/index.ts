/** Sessions of a host: their files, and rows made of what people send and agents request. */
export { AGENT_CHANNEL, actingAdmin, answeredMessage, authorOf, isCurrent } from './cause.ts';
export { destinationsOf, freeName } from './destinations.ts';
export { FindingRecords, findingsOf, refusedRows } from './findings.ts';
export { inboundCommand, inboundId, inboundMessage, platformIdOf } from './received.ts';
export { type ActionResult, hasResult, RESULT_ID_PREFIX, type RequestRow, resultId, writeResult } from './result.ts';
export { type LockedFile, type SessionHandle, Sessions } from './sessions.ts';
