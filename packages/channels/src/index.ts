/**
 * The contract. The channels of this package are the subpaths `./terminal` and `./webhook`; the suite for channels of your
 * own is `./contract`, the platform for tests of hosts `./testing`.
 */
export type {
  Address,
  Attempt,
  Channel,
  ChannelLimits,
  Duplicates,
  Health,
  IncomingFile,
  OutgoingFile,
  OutgoingMessage,
  Receive,
  ReceivedChoice,
  ReceivedEvent,
  ReceivedMessage,
  SendResult,
  Showable,
  TextLimit,
  TextMessage,
} from './channel.ts';
export { textLength } from './channel.ts';
export type { ChannelModule, ChannelPorts } from './channel-module.ts';
export { choicePayload, readChoicePayload, refusal, refused } from './refusal.ts';
