import { expect, it } from 'vitest';
import { sim } from './command.js';

// The cheapest three of the list; `npm run sim -- --mutations` plays all.
it.each(['settle adds instead of sets', 'confirm before begin', 'text times'])(
  'a deliberate mistake is found: %s',
  async (name) => {
    const { code, output } = await sim('--mutation', name, '--seeds', '1-10');
    expect([code, /^seed \d+, step \d+: I\d+: /m.test(output)], output).toEqual([1, true]);
  },
);
