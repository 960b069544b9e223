/**
 * When to look at which session: at its next due time, when somebody pokes it, and at the latest at the floor interval.
 * Between visits an idle session costs nothing, and at the floor no more than a look at its change token.
 *
 * One visit per session at a time, a bounded number at once; a session's trouble is its own. Clocks and timers are
 * arguments; importing this or making a loop starts nothing.
 */
import { backoffMs, type Millis, type SetTimer } from '@nanoclaw/session-db';
import { type ClockState, clockLook } from './clock.ts';
import { type Due, DueHeap } from './due-heap.ts';

export interface SweepLoopPorts {
  /**
   * Visits one session: as a rule `observe`, `sweepSession`, and what follows from the verdict. Resolves with the time of
   * the next due thing, `undefined` when there is none. Rejecting counts against this session alone.
   */
  visit(key: string, seen: { readonly now: Millis; readonly steadySince: Millis }): Promise<Millis | undefined>;
  /**
   * What changes whenever the session's files do, such as `changeToken`. While it stays the same and nothing is due, the
   * floor visit is this look alone. `undefined`, or a throw: visit it.
   */
  token(key: string): string | undefined;
  readonly clock: { wall(): Millis; monotonic(): number };
  readonly setTimer: SetTimer;
  /** A visit failed or hangs, or the first after that went well. To be recorded on the session. */
  onTrouble(trouble: VisitTrouble): void;
}

export type VisitTrouble =
  | {
      readonly type: 'failed';
      readonly key: string;
      readonly error: unknown;
      /** How often in a row. */
      readonly failures: number;
      readonly retryAt: Millis;
    }
  /** It has taken longer than a visit may: its place is given to others, and it is not visited again before it ends. */
  | { readonly type: 'hangs'; readonly key: string; readonly sinceMs: number }
  | { readonly type: 'over'; readonly key: string };

/** The loop's figures; times in milliseconds. */
export interface SweepLoopFigures {
  /** Every session is looked at least so often. */
  readonly floorMs: number;
  /** Visits at once. */
  readonly concurrency: number;
  /** Sessions looked at in one go before others get the event loop. */
  readonly sliceMax: number;
  /** The clocks are compared at least so often. */
  readonly tickMs: number;
  readonly backoffBaseMs: number;
  readonly backoffMaxMs: number;
  /** A visit longer than this hangs. */
  readonly visitMaxMs: number;
  /** A difference of the clocks above this is a jump. */
  readonly jumpMs: number;
}

/** A floor of 60 s; 8 visits at once; failures wait 1 s, 2 s, 4 s, … 5 min; a visit hangs after 60 s. */
export const SWEEP_LOOP: SweepLoopFigures = {
  floorMs: 60_000,
  concurrency: 8,
  sliceMax: 100,
  tickMs: 10_000,
  backoffBaseMs: 1_000,
  backoffMaxMs: 300_000,
  visitMaxMs: 60_000,
  jumpMs: 5_000,
};

interface Session {
  readonly key: string;
  /** Its place among those to visit; not in it while it is visited or when nothing is known to be due. */
  readonly due: Entry;
  /** Its place among those to look at; not in it while it is visited. */
  readonly floor: Entry;
  /** As of the last visit; `undefined`: the next look is a visit. */
  token: string | undefined;
  failures: number;
  state: 'resting' | 'visiting' | 'visiting-again' | 'removed';
  /** When its visit began, by the monotonic clock. */
  visitingSince: number;
  hangs: boolean;
}

class Entry implements Due {
  at = 0;
  place = -1;
  readonly key: string;

  constructor(key: string) {
    this.key = key;
  }
}

export class SweepLoop {
  readonly #ports: SweepLoopPorts;
  readonly #figures: SweepLoopFigures;
  readonly #sessions = new Map<string, Session>();
  /** Two, so that what is due does not queue behind ten thousand looks. */
  readonly #due = new DueHeap<Entry>();
  readonly #floor = new DueHeap<Entry>();
  readonly #visiting = new Set<Session>();
  #clock: ClockState | undefined;
  #cancelTimer: (() => void) | undefined;
  #running = false;
  #whenQuiet: (() => void)[] = [];

  /** Throws `RangeError` on a figure out of its range. */
  constructor(ports: SweepLoopPorts, figures: SweepLoopFigures = SWEEP_LOOP) {
    checkFigures(figures);
    this.#ports = ports;
    this.#figures = figures;
  }

  /** Adds a session, to be visited at once. Adding it again does nothing. */
  add(key: string): void {
    if (this.#sessions.has(key)) return;
    const session: Session = {
      key,
      due: new Entry(key),
      floor: new Entry(key),
      token: undefined,
      failures: 0,
      state: 'resting',
      visitingSince: 0,
      hangs: false,
    };
    this.#sessions.set(key, session);
    this.#visitSoon(session);
  }

  /** Forgets a session. A visit that is under way ends by itself. */
  remove(key: string): void {
    const session = this.#sessions.get(key);
    if (session === undefined) return;
    this.#sessions.delete(key);
    this.#due.delete(session.due);
    this.#floor.delete(session.floor);
    session.state = 'removed';
  }

  /**
   * Something has happened to a session (its bell, a message for it, the end of its run): it is visited at once, or once
   * more after the visit that is under way. Also ends a wait after failures. Unknown keys are ignored.
   */
  poke(key: string): void {
    const session = this.#sessions.get(key);
    if (session === undefined) return;
    session.token = undefined;
    if (session.state === 'resting') this.#visitSoon(session);
    else session.state = 'visiting-again';
  }

  /** Begins to visit. */
  start(): void {
    this.#running = true;
    this.#arm();
  }

  /** Visits nothing more, and resolves when the visits under way have ended. */
  async stop(): Promise<void> {
    this.#running = false;
    this.#disarm();
    await this.drain();
  }

  /** Resolves when no visit is under way. Those that hang are not waited for. */
  async drain(): Promise<void> {
    if (this.#busy() === 0) return;
    await new Promise<void>((resolve) => this.#whenQuiet.push(resolve));
  }

  #turn(): void {
    const { clock } = this.#ports;
    const reading = { wall: clock.wall(), monotonic: clock.monotonic() };
    const before = this.#clock;
    this.#clock = clockLook(before, reading, { jumpMs: this.#figures.jumpMs, gapMs: 3 * this.#figures.tickMs });
    // After a jump the times in the heap mean nothing: everything is looked at anew.
    if (before !== undefined && before.steadySince !== this.#clock.steadySince) this.#visitAll();
    this.#giveUpHanging(reading.monotonic);
    const left = this.#visitDue(reading.wall, this.#clock.steadySince);
    this.#lookAround(reading.wall, left);
    this.#arm();
  }

  /** Begins the visits that are due; gives how many sessions may still be looked at in this go. */
  #visitDue(now: Millis, steadySince: Millis): number {
    for (let left = this.#figures.sliceMax; left > 0; left--) {
      const first = this.#due.first();
      if (first === undefined || first.at > now || this.#busy() >= this.#figures.concurrency) return left;
      const session = this.#sessions.get(first.key);
      if (session !== undefined) void this.#visit(session, now, steadySince);
    }
    return 0;
  }

  /** Looks at sessions whose floor has come, and lets those be visited that are not as they were left. */
  #lookAround(now: Millis, most: number): void {
    for (let left = most; left > 0; left--) {
      const first = this.#floor.first();
      if (first === undefined || first.at > now) return;
      this.#floor.set(first, now + this.#figures.floorMs);
      const session = this.#sessions.get(first.key);
      if (session !== undefined && !this.#rests(session)) this.#due.set(session.due, now);
    }
  }

  #rests(session: Session): boolean {
    // One that has failed waits for its time, whatever its files say.
    if (session.failures > 0) return true;
    return session.token !== undefined && this.#token(session) === session.token;
  }

  async #visit(session: Session, now: Millis, steadySince: Millis): Promise<void> {
    this.#due.delete(session.due);
    this.#floor.delete(session.floor);
    this.#visiting.add(session);
    session.state = 'visiting';
    session.hangs = false;
    session.visitingSince = this.#ports.clock.monotonic();
    // Taken before the visit: what changes during it is then seen at the next look.
    session.token = this.#token(session);
    let nextAt: Millis | undefined;
    try {
      nextAt = await this.#ports.visit(session.key, { now, steadySince });
      if (session.failures > 0) this.#ports.onTrouble({ type: 'over', key: session.key });
      session.failures = 0;
    } catch (error) {
      nextAt = this.#failed(session, error);
    } finally {
      this.#ended(session, nextAt);
    }
  }

  #failed(session: Session, error: unknown): Millis {
    session.failures++;
    const { backoffBaseMs, backoffMaxMs } = this.#figures;
    const waitMs = backoffMs(session.failures, { backoffBaseMs, backoffMaxMs, triesMax: session.failures });
    const retryAt = this.#ports.clock.wall() + waitMs;
    this.#ports.onTrouble({ type: 'failed', key: session.key, error, failures: session.failures, retryAt });
    return retryAt;
  }

  #ended(session: Session, nextAt: Millis | undefined): void {
    this.#visiting.delete(session);
    const again = session.state === 'visiting-again';
    if (session.state !== 'removed') {
      session.state = 'resting';
      const now = this.#ports.clock.wall();
      this.#floor.set(session.floor, now + this.#figures.floorMs);
      if (again) session.token = undefined;
      const next = again ? now : nextAt;
      if (next !== undefined) this.#due.set(session.due, next);
    }
    if (this.#busy() === 0) this.#quiet();
    this.#arm();
  }

  #visitSoon(session: Session): void {
    this.#due.set(session.due, this.#ports.clock.wall());
    if (this.#due.first() === session.due) this.#arm();
  }

  #token(session: Session): string | undefined {
    try {
      return this.#ports.token(session.key);
    } catch {
      // The visit meets the same trouble, and there it is counted and waits.
      return undefined;
    }
  }

  #giveUpHanging(monotonic: number): void {
    for (const session of this.#visiting) {
      const sinceMs = monotonic - session.visitingSince;
      if (session.hangs || sinceMs <= this.#figures.visitMaxMs) continue;
      session.hangs = true;
      this.#ports.onTrouble({ type: 'hangs', key: session.key, sinceMs });
    }
    if (this.#visiting.size > 0 && this.#busy() === 0) this.#quiet();
  }

  #visitAll(): void {
    for (const session of this.#sessions.values()) {
      session.token = undefined;
      if (session.state === 'resting') this.#due.set(session.due, this.#ports.clock.wall());
    }
  }

  #busy(): number {
    let busy = 0;
    for (const session of this.#visiting) if (!session.hangs) busy++;
    return busy;
  }

  #quiet(): void {
    const waiting = this.#whenQuiet;
    this.#whenQuiet = [];
    for (const resolve of waiting) resolve();
  }

  #arm(): void {
    if (!this.#running) return;
    this.#disarm();
    const { tickMs, concurrency } = this.#figures;
    // With every place taken, the next visit begins when one ends.
    const due = this.#busy() >= concurrency ? undefined : this.#due.first();
    const nextAt = Math.min(due?.at ?? Number.POSITIVE_INFINITY, this.#floor.first()?.at ?? Number.POSITIVE_INFINITY);
    const waitMs = Math.min(Math.max(nextAt - this.#ports.clock.wall(), 0), tickMs);
    this.#cancelTimer = this.#ports.setTimer(waitMs, () => this.#turn());
  }

  #disarm(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }
}

function checkFigures(figures: SweepLoopFigures): void {
  for (const [name, value] of Object.entries(figures)) {
    if (Number.isSafeInteger(value) && value >= 1) continue;
    throw new RangeError(`The sweep loop's ${name} is ${value}, and must be a whole number from 1.`);
  }
  const { backoffBaseMs, backoffMaxMs, tickMs, floorMs } = figures;
  if (backoffBaseMs > backoffMaxMs)
    throw new RangeError('The sweep loop’s backoffBaseMs must not be above its backoffMaxMs.');
  if (tickMs > floorMs) throw new RangeError('The sweep loop’s tickMs must not be above its floorMs.');
}
