import { expect, it } from 'vitest';
import { Chance } from '../src/chance.ts';
import { shrunk } from '../src/shrink.ts';

it('a draw depends on the seed, its name and its turn, and on no draw under another name', () => {
  const [alone, among] = [new Chance(1), new Chance(1)];
  among.share('other');
  expect([alone.share('a'), alone.share('a')]).toEqual([among.share('a'), among.share('a')]);
  expect(new Chance(2).share('a')).not.toBe(new Chance(1).share('a'));
});

it('draws are spread evenly enough', () => {
  const chance = new Chance(3);
  const tenths = Array.from({ length: 10 }, () => 0);
  for (let i = 0; i < 10_000; i++) {
    const tenth = chance.whole('even', 0, 9);
    tenths[tenth] = (tenths[tenth] ?? 0) + 1;
  }
  for (const count of tenths) expect(count).toBeGreaterThan(850);
});

it('a failing history is shortened to what it takes', async () => {
  const events = Array.from({ length: 20 }, (_, at) => ({ at, type: 'offline' as const, ms: 1 }));
  const plan = { seed: 1, duplicates: 'key' as const, chats: ['main'], troubledMs: 1, events };
  const isNeeded = [3, 17];
  const fails = async (shorter: typeof plan): Promise<boolean> =>
    isNeeded.every((at) => shorter.events.some((one) => one.at === at));
  const short = await shrunk(
    plan,
    async (shorter) => fails({ ...plan, events: events.filter((one) => shorter.events.includes(one)) }),
    500,
  );
  expect(short.events.map((one) => one.at)).toEqual(isNeeded);
});
