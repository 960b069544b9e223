/**
 * The agent's side of a session: claim, turn, tools, acks. The public surface, in reading order.
 */

export {
  type AgentProgram,
  type AgentProgramOptions,
  type AgentRun,
  agentProgram,
  type MakeProvider,
} from './agent/agent-program.ts';
export { ConfigError, type ProviderChoice } from './agent/config.ts';
export { EXIT_CODES } from './agent/exit-codes.ts';
export { loadProvider, type ProviderModules } from './agent/load-provider.ts';
export { findSkills } from './agent/skills.ts';
export * from './content.ts';
export { type Item, instructionsText, type PromptSetting, promptText } from './prompt.ts';
export * from './provider.ts';
export type { ProviderModule, ProviderPorts } from './provider-module.ts';
export { NOTHING_SAID, type Reply, type ReplySetting, replies } from './reply.ts';
export {
  type Bell,
  RUNNER_POLICY,
  type RunEnd,
  Runner,
  type RunnerOptions,
  type RunnerPolicy,
} from './runner.ts';
export * from './task-script.ts';
export { momentOf, zonedText } from './time.ts';
