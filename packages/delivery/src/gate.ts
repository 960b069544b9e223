/**
 * Who may send just now. One gate per host: it knows what no single session does, how many sends each account has in
 * flight, whether it answers at all, and what its rates allow. So a platform that hangs holds a few sends and not all,
 * and one that is away is asked by one message at a time and not by every session.
 *
 * An account is taken to be away on its channel's own word alone. A send that threw or gave no answer may be the doing of the
 * session that it is of: that session is asked less often there, and no other notices.
 *
 * In memory, apart from the rates: whatever it forgets in a crash it learns again from the next attempt.
 */
import type { Millis } from '@nanoclaw/session-db';
import type { SendOutcome } from '@nanoclaw/session-db/protocol';
import { type Rate, RateLimits } from './rates.ts';

interface GateLimits {
  /** How many sends one account may have in flight. */
  readonly sendsMax: number;
  /** How many of them may be of one session. */
  readonly sessionSendsMax: number;
  /** The wait after an account first did not answer, in milliseconds; doubled each time. */
  readonly troubleBaseMs: Millis;
  readonly troubleMaxMs: Millis;
}

/** 16 sends in flight an account, 8 of one session; 1 s doubling to 60 s between tries at one that does not answer. */
const GATE_LIMITS: GateLimits = { sendsMax: 16, sessionSendsMax: 8, troubleBaseMs: 1_000, troubleMaxMs: 60_000 };

/** Those who are told to wait are told times this far apart, so that they do not come back all at once. */
const SPREAD_MS = 20;

/** The furthest that spreading may put anybody off. */
const SPREAD_MAX_MS = 60_000;

/** How many may wait for an account before those are forgotten who did not come back. */
const WAITING_CHECKED_FROM = 1_000;

/** Who asks: a lane of a session, for an account. */
export interface Asking {
  readonly account: string;
  readonly session: string;
  readonly lane: string;
}

/**
 * A send that may be made, from when it was let through. Disposing of it lets another one through, whatever became of this one;
 * a second time does nothing.
 */
export interface GatePlace extends Disposable {
  /** Says what came of the send. Without it none was made. */
  end(outcome: SendOutcome, now: Millis): void;
}

/** What is in flight, and whether it is answered. */
interface Flow {
  inFlight: number;
  /** How often in a row it was not answered. */
  troubles: number;
  heldUntil: Millis;
}

interface Account extends Flow {
  readonly sessions: Map<string, Flow>;
  /** When each who waits was told to come back. */
  readonly waiting: Map<string, Millis>;
  lastComesBackAt: Millis;
}

/** Who may send just now, over all sessions of a host: sends in flight, accounts that do not answer, and rates. */
export class Gate {
  /** The buckets that its sends are counted in; a caller may take from them for things of its own. */
  readonly rates: RateLimits;
  readonly #limits: GateLimits;
  readonly #accounts = new Map<string, Account>();

  constructor(rates: RateLimits = new RateLimits(), limits: GateLimits = GATE_LIMITS) {
    this.rates = rates;
    this.#limits = limits;
  }

  /**
   * Asks to send one message. Gives its place when it may be sent; else after how many milliseconds to ask again. Asking early
   * changes nothing.
   */
  enter(asking: Asking, rates: readonly Rate[], now: Millis): GatePlace | Millis {
    const { account, session } = asking;
    const who = `${session}/${asking.lane}`;
    const state = this.#account(account);
    const comesBackAt = state.waiting.get(who);
    // The bound is for a clock set back.
    if (comesBackAt !== undefined && comesBackAt > now) return Math.min(comesBackAt - now, SPREAD_MAX_MS);

    const own = state.sessions.get(session) ?? { inFlight: 0, troubles: 0, heldUntil: 0 };
    const { sendsMax, sessionSendsMax } = this.#limits;
    const heldMs = Math.max(this.#heldMs(state, sendsMax, now), this.#heldMs(own, sessionSendsMax, now));
    const wait = heldMs > 0 ? heldMs : this.rates.take(rates, now);
    if (wait === 0) {
      state.waiting.delete(who);
      state.sessions.set(session, own);
      return this.#place(account, session, [state, own]);
    }
    const stepMs = heldMs > 0 ? SPREAD_MS : Math.max(SPREAD_MS, ...rates.map((rate) => rate.everyMs));
    const earliest = now + wait;
    const at = Math.max(earliest, Math.min(state.lastComesBackAt + stepMs, earliest + SPREAD_MAX_MS));
    state.lastComesBackAt = at;
    state.waiting.set(who, at);
    if (state.waiting.size > WAITING_CHECKED_FROM) forgetLost(state.waiting, now);
    return at - now;
  }

  #place(account: string, session: string, [state, own]: readonly [Account, Flow]): GatePlace {
    state.inFlight += 1;
    own.inFlight += 1;
    let isHeld = true;
    return {
      end: (outcome, now) => {
        if (outcome.type !== 'unknown') this.#judge(state, outcome.type !== 'offline', now);
        this.#judge(own, outcome.type !== 'unknown', now);
      },
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        state.inFlight -= 1;
        own.inFlight -= 1;
        if (isAtRest(own)) state.sessions.delete(session);
        if (isAtRest(state) && state.waiting.size === 0 && state.sessions.size === 0) this.#accounts.delete(account);
      },
    };
  }

  #account(name: string): Account {
    const known = this.#accounts.get(name);
    if (known !== undefined) return known;
    const account = {
      inFlight: 0,
      troubles: 0,
      heldUntil: 0,
      sessions: new Map<string, Flow>(),
      waiting: new Map<string, Millis>(),
      lastComesBackAt: 0,
    };
    this.#accounts.set(name, account);
    return account;
  }

  #heldMs(flow: Flow, sendsMax: number, now: Millis): Millis {
    if (flow.troubles > 0 && now < flow.heldUntil) {
      // A clock set back must not hold it for longer than it was meant to be.
      return Math.min(flow.heldUntil - now, this.#limits.troubleMaxMs);
    }
    // One that did not answer gets one message at a time until it does.
    if (flow.troubles > 0) return flow.inFlight > 0 ? this.#limits.troubleBaseMs : 0;
    return flow.inFlight >= sendsMax ? SPREAD_MS : 0;
  }

  #judge(flow: Flow, isAnswered: boolean, now: Millis): void {
    if (isAnswered) {
      flow.troubles = 0;
      return;
    }
    // Several that were in flight together tell of one trouble.
    if (flow.troubles > 0 && now < flow.heldUntil) return;
    const { troubleBaseMs, troubleMaxMs } = this.#limits;
    flow.heldUntil = now + Math.min(troubleBaseMs * 2 ** Math.min(flow.troubles, 20), troubleMaxMs);
    flow.troubles += 1;
  }
}

function isAtRest({ inFlight, troubles }: Flow): boolean {
  return inFlight === 0 && troubles === 0;
}

/** Forgets those who should have come back long ago: their session is gone, or their message. */
function forgetLost(waiting: Map<string, Millis>, now: Millis): void {
  for (const [who, at] of waiting) if (at < now - SPREAD_MAX_MS) waiting.delete(who);
}
