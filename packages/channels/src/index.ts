// The public surface, in reading order. The suite for channels of your own is the subpath `./contract`.
export type {
  Address,
  Attempt,
  CardMessage,
  Channel,
  ChannelLimits,
  Duplicates,
  EditMessage,
  Health,
  IncomingFile,
  Json,
  JsonObject,
  OutgoingFile,
  OutgoingMessage,
  OutsideEvent,
  QuestionMessage,
  Quote,
  ReactionMessage,
  Receive,
  ReceivedChoice,
  ReceivedEvent,
  ReceivedMessage,
  Sender,
  SendResult,
  Showable,
  TextLimit,
  TextMessage,
  TextUnit,
} from './channel.js';
export { textLength } from './channel.js';
export type { Heard, MemoryPlatformOptions, Shown, ShownFile, Step } from './memory.js';
export { MemoryPlatform } from './memory.js';
export type { Refused, Refusing } from './refusal.js';
export { choicePayload, readChoicePayload, refusal, refused } from './refusal.js';
export type { TerminalChannelOptions, TerminalTrouble } from './terminal.js';
export { TerminalChannel, terminalSocketPath } from './terminal.js';
export type { TerminalClientOptions, TerminalClosed } from './terminal-client.js';
export { ConnectionLost, MessageRefused, TerminalClient } from './terminal-client.js';
export { terminalText } from './terminal-text.js';
export type { TerminalDetail, TerminalFile, TerminalMessage, TerminalPast } from './terminal-wire.js';
export type { SetTimer, WebhookChannelOptions, WebhookEndpoint, WebhookTrouble } from './webhook.js';
export { WebhookChannel } from './webhook.js';
export { signWebhook } from './webhook-signature.js';
