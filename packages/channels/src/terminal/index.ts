/** The terminal channel: its module for hosts, the channel itself, and the client for programs that show a chat. */
import { z } from 'zod';
import type { ChannelModule } from '../channel-module.ts';
import { FILE_BYTES_KEPT, MESSAGES_KEPT, MESSAGES_KEPT_MIN, TerminalChannel } from './terminal-channel.ts';

export { terminalText } from './message-text.ts';
export type { TerminalMessage, TerminalPast } from './protocol.ts';
export { TerminalChannel, terminalSocketPath } from './terminal-channel.ts';
export {
  ConnectionLost,
  MessageRefused,
  TerminalClient,
} from './terminal-client.ts';

/** The options of the terminal's module, checked: how much is kept. */
interface TerminalModuleOptions {
  readonly messagesKept: number;
  readonly fileBytesKept: number;
}

/** The module of the terminal channel: people talk to the bot from terminals on this machine. All options may be left out. */
const terminal: ChannelModule<TerminalModuleOptions> = {
  type: 'terminal',
  options: z.strictObject({
    messagesKept: z.int().min(MESSAGES_KEPT_MIN).default(MESSAGES_KEPT),
    fileBytesKept: z.int().min(0).default(FILE_BYTES_KEPT),
  }),
  create(options, { folder, clock, onTrouble }) {
    return new TerminalChannel({ ...options, folder, now: () => clock.now(), onTrouble });
  },
};

export default terminal;
