/**
 * The agent's side of a session: claim, turn, tools, acks. The public surface, in reading order.
 */

export { type AgentProgramOptions, type AgentRun, agentProgram } from './agent/agent-program.ts';
export { ConfigError, type ProviderChoice } from './agent/config.ts';
export { EXIT_CODES } from './agent/exit-codes.ts';
export { loadProvider, type ProviderModules } from './agent/load-provider.ts';
export { type Content, readContent } from './content.ts';
export type {
  DoneEffect,
  Effort,
  McpServer,
  Prompt,
  Provider,
  Skill,
  StartOptions,
  Tool,
  Turn,
  TurnEnd,
  TurnEvent,
  TurnFailure,
  Usage,
} from './provider.ts';
export type { ProviderModule, ProviderPorts } from './provider-module.ts';
export { type RunEnd, Runner } from './runner.ts';
export type { ScriptEnd } from './task-script.ts';
