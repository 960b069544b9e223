import { describe, expect, it } from 'vitest';
import { SESSION_LOOP, SessionLoop, type SessionLoopOptions, type Visit, type VisitTrouble } from '../src/index.ts';

/** 2026-11-21, 12:00 UTC. */
const NOON = Date.UTC(2026, 10, 21, 12);
const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** A loop over sessions that exist only here, with a clock that stands until it is told. */
class Bench {
  wall = NOON;
  monotonic = 0;
  /** Per visit: the session and the time from NOON on. */
  readonly visits: [string, number][] = [];
  readonly troubles: VisitTrouble[] = [];
  readonly tokens = new Map<string, string>();
  looks = 0;
  wakeUps = 0;
  visit: (key: string, now: number, steadySince: number) => Promise<number | undefined> = async () => undefined;
  /** What each visit was told. */
  readonly told: Visit<string>[] = [];
  readonly loop: SessionLoop<string>;
  #timers: { at: number; callback: () => void }[] = [];

  constructor(figures: Partial<SessionLoopOptions> = {}) {
    this.loop = new SessionLoop(
      {
        visit: async (key, visit) => {
          const { now, steadySince } = visit;
          this.told.push(visit);
          this.visits.push([key, now - NOON]);
          return { type: 'visited', nextAt: await this.visit(key, now, steadySince) };
        },
        token: (key) => {
          this.looks++;
          return this.tokens.get(key);
        },
        now: () => this.wall,
        monotonic: () => this.monotonic,
        setTimer: (ms, callback) => {
          const timer = { at: this.monotonic + ms, callback };
          this.#timers.push(timer);
          return () => void (this.#timers = this.#timers.filter((one) => one !== timer));
        },
        onTrouble: (trouble) => void this.troubles.push(trouble),
      },
      { ...SESSION_LOOP, ...figures },
    );
    this.loop.start();
  }

  get timers(): number {
    return this.#timers.length;
  }

  /** Lets time pass, timer by timer. */
  async pass(ms: number): Promise<void> {
    await settled();
    const end = this.monotonic + ms;
    for (;;) {
      const next = this.#timers.toSorted((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > end) break;
      this.#timers = this.#timers.filter((one) => one !== next);
      this.#advance(Math.max(next.at - this.monotonic, 0));
      this.wakeUps++;
      next.callback();
      await settled();
    }
    this.#advance(end - this.monotonic);
    await settled();
  }

  /** The machine sleeps: the wall clock goes on, nothing else does. */
  sleep(ms: number): void {
    this.wall += ms;
  }

  #advance(ms: number): void {
    this.monotonic += ms;
    this.wall += ms;
  }
}

/** Lets every promise that can go on do so. */
async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

/** A promise and what resolves it. */
function gate(): { opened: Promise<undefined>; open: () => void } {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  return { opened: promise, open: () => resolve(undefined) };
}

describe('the loop', () => {
  it('visits a session when it is added, at its due time, and when it is poked', async () => {
    const bench = new Bench();
    bench.visit = async (_key, now) => (now < NOON + 25 * SECOND ? NOON + 25 * SECOND : undefined);
    bench.loop.add('a');
    await bench.pass(20 * SECOND);
    expect(bench.visits).toEqual([['a', 0]]);
    await bench.pass(10 * SECOND);
    expect(bench.visits).toEqual([
      ['a', 0],
      ['a', 25 * SECOND],
    ]);
    bench.loop.poke('a');
    await bench.pass(0);
    expect(bench.visits.at(-1)).toEqual(['a', 30 * SECOND]);
    await bench.loop.stop();
  });

  it('looks at an idle session once per floor interval, and visits it only when its files have changed', async () => {
    const bench = new Bench();
    bench.tokens.set('a', '1');
    bench.loop.add('a');
    await bench.pass(10 * MINUTE + SECOND);
    expect(bench.visits).toHaveLength(1);
    expect(bench.looks).toBe(11);
    bench.tokens.set('a', '2');
    await bench.pass(MINUTE);
    expect(bench.visits).toHaveLength(2);
    await bench.loop.stop();
  });

  it('visits at each floor a session whose token cannot be had', async () => {
    const bench = new Bench();
    bench.loop.add('a');
    await bench.pass(3 * MINUTE + SECOND);
    expect(bench.visits).toHaveLength(4);
    await bench.loop.stop();
  });

  it('visits a session again after a change during its visit, never twice at once', async () => {
    const bench = new Bench();
    const first = gate();
    let atOnce = 0;
    let most = 0;
    bench.visit = async () => {
      most = Math.max(most, ++atOnce);
      await first.opened;
      atOnce--;
      return undefined;
    };
    bench.loop.add('a');
    await bench.pass(0);
    bench.loop.poke('a');
    bench.loop.poke('a');
    await bench.pass(SECOND);
    expect(bench.visits).toHaveLength(1);
    first.open();
    await bench.pass(SECOND);
    expect(bench.visits).toHaveLength(2);
    expect(most).toBe(1);
    await bench.loop.stop();
  });

  it('visits no more sessions at once than it may', async () => {
    const bench = new Bench({ concurrency: 3 });
    const all = gate();
    let atOnce = 0;
    let most = 0;
    bench.visit = async () => {
      most = Math.max(most, ++atOnce);
      await all.opened;
      atOnce--;
      return undefined;
    };
    for (let i = 0; i < 10; i++) bench.loop.add(`s${i}`);
    await bench.pass(SECOND);
    expect(most).toBe(3);
    all.open();
    await bench.pass(SECOND);
    expect(bench.visits).toHaveLength(10);
    expect(most).toBe(3);
    await bench.loop.stop();
  });

  it('failure 13: a session whose visits fail waits longer each time and stops no other', async () => {
    const bench = new Bench();
    bench.visit = async (key) => {
      if (key === 'bad') throw new Error('broken');
      return undefined;
    };
    bench.loop.add('bad');
    bench.loop.add('good');
    await bench.pass(20 * SECOND);
    expect(bench.visits.filter(([key]) => key === 'bad').map(([, at]) => at / SECOND)).toEqual([0, 1, 3, 7, 15]);
    expect(bench.visits.filter(([key]) => key === 'good')).toHaveLength(1);
    expect(bench.troubles.at(-1)).toMatchObject({
      type: 'failed',
      key: 'bad',
      failures: 5,
      retryAt: NOON + 31 * SECOND,
    });
    bench.visit = async () => undefined;
    bench.loop.poke('bad');
    await bench.pass(0);
    expect(bench.troubles.at(-1)).toEqual({ type: 'over', key: 'bad' });
    await bench.loop.stop();
  });

  it('does not cut a wait after failures short at the floor', async () => {
    const bench = new Bench({ backoffBaseMs: 3 * MINUTE });
    bench.visit = async () => Promise.reject(new Error('broken'));
    bench.loop.add('bad');
    await bench.pass(4 * MINUTE);
    expect(bench.visits.map(([, at]) => at / MINUTE)).toEqual([0, 3]);
    await bench.loop.stop();
  });

  it('a visit that hangs gives its place to others, and is not repeated before it ends', async () => {
    const bench = new Bench({ concurrency: 1 });
    const hung = gate();
    bench.visit = async (key) => (key === 'hung' ? hung.opened : undefined);
    bench.loop.add('hung');
    await bench.pass(0);
    bench.loop.add('good');
    await bench.pass(2 * MINUTE);
    expect(bench.troubles).toMatchObject([{ type: 'hangs', key: 'hung' }]);
    expect(bench.visits.filter(([key]) => key === 'hung')).toHaveLength(1);
    expect(bench.visits.filter(([key]) => key === 'good').length).toBeGreaterThan(0);
    hung.open();
    await bench.pass(2 * MINUTE);
    expect(bench.visits.filter(([key]) => key === 'hung').length).toBeGreaterThan(1);
    await bench.loop.stop();
  });

  it('failure 11: looks at everything anew after the machine slept, and says that the clock is fresh', async () => {
    const bench = new Bench();
    const seen: number[] = [];
    bench.visit = async (_key, _now, steadySince) => {
      seen.push(steadySince - NOON);
      return undefined;
    };
    bench.tokens.set('a', '1');
    bench.loop.add('a');
    await bench.pass(30 * SECOND);
    bench.sleep(8 * HOUR);
    await bench.pass(10 * SECOND);
    expect(seen[0]).toBe(0);
    expect(seen[1]).toBeGreaterThanOrEqual(8 * HOUR);
    expect(bench.visits).toHaveLength(2);
    await bench.loop.stop();
  });

  it('failure 11: goes on when the clock is set back', async () => {
    const bench = new Bench();
    bench.visit = async (_key, now) => now + 15 * MINUTE;
    bench.loop.add('a');
    await bench.pass(30 * SECOND);
    bench.sleep(-24 * HOUR);
    await bench.pass(16 * MINUTE);
    expect(bench.visits.length).toBeGreaterThanOrEqual(3);
    await bench.loop.stop();
  });

  it('stops when the visits under way have ended, and leaves no timer', async () => {
    const bench = new Bench();
    const under = gate();
    bench.visit = async () => under.opened;
    bench.loop.add('a');
    await bench.pass(0);
    let stopped = false;
    const stopping = bench.loop.stop().then(() => (stopped = true));
    await settled();
    expect(stopped).toBe(false);
    under.open();
    await stopping;
    expect(bench.timers).toBe(0);
    await bench.pass(10 * MINUTE);
    expect(bench.visits).toHaveLength(1);
  });

  it('forgets a session that is removed, also in the middle of its visit', async () => {
    const bench = new Bench();
    const under = gate();
    bench.visit = async () => under.opened;
    bench.loop.add('a');
    bench.loop.add('b');
    await bench.pass(0);
    void bench.loop.remove('a');
    bench.loop.poke('a');
    under.open();
    await bench.pass(3 * MINUTE);
    expect(bench.visits.filter(([key]) => key === 'a')).toHaveLength(1);
    expect(bench.visits.filter(([key]) => key === 'b').length).toBeGreaterThan(1);
    await bench.loop.stop();
  });

  it('visits in the order of their times, whatever the order in which they come', async () => {
    const bench = new Bench({ concurrency: 1 });
    const at = new Map(Array.from({ length: 50 }, (_, i) => [`s${i}`, ((i * 37) % 50) + 1]));
    bench.visit = async (key, now) => (now === NOON ? NOON + (at.get(key) ?? 0) * SECOND : undefined);
    for (const key of at.keys()) bench.loop.add(key);
    await bench.pass(0);
    expect(bench.visits).toHaveLength(50);
    await bench.pass(55 * SECOND);
    const later = bench.visits.slice(50).map(([, when]) => when / SECOND);
    expect(later).toEqual(Array.from({ length: 50 }, (_, i) => i + 1));
    await bench.loop.stop();
  });

  it('makes one visit of what happens in one moment, and hands it the last news', async () => {
    const bench = new Bench();
    bench.loop.add('a');
    bench.loop.poke('a', 'first');
    bench.loop.poke('a', 'second');
    await bench.pass(0);
    expect(bench.told).toMatchObject([{ isAsked: true, news: 'second' }]);
    bench.loop.poke('a');
    await bench.pass(0);
    expect(bench.told[1]?.news).toBeUndefined();
    await bench.loop.stop();
  });

  it('keeps news for the visit that follows the one under way, and drops it where a visit has to wait for a place', async () => {
    const bench = new Bench({ concurrency: 1 });
    const gates = [gate(), gate(), gate()];
    bench.visit = async () => gates[bench.visits.length - 1]?.opened;
    bench.loop.add('a');
    await bench.pass(0);
    bench.loop.poke('a', 'for a');
    await bench.pass(0);
    gates[0]?.open();
    await bench.pass(0);
    bench.loop.add('b', 'when-poked');
    bench.loop.poke('b', 'for b');
    await bench.pass(0);
    gates[1]?.open();
    await bench.pass(0);
    expect(bench.visits.map(([key], i) => [key, bench.told[i]?.news])).toEqual([
      ['a', undefined],
      ['a', 'for a'],
      ['b', undefined],
    ]);
    gates[2]?.open();
    await bench.loop.stop();
  });

  it('tells a visit that is only due from one that was asked for', async () => {
    const bench = new Bench();
    bench.visit = async (_key, now) => (now === NOON ? now + SECOND : undefined);
    bench.loop.add('a');
    await bench.pass(SECOND);
    expect(bench.told.map(({ isAsked }) => isAsked)).toEqual([true, false]);
    await bench.loop.stop();
  });

  it('lets others have the event loop after so many visits, whatever is due', async () => {
    const bench = new Bench({ sliceMax: 10 });
    for (let i = 0; i < 25; i++) bench.loop.add(`s${i}`);
    await settled();
    expect(bench.visits).toHaveLength(10);
    await bench.pass(0);
    expect(bench.visits).toHaveLength(25);
    await bench.loop.stop();
  });

  it('waits for no longer than the deadline of its stop, and names what has not ended even so', async () => {
    const bench = new Bench();
    const deaf = gate();
    bench.visit = async () => deaf.opened;
    bench.loop.add('deaf');
    await bench.pass(0);
    const stopped = bench.loop.stop(3 * SECOND);
    expect(bench.told[0]?.stopping.aborted).toBe(true);
    await bench.pass(3 * SECOND - 1);
    expect(bench.told[0]?.abandoned.aborted).toBe(false);
    await bench.pass(1);
    expect(bench.told[0]?.abandoned.aborted).toBe(true);
    await bench.pass(SECOND);
    expect(await stopped).toEqual(['deaf']);
    expect(bench.timers).toBe(0);
  });

  it('refuses figures that make no sense', () => {
    expect(() => new Bench({ concurrency: 0 })).toThrow(/concurrency is 0/);
    expect(() => new Bench({ floorMs: 1_000 })).toThrow(/tickMs must not be above/);
  });
});

describe('sessions that rest', () => {
  it.each([1, 40])('%i of them wake the process no more than once a second (failure 90)', async (sessions) => {
    const bench = new Bench({ floorMs: 5 * SECOND, tickMs: 5 * SECOND });
    for (let n = 0; n < sessions; n++) {
      bench.tokens.set(`s${n}`, 'as it was');
      bench.loop.add(`s${n}`);
      // They come at different times, as those of a host do.
      await bench.pass(137);
    }
    await bench.pass(10 * SECOND);
    const [wakeUps, looks] = [bench.wakeUps, bench.looks];
    await bench.pass(MINUTE);
    expect(bench.visits.length).toBe(sessions);
    expect(bench.looks - looks).toBeLessThanOrEqual(13 * sessions);
    expect(bench.wakeUps - wakeUps).toBeLessThanOrEqual(60);
  });
});
