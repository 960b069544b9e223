/**
 * Token buckets: how often something may happen. A bucket is one number, the time at which it will be full again
 * (the "generic cell rate algorithm"), so that taking a token sets a value and there is nothing to refill.
 *
 * Buckets that take long to fill are kept in a store, so that a host that starts again and again does not send a full
 * burst each time. What is stored runs ahead of what was taken: after a crash the bucket is emptier than it was.
 */
import type { Millis } from '@nanoclaw/session-db';

/** How often something may happen: a bucket of `burst` tokens that gets one back each `everyMs`. */
export interface Rate {
  /** Names the bucket: all rates of one key must be equal. */
  readonly key: string;
  /** How many may happen at once after a quiet time. At least 1. */
  readonly burst: number;
  /** The time in which one more is allowed, in milliseconds. Above 0. */
  readonly everyMs: Millis;
}

/** Where buckets survive the process, by key: the time at which each will be full again. */
export interface RateStore {
  /** `undefined`: nothing is known of it, so it is full. */
  load(key: string): Millis | undefined;
  save(key: string, fullAt: Millis): void;
}

/** Buckets that are full again sooner than this after a restart are not worth a write. */
const STORED_FROM_MS = 10_000;

/** How many takes pass before the buckets that are full again are forgotten. */
const TAKES_PER_CLEARING = 1_000;

interface Bucket {
  readonly fullAt: Millis;
  readonly storedFullAt: Millis;
}

/** Token buckets in memory, by the key of their rate; what takes long to fill again is kept in a store too. */
export class RateLimits {
  readonly #store: RateStore | undefined;
  readonly #buckets = new Map<string, Bucket>();
  #takes = 0;

  /** Without a store all buckets are full at start. */
  constructor(store?: RateStore) {
    this.#store = store;
  }

  /**
   * Takes one token from each bucket, or none from any. Returns 0 when taken, else how many milliseconds it takes
   * until all have one.
   */
  take(rates: readonly Rate[], now: Millis): Millis {
    this.#clear(now);
    const wait = Math.max(0, ...rates.map((rate) => waitMs(rate, this.#bucket(rate, now).fullAt, now)));
    if (wait > 0) return wait;
    for (const rate of rates) this.#set(rate, fullAgainAt(rate, this.#bucket(rate, now).fullAt, now));
    return 0;
  }

  #bucket(rate: Rate, now: Millis): Bucket {
    const known = this.#buckets.get(rate.key);
    if (known !== undefined) return known;
    const stored = isStored(rate) ? this.#store?.load(rate.key) : undefined;
    // Without the bound, a clock that was once ahead would leave the bucket empty for as long.
    const fullAt = Math.min(stored ?? now, now + rate.burst * rate.everyMs);
    const bucket = { fullAt, storedFullAt: stored ?? Number.NEGATIVE_INFINITY };
    this.#buckets.set(rate.key, bucket);
    return bucket;
  }

  #set(rate: Rate, fullAt: Millis): void {
    let storedFullAt = this.#buckets.get(rate.key)?.storedFullAt ?? Number.NEGATIVE_INFINITY;
    if (this.#store !== undefined && isStored(rate) && fullAt > storedFullAt) {
      // A few tokens ahead, so that not every take is a write.
      storedFullAt = fullAt + Math.floor(rate.burst / 4) * rate.everyMs;
      this.#store.save(rate.key, storedFullAt);
    }
    this.#buckets.set(rate.key, { fullAt, storedFullAt });
  }

  #clear(now: Millis): void {
    this.#takes += 1;
    if (this.#takes % TAKES_PER_CLEARING !== 0) return;
    for (const [key, bucket] of this.#buckets) {
      if (bucket.fullAt <= now && bucket.storedFullAt <= now) this.#buckets.delete(key);
    }
  }
}

/** How long until the bucket has a token, in milliseconds; 0 when it has one. Pure. */
function waitMs(rate: Rate, fullAt: Millis, now: Millis): Millis {
  const capacity = rate.burst * rate.everyMs;
  // A clock set back leaves a bucket that is full only in a far future: it is empty, no more.
  const bounded = Math.min(fullAt, now + capacity);
  return Math.max(0, Math.max(bounded, now) + rate.everyMs - capacity - now);
}

function fullAgainAt(rate: Rate, fullAt: Millis, now: Millis): Millis {
  return Math.max(now, Math.min(fullAt, now + rate.burst * rate.everyMs)) + rate.everyMs;
}

function isStored(rate: Rate): boolean {
  return rate.burst * rate.everyMs >= STORED_FROM_MS;
}
