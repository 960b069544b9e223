/**
 * Passes over many sessions, by the loop of `session-db`: when a bell rings, when something comes due, and when a change
 * is found that no bell announced. A session with much to do goes to the end of the queue after each pass.
 */
import {
  changeToken,
  SESSION_LOOP,
  SessionLoop,
  type Visit,
  type VisitResult,
  type VisitTrouble,
} from '@nanoclaw/session-db';
import {
  type DeliveryPorts,
  type DeliveryReport,
  type DeliverySession,
  deliverSession,
  type PassRead,
  type PassState,
} from './deliver.ts';

/** What a `DeliveryLoop` asks of its host. */
export interface DeliveryLoopPorts extends DeliveryPorts {
  /** A clock that is never set, in milliseconds from anywhere: it tells when the other one was. */
  monotonic(): number;
}

/** How a `DeliveryLoop` works and what it tells; everything has a default. */
export interface DeliveryLoopOptions {
  /** How many passes may run at once: 32. */
  readonly concurrency?: number;
  /** How long it takes to look at every session once, in milliseconds: 5 000. What a missed bell costs at most. */
  readonly floorMs?: number;
  /**
   * Who finds that a runner has written something. `files`: the loop itself. `pokes`: a caller who reads the file for
   * purposes of its own anyway and pokes with each read; the loop then reads only for what it tries again.
   */
  readonly newsFrom?: 'files' | 'pokes';
  /** What a pass did, for the host to log and count. Not called for a pass that found nothing to do. */
  readonly onReport?: (session: string, report: DeliveryReport) => void;
  /** A pass that rejected, and the first that went well after it. The session is visited again by itself. */
  readonly onTrouble?: (trouble: VisitTrouble) => void;
}

const CONCURRENCY = 32;
const FLOOR_MS = 5_000;

/** On a kernel with coarse file times two commits may look like one: so much later there is a pass that reads. */
const RECHECK_MS = 20;

/** Where others look after the files the loop's own look is for what they miss for good. */
const FLOOR_BESIDE_OTHERS_MS = 3_600_000;

interface Delivered {
  readonly session: DeliverySession;
  last: PassState | undefined;
}

/** Delivers what the agents of many sessions have said. It is started once and stopped once. */
export class DeliveryLoop {
  readonly #ports: DeliveryLoopPorts;
  readonly #options: DeliveryLoopOptions;
  readonly #sessions = new Map<string, Delivered>();
  readonly #loop: SessionLoop<PassRead>;

  /** Nothing happens before `start`. Throws `RangeError` on a figure out of its range. */
  constructor(ports: DeliveryLoopPorts, options: DeliveryLoopOptions = {}) {
    this.#ports = ports;
    this.#options = options;
    const byPokes = options.newsFrom === 'pokes';
    const floorMs = options.floorMs ?? (byPokes ? FLOOR_BESIDE_OTHERS_MS : FLOOR_MS);
    this.#loop = new SessionLoop<PassRead>(
      {
        visit: (key, visit) => this.#pass(key, visit),
        token: (key) => {
          const known = this.#sessions.get(key);
          return known && changeToken(known.session.folder.outbound);
        },
        now: () => ports.now(),
        monotonic: () => ports.monotonic(),
        setTimer: ports.setTimer,
        onTrouble: (trouble) => options.onTrouble?.(trouble),
      },
      {
        ...SESSION_LOOP,
        concurrency: options.concurrency ?? CONCURRENCY,
        floorMs,
        tickMs: Math.min(SESSION_LOOP.tickMs, floorMs),
        // Each send has its own limit.
        visitMaxMs: Number.MAX_SAFE_INTEGER,
        pokeEndsWait: false,
        ...(byPokes ? {} : { recheckMs: RECHECK_MS }),
      },
    );
  }

  /** Begins to deliver, with one pass over each session at first. */
  start(): void {
    this.#loop.start();
  }

  /** Adds a session. Does nothing for one that is there already. */
  add(session: DeliverySession): void {
    if (this.#sessions.has(session.key)) return;
    this.#sessions.set(session.key, { session, last: undefined });
    this.#loop.add(session.key, this.#options.newsFrom === 'pokes' ? 'when-poked' : 'at-once');
  }

  /** Lets go of a session. Resolves when no pass over it runs any more. */
  async remove(key: string): Promise<void> {
    this.#sessions.delete(key);
    await this.#loop.remove(key);
  }

  /**
   * Something may be new: makes a pass in its turn. For bells, and for when a dead letter is retried. `read` is what the
   * caller has just read of the runner's file (`passRequest`), so that the pass need not read it again.
   */
  poke(key: string, read?: PassRead): void {
    this.#loop.poke(key, read);
  }

  /**
   * Delivers what a session has, for when its container has exited. Resolves when nothing more is due at once: all is
   * delivered, or waits for its time, or the loop stops, or the session is in trouble.
   */
  drain(key: string): Promise<void> {
    return this.#loop.drain(key);
  }

  /**
   * Begins no further attempt and waits for the sends in flight, at most `deadlineMs`; those that are left then are
   * recorded as not known. Returns the sessions of which even that could not be waited for: none, unless the host's own
   * functions hang.
   */
  stop(deadlineMs: number): Promise<readonly string[]> {
    return this.#loop.stop(deadlineMs);
  }

  async #pass(key: string, { isAsked, news, stopping, abandoned }: Visit<PassRead>): Promise<VisitResult> {
    const known = this.#sessions.get(key);
    if (known === undefined) return { type: 'visited', nextAt: undefined };
    const { session, last } = known;
    const options = { last: isAsked ? undefined : last, read: news, stop: stopping, abandon: abandoned };
    const report = await deliverSession(session, this.#ports, options);
    known.last = report.state;
    if (isWorthTelling(report)) this.#options.onReport?.(key, report);
    if (report.finding !== undefined && report.finding.type !== 'busy') return { type: 'put-off' };
    const { token, nextAt } = report.state;
    return { type: 'visited', nextAt, isPartial: token === undefined };
  }
}

function isWorthTelling(report: DeliveryReport): boolean {
  const { finding, refused, accepted, attempts, gaveUp, isHeldBack, troubles } = report;
  const isTrouble = (finding !== undefined && finding.type !== 'busy') || isHeldBack;
  return isTrouble || [refused, accepted, attempts, gaveUp, troubles].some((list) => list.length > 0);
}
