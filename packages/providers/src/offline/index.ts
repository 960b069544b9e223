/** An agent without a model, which answers by rules. */
export { offlineProvider } from './offline.ts';
