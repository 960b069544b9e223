/**
 * The agent's side of a session: claim, turn, tools, acks. The public surface, in reading order.
 */

export * from './content.js';
export { type Item, instructionsText, type PromptSetting, promptText } from './prompt.js';
export * from './provider.js';
export { NOTHING_SAID, type Reply, type ReplySetting, replies } from './reply.js';
export {
  type Bell,
  type Clock,
  RUNNER_POLICY,
  type RunEnd,
  Runner,
  type RunnerOptions,
  type RunnerPolicy,
} from './runner.js';
export * from './task-script.js';
export { momentOf, zonedText } from './time.js';
