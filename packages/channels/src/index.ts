// The contract. The channels of this package are the subpaths `./terminal` and `./webhook`; the suite for channels of your
// own is `./contract`, the platform for tests of hosts `./testing`.
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
export type { ChannelModule, ChannelPorts } from './channel-module.ts';
export { choicePayload, type Refused, type Refusing, readChoicePayload, refusal, refused } from './refusal.ts';
