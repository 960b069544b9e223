/** A host put together, its start and its end. */

export { type ChannelSetup, createHost, type HostOptions, type RunningHost } from './create-host.ts';
export { ensureDefaults, MAIN_CHAT } from './defaults.ts';
export { OPEN_FILES_MIN } from './file-shares.ts';
export type { OutboundGuard } from './host-setup.ts';
export { type HostPorts, processPorts } from './process-ports.ts';
