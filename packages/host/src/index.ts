/** Everything of a host that is not a process. */
export { type Connections, serveEndpoints } from './channels/index.ts';
export { ensureDefaults, Host, type HostOptions, MAIN_CHAT } from './host/index.ts';
