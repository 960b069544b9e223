/** Failures that a person can do something about, exit codes, and where JSON that people write is wrong. */
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
