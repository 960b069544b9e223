/**
 * A session through crashes, kills, failed wakes, hangs, jumps of the clock and restarts of the host, in random order by
 * fixed seeds. After each step the session is held against a model that knows only what was claimed and what died.
 * `NANOCLAW_WALK_STEPS` makes the walks longer.
 */
import type { Claim, Millis } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { describe, expect, it } from 'vitest';
import { type ClockState, nextClockState } from '../../session-db/src/clock-state.ts';
import { SWEEP_POLICY } from '../src/index.ts';
import { nextSlot } from '../src/recurrence.ts';
import { chat, HOUR, LIMITS, MINUTE, NOON, SECOND, World } from './session.ts';

const STEPS = Number(process.env['NANOCLAW_WALK_STEPS'] ?? 600);
const CRON = '*/15 * * * *';

describe('a random walk', () => {
  it.each([1, 2, 3, 4])(
    'of seed %d kills no young run, charges one try per dead run, ends every message, fires each slot once',
    async (seed) => {
      using walk = new Walk(seed);
      for (let step = 0; step < STEPS; step++) {
        await walk.step();
        walk.check();
      }
      await walk.settle();
      walk.check();
      walk.checkEnd();
    },
    300_000,
  );
});

class Walk implements Disposable {
  readonly #world = new World();
  readonly #random: () => number;
  #wall = NOON;
  #monotonic = 0;
  #clock: ClockState | undefined;
  #startedAt = 0;
  #hangs = false;
  #open: Claim[] = [];
  #chats = 0;
  /** Attempts that a run has claimed, by message. */
  readonly #claimed = new Map<string, number>();
  /** Messages that a run has said it completed, and how often. */
  readonly #completed = new Map<string, number>();
  readonly #kills: { reason: string; ageMs: number }[] = [];
  readonly #every: string;
  readonly #latest: string;

  constructor(seed: number) {
    this.#random = generator(seed);
    this.#every = this.#world.task({ recurrence: CRON, catchUp: 'all', overlap: 'allow', pauseAfter: 1_000 }, NOON);
    this.#latest = this.#world.task({ recurrence: CRON, pauseAfter: 1_000 }, NOON);
  }

  [Symbol.dispose](): void {
    this.#world[Symbol.dispose]();
  }

  async step(): Promise<void> {
    const dice = this.#random();
    if (dice < 0.3) this.#pass(this.#random() * 90 * SECOND);
    else if (dice < 0.55) await this.#sweep(this.#random() < 0.8);
    else if (dice < 0.65) this.#enqueue();
    else if (dice < 0.8) this.#claim();
    else if (dice < 0.9) this.#finish(this.#random() < 0.8);
    else if (dice < 0.93) this.#end();
    else if (dice < 0.95) this.#hangs = true;
    else if (dice < 0.97) this.#world.restart(this.#wall);
    else if (dice < 0.985) this.#jump(this.#random() * 3 * HOUR);
    else this.#jump(-this.#random() * 20 * MINUTE);
  }

  /** From here on nothing goes wrong: what is open comes to its end. */
  async settle(): Promise<void> {
    // The clock may have been set back: what was put off until a later time comes when that has come.
    for (let round = 0; round < 70; round++) {
      this.#pass(5 * MINUTE);
      await this.#sweep(true);
      if (this.#hangs) continue;
      this.#claim();
      this.#finish(true);
      await this.#sweep(true);
    }
  }

  check(): void {
    for (const { id, tries, status } of this.#rows()) {
      expect(tries, `${id} paid for what no run had claimed`).toBeLessThanOrEqual(this.#claimed.get(id) ?? 0);
      if (status === 'completed') expect(this.#completed.has(id), `${id} was completed by nobody`).toBe(true);
    }
    for (const [id, times] of this.#completed) expect(times, `${id} fired more than once`).toBe(1);
    for (const { reason, ageMs } of this.#kills) {
      expect(ageMs, `killed for ${reason}`).toBeGreaterThanOrEqual(SWEEP_POLICY.liveness.graceMs);
    }
  }

  checkEnd(): void {
    const rows = this.#rows();
    const chats = rows.filter((row) => row.series === null);
    expect(chats).toHaveLength(this.#chats);
    expect(chats.filter((row) => row.status === 'pending')).toEqual([]);

    // `all` with `allow`: each slot once, none left out.
    const slots = rows.flatMap((row) => (row.series === this.#every && row.slot !== null ? [row.slot] : []));
    const sorted = slots.toSorted((a, b) => a - b);
    expect(new Set(slots).size).toBe(slots.length);
    for (const [i, slot] of sorted.entries()) {
      if (i > 0) expect(slot).toBe(nextSlot({ cron: CRON, timeZone: 'UTC' }, sorted[i - 1] ?? 0));
    }
    expect(sorted.at(-1)).toBeGreaterThan(this.#wall);
    const passed = rows.filter((row) => row.series === this.#every && (row.slot ?? 0) <= this.#wall - 20 * MINUTE);
    expect(passed.filter((row) => row.status === 'pending')).toEqual([]);

    // `latest`: of the last five hours, in which all was well, every slot of the last one.
    const latest = rows.filter((row) => row.series === this.#latest && row.status === 'completed');
    const lastHour = latest.filter((row) => (row.slot ?? 0) > this.#wall - HOUR);
    expect(lastHour.length).toBeGreaterThanOrEqual(3);
  }

  #pass(ms: number): void {
    this.#monotonic += Math.round(ms);
    this.#wall += Math.round(ms);
    if (!this.#hangs) this.#world.runner?.beat(this.#wall);
  }

  #jump(ms: number): void {
    this.#wall += Math.round(ms);
  }

  async #sweep(wakes: boolean): Promise<void> {
    const reading = { wall: this.#wall, monotonic: this.#monotonic };
    const before = this.#clock;
    this.#clock = nextClockState(before, reading, { jumpMs: 5 * SECOND, gapMs: Infinity });
    if (before?.steadySince !== this.#clock.steadySince) this.#world.steadySince = this.#clock.steadySince;
    const { verdict } = await this.#world.sweep(this.#wall);
    if (verdict.type === 'kill') {
      this.#kills.push({ reason: verdict.reason, ageMs: this.#monotonic - this.#startedAt });
      this.#end();
    }
    if (verdict.type === 'wake') {
      this.#world.start(this.#wall);
      this.#startedAt = this.#monotonic;
      this.#hangs = false;
      this.#open = [];
      if (!wakes) this.#world.end('failed', 0);
    }
  }

  #enqueue(): void {
    this.#world.session.enqueue(chat(`chat-${++this.#chats}`, this.#wall), this.#wall);
  }

  #claim(): void {
    if (this.#hangs) return;
    const result = this.#world.runner?.claim(this.#wall, LIMITS);
    if (result?.type !== 'claimed') return;
    for (const { claim } of result.claimed) {
      expect(claim.attempt, `${claim.messageId} was claimed twice`).toBe((this.#claimed.get(claim.messageId) ?? 0) + 1);
      this.#claimed.set(claim.messageId, claim.attempt);
      this.#open.push(claim);
    }
    if (this.#random() < 0.9) this.#world.runner?.progress([], this.#wall);
  }

  #finish(well: boolean): void {
    const { runner } = this.#world;
    if (this.#hangs || runner === undefined || this.#open.length === 0) return;
    runner.finish(
      this.#open,
      well ? { type: 'completed' } : { type: 'failed', reason: 'the model failed' },
      [],
      this.#wall,
    );
    for (const { messageId } of well ? this.#open : []) {
      this.#completed.set(messageId, (this.#completed.get(messageId) ?? 0) + 1);
    }
    this.#open = [];
  }

  #end(): void {
    this.#world.end('failed', this.#monotonic - this.#startedAt);
    this.#open = [];
    this.#hangs = false;
  }

  #rows(): { id: string; status: string; tries: number; series: string | null; slot: Millis | null }[] {
    const db = openSqlite(this.#world.folder.inbound.database, 'read');
    try {
      return db.all('SELECT id, status, tries, series_id AS series, slot FROM messages_in');
    } finally {
      db.close();
    }
  }
}

/** Numbers from 0 to 1 that a seed determines (mulberry32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
