/** The host's channels, with the simulated platform in the place of the terminal's socket. */
export * from '@nanoclaw/channels';
export { PlatformChannel as TerminalChannel } from '../platform.js';
