/** The data folder of a host, for a program that looks into it, saves it or brings it back. */
export {
  backup,
  copyAsOfOneMoment,
  type DataFolder,
  DEFAULT_SETTINGS,
  databaseDamage,
  dataFolder,
  isOpenToOthers,
  knownInstallId,
  makeDataFolder,
  restore,
  restoreSessionFrom,
  type SavedSession,
  takeLease,
} from './data/index.ts';
