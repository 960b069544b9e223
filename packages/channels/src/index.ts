// The public surface, in reading order. The suite for channels of your own is the subpath `./contract`.
export type {
  Address,
  Attempt,
  Channel,
  ChannelLimits,
  Duplicates,
  Health,
  OutgoingMessage,
  Receive,
  ReceivedMessage,
  Sender,
  SendResult,
  TextLimit,
  TextMessage,
  TextUnit,
} from './channel.js';
export { refusal, textLength } from './channel.js';
export type { MemoryPlatformOptions, Shown, Step } from './memory.js';
export { MemoryPlatform } from './memory.js';
export type { TerminalChannelOptions, TerminalTrouble } from './terminal.js';
export { TerminalChannel, terminalSocketPath } from './terminal.js';
export type { TerminalClientOptions, TerminalClosed, TerminalMessage } from './terminal-client.js';
export { ConnectionLost, MessageRefused, TerminalClient } from './terminal-client.js';
