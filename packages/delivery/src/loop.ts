/**
 * Passes over many sessions: at once when a doorbell rings or something comes due, and slowly all around in case a
 * bell was missed. One pass a session at a time, a bounded number of passes at once, first come first served; a session
 * with much to do goes to the end of the queue after each pass, and one in trouble waits on its own.
 */
import { backoffMs, changeToken, type Millis, type RetryPolicy } from '@nanoclaw/session-db';
import { type DeliveryReport, deliverSession, isQuiet, type Look, type SessionPort, type World } from './deliver.ts';

export interface LoopOptions {
  /** How many passes may run at once. */
  readonly passesMax?: number;
  /** How long it takes to look at every session once, in milliseconds: what a missed doorbell costs at most. */
  readonly floorMs?: Millis;
  /** What a pass did, for the host to log and count. Not called for a pass that found nothing to do. */
  readonly onReport?: (session: string, report: DeliveryReport) => void;
  /** A pass that rejected. The session is looked at again by itself. */
  readonly onTrouble?: (session: string, trouble: Trouble) => void;
}

export interface Trouble {
  readonly error: unknown;
  /** How often in a row. */
  readonly count: number;
  readonly nextAt: Millis;
}

/** 32 passes at once, all sessions within 5 s. */
const PASSES_MAX = 32;
const FLOOR_MS = 5_000;

/** Into how many looks the floor is spread, so that none of them is long. */
const FLOOR_SLICES = 20;

/** The waits of a session in trouble: 1 s, doubling up to 5 minutes. */
const TROUBLE: RetryPolicy = { triesMax: 1, backoffBaseMs: 1_000, backoffMaxMs: 300_000 };

/** On a kernel with coarse file times two commits may look like one: so much later there is a look that reads. */
const SECOND_LOOK_MS = 20;

/** The longest a timer is set for; the platform's own limit is 24 days. */
const TIMER_MAX_MS = 3_600_000;

/** How long passes whose sends were abandoned may take to write that down, in milliseconds. */
const ABANDON_GRACE_MS = 1_000;

interface Entry {
  readonly session: SessionPort;
  last: Look | undefined;
  /** Of the runner's file at the last pass. */
  token: string | undefined;
  /** `again`: running, and to be run once more. */
  state: 'idle' | 'queued' | 'running' | 'again';
  /** Passes that rejected or could not read, in a row. */
  troubles: number;
  notBefore: Millis;
  cancelTimer: () => void;
  /** Resolved when the session has nothing more to do at once. */
  readonly waiting: (() => void)[];
}

export class DeliveryLoop {
  readonly #world: World;
  readonly #options: LoopOptions;
  readonly #entries = new Map<string, Entry>();
  /** In the order of their turns. */
  readonly #queue = new Set<Entry>();
  readonly #running = new Set<Promise<void>>();
  readonly #runningKeys = new Set<string>();
  readonly #stop = new AbortController();
  readonly #abandon = new AbortController();
  #isStarted = false;
  #cancelFloor: () => void = () => undefined;
  #floorRound: Iterator<Entry> | undefined;

  /** Nothing happens before `start`. */
  constructor(world: World, options: LoopOptions = {}) {
    this.#world = world;
    this.#options = options;
  }

  /** Begins to look at the watched sessions, each once at first. A loop is started once. */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    for (const entry of this.#entries.values()) this.#enqueue(entry);
    this.#setFloor();
  }

  /** Adds a session and looks at it. Does nothing for one that is watched already. */
  watch(session: SessionPort): void {
    if (this.#entries.has(session.key)) return;
    const entry: Entry = {
      session,
      last: undefined,
      token: undefined,
      state: 'idle',
      troubles: 0,
      notBefore: Number.NEGATIVE_INFINITY,
      cancelTimer: () => undefined,
      waiting: [],
    };
    this.#entries.set(session.key, entry);
    if (this.#isStarted) this.#enqueue(entry);
  }

  /** Lets go of a session. Resolves when no pass over it runs any more. */
  async unwatch(key: string): Promise<void> {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#queue.delete(entry);
    entry.cancelTimer();
    if (entry.state === 'queued') entry.state = 'idle';
    if (entry.state !== 'idle') await new Promise<void>((resolve) => entry.waiting.push(resolve));
    else release(entry);
  }

  /** Something may be new: looks at the session in its turn. For doorbells, and for whoever retried a dead letter. */
  poke(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    // A bell is believed, whatever the change token says.
    entry.last = undefined;
    this.#enqueue(entry);
  }

  /**
   * Delivers what a session has, for when its container has exited. Resolves when nothing more is due at once: all is
   * delivered, or waits for its time, or the loop stops, or the session is in trouble.
   */
  async drain(key: string): Promise<void> {
    const entry = this.#entries.get(key);
    if (entry === undefined || !this.#isStarted || this.#isStopping) return;
    const drained = new Promise<void>((resolve) => entry.waiting.push(resolve));
    // What held it back may have been its container.
    entry.notBefore = Number.NEGATIVE_INFINITY;
    this.poke(key);
    await drained;
  }

  /**
   * Begins no further attempt and waits for the sends in flight, at most `deadlineMs`; those that are left then are
   * recorded as not known. Returns the sessions of which even that could not be waited for: none, unless the host's own
   * functions hang.
   */
  async stop(deadlineMs: Millis): Promise<readonly string[]> {
    this.#stop.abort();
    this.#cancelFloor();
    for (const entry of this.#entries.values()) {
      entry.cancelTimer();
      if (entry.state === 'queued') entry.state = 'idle';
      if (entry.state === 'idle') release(entry);
    }
    this.#queue.clear();
    await this.#ended(deadlineMs);
    this.#abandon.abort();
    await this.#ended(ABANDON_GRACE_MS);
    return [...this.#runningKeys];
  }

  get #isStopping(): boolean {
    return this.#stop.signal.aborted;
  }

  #enqueue(entry: Entry): void {
    if (this.#isStopping || !this.#isStarted) return;
    if (entry.state === 'running') entry.state = 'again';
    if (entry.state !== 'idle') return;
    if (this.#world.now() < entry.notBefore) {
      this.#setTimer(entry, entry.notBefore);
      return;
    }
    entry.cancelTimer();
    entry.state = 'queued';
    this.#queue.add(entry);
    this.#fill();
  }

  #fill(): void {
    const passesMax = this.#options.passesMax ?? PASSES_MAX;
    for (const entry of this.#queue) {
      if (this.#running.size >= passesMax) return;
      const { key } = entry.session;
      // A session that was let go of and is watched again may still have its old pass.
      if (this.#runningKeys.has(key)) continue;
      this.#queue.delete(entry);
      entry.state = 'running';
      this.#runningKeys.add(key);
      const pass = this.#pass(entry).finally(() => {
        this.#running.delete(pass);
        this.#runningKeys.delete(key);
        this.#fill();
      });
      this.#running.add(pass);
    }
  }

  async #pass(entry: Entry): Promise<void> {
    const { session } = entry;
    try {
      const report = await deliverSession(session, this.#world, {
        last: entry.last,
        stop: this.#stop.signal,
        abandon: this.#abandon.signal,
      });
      entry.last = report.look;
      const isUnreadable = report.finding !== undefined && report.finding.type !== 'busy';
      entry.troubles = isUnreadable ? entry.troubles + 1 : 0;
      if (isUnreadable) this.#putOff(entry);
      if (isWorthTelling(report)) this.#options.onReport?.(session.key, report);
    } catch (error) {
      entry.troubles += 1;
      const nextAt = this.#putOff(entry);
      this.#options.onTrouble?.(session.key, { error, count: entry.troubles, nextAt });
    }
    this.#afterPass(entry);
  }

  #putOff(entry: Entry): Millis {
    entry.notBefore = this.#world.now() + backoffMs(entry.troubles, TROUBLE);
    entry.last = undefined;
    return entry.notBefore;
  }

  #afterPass(entry: Entry): void {
    const wasRungMeanwhile = entry.state === 'again';
    const hasChanged = entry.last !== undefined && entry.last.token !== entry.token;
    entry.token = entry.last?.token;
    entry.state = 'idle';
    if (this.#entries.get(entry.session.key) !== entry || this.#isStopping) {
      release(entry);
      return;
    }
    const now = this.#world.now();
    const nextAt = entry.last === undefined ? entry.notBefore : entry.last.nextAt;
    if (wasRungMeanwhile || (nextAt !== undefined && nextAt <= now)) {
      if (wasRungMeanwhile) entry.last = undefined;
      this.#enqueue(entry);
      return;
    }
    release(entry);
    const secondLookAt = hasChanged ? now + SECOND_LOOK_MS : undefined;
    const at = Math.min(nextAt ?? Number.POSITIVE_INFINITY, secondLookAt ?? Number.POSITIVE_INFINITY);
    if (Number.isFinite(at)) this.#setTimer(entry, at, at === secondLookAt);
  }

  #setTimer(entry: Entry, at: Millis, mustRead = false): void {
    entry.cancelTimer();
    const delayMs = Math.min(Math.max(at - this.#world.now(), 0), TIMER_MAX_MS);
    entry.cancelTimer = this.#world.setTimer(delayMs, () => {
      if (mustRead) entry.last = undefined;
      this.#enqueue(entry);
    });
  }

  #setFloor(): void {
    const floorMs = this.#options.floorMs ?? FLOOR_MS;
    this.#cancelFloor = this.#world.setTimer(floorMs / FLOOR_SLICES, () => {
      this.#lookAround();
      if (!this.#isStopping) this.#setFloor();
    });
  }

  /** Looks at the next share of the sessions by their change token: no database is opened for a quiet one. */
  #lookAround(): void {
    const now = this.#world.now();
    const share = Math.ceil(this.#entries.size / FLOOR_SLICES);
    for (let looked = 0; looked < share; looked += 1) {
      const entry = this.#nextOfRound();
      if (entry === undefined) return;
      if (entry.state !== 'idle') continue;
      const { last, session } = entry;
      if (last === undefined || !isQuiet(last, changeToken(session.folder.outbound), now)) this.#enqueue(entry);
    }
  }

  #nextOfRound(): Entry | undefined {
    const next = this.#floorRound?.next();
    if (next !== undefined && next.done !== true) return next.value;
    this.#floorRound = this.#entries.values();
    const first = this.#floorRound.next();
    return first.done === true ? undefined : first.value;
  }

  /** Resolves when no pass runs any more, or after `deadlineMs`. */
  async #ended(deadlineMs: Millis): Promise<void> {
    if (this.#running.size === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = this.#world.setTimer(deadlineMs, resolve);
    await Promise.race([Promise.all(this.#running), promise]);
    cancel();
  }
}

function release(entry: Entry): void {
  for (const resolve of entry.waiting.splice(0)) resolve();
}

function isWorthTelling(report: DeliveryReport): boolean {
  const { finding, refused, takenIn, attempts, gaveUp, isHeldBack, troubles } = report;
  const isTrouble = (finding !== undefined && finding.type !== 'busy') || isHeldBack;
  return isTrouble || [refused, takenIn, attempts, gaveUp, troubles].some((list) => list.length > 0);
}
