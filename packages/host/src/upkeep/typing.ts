/**
 * Shows people that their agent is at work: while the run of a session makes progress with their messages, its chats see
 * the bot write. Nothing here has a timer or is waited for; a session at rest is never looked at.
 */
import type { Channel } from '@nanoclaw/channels';
import { type Ack, type Address, addressKey, type Millis } from '@nanoclaw/session-db';
import type { SessionHandle } from '../session/index.ts';

/** Platforms show it for five seconds or more. */
const EVERY_MS = 4_000;

/** Progress that is older is none. */
const PROGRESS_MAX_AGE_MS = 30_000;

/** The typing indicators of a host's chats. */
export class Typing {
  readonly #channels: ReadonlyMap<string, Channel>;
  /** The last progress of a session that was shown, by the run's own clock. */
  readonly #shown = new Map<string, Millis>();
  readonly #shownAt = new Map<string, Millis>();

  constructor(channels: ReadonlyMap<string, Channel>) {
    this.#channels = channels;
  }

  /**
   * To be called with each look at a session's runner: its open claims, and when it last made progress. Without a claim
   * the turn is over. Never throws, and waits for nothing.
   */
  update(session: SessionHandle, openClaims: readonly Ack[], progressAt: Millis, now: Millis): void {
    const turns = openClaims.filter((claim) => claim.status === 'processing');
    if (turns.length === 0) {
      this.#shown.delete(session.id);
      return;
    }
    // The run's clock is a container's word: it counts only when it moves, and a time ahead is no sign of life.
    if (progressAt === this.#shown.get(session.id) || progressAt > now || now - progressAt > PROGRESS_MAX_AGE_MS)
      return;
    this.#shown.set(session.id, progressAt);
    for (const address of placesOf(session, turns)) this.#show(address, now);
  }

  #show(address: Address, now: Millis): void {
    const channel = this.#channels.get(address.channelType);
    if (channel?.typing === undefined) return;
    const place = addressKey(address);
    for (const [shown, at] of this.#shownAt) if (now - at >= EVERY_MS || at > now) this.#shownAt.delete(shown);
    if (this.#shownAt.has(place)) return;
    this.#shownAt.set(place, now);
    // Best effort: a chat that cannot show it shows nothing.
    void channel.typing(address).catch(() => undefined);
  }
}

/** The chats of the messages that a turn works on; those of a session have one as a rule. */
function placesOf(session: SessionHandle, turns: readonly Ack[]): Address[] {
  const places = new Map<string, Address>();
  for (const { messageId } of turns.slice(0, PLACES_MAX)) {
    const address = session.files.received(messageId)?.address;
    if (address) places.set(addressKey(address), address);
  }
  return [...places.values()];
}

/** A container may claim any number of messages; the first ones show where it is. */
const PLACES_MAX = 10;
