/** The modules that a configuration names, for a program that reads it. */
export { MODULE_KEYS, type ModuleReferences, readConfigFile, readModuleReferences } from './modules/index.ts';
