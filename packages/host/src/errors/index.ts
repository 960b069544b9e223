/** Failures that a person can do something about, exit codes, errors that nothing caught, and where JSON that people write is wrong. */
export { parseJson } from './json.ts';
export {
  cannotBeWritten,
  EXIT_CODES,
  type ExitCode,
  isSessionTrouble,
  messageOf,
  Problem,
  systemCode,
} from './problem.ts';
export {
  type AfterUncaught,
  isWorthALine,
  type OnUncaught,
  UncaughtErrors,
  type UncaughtOptions,
  type UncaughtRecord,
} from './uncaught.ts';
