/** Failures that a person can do something about, the exit codes of `nanoclaw`, and the text of any error. */
import { SqliteError, VersionError } from '@nanoclaw/session-db';

/**
 * A failure that a person can do something about: its message says what happened, what was kept and what to do. The app
 * prints it without a stack and ends with its exit code.
 */
export class Problem extends Error {
  override readonly name = 'Problem';
  /** What the process ends with. */
  readonly exitCode: ExitCode;

  constructor(message: string, exitCode: ExitCode, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/** What the exit codes of `nanoclaw` mean. 0 is success. */
export type ExitCode =
  /** Something failed that has no code of its own. */
  | 1
  /** The command line or the configuration is wrong (as in `sysexits` and most shells). */
  | 2
  /** Another host has the data folder. */
  | 3
  /** The data folder cannot be used. */
  | 4
  /** The agent could not be started or gave no answer in time. The message is kept. */
  | 5
  /** What was named does not exist. */
  | 6
  /** It exists already, or something else still needs it. */
  | 7
  /** The caller may not do that. */
  | 8
  /** The host does not run, and only a running one can do that. */
  | 9;

/** What each exit code means, in a few words, for `--help`. */
export const EXIT_CODES: Readonly<Record<0 | ExitCode, string>> = {
  0: 'done',
  1: 'failed',
  2: 'wrong command line or configuration',
  3: 'another host has the data folder',
  4: 'the data folder cannot be used',
  5: 'the agent could not be started or did not answer',
  6: 'not found',
  7: 'already exists, or is still in use',
  8: 'not allowed',
  9: 'the host is not running',
};

/** What is said when `what`, a part of the data folder or the folder itself, cannot be written because of `error`. */
export function cannotBeWritten(what: string, error: unknown): Problem {
  return new Problem(
    `${what} cannot be written (${messageOf(error)}); nothing was changed. ` +
      'Make it writable, or choose another data folder.',
    4,
    { cause: error },
  );
}

/** The error code of a failed system call, such as `EACCES`; `undefined` for any other error. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** Whether an error concerns the files of one session: it is that session's trouble, and the others go on. */
export function isSessionTrouble(error: unknown): boolean {
  return error instanceof SqliteError || error instanceof VersionError || systemCode(error) !== undefined;
}

/** The message of an error; of any other thrown value its text. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
