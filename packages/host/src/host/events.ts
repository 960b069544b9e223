/**
 * What the parts of a host tell each other about sessions. It is made before all of them, so that none needs a part that is
 * made after it: a part emits what happened, and the loops, made last, listen.
 */
import { EventEmitter } from 'node:events';
import type { SessionHandle } from '../session/index.ts';

/** By the name of the event, what comes with it. Listeners run at once and must not throw. */
export interface HostEvents {
  /** A session has become known to this host. */
  readonly known: readonly [session: SessionHandle];
  /** A session is removed: nothing looks after it from now on. Its file is closed when all that is pushed to `letGo` has settled. */
  readonly removed: readonly [sessionId: string, letGo: Promise<void>[]];
  /** Something is there for the session's agent: the sweep looks at it at once. */
  readonly wake: readonly [sessionId: string];
  /** The session's own file stays locked, so that the host cannot write it: by its run, if it has one. */
  readonly locked: readonly [sessionId: string];
  /** The session's runner has committed something, or its run began or ended: sweep and delivery look at once. */
  readonly changed: readonly [sessionId: string];
}

/** The events of one host. */
export type HostEmitter = EventEmitter<{ [Name in keyof HostEvents]: [...HostEvents[Name]] }>;

/** An emitter that nothing listens to yet. */
export function hostEmitter(): HostEmitter {
  return new EventEmitter();
}
