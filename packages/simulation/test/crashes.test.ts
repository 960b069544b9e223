import { expect, it } from 'vitest';
import { sim } from './command.js';

it('nothing is lost and nothing comes twice at the first crash points of the enumeration', async () => {
  expect(await sim('--crashes', '400')).toEqual({ code: 0, output: expect.stringContaining('400 crash points') });
});
