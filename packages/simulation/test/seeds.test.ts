import { expect, it } from 'vitest';
import { sim } from './command.ts';
import { KEPT_SEEDS } from './kept-seeds.ts';

it('every invariant holds in the histories of the fixed seeds', async () => {
  expect(await sim('--seeds', '200-212')).toEqual({ code: 0, output: expect.stringContaining('13 seeds held') });
});

it.each(KEPT_SEEDS)('seed $seed holds: $was', async ({ seed }) => {
  expect(await sim('--seeds', String(seed))).toEqual({ code: 0, output: expect.stringContaining('1 seeds held') });
});

it('the same seed is the same history, to the last line of its trace', async () => {
  const [once, again] = await Promise.all([sim('--seed', '9'), sim('--seed', '9')]);
  expect(once.code).toBe(0);
  expect(withoutFolders(once.output)).toBe(withoutFolders(again.output));
  expect(once.output.split('\n').length).toBeGreaterThan(10);
});

it('a history that is cut off where its reader wishes breaks nothing (failure 89)', async () => {
  const { code, output } = await sim('--seed', '9', '--steps', '200');
  expect({ code, last: output.trimEnd().split('\n').at(-1) }).toEqual({
    code: 0,
    last: expect.stringMatching(/^seed 9: everything held so far \(step 200, /),
  });
});

/** Each history has a folder of its own, whose name is the system's. */
function withoutFolders(text: string): string {
  return text.replaceAll(/nanoclaw-sim-\w+/g, 'FOLDER');
}
