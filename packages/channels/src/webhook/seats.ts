// Few seats for many strangers: who has to go when one more comes. A peer that takes many cannot keep out one that takes
// few, and one that takes its time cannot keep out anyone.

/** What becomes of one that comes: a seat, perhaps that of another which has to go, or none. */
export type Admission<T> = { type: 'seated'; evicted: T | undefined } | { type: 'full' };

/** How many seats there are, and when a guest is slow. */
export interface SeatsOptions {
  max: number;
  /** One that sits for longer than this, in milliseconds, gives way to any other when there is no seat left. */
  slowMs: number;
}

interface Seat {
  peer: string;
  since: number;
  /** For how many reasons it may stay. */
  holds: number;
}

/** The guests of a server, each from a peer. */
export class Seats<T> {
  readonly #options: SeatsOptions;
  /** Oldest first. */
  readonly #taken = new Map<T, Seat>();

  constructor(options: SeatsOptions) {
    this.#options = options;
  }

  /**
   * Seats a guest. When all seats are taken, one is evicted: the oldest of the peer that has the most, where that is more than
   * the newcomer's peer would have with it; else the oldest of all, where it is slow. Who is held stays.
   */
  admit(guest: T, peer: string, now: number): Admission<T> {
    let evicted: T | undefined;
    if (this.#taken.size >= this.#options.max) {
      evicted = this.#oldestOfGreediest(peer) ?? this.#slowest(now);
      if (evicted === undefined) return { type: 'full' };
      this.#taken.delete(evicted);
    }
    this.#taken.set(guest, { peer, since: now, holds: 0 });
    return { type: 'seated', evicted };
  }

  /** Takes the seat back, if the guest still has it. */
  leave(guest: T): void {
    this.#taken.delete(guest);
  }

  /** Lets a guest stay until this is disposed of: it has shown whose it is. */
  hold(guest: T): Disposable {
    const seat = this.#taken.get(guest);
    if (seat !== undefined) seat.holds += 1;
    return {
      [Symbol.dispose]: () => {
        if (seat !== undefined) seat.holds -= 1;
      },
    };
  }

  #oldestOfGreediest(newcomer: string): T | undefined {
    const counts = new Map<string, { count: number; oldest: T | undefined }>();
    for (const [guest, { peer, holds }] of this.#taken) {
      const of = counts.get(peer) ?? { count: 0, oldest: undefined };
      counts.set(peer, { count: of.count + 1, oldest: of.oldest ?? (holds === 0 ? guest : undefined) });
    }
    const least = (counts.get(newcomer)?.count ?? 0) + 1;
    const greedy = [...counts.values()].filter(({ count, oldest }) => count > least && oldest !== undefined);
    return greedy.toSorted((a, b) => b.count - a.count)[0]?.oldest;
  }

  #slowest(now: number): T | undefined {
    const [oldest] = [...this.#taken].find(([, { holds }]) => holds === 0) ?? [];
    const since = oldest === undefined ? undefined : this.#taken.get(oldest)?.since;
    return since !== undefined && now - since >= this.#options.slowMs ? oldest : undefined;
  }
}

/** Who shares seats: an address, and of IPv6 its network, of which one machine has every address. */
export function peerOf(address: string): string {
  const v4 = /^(?:::ffff:)?(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (v4 !== undefined) return v4;
  const [head = '', tail] = address.split('::');
  const groups = head === '' ? [] : head.split(':');
  const missing = tail === undefined ? 0 : 8 - groups.length - (tail === '' ? 0 : tail.split(':').length);
  const whole = [...groups, ...Array.from({ length: missing }, () => '0'), ...(tail ? tail.split(':') : [])];
  return whole.slice(0, 4).join(':');
}
