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
} from './channel.ts';
export { textLength } from './channel.ts';
export type { Heard, MemoryPlatformOptions, Shown, ShownFile, Step } from './memory.ts';
export { MemoryPlatform } from './memory.ts';
export type { Refused, Refusing } from './refusal.ts';
export { choicePayload, readChoicePayload, refusal, refused } from './refusal.ts';
export type { TerminalChannelOptions, TerminalTrouble } from './terminal.ts';
export { TerminalChannel, terminalSocketPath } from './terminal.ts';
export type { TerminalClientOptions, TerminalClosed } from './terminal-client.ts';
export { ConnectionLost, MessageRefused, TerminalClient } from './terminal-client.ts';
export { terminalText } from './terminal-text.ts';
export type { TerminalDetail, TerminalFile, TerminalMessage, TerminalPast } from './terminal-wire.ts';
export type { WebhookChannelOptions, WebhookEndpoint, WebhookTrouble } from './webhook.ts';
export { WebhookChannel } from './webhook.ts';
export { signWebhook } from './webhook-signature.ts';
