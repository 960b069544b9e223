/** Runs of a host: what closes them in, what they are started with, at most one for each session. */
export {
  type AbsentEngine,
  type ContainerIsolation,
  chooseIsolation,
  clientEnvironment,
  driverFor,
  ENGINES,
  type Isolation,
  imageNames,
  isolationSentence,
  type Machine,
  networkFor,
} from './driver-choice.ts';
export { chooseDriver } from './drivers.ts';
export { GroupImages, type ImageRebuilt, type Rebuilt } from './group-images.ts';
export {
  BUILT_IN_PROVIDERS,
  DEFAULT_PROVIDER,
  guardedPlaces,
  modelEnvironment,
  providerOf,
  providerProblems,
  timeZoneOf,
} from './run-spec.ts';
export { Runs } from './runs.ts';
export { skillsIn } from './skills.ts';
