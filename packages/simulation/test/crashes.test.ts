import { expect, it } from 'vitest';
import { sim } from './command.ts';
import { KEPT_CRASHES } from './kept-seeds.ts';

it('nothing is lost and nothing comes twice at the first crash points of the enumeration', async () => {
  expect(await sim('--crashes', '300')).toEqual({ code: 0, output: expect.stringContaining('300 crash points') });
});

it.each(KEPT_CRASHES)('the first crash points of history $history hold: $was', async ({ history, points }) => {
  const said = await sim('--crashes', String(points), '--history', String(history));
  expect(said).toEqual({ code: 0, output: expect.stringContaining(`${points} crash points`) });
});
