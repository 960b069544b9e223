/** When what waits for a person, a question or an approval, is open. The queries of both say the same in SQL. */
import type { Millis } from './entities.ts';

/** What is open until it has an outcome, or its time is over. */
interface Expiring {
  readonly outcome: object | null;
  readonly expiresAt: Millis;
}

/** Whether it still takes an answer; what is over is not open, also before `expire` has noted it. */
export function isOpen(waiting: Expiring, now: Millis): boolean {
  return waiting.outcome === null && waiting.expiresAt > now;
}

/**
 * Which questions or approvals are listed, and at most how many: all of them; those that are open at `now`; or those that
 * have an outcome.
 */
export type ListOptions = { readonly limit: number } & (
  | { readonly state?: never }
  | { readonly state: 'open'; readonly now: Millis }
  | { readonly state: 'ended' }
);
