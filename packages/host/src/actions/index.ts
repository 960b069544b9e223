/** What agents request of their host: tasks, packages, servers of tools, other agents, commands. */
export type { ActionPorts, EffectContext } from './action.ts';
export { applyActionOutcome, performAction } from './actions.ts';
