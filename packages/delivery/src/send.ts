/**
 * What delivery asks of the world: where a message goes (`Route`), and one attempt to hand it over (`Send`). Both are
 * the host's. A row that a container wrote is only a request, so nothing here reads an address or a content.
 */
import type { Address, JsonObject, OutboundMessage, SendResult, Target } from '@nanoclaw/session-db';
import type { WhenUncertain } from '@nanoclaw/session-db/protocol';
import type { Rate } from './rates.ts';

/**
 * Makes one attempt to hand one part of a message to the world. The attempt is on disk before it is made.
 *
 * What the world says is in the result. A send that rejects, or that has not ended by the policy's time limit, leaves
 * it open whether the message can be seen, and is treated so: a channel that lost the connection before the answer
 * should therefore reject rather than say `failed`.
 */
export type Send = (message: OutboundMessage, attempt: Attempt) => Promise<SendResult>;

/** One try to send one part of a message, as the channel is told of it. */
export interface Attempt {
  /** The session's key. */
  readonly session: string;
  /** Names this part of this message in all its attempts; different for any two on one host, after a restore too. */
  readonly key: string;
  /** From 1. */
  readonly attempt: number;
  /** Which part of the message, from 0. */
  readonly part: number;
  /** An earlier attempt was made and its outcome is not known: use the key, or look the message up. */
  readonly uncertain: boolean;
  /** Uncertain, and the channel can neither take a key nor look up: people may see the message twice. */
  readonly isPossibleDuplicate: boolean;
  /** The platform has refused the message's markup: send it as plain text. */
  readonly plain: boolean;
  /** The earlier message that `Route.target` named, as it was delivered or received. */
  readonly target: Target | undefined;
  /** Aborts when the attempt has run out of time or the host stops; its result is not waited for any longer. */
  readonly signal: AbortSignal;
}

/**
 * What a channel can do about a message that may have been sent already: `key`, the platform itself takes a key only
 * once; `history`, the channel can look up whether the message is there; `none`, a repeated attempt may show twice.
 */
export type Duplicates = 'key' | 'history' | 'none';

/** What to do where `none` is all a channel can: send again marked as a possible duplicate, not send, or ask. */
export type UncertainPolicy = 'retry' | 'drop' | 'hold';

/** Where a message goes, as the host decides. */
export type Route =
  | {
      readonly type: 'deliver';
      /**
       * The resolved address; `null` for what goes to no address. Messages of one address are one lane, and so are those
       * of none: they go out one after the other, in order.
       */
      readonly address: Address | null;
      /** What is slow or away as a whole: the channel's account. One that does not answer is asked less often. */
      readonly account: string;
      /** What the channel can do about a message that may have been sent already. */
      readonly duplicates: Duplicates;
      /**
       * The contents it is split into (`splitMessage`). Asked for one by one when the message is accepted, a bounded number
       * in one go, and stored; later attempts do not ask for them.
       */
      readonly parts?: Iterable<JsonObject>;
      /** There is something to be removed once all of it has been delivered: `DeliveryPorts.cleanUp` is called then. */
      readonly cleansUp?: boolean;
      /** The number of the earlier message that this one edits or reacts to. */
      readonly target?: number;
      /** How often messages may go there: for the destination, for the account. */
      readonly rates?: readonly Rate[];
    }
  /** Not to be delivered: a dead letter. */
  | {
      readonly type: 'refused';
      /** One sentence for the agent and the operator. */
      readonly reason: string;
    };

/** What becomes of a message that the platform may have already, on a channel that can do this much. */
export function whenUncertain(duplicates: Duplicates, policy: UncertainPolicy): WhenUncertain {
  return duplicates === 'none' && policy !== 'retry' ? policy : 'again';
}
