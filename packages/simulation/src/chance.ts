/**
 * Seeded chance. A draw is made from the seed and a name, never from a stream that all share: what is taken out of a
 * history then leaves every other draw as it was, which is what lets a failing history be shortened.
 */

/** Draws for one seed. Two draws under one name are different; the n-th draw under a name is always the same. */
export class Chance {
  readonly #seed: number;
  readonly #draws = new Map<string, number>();

  constructor(seed: number) {
    this.#seed = seed;
  }

  /** From 0 up to 1. */
  share(name: string): number {
    const count = (this.#draws.get(name) ?? 0) + 1;
    this.#draws.set(name, count);
    return hashed(`${this.#seed}/${name}/${count}`) / 2 ** 32;
  }

  /** A whole number from `least` to `most`. */
  whole(name: string, least: number, most: number): number {
    return least + Math.floor(this.share(name) * (most - least + 1));
  }

  /** True in the given share of draws. */
  happens(name: string, share: number): boolean {
    return this.share(name) < share;
  }

  /** One of the list, which is not empty. */
  pick<T>(name: string, list: readonly [T, ...T[]]): T {
    return list[Math.floor(this.share(name) * list.length)] ?? list[0];
  }

  /** A length of time in milliseconds, small ones as likely as big ones: even on a scale of powers. */
  wait(name: string, leastMs: number, mostMs: number): number {
    return Math.round(leastMs * (mostMs / leastMs) ** this.share(name));
  }
}

/** 32 bits of a text (MurmurHash3's mixing), evenly enough for chance. */
function hashed(text: string): number {
  let hash = 0x9747b28c;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x5bd1e995);
    hash ^= hash >>> 13;
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
