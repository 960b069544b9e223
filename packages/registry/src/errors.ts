/**
 * What can go wrong with the registry, split by what the caller should do about it.
 *
 * The message is for a person: what happened, what was kept, what to do. The code is for a program: a command line
 * turns it into an exit code, a host decides whether to start.
 */
export class RegistryError extends Error {
  override readonly name = 'RegistryError';
  /** What the caller should do about it; for programs. */
  readonly code: RegistryErrorCode;

  constructor(code: RegistryErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * - `invalid`: a value breaks a rule; correct it.
 * - `conflict`: it exists already; use that one or choose another name.
 * - `missing`: something it refers to does not exist (any more).
 * - `in-use`: others refer to it; remove them first.
 * - `unavailable`: the file cannot be opened; mend the folder or end the other process.
 * - `newer-schema`: a newer program has written it; start that one.
 */
export type RegistryErrorCode = 'invalid' | 'conflict' | 'missing' | 'in-use' | 'unavailable' | 'newer-schema';
