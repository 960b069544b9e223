/** What a program says and exits with when it cannot go on. */
export { EXIT_CODES, isSessionTrouble, messageOf, Problem, systemCode } from './errors/index.ts';
