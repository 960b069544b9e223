/** At most one run per session, on whatever runs programs here. Read `containers.ts` first, then the port, then a driver. */
export { type Backoff, Containers, type ContainersOptions, type Ended, type Reconciliation } from './containers.ts';
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
export { EngineDriver, type EngineDriverOptions } from './engine.ts';
export { LABELS } from './engine-arguments.ts';
export {
  EngineClient,
  EngineError,
  type EngineKind,
  type EngineOptions,
  type EngineState,
  type Image,
} from './engine-client.ts';
export {
  buildGroupImage,
  type GroupImageOptions,
  groupRecipe,
  type Packages,
  packagesProblem,
} from './group-image.ts';
export { inProcess, type RunProgram, type RunProgramPorts } from './in-process.ts';
export { logTail } from './log-file.ts';
export {
  type AllowedPlace,
  extraMount,
  extraMounts,
  isSensitive,
  type MountVerdicts,
  type MountWish,
  type RealPlace,
} from './mounts.ts';
export { ProcessDriver, type ProcessDriverOptions } from './process.ts';
export { type HostProcess, type ProcessTable, processTable, type Sighting } from './process-table.ts';
export { DEFAULT_LIMITS, hostPath, isNetworkName, type SessionPlaces, sessionMounts, specHash } from './spec.ts';
