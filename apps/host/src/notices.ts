/**
 * What the host says in its own name: refused commands, messages given up, agents that cannot be started. It goes out
 * through the channel directly and is never written into a runner's file.
 */
import type { Address, SetTimer, TroubleRecord } from '@nanoclaw/session-db';
import type { Logger } from './log.js';
import type { Channels } from './outbound.js';
import { messageOf } from './problem.js';
import type { SessionHandle } from './sessions.js';

/** How long a platform may take with what the host says, in milliseconds: a sweep of the session waits for it. */
const SAY_MAX_MS = 10_000;

export class Notices {
  readonly #channels: Channels;
  readonly #log: Logger;
  readonly #setTimer: SetTimer;

  constructor(channels: Channels, log: Logger, setTimer: SetTimer) {
    this.#channels = channels;
    this.#log = log;
    this.#setTimer = setTimer;
  }

  /**
   * Says something at an address, at most once per key on channels that know keys. Rejects when it was not said, for
   * certain or perhaps: a platform that does not answer within 10 s is not waited for.
   */
  async say(address: Address, text: string, key: string): Promise<void> {
    const channel = this.#channels.get(address.channelType);
    const late = Promise.withResolvers<never>();
    const cancel = this.#setTimer(SAY_MAX_MS, () => late.reject(new Error('The channel does not answer.')));
    const sent = channel?.send(address, { kind: 'text', text }, { key, attempt: 1, uncertain: false });
    const result = await Promise.race([sent, late.promise]).finally(cancel);
    if (result?.type === 'sent') return;
    throw new Error(result?.type === 'failed' ? result.reason : `The channel "${address.channelType}" is offline.`);
  }

  /** A message that will not be answered is a dead letter, and whoever sent it is told. */
  async givenUp(session: SessionHandle, messageId: string, reason: string): Promise<void> {
    const text = `A message could not be answered and was given up: ${reason} It is kept; write again to ask anew.`;
    await this.#tell(session, text, `given-up/${session.id}/${messageId}`);
  }

  /** A series that fails again and again is paused, and its chat is told. */
  async paused(session: SessionHandle, seriesId: string, settledAt: number): Promise<void> {
    const reason = session.files.series.get(seriesId)?.reason ?? 'It failed too often.';
    await this.#tell(
      session,
      `A scheduled task was paused: ${reason}`,
      `paused/${session.id}/${seriesId}/${settledAt}`,
    );
  }

  /** Says what a session owes its chat of troubles that began or ended. What cannot be said now stays owed. */
  async owed(session: SessionHandle, troubles: readonly TroubleRecord[]): Promise<void> {
    for (const trouble of troubles) {
      const { kind, noticeOwed, since } = trouble;
      const { replyTo } = session.files.routing();
      if (replyTo === null || noticeOwed === null) continue;
      const text =
        noticeOwed === 'began'
          ? `The agent cannot answer just now: ${trouble.error} Your messages are kept; it is tried again by itself.`
          : 'The agent can answer again.';
      try {
        await this.say(replyTo, text, `${session.id}/${kind}/${noticeOwed}/${since}`);
        session.files.trouble.told(kind, noticeOwed);
      } catch (error) {
        this.#log.warn({ session: session.id, error: messageOf(error) }, 'a notice could not be said yet');
      }
    }
  }

  /** Says something where the session answers. What cannot be said is in the log. */
  async #tell(session: SessionHandle, text: string, key: string): Promise<void> {
    const { replyTo } = session.files.routing();
    if (replyTo === null) return;
    try {
      await this.say(replyTo, text, key);
    } catch (error) {
      this.#log.error({ session: session.id, key, error: messageOf(error) }, 'nobody could be told');
    }
  }
}
