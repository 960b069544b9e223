// How a case fails: with a sentence, and never by waiting for ever.

/** What a channel, or the platform under test, did wrong. The message is one sentence. */
export class ContractFailure extends Error {
  override readonly name = 'ContractFailure';
}

/** Fails the case with this sentence. */
export function fail(sentence: string): never {
  throw new ContractFailure(sentence);
}

/** How long each wait of a case may take. */
export class Deadline {
  readonly #ms: number;

  constructor(ms: number) {
    this.#ms = ms;
  }

  /**
   * Settles as the work does, and fails when that takes too long: with what `waitedFor` says then, which is a sentence
   * without its end, `start did not settle`.
   */
  async within<Result>(work: () => Promise<Result>, waitedFor: () => string): Promise<Result> {
    const late = Promise.withResolvers<never>();
    const end = () => late.reject(new ContractFailure(`${waitedFor()} within ${this.#ms} ms.`));
    // tidy: allow sleep — a suite for tests, not code that a host runs; a channel that hangs is ended by the clock.
    const timer = setTimeout(end, this.#ms);
    try {
      return await Promise.race([work(), late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Long enough for an acknowledgement that comes too early to be seen; nothing depends on its length otherwise. */
export function aMoment(): Promise<void> {
  return new Promise((resolve) => {
    // tidy: allow sleep — a suite for tests, not code that a host runs; a case has to give a fault time to show.
    setTimeout(resolve, 30);
  });
}
