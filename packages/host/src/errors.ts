/** What a program says and exits with when it cannot go on, and what became of errors that nothing caught. */
export {
  type AfterUncaught,
  EXIT_CODES,
  isSessionTrouble,
  messageOf,
  Problem,
  systemCode,
  UncaughtErrors,
  type UncaughtOptions,
  type UncaughtRecord,
} from './errors/index.ts';
