/** A whole host inside a program of yours: `createHost` gives one that runs. */
export {
  type ChannelSetup,
  createHost,
  ensureDefaults,
  type HostOptions,
  type HostPorts,
  MAIN_CHAT,
  OPEN_FILES_MIN,
  type OutboundGuard,
  processPorts,
  type RunningHost,
} from './host/index.ts';
