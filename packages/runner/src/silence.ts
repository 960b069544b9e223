/**
 * A model that gives no sign: an API that hangs looks like one that thinks. After a while that is to be said, for the operator to
 * see; after a long while the turn is to end.
 */
import type { Clock, Millis } from '@nanoclaw/session-db';

/** When a silence is said, and when it is too long. */
export interface SilencePolicy {
  /** After so long without an event it is said. */
  readonly modelQuietMs: Millis;
  /** After so long without an event the turn is to end. */
  readonly modelSilenceMaxMs: Millis;
}

/** What is done about a silence, from a timer. */
export interface SilencePorts {
  readonly clock: Clock;
  /** It has been silent since then, and is waited for. */
  readonly onQuiet: (since: Millis) => void;
  readonly onTooLong: () => void;
}

/** The silences of one turn's model. */
export class Silence {
  readonly #policy: SilencePolicy;
  readonly #ports: SilencePorts;
  #cancel: (() => void) | undefined;

  constructor(policy: SilencePolicy, ports: SilencePorts) {
    this.#policy = policy;
    this.#ports = ports;
  }

  /** The model was asked or gave a sign: its silence begins anew. While it waits for a tool it has nothing to say. */
  heard(isWaitingForTool: boolean): void {
    this.end();
    if (isWaitingForTool) return;
    const { clock, onQuiet, onTooLong } = this.#ports;
    const { modelQuietMs, modelSilenceMaxMs } = this.#policy;
    const since = clock.now();
    this.#cancel = clock.setTimer(Math.min(modelQuietMs, modelSilenceMaxMs), () => {
      this.#cancel = clock.setTimer(Math.max(modelSilenceMaxMs - modelQuietMs, 0), onTooLong);
      onQuiet(since);
    });
  }

  /** Nothing is waited for any more. */
  end(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }
}
