import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { MUTATIONS } from '../src/mutations.ts';
import { sim } from './command.ts';

// The cheapest of the list; `npm run sim -- --mutations` plays all.
const CHEAP = ['settle adds instead of sets', 'confirm before begin', 'text times'];

it.each(MUTATIONS.filter(({ name }) => CHEAP.includes(name)))(
  'a deliberate mistake is found within its limit: $name',
  async ({ name, within }) => {
    const { code, output } = await sim('--mutation', name, `--${within.type}`, `1-${within.count}`);
    expect([code, /^seed \d+, step \d+: I\d+: /m.test(output)], output).toEqual([1, true]);
  },
);

it('every mutation has a name of its own', () => {
  expect(new Set(MUTATIONS.map(({ name }) => name)).size).toBe(MUTATIONS.length);
});

it('every mutation finds, once, what it is to change', () => {
  const lost = MUTATIONS.flatMap(({ name, edits }) =>
    edits
      .filter(
        ({ file, find }) => readFileSync(new URL(`../../../${file}`, import.meta.url), 'utf8').split(find).length !== 2,
      )
      .map(({ file, find }) => `${name}: ${file} has not, or more than once, ${JSON.stringify(find)}`),
  );
  expect(lost).toEqual([]);
});
