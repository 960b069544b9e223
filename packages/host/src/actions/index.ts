/** What agents ask of their host. */
export type { ActionContext, EffectContext } from './action.ts';
export { act, applyAction } from './actions.ts';
