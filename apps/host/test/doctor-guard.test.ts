/** The doctor's look at the guard. */
import { expect, it } from 'vitest';
import { guardCheck } from '../src/doctor-guard.ts';

const reportOf = (isClosed: boolean, sentence: string) =>
  guardCheck({ report: async () => ({ means: 'none', open: [], isClosed, sentence }) });

it('the doctor says what closes the guard in, and notes what is left open (failure 75)', async () => {
  expect(await reportOf(true, 'Closed.')).toEqual({ what: 'guard', verdict: 'ok', finding: 'Closed.' });
  expect(await reportOf(false, 'Open.')).toEqual({ what: 'guard', verdict: 'note', finding: 'Open.' });
});

it('a guard that does not come up is trouble', async () => {
  const check = await guardCheck({ report: () => Promise.reject(new Error('no such driver')) });
  expect(check).toMatchObject({ verdict: 'trouble', finding: expect.stringContaining('no such driver') });
});
