/** What closes the guard in is tried once, while the host starts, and told: in the log, aloud where it does not, and by `status`. */
import { messageOf } from '../errors/index.ts';
import type { HostSetup } from './host-setup.ts';

/** What is known of the guard of a host. */
export class GuardWatch {
  readonly #setup: Pick<HostSetup, 'guard' | 'log'>;
  #sentence: string | null = null;

  constructor(setup: Pick<HostSetup, 'guard' | 'log'>) {
    this.#setup = setup;
  }

  /** What closes the guard in, as a sentence; `null` as long as that is not known. */
  get sentence(): string | null {
    return this.#sentence;
  }

  /** Has it tried, and tells it unless `isOver` by then. Gives the sentence where it does not hold. Never rejects. */
  async begin(isOver: () => boolean): Promise<string | undefined> {
    const { guard, log } = this.#setup;
    try {
      const { isClosed, sentence } = await guard.report();
      this.#sentence = sentence;
      if (isOver()) return undefined;
      if (isClosed) log.logger.info(sentence);
      else log.logger.warn(sentence);
      return isClosed ? undefined : sentence;
    } catch (error) {
      // A host that stops ends its guard.
      if (isOver()) return undefined;
      const sentence = `It could not be tried what closes the guard in: ${messageOf(error)}`;
      this.#sentence = sentence;
      log.logger.warn(sentence);
      return sentence;
    }
  }
}
