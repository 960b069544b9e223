/**
 * At most one run per session, on whatever runs programs here. In reading order: what a host uses, the port, the drivers.
 * The suite for drivers of your own is the subpath `./contract`.
 */
export { Containers, type RunEnd, type Share } from './containers.ts';
export {
  type Driver,
  type Exit,
  exitPhrase,
  type Limits,
  type Listing,
  type Mount,
  type Network,
  type Run,
  type RunSpec,
  type Sandbox,
  SpawnError,
  type SpawnProblem,
} from './driver.ts';
export type { DriverFactory, DriverModule, DriverPorts } from './driver-module.ts';
export { EngineDriver } from './engine.ts';
export { LABELS } from './engine-arguments.ts';
export { EngineClient, EngineError, type EngineKind, type Image } from './engine-client.ts';
export { buildGroupImage } from './group-image.ts';
export { inProcess, type RunProgram } from './in-process.ts';
export { extraMounts } from './mounts.ts';
export { ProcessDriver } from './process.ts';
export { type HostProcess, processTable } from './process-table.ts';
export { DEFAULT_LIMITS, isNetworkName, isSafeId, sessionMounts, specHash } from './spec.ts';
