/**
 * When to visit which session: at its next due time, when something pokes it, and when its change token is found changed,
 * at the floor interval at the latest. Between visits an idle session costs nothing, at the floor no more than that look.
 *
 * One visit per session at a time, a bounded number at once, first come first served; a session's trouble is its own.
 * What a visit does is its caller's: upkeep, delivery. Clocks and timers are arguments; making a loop starts nothing.
 */
import { type ClockState, nextClockState } from './clock-state.ts';
import { type Due, DueHeap } from './due-heap.ts';
import { backoffMs } from './lifecycle.ts';
import type { Millis, SetTimer } from './time.ts';

/** What the loop tells a visit. `News` is what a poke may bring along. */
export interface Visit<News = undefined> {
  /** The wall clock at the visit's beginning. */
  readonly now: Millis;
  /** Since when, by the wall clock, the clock has run evenly. */
  readonly steadySince: Millis;
  /** It was added, poked or failed before: something may be new, whatever its change token says. */
  readonly isAsked: boolean;
  /** What the last poke brought. */
  readonly news: News | undefined;
  /** Aborted when the loop stops: nothing new is to be begun. */
  readonly stopping: AbortSignal;
  /** Aborted when the deadline of the stop has passed: nothing is to be waited for any longer. */
  readonly abandoned: AbortSignal;
}

/** What a visit tells the loop. */
export type VisitResult =
  | {
      readonly type: 'visited';
      /** When there is next something to do; a time in the past: at once, in its turn. `undefined`: only news can tell. */
      readonly nextAt: Millis | undefined;
      /** The session's files were not read to their end: the look at the floor is a visit, whatever its token. */
      readonly isPartial?: boolean;
    }
  /** In trouble that the visit itself has reported: waits as after a failure. */
  | { readonly type: 'put-off' };

/** What the world gives the loop. */
export interface SessionLoopPorts<News = undefined> {
  /** Visits one session. Rejecting counts against this session alone. */
  visit(key: string, visit: Visit<News>): Promise<VisitResult>;
  /**
   * What changes whenever the session's files do, such as `changeToken`. While it stays the same and nothing is due, the
   * floor's look is all. `undefined`, or a throw: the session is visited.
   */
  token(key: string): string | undefined;
  /** The wall clock: epoch milliseconds. */
  now(): Millis;
  /** A clock that is never set, in milliseconds from anywhere. */
  monotonic(): number;
  /** The host's timers. */
  readonly setTimer: SetTimer;
  /** A visit failed or hangs, or the first after failures went well. Must not throw. */
  onTrouble(trouble: VisitTrouble): void;
}

/** What became of a session's visits. */
export type VisitTrouble =
  | {
      readonly type: 'failed';
      /** The session. */
      readonly key: string;
      /** What the visit rejected with. */
      readonly error: unknown;
      /** How often in a row. */
      readonly failures: number;
      /** When it is visited next. */
      readonly retryAt: Millis;
    }
  /** It has taken longer than a visit may: its place is given to others, and it is not visited again before it ends. */
  | {
      readonly type: 'hangs';
      /** The session. */
      readonly key: string;
      /** How long the visit has taken, in milliseconds. */
      readonly sinceMs: number;
    }
  | {
      readonly type: 'over';
      /** The session. */
      readonly key: string;
    };

/** The loop's figures: whole numbers from 1; times in milliseconds. */
export interface SessionLoopOptions {
  /** Every session is looked at least so often: what a missed bell costs at most. Not below `tickMs`. */
  readonly floorMs: number;
  /** Visits at once. */
  readonly concurrency: number;
  /** Sessions visited, and sessions looked at, in one go before others get the event loop. */
  readonly sliceMax: number;
  /** The clocks are compared at least so often. */
  readonly tickMs: number;
  /** The first wait after a failure; each further one doubles it up to `backoffMaxMs`. */
  readonly backoffBaseMs: number;
  /** The longest wait after a failure. */
  readonly backoffMaxMs: number;
  /** A visit longer than this hangs. */
  readonly visitMaxMs: number;
  /** A difference of the clocks above this is a jump. */
  readonly jumpMs: number;
  /**
   * After a visit that found the token changed there is one more so much later: on a kernel with coarse file times two
   * commits may look like one. Without it there is none.
   */
  readonly recheckMs?: number;
  /** Whether a poke ends a wait after failures: not where it may come from a container, which can ring without end. */
  readonly pokeEndsWait: boolean;
}

/** A floor of 60 s; 8 visits at once; failures wait 1 s, 2 s, 4 s, … 5 min; a visit hangs after 60 s. */
export const SESSION_LOOP: SessionLoopOptions = {
  floorMs: 60_000,
  concurrency: 8,
  sliceMax: 100,
  tickMs: 10_000,
  backoffBaseMs: 1_000,
  backoffMaxMs: 300_000,
  visitMaxMs: 60_000,
  jumpMs: 5_000,
  pokeEndsWait: true,
};

/** Into how many looks the floor is spread: sessions of one look share a timer. */
const FLOOR_SLICES = 20;
/** No more often than this is looked around: with nothing to do a host is to be idle, in milliseconds. */
const SLICE_MS_MIN = 1_000;

/** How long visits that were abandoned may take to write that down, in milliseconds. */
const ABANDON_GRACE_MS = 1_000;

interface Session<News> {
  readonly key: string;
  /** Its place among those to visit; not in it while it is visited or when nothing is known to be due. */
  readonly due: Entry;
  /** Its place among those to look at; not in it while it is visited. */
  readonly floor: Entry;
  /** As of the last visit; `undefined`: the next look is a visit. */
  token: string | undefined;
  state: 'resting' | 'visiting' | 'visiting-again';
  isRemoved: boolean;
  isAsked: boolean;
  news: News | undefined;
  /** When it is visited once more because its token had changed. */
  recheckAt: Millis;
  /** In a row. */
  failures: number;
  /** Its trouble was told by the loop, and the end of it will be. */
  isReported: boolean;
  /** When its visit began, by the monotonic clock. */
  visitingSince: number;
  hangs: boolean;
  /** Called when it has nothing more to do at once. */
  readonly waiting: (() => void)[];
}

class Entry implements Due {
  at = 0;
  turn = 0;
  place = -1;
  readonly key: string;

  constructor(key: string) {
    this.key = key;
  }
}

/** Visits sessions when there is something to do for them. It is started once and stopped once. */
export class SessionLoop<News = undefined> {
  readonly #ports: SessionLoopPorts<News>;
  readonly #options: SessionLoopOptions;
  readonly #sessions = new Map<string, Session<News>>();
  /** Two, so that what is due does not queue behind ten thousand looks. */
  readonly #due = new DueHeap<Entry>();
  readonly #floor = new DueHeap<Entry>();
  /** By key: one that was removed and added again may still have its old visit. */
  readonly #visiting = new Map<string, Session<News>>();
  /** Those with news that no visit has taken yet. */
  readonly #withNews = new Set<Session<News>>();
  readonly #stopping = new AbortController();
  readonly #abandoned = new AbortController();
  #clock: ClockState | undefined;
  #cancelTimer: (() => void) | undefined;
  #isRunning = false;
  #isTurnQueued = false;
  /** Visits that may still begin before the next timer. */
  #visitsLeft: number;
  #whenQuiet: (() => void)[] = [];

  /** Throws `RangeError` on a figure out of its range. */
  constructor(ports: SessionLoopPorts<News>, options: SessionLoopOptions = SESSION_LOOP) {
    checkOptions(options);
    this.#ports = ports;
    this.#options = options;
    this.#visitsLeft = options.sliceMax;
  }

  /** Adds a session, to be visited at once, or only when something pokes it. Adding it again does nothing. */
  add(key: string, first: 'at-once' | 'when-poked' = 'at-once'): void {
    if (this.#sessions.has(key)) return;
    const session: Session<News> = {
      key,
      due: new Entry(key),
      floor: new Entry(key),
      token: undefined,
      state: 'resting',
      isRemoved: false,
      isAsked: true,
      news: undefined,
      recheckAt: Number.POSITIVE_INFINITY,
      failures: 0,
      isReported: false,
      visitingSince: 0,
      hangs: false,
      waiting: [],
    };
    this.#sessions.set(key, session);
    if (first === 'at-once') this.#visitSoon(session);
    else this.#floor.set(session.floor, this.#floorAt(this.#ports.now()));
  }

  /** Forgets a session. Resolves when no visit to it is under way any more. */
  async remove(key: string): Promise<void> {
    const session = this.#sessions.get(key);
    if (session === undefined) return;
    session.isRemoved = true;
    this.#sessions.delete(key);
    this.#due.delete(session.due);
    this.#floor.delete(session.floor);
    this.#withNews.delete(session);
    const visiting = this.#visiting.get(key);
    if (visiting !== session) release(session);
    if (visiting !== undefined) await new Promise<void>((resolve) => visiting.waiting.push(resolve));
  }

  /**
   * Something has happened to a session (its bell, a message for it, the end of its run): it is visited in its turn, or
   * once more after the visit that is under way. `news` goes to that visit; it is dropped when the visit has to wait for
   * its turn, so that nothing piles up. Unknown keys are ignored.
   */
  poke(key: string, news?: News): void {
    const session = this.#sessions.get(key);
    if (session === undefined) return;
    const isVisited = session.state !== 'resting';
    if (!isVisited && this.#mustWait(session)) return;
    if (news !== undefined) {
      session.news = news;
      this.#withNews.add(session);
    }
    if (isVisited) session.state = 'visiting-again';
    else this.#visitSoon(session);
  }

  /**
   * Visits a session until nothing more is due at once, also when it waits after failures. Resolves then: all is done, or
   * waits for its time, or the session is in trouble, or the loop stops.
   */
  async drain(key: string): Promise<void> {
    const session = this.#sessions.get(key);
    if (session === undefined || !this.#isRunning) return;
    const drained = new Promise<void>((resolve) => session.waiting.push(resolve));
    if (session.state === 'resting') this.#visitSoon(session);
    else session.state = 'visiting-again';
    await drained;
  }

  /** Begins to visit. */
  start(): void {
    if (this.#stopping.signal.aborted) return;
    this.#isRunning = true;
    this.#queueTurn();
  }

  /**
   * Visits nothing more and waits for the visits under way, at most `deadlineMs` (without it as long as they take); those
   * that are left then are abandoned. Those that hang are not waited for. Resolves with the sessions whose visits have
   * not ended even so.
   */
  async stop(deadlineMs: Millis = Number.POSITIVE_INFINITY): Promise<readonly string[]> {
    this.#isRunning = false;
    this.#stopping.abort();
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    for (const session of this.#sessions.values()) if (session.state === 'resting') release(session);
    await this.#quietWithin(deadlineMs);
    this.#abandoned.abort();
    await this.#quietWithin(ABANDON_GRACE_MS);
    return [...this.#visiting.keys()];
  }

  /** In a task of its own, so that pokes of one moment are one visit. */
  #queueTurn(): void {
    if (!this.#isRunning || this.#isTurnQueued) return;
    this.#isTurnQueued = true;
    queueMicrotask(() => {
      this.#isTurnQueued = false;
      if (this.#isRunning) this.#turn();
    });
  }

  #turn(): void {
    const reading = { wall: this.#ports.now(), monotonic: this.#ports.monotonic() };
    const before = this.#clock;
    const { jumpMs, tickMs } = this.#options;
    this.#clock = nextClockState(before, reading, { jumpMs, gapMs: 3 * tickMs });
    // After a jump the times in the heaps mean nothing: everything is visited anew.
    if (before !== undefined && before.steadySince !== this.#clock.steadySince) this.#visitAll(reading.wall);
    this.#giveUpHanging(reading.monotonic);
    this.#visitDue(reading.wall, this.#clock.steadySince);
    this.#lookAround(reading.wall);
    this.#dropNews();
    this.#arm();
  }

  /** Begins the visits that are due and have a place. */
  #visitDue(now: Millis, steadySince: Millis): void {
    while (this.#visitsLeft > 0) {
      const first = this.#due.first();
      if (first === undefined || first.at > now || this.#busy() >= this.#options.concurrency) return;
      this.#due.delete(first);
      const session = this.#sessions.get(first.key);
      // The one that had this key before is still visited: the end of that visit brings it back.
      if (session === undefined || this.#visiting.has(first.key)) continue;
      this.#visitsLeft--;
      void this.#visit(session, now, steadySince);
    }
  }

  /** Looks at sessions whose floor has come, and lets those be visited that are not as they were left. */
  #lookAround(now: Millis): void {
    for (let left = this.#options.sliceMax; left > 0; left--) {
      const first = this.#floor.first();
      if (first === undefined || first.at > now) return;
      this.#floor.set(first, this.#floorAt(now));
      const session = this.#sessions.get(first.key);
      if (session !== undefined && !this.#isDue(session, now) && !this.#rests(session)) this.#due.set(session.due, now);
    }
  }

  #isDue({ due }: Session<News>, now: Millis): boolean {
    return due.place >= 0 && due.at <= now;
  }

  #rests(session: Session<News>): boolean {
    // One that has failed waits for its time, whatever its files say.
    if (session.failures > 0) return true;
    return session.token !== undefined && this.#token(session) === session.token;
  }

  async #visit(session: Session<News>, now: Millis, steadySince: Millis): Promise<void> {
    this.#floor.delete(session.floor);
    this.#visiting.set(session.key, session);
    session.state = 'visiting';
    session.hangs = false;
    session.visitingSince = this.#ports.monotonic();
    const { news } = session;
    const isAsked = session.isAsked || session.recheckAt <= now;
    session.isAsked = false;
    session.news = undefined;
    this.#withNews.delete(session);
    if (isAsked) session.recheckAt = Number.POSITIVE_INFINITY;
    const tokenBefore = session.token;
    // Taken before the visit: what changes during it is then seen at the next look.
    session.token = this.#token(session);
    const [stopping, abandoned] = [this.#stopping.signal, this.#abandoned.signal];
    let nextAt: Millis | undefined;
    try {
      const told = { now, steadySince, isAsked, news, stopping, abandoned };
      const result = await this.#ports.visit(session.key, told);
      nextAt =
        result.type === 'put-off' ? this.#waitAfterFailure(session) : this.#visited(session, result, tokenBefore);
    } catch (error) {
      nextAt = this.#waitAfterFailure(session);
      session.isReported = true;
      const { key, failures } = session;
      this.#ports.onTrouble({ type: 'failed', key, error, failures, retryAt: nextAt });
    } finally {
      this.#ended(session, nextAt);
    }
  }

  #visited(
    session: Session<News>,
    { nextAt, isPartial = false }: Extract<VisitResult, { type: 'visited' }>,
    tokenBefore: string | undefined,
  ): Millis | undefined {
    if (session.isReported) this.#ports.onTrouble({ type: 'over', key: session.key });
    session.isReported = false;
    session.failures = 0;
    if (isPartial) session.token = undefined;
    const { recheckMs } = this.#options;
    if (recheckMs !== undefined && session.token !== tokenBefore) session.recheckAt = this.#ports.now() + recheckMs;
    const at = Math.min(nextAt ?? Number.POSITIVE_INFINITY, session.recheckAt);
    return Number.isFinite(at) ? at : undefined;
  }

  #waitAfterFailure(session: Session<News>): Millis {
    session.failures++;
    session.isAsked = true;
    session.token = undefined;
    const { backoffBaseMs, backoffMaxMs } = this.#options;
    const waitMs = backoffMs(session.failures, { backoffBaseMs, backoffMaxMs, triesMax: session.failures });
    return this.#ports.now() + waitMs;
  }

  #ended(session: Session<News>, nextAt: Millis | undefined): void {
    this.#visiting.delete(session.key);
    const isPoked = session.state === 'visiting-again' && !this.#mustWait(session);
    session.state = 'resting';
    if (session.isRemoved) {
      release(session);
      const heir = this.#sessions.get(session.key);
      if (heir?.state === 'resting') this.#visitSoon(heir);
    } else this.#rest(session, isPoked, nextAt);
    if (this.#busy() === 0) this.#quiet();
    this.#queueTurn();
  }

  #rest(session: Session<News>, isPoked: boolean, nextAt: Millis | undefined): void {
    const now = this.#ports.now();
    this.#floor.set(session.floor, this.#floorAt(now));
    if (isPoked) session.isAsked = true;
    const at = isPoked ? now : nextAt;
    if (at !== undefined) this.#due.set(session.due, Math.max(at, now));
    if (at === undefined || at > now || !this.#isRunning) release(session);
  }

  #visitSoon(session: Session<News>): void {
    const now = this.#ports.now();
    session.isAsked = true;
    // One that waits for its turn keeps it.
    if (!this.#isDue(session, now)) this.#due.set(session.due, now);
    this.#queueTurn();
  }

  #mustWait(session: Session<News>): boolean {
    return session.failures > 0 && !this.#options.pokeEndsWait;
  }

  /** News is for a visit that begins at once, or follows the one under way. */
  #dropNews(): void {
    for (const session of this.#withNews) {
      if (session.state !== 'resting') continue;
      session.news = undefined;
      this.#withNews.delete(session);
    }
  }

  #token(session: Session<News>): string | undefined {
    try {
      return this.#ports.token(session.key);
    } catch {
      // The visit meets the same trouble, and there it is counted and waits.
      return undefined;
    }
  }

  /** Rounded down, so that sessions visited one after the other are looked at together. */
  #floorAt(now: Millis): Millis {
    const { floorMs } = this.#options;
    const sliceMs = Math.max(Math.floor(floorMs / FLOOR_SLICES), Math.min(Math.floor(floorMs / 5), SLICE_MS_MIN), 1);
    return Math.floor((now + floorMs) / sliceMs) * sliceMs;
  }

  #giveUpHanging(monotonic: number): void {
    for (const session of this.#visiting.values()) {
      const sinceMs = monotonic - session.visitingSince;
      if (session.hangs || sinceMs <= this.#options.visitMaxMs) continue;
      session.hangs = true;
      this.#ports.onTrouble({ type: 'hangs', key: session.key, sinceMs });
    }
    if (this.#busy() === 0) this.#quiet();
  }

  #visitAll(now: Millis): void {
    for (const session of this.#sessions.values()) {
      session.isAsked = true;
      session.token = undefined;
      if (session.state === 'resting') this.#due.set(session.due, now);
    }
  }

  #busy(): number {
    let busy = 0;
    for (const session of this.#visiting.values()) if (!session.hangs) busy++;
    return busy;
  }

  /** Resolves when no visit is under way but those that hang, or after `deadlineMs`. */
  async #quietWithin(deadlineMs: Millis): Promise<void> {
    if (this.#busy() === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#whenQuiet.push(resolve);
    const cancel = Number.isFinite(deadlineMs) ? this.#ports.setTimer(deadlineMs, resolve) : undefined;
    await promise;
    cancel?.();
  }

  #quiet(): void {
    for (const resolve of this.#whenQuiet.splice(0)) resolve();
  }

  #arm(): void {
    this.#cancelTimer?.();
    const { tickMs, concurrency, sliceMax } = this.#options;
    // With every place taken, the next visit begins when one ends.
    const due = this.#busy() >= concurrency ? undefined : this.#due.first();
    const nextAt = Math.min(due?.at ?? Number.POSITIVE_INFINITY, this.#floor.first()?.at ?? Number.POSITIVE_INFINITY);
    const waitMs = Math.min(Math.max(nextAt - this.#ports.now(), 0), tickMs);
    this.#cancelTimer = this.#ports.setTimer(waitMs, () => {
      this.#visitsLeft = sliceMax;
      this.#turn();
    });
  }
}

function release<News>(session: Session<News>): void {
  for (const resolve of session.waiting.splice(0)) resolve();
}

function checkOptions(options: SessionLoopOptions): void {
  for (const [name, value] of Object.entries(options)) {
    if (typeof value === 'boolean' || (Number.isSafeInteger(value) && value >= 1)) continue;
    throw new RangeError(`The loop's ${name} is ${value}, and must be a whole number from 1.`);
  }
  const { backoffBaseMs, backoffMaxMs, tickMs, floorMs } = options;
  if (backoffBaseMs > backoffMaxMs)
    throw new RangeError("The loop's backoffBaseMs must not be above its backoffMaxMs.");
  if (tickMs > floorMs) throw new RangeError("The loop's tickMs must not be above its floorMs.");
}
