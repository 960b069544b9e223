/** At most one run per session, on whatever runs programs here. Read `containers.ts` first, then the port, then a driver. */
export { type Backoff, Containers, type ContainersOptions, type Ended, type Reconciliation } from './containers.js';
export {
  type Clock,
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
} from './driver.js';
export { EngineDriver, type EngineDriverOptions } from './engine.js';
export { LABELS } from './engine-arguments.js';
export {
  EngineClient,
  EngineError,
  type EngineKind,
  type EngineOptions,
  type EngineState,
  type Image,
} from './engine-client.js';
export {
  buildGroupImage,
  type GroupImageOptions,
  groupRecipe,
  type Packages,
  packagesProblem,
} from './group-image.js';
export { logTail } from './log-file.js';
export {
  type AllowedPlace,
  extraMount,
  extraMounts,
  isSensitive,
  type MountVerdicts,
  type MountWish,
  type RealPlace,
} from './mounts.js';
export { ProcessDriver, type ProcessDriverOptions } from './process.js';
export { type HostProcess, type ProcessTable, processTable, type Sighting } from './process-table.js';
export { DEFAULT_LIMITS, hostPath, isNetworkName, type SessionPlaces, sessionMounts, specHash } from './spec.js';
