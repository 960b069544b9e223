/** What can go wrong with a process, a run, a send and an answer of the guard. */

/** Where a process dies: at its n-th touch of the world from now, in one of the states in which that may leave it. */
export interface CrashPoint {
  /** From 1, counted over the touches of `who`. */
  readonly touch: number;
  /** Which of the states, from 0 (before it); or which share of the way through them. */
  readonly where: { readonly state: number } | { readonly share: number };
  readonly with: 'alone' | 'everybody';
}

/** What goes wrong with one run, by the number of its start. */
export type RunFault =
  | { readonly type: 'refused' }
  | { readonly type: 'slow-start'; readonly ms: number }
  | { readonly type: 'exits-at-once' }
  | { readonly type: 'exit-is-lost' }
  | { readonly type: 'stop-fails' }
  /** It stands still after so many touches, for a while. */
  | { readonly type: 'stalls'; readonly afterMs: number; readonly ms: number }
  /** It stands still until it is stopped. The stop says that it is dead, and it goes on a while later. */
  | { readonly type: 'zombie'; readonly afterMs: number; readonly ms: number }
  | { readonly type: 'dies'; readonly crashPoint: CrashPoint };

/** What becomes of one send. */
export type SendFault =
  | 'failed'
  | 'failed-for-long'
  | 'refused'
  | 'hangs'
  | 'shown-and-hangs'
  | 'shown-late'
  | 'answer-lost'
  | 'throws';

/** What goes wrong with one answer of the guard. */
export type GuardFault = 'killed-before' | 'killed-after' | 'late' | 'not-to-be-had';
