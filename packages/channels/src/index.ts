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
export type { Refused, Refusing } from './refusal.ts';
export { choicePayload, readChoicePayload, refusal, refused } from './refusal.ts';
export { terminalText } from './terminal/message-text.ts';
export type { TerminalDetail, TerminalFile, TerminalMessage, TerminalPast } from './terminal/protocol.ts';
export type { TerminalChannelOptions, TerminalTrouble } from './terminal/terminal-channel.ts';
export { TerminalChannel, terminalSocketPath } from './terminal/terminal-channel.ts';
export type { TerminalClientOptions, TerminalClosed } from './terminal/terminal-client.ts';
export { ConnectionLost, MessageRefused, TerminalClient } from './terminal/terminal-client.ts';
export type { Heard, MemoryPlatformOptions, Shown, ShownFile, Step } from './testing/memory-platform.ts';
export { MemoryPlatform } from './testing/memory-platform.ts';
export { signWebhook } from './webhook/signature.ts';
export type { WebhookChannelOptions, WebhookEndpoint, WebhookTrouble } from './webhook/webhook-channel.ts';
export { WebhookChannel } from './webhook/webhook-channel.ts';
