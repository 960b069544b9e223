/** A failure that a person can do something about, and what the exit codes mean. */
export { EXIT_CODES, type ExitCode, messageOf, Problem, systemCode } from './problem.ts';
