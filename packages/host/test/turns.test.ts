/** The turns in which session files are written: how much is done in one turn of the event loop, and for whom. */
import { expect, it } from 'vitest';
import { Turns } from '../src/session/turns.ts';

/** Turns of an event loop that the test turns, and what was done in each. */
function world() {
  const timers: (() => void)[] = [];
  const turns = new Turns((_, action) => {
    timers.push(action);
    return () => void timers.splice(timers.indexOf(action), 1);
  });
  let done: string[] = [];
  const use = (session: string, name: string, hasWritten: boolean) =>
    turns.run(session, () => {
      done.push(name);
      return { value: name, hasWritten };
    });
  /** What has been done since the last time, and then one turn. */
  const turn = (): string[] => {
    const before = done;
    done = [];
    timers.shift()?.();
    return before;
  };
  return { turns, timers, use, turn };
}

it('a hundred commits at once are one in each turn of the event loop (failure 68)', async () => {
  const { use, turn, timers } = world();
  const all = Array.from({ length: 100 }, (_, n) => use('a', `${n}`, true));
  const slices = [];
  while (timers.length > 0) slices.push(turn());
  expect(slices.slice(0, 100)).toEqual(all.map((_, n) => [`${n}`]));
  expect((await Promise.all(all)).at(-1)).toBe('99');
});

it('ten looks that write nothing are as much as a commit', () => {
  const { use, turn } = world();
  for (let n = 0; n < 25; n++) void use('a', 'look', false);
  expect([turn(), turn(), turn()].map(({ length }) => length)).toEqual([10, 10, 5]);
});

it('a session with much to write does not hold up one with little', () => {
  const { use, turn } = world();
  for (let n = 0; n < 50; n++) void use('a', `a${n}`, true);
  void use('b', 'b0', true);
  void use('b', 'b1', true);
  expect(Array.from({ length: 5 }, turn).flat()).toEqual(['a0', 'a1', 'b0', 'a2', 'b1']);
});

it('a use that throws is its caller’s alone, and takes the turn of a commit', async () => {
  const { turns, use, turn } = world();
  const failed = turns.run('a', () => {
    throw new Error('the disk is full');
  });
  const next = use('a', 'next', true);
  expect(turn()).toEqual([]);
  expect(turn()).toEqual(['next']);
  await expect(failed).rejects.toThrow('the disk is full');
  await expect(next).resolves.toBe('next');
});

it('nothing is written after the end, and nobody waits for it', async () => {
  const { turns, use, timers } = world();
  void use('a', 'first', true);
  const waits = use('a', 'second', true);
  turns[Symbol.dispose]();
  await expect(waits).rejects.toThrow('The host has stopped; nothing was written.');
  await expect(use('a', 'third', true)).rejects.toThrow('The host has stopped');
  expect(timers).toEqual([]);
});
