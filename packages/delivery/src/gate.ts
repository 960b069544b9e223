/**
 * Who may send just now. One gate per host: it knows what no single session does, how many sends each account has in
 * flight, whether it answers at all, and what its rates allow. So a platform that hangs holds a few sends and not all,
 * and one that is away is asked by one message at a time and not by every session.
 *
 * In memory, apart from the rates: whatever it forgets in a crash it learns again from the next attempt.
 */
import type { Millis } from '@nanoclaw/session-db';
import type { SendOutcome } from '@nanoclaw/session-db/protocol';
import { type Rate, RateLimits } from './rates.ts';

interface GateLimits {
  /** How many sends one account may have in flight. */
  readonly sendsMax: number;
  /** The wait after an account first did not answer, in milliseconds; doubled each time. */
  readonly troubleBaseMs: Millis;
  readonly troubleMaxMs: Millis;
}

/** 16 sends in flight an account; 1 s doubling to 60 s between tries at one that does not answer. */
const GATE_LIMITS: GateLimits = { sendsMax: 16, troubleBaseMs: 1_000, troubleMaxMs: 60_000 };

/** Those who are told to wait are told times this far apart, so that they do not come back all at once. */
const SPREAD_MS = 20;

/** The furthest that spreading may put anybody off. */
const SPREAD_MAX_MS = 60_000;

/** How many may wait for an account before those are forgotten who did not come back. */
const WAITING_CHECKED_FROM = 1_000;

interface Account {
  inFlight: number;
  /** How often in a row it did not answer. */
  troubles: number;
  heldUntil: Millis;
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
   * Asks to send one message of `who`, a lane of a session. Returns 0 when it may be sent, and `leave` must follow; else
   * after how many milliseconds to ask again. Asking early changes nothing.
   */
  enter(account: string, who: string, rates: readonly Rate[], now: Millis): Millis {
    const state = this.#account(account);
    const comesBackAt = state.waiting.get(who);
    // The bound is for a clock set back.
    if (comesBackAt !== undefined && comesBackAt > now) return Math.min(comesBackAt - now, SPREAD_MAX_MS);

    const heldMs = this.#heldMs(state, now);
    const wait = heldMs > 0 ? heldMs : this.rates.take(rates, now);
    if (wait === 0) {
      state.inFlight += 1;
      state.waiting.delete(who);
      return 0;
    }
    const stepMs = heldMs > 0 ? SPREAD_MS : Math.max(SPREAD_MS, ...rates.map((rate) => rate.everyMs));
    const earliest = now + wait;
    const at = Math.max(earliest, Math.min(state.lastComesBackAt + stepMs, earliest + SPREAD_MAX_MS));
    state.lastComesBackAt = at;
    state.waiting.set(who, at);
    if (state.waiting.size > WAITING_CHECKED_FROM) forgetLost(state.waiting, now);
    return at - now;
  }

  /** Ends what `enter` allowed. `undefined`: the send was not made after all. */
  leave(account: string, outcome: SendOutcome | undefined, now: Millis): void {
    const state = this.#account(account);
    state.inFlight = Math.max(0, state.inFlight - 1);
    if (outcome !== undefined) this.#judge(state, outcome, now);
    if (state.inFlight === 0 && state.troubles === 0 && state.waiting.size === 0) this.#accounts.delete(account);
  }

  #account(name: string): Account {
    const known = this.#accounts.get(name);
    if (known !== undefined) return known;
    const account = { inFlight: 0, troubles: 0, heldUntil: 0, waiting: new Map<string, Millis>(), lastComesBackAt: 0 };
    this.#accounts.set(name, account);
    return account;
  }

  #heldMs(state: Account, now: Millis): Millis {
    if (state.troubles > 0 && now < state.heldUntil) {
      // A clock set back must not hold it for longer than it was meant to be.
      return Math.min(state.heldUntil - now, this.#limits.troubleMaxMs);
    }
    // One that did not answer gets one message at a time until it does.
    if (state.troubles > 0) return state.inFlight > 0 ? this.#limits.troubleBaseMs : 0;
    return state.inFlight >= this.#limits.sendsMax ? SPREAD_MS : 0;
  }

  #judge(state: Account, outcome: SendOutcome, now: Millis): void {
    if (outcome.type !== 'offline' && outcome.type !== 'unknown') {
      state.troubles = 0;
      return;
    }
    // Several that were in flight together tell of one trouble.
    if (state.troubles > 0 && now < state.heldUntil) return;
    const { troubleBaseMs, troubleMaxMs } = this.#limits;
    state.heldUntil = now + Math.min(troubleBaseMs * 2 ** Math.min(state.troubles, 20), troubleMaxMs);
    state.troubles += 1;
  }
}

/** Forgets those who should have come back long ago: their session is gone, or their message. */
function forgetLost(waiting: Map<string, Millis>, now: Millis): void {
  for (const [who, at] of waiting) if (at < now - SPREAD_MAX_MS) waiting.delete(who);
}
