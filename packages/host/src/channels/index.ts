/** The chats of a host: channels connected, messages in the form that each can show, the host's own words. */
export { Connections } from './connections.ts';
export { serveEndpoints } from './endpoints.ts';
export { type Said, type Voice, voiceOf } from './host-messenger.ts';
export { oneLine } from './one-line.ts';
export { asText, fileNames, ownKind, questionOf, showing, withRefusals } from './presentation.ts';
