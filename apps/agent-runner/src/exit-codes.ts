/** Why the program left, for the host. `container/README.md` holds the same table, and a test that they agree. */
export const EXIT_CODES = {
  /** Idle, or asked to stop. */
  done: 0,
  /** An error of ours: the trace is in the log. */
  bug: 1,
  usage: 2,
  configuration: 3,
  version: 4,
  /** The session's files cannot be opened or written. */
  session: 5,
  fenced: 6,
  /** The provider did not end its turn when told to. */
  disobeyed: 7,
} as const;
