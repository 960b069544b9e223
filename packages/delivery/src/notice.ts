/**
 * What is said when messages are given up: to the agent, who sent them, and to the operator, who may be able to do
 * something about it. Pure.
 */
import { createHash } from 'node:crypto';
import type { DeadLetter, JsonObject, Millis, NewInbound } from '@nanoclaw/session-db';
import { cut } from '@nanoclaw/session-db/text';
import type { Rate } from './rates.ts';

/** Messages of one session given up for one reason. */
export interface Notice {
  /** What went wrong, as one sentence for the operator. */
  readonly reason: string;
  /** The messages that were given up, oldest first. */
  readonly letters: readonly DeadLetter[];
}

const HOUR_MS = 3_600_000;

/** A session's notices to the operator: at most this many in a row, and then one an hour more. */
const NOTICES_AT_ONCE = 20;

/**
 * A context row for the agent. Its id is derived from what it says, so that saying it again after a crash is saying it
 * once; its numbers are those by which the agent knows its messages.
 */
export function agentNotice(letters: readonly DeadLetter[], now: Millis): NewInbound {
  const messages = letters.map(
    ({ seq, part, error, uncertain }): JsonObject => ({
      messageId: seq,
      reason: cut(error, 500),
      ...(part > 0 && { deliveredParts: part }),
      ...(uncertain && { mayHaveArrived: true }),
    }),
  );
  const told = letters.map(({ seq, settledAt }) => [seq, settledAt]);
  const digest = createHash('sha256')
    .update(JSON.stringify([messages, told]))
    .digest('hex');
  const count = letters.length === 1 ? 'A message you sent was' : `${letters.length} messages you sent were`;
  const text = `${count} not delivered and will not be tried again by itself.`;
  const reasons = letters.map(({ seq, error }) => `Message ${seq}: ${cut(error, 500)}`);
  return {
    id: `undelivered/${digest}`,
    kind: 'system',
    timestamp: now,
    trigger: 'context',
    address: null,
    // The shape of a result, which is what a runner reads in a row of this kind.
    content: {
      type: 'undelivered',
      action: 'deliver',
      status: 'error',
      error: [text, ...reasons].join('\n'),
      messages,
    },
  };
}

/**
 * Notices for the operator, one for each reason, and with each what it is to take tokens from before it is told: the
 * same reason is told once an hour, whichever session has it.
 */
export function operatorNotices(letters: readonly DeadLetter[]): (Notice & { readonly rates: readonly Rate[] })[] {
  const byReason = new Map<string, DeadLetter[]>();
  for (const letter of letters) {
    const same = byReason.get(letter.error);
    if (same === undefined) byReason.set(letter.error, [letter]);
    else same.push(letter);
  }
  return [...byReason].map(([reason, same]) => ({
    reason,
    letters: same,
    rates: [
      { key: `notice/${createHash('sha256').update(reason).digest('hex')}`, burst: 1, everyMs: HOUR_MS },
      { key: 'notices', burst: NOTICES_AT_ONCE, everyMs: HOUR_MS },
    ],
  }));
}
