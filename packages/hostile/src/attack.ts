/** What an attack is: something that a process in a container does with what it can write. */
import type { InboundFolder, OpenSqlite, OutboundFolder } from '@nanoclaw/session-db';

/** What the attacker has, and what it wants. */
export interface Place {
  /** The host's side of its session, which it should only read. */
  readonly inbound: InboundFolder;
  /** Its own side. */
  readonly outbound: OutboundFolder;
  /** The folder of its agent. */
  readonly agent: string;
  /** Of another session: that one's `outbound.db`. It holds the secret. */
  readonly victim: string;
  /** A file of the host that holds the secret. */
  readonly hostFile: string;
  /** When a live attack is to end, epoch milliseconds. */
  readonly until: number;
}

/** One attack. */
export interface Attack {
  /** What the attacker does, in a few words; unique. */
  readonly name: string;
  /** Which kind of attack it is: attacks of one kind are tried against one host, one after another. */
  readonly kind: string;
  /** Done once, in a process of the container's. A live attack goes on until `place.until`. */
  readonly act: (place: Place, openSqlite: OpenSqlite) => void | Promise<void>;
  /** How long it goes on at least, in milliseconds, where a shorter one is no different from what an honest agent may do. */
  readonly lastsMs?: number;
  /**
   * What the host must have said of it in the end, in the state of the session, its timeline, the counters or the log.
   * Without one there is nothing to say: it is no different from what an honest agent may do.
   */
  readonly named?: RegExp;
}

/** A live attack's loop: does it again and again, as fast as it can. */
export function again(place: Place, act: (n: number) => void): void {
  for (let n = 0; Date.now() < place.until; n += 1) act(n);
}
