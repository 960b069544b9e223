/** The exit codes by which the host learns why an agent's program has ended; `container/README.md` has the same table. */
export const EXIT_CODES = {
  /** Idle, or asked to stop: every claim is acknowledged. */
  done: 0,
  /** An error that was not expected: its trace is in the log. */
  bug: 1,
  /** Wrong arguments. */
  usage: 2,
  /** `container.json`, a skill or the provider's module is missing or wrong. */
  configuration: 3,
  /** The configuration or a session file is of another version of the protocol. */
  version: 4,
  /** The session's files cannot be opened or written. */
  session: 5,
  /** Another run is live, or none: nothing more was written. */
  fenced: 6,
  /** The provider did not end its turn when told to. */
  abortTimeout: 7,
} as const;
