/** The chats of a host: channels connected, messages in the form that each can show, the host's own messages. */
export { type Admit, type ChannelState, Connections, type NewChats } from './connections.ts';
export { WEBHOOKS, WebhookEndpoints } from './endpoints.ts';
export { type HostMessenger, hostMessenger, type NotifyResult } from './host-messenger.ts';
export { channelOrigin } from './instance.ts';
export { asText, fileNames, ownKind, questionOf, showing, withRefusals } from './presentation.ts';
