/** An agent without a model, which answers by rules. Its default export plugs it in; it takes no options. */
export { offlineModule as default } from './module.ts';
