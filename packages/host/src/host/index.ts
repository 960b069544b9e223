/** A host put together, its start and its end. */
export { ensureDefaults, MAIN_CHAT } from './defaults.ts';
export { Host } from './host.ts';
export type { HostOptions } from './host-options.ts';
