/** Sessions of a host: their files, and rows made from what people say and agents ask. */
export { AGENT, adminBehind, answered, isCurrent, personOf } from './cause.ts';
export { destinationsOf, freeName } from './destinations.ts';
export { inboundCommand, inboundId, inboundMessage, platformIdOf } from './received.ts';
export { type Asked, type Came, hasResult, RESULT, resultId, writeResult } from './result.ts';
export { type SessionHandle, Sessions } from './sessions.ts';
