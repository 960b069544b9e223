/** Modules that the configuration names: channels, providers and drivers from elsewhere. */
export { isFilePath, type LoadOptions, loadModule, locate, type Made, ModuleError } from './load.ts';
export {
  BUILT_IN_CHANNELS,
  ChannelName,
  type ChannelReference,
  InstanceName,
  MODULE_KEYS,
  type ModuleReference,
  type ModuleReferences,
  NO_MODULES,
  readConfigFile,
  readModuleReferences,
  writeChannelReference,
} from './references.ts';
