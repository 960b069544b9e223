/**
 * The next due first: a binary heap whose entries know their place, so that one of ten thousand moves in a dozen steps.
 */

/** Something that is due at a time. The heap keeps `place`, -1 when it is not in one, and `turn`: first come, first served. */
export interface Due {
  at: number;
  turn: number;
  place: number;
}

/** Entries by the time they are due; those of one time in the order in which they were put in. */

export class DueHeap<T extends Due> {
  readonly #entries: T[] = [];
  #turns = 0;

  /** The entry that is due first; `undefined` when there is none. */
  first(): T | undefined {
    return this.#entries[0];
  }

  /** Puts an entry in, or moves it, to be due at `at`. */
  set(entry: T, at: number): void {
    entry.at = at;
    entry.turn = ++this.#turns;
    if (entry.place < 0) {
      entry.place = this.#entries.length;
      this.#entries.push(entry);
    }
    this.#up(entry);
    this.#down(entry);
  }

  /** Takes an entry out; does nothing when it is not in. */
  delete(entry: T): void {
    if (entry.place < 0) return;
    const last = this.#entries.pop();
    if (last !== undefined && last !== entry) {
      this.#put(last, entry.place);
      this.#up(last);
      this.#down(last);
    }
    entry.place = -1;
  }

  #up(entry: T): void {
    while (entry.place > 0) {
      const parent = this.#entries[(entry.place - 1) >> 1];
      if (parent === undefined || isBefore(parent, entry)) return;
      this.#swap(parent, entry);
    }
  }

  #down(entry: T): void {
    for (;;) {
      const left = this.#entries[2 * entry.place + 1];
      const right = this.#entries[2 * entry.place + 2];
      const child = right !== undefined && left !== undefined && isBefore(right, left) ? right : left;
      if (child === undefined || isBefore(entry, child)) return;
      this.#swap(entry, child);
    }
  }

  #swap(above: T, below: T): void {
    const place = above.place;
    this.#put(above, below.place);
    this.#put(below, place);
  }

  #put(entry: T, place: number): void {
    entry.place = place;
    this.#entries[place] = entry;
  }
}

function isBefore(a: Due, b: Due): boolean {
  return a.at < b.at || (a.at === b.at && a.turn < b.turn);
}
