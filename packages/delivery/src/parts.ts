/** The parts of a message, asked for one by one, so that a long one does not hold up everything else. */
import type { JsonObject } from '@nanoclaw/session-db';

/** What the parts of a message are asked for in: how much in one go, and how many at most. */
export interface PartsLimits {
  /** In characters of the parts as they are stored; the part in which it ends is made to its end. */
  readonly lengthMax: number;
  readonly partsMax: number;
}

/** The parts of one message, as far as they have been asked for. */
export class Parts {
  readonly #rest: Iterator<JsonObject>;
  readonly #made: JsonObject[] = [];
  #isTooMany = false;

  constructor(parts: Iterable<JsonObject>) {
    this.#rest = parts[Symbol.iterator]();
  }

  /**
   * Asks for more of them. `all`: that was the last; `refused`: they are too many or none, as one sentence for the agent and
   * the operator. Otherwise it is to be called again, once everything else has had its turn. Throws what the host throws.
   */
  make({ lengthMax, partsMax }: PartsLimits): {
    readonly length: number;
    readonly all?: readonly JsonObject[];
    readonly refused?: string;
  } {
    let length = 0;
    while (length < lengthMax && !this.#isTooMany) {
      const next = this.#rest.next();
      if (next.done === true) {
        return this.#made.length === 0 ? { length, refused: NOTHING } : { length, all: this.#made };
      }
      if (this.#made.length === partsMax) {
        this.#isTooMany = true;
        break;
      }
      this.#made.push(next.value);
      length += JSON.stringify(next.value).length;
    }
    const refused = `The text would take more than ${partsMax} messages there; send it as a file.`;
    return this.#isTooMany ? { length, refused } : { length };
  }
}

const NOTHING = 'The message has nothing that can be shown.';
