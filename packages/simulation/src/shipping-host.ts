/** The parts of `@nanoclaw/host` that are simulated. */
export { ensureDefaults, Host } from '@nanoclaw/host';
export { DEFAULT_SETTINGS, dataFolder } from '@nanoclaw/host/data';
export { openLog } from '@nanoclaw/host/observability';
