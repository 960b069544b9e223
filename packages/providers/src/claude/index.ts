/** The Claude models, through the Claude Agent SDK. */
export { type ClaudeOptions, claudeProvider } from './claude.ts';
