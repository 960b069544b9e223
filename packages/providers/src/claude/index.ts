/** The Claude models, by the agent SDK's native program. The default export plugs them in; see `ClaudeModuleOptions`. */
export { type ClaudeModuleOptions, claudeModule as default } from './module.ts';
