/**
 * Which models are in the way, by provider: they refuse, are away, or give no sign. What the sessions' own files say of it, as of the
 * last visit to each; so a host that starts knows it again once it has visited them.
 */
import type { DeferralKind, DeferredWork, Millis } from '@nanoclaw/session-db';

/** What keeps a model from answering in one session. */
export interface ModelTrouble extends Omit<DeferredWork, 'kind' | 'retryAt'> {
  /** `refused`: a person must act. `unavailable`: it will pass. `silent`: it is being asked, and gives no sign. */
  readonly kind: DeferralKind | 'silent';
  /** When it is asked next; `null`: it is being asked. */
  readonly retryAt: Millis | null;
}

/** The trouble of one kind with one provider, over all sessions. */
export interface ProviderTrouble extends ModelTrouble {
  /** As agents and the configuration name it. */
  readonly provider: string;
  /** How many sessions have it. */
  readonly sessions: number;
}

/** The models that are in the way. Empty until sessions are visited. */
export class ModelTroubles {
  readonly #bySession = new Map<string, ModelTrouble & { readonly provider: string }>();

  /** Notes what a session has; nothing with `undefined`. */
  note(sessionId: string, trouble: (ModelTrouble & { readonly provider: string }) | undefined): void {
    if (trouble === undefined) this.#bySession.delete(sessionId);
    else this.#bySession.set(sessionId, trouble);
  }

  /** What a session has. */
  get(sessionId: string): (ModelTrouble & { readonly provider: string }) | undefined {
    return this.#bySession.get(sessionId);
  }

  /** The sessions whose messages wait for this provider. */
  waitingFor(provider: string): string[] {
    return [...this.#bySession].flatMap(([id, trouble]) =>
      trouble.provider === provider && trouble.kind !== 'silent' ? [id] : [],
    );
  }

  /** All of them, one of each kind for each provider. */
  all(): ProviderTrouble[] {
    const groups = Map.groupBy(this.#bySession.values(), ({ provider, kind }) => JSON.stringify([provider, kind]));
    return [...groups.values()].flatMap((group) => {
      const latest = group.toSorted((a, b) => b.since - a.since)[0];
      if (latest === undefined) return [];
      const retries = group.flatMap(({ retryAt }) => retryAt ?? []);
      return {
        ...latest,
        since: Math.min(...group.map(({ since }) => since)),
        retryAt: retries.length === 0 ? null : Math.min(...retries),
        messages: group.reduce((sum, { messages }) => sum + messages, 0),
        sessions: group.length,
      };
    });
  }

  /** Drops what is remembered of a session that is gone. */
  forget(sessionId: string): void {
    this.#bySession.delete(sessionId);
  }
}
