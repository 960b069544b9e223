/** Failures that a person can do something about, and exit codes. */
export { cannotBeWritten, EXIT_CODES, type ExitCode, messageOf, Problem, systemCode } from './problem.ts';
