/** The data folder: where everything is, who has it, its backups, the settings of a host. */
export { backup, type SavedSession } from './backup.ts';
export { noteEnd, noteStart } from './crash-loop.ts';
export {
  type DataFolder,
  dataFolder,
  installId,
  isOpenToOthers,
  knownInstallId,
  makeDataFolder,
} from './data-folder.ts';
export { copyAsOfOneMoment, databaseDamage } from './database-copy.ts';
export { takeLease } from './lease.ts';
export { restore, restoreSessionFrom } from './restore.ts';
export { DEFAULT_SETTINGS, type HostSettings } from './settings.ts';
