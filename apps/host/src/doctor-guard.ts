/** The doctor's look at the guard: what closes in whatever reads what agents wrote, tried as a host tries it. */
import type { Guard } from '@nanoclaw/guard';
import { messageOf } from '@nanoclaw/host/errors';
import type { Check } from './check.ts';

/** Has a guard tried what it is closed in by. Never rejects. */
export async function guardCheck(guard: Pick<Guard, 'report'>): Promise<Check> {
  const what = 'guard';
  try {
    const { isClosed, sentence } = await guard.report();
    return { what, verdict: isClosed ? 'ok' : 'note', finding: sentence };
  } catch (error) {
    return { what, verdict: 'trouble', finding: `What agents wrote cannot be read: ${messageOf(error)}` };
  }
}
