/**
 * What a turn does before its end, and how the same thing is known again in a later attempt at its messages. Pure.
 */
import { createHash } from 'node:crypto';
import { type Address, addressKey, type InboundMessage, type JsonObject, type PastEffect } from '@nanoclaw/session-db';
import { readContent } from './content.ts';
import type { DoneEffect } from './provider.ts';

/**
 * The key of an effect: equal for all that is of one kind, goes to one place, and has one content. `digests` are those of the
 * files that go with it: a file of another content is another effect.
 */
export function effectKey(
  kind: string,
  address: Address | null,
  content: JsonObject,
  digests: readonly string[] = [],
): string {
  const place = address === null ? null : addressKey(address);
  return createHash('sha256')
    .update(JSON.stringify([kind, place, content, digests]))
    .digest('hex');
}

/** An effect of an attempt that was cut off, as the next one is told of it; `answer` is what the host has written to it. */
export function doneEffect(effect: PastEffect, answer: InboundMessage | 'none'): DoneEffect {
  const { seq, address, content } = effect;
  return {
    tool: toolOf(effect),
    number: seq,
    address,
    content,
    answer: answer === 'none' ? undefined : answerText(answer),
  };
}

/** The tool whose call has written a row. */
function toolOf({ kind, content }: PastEffect): string {
  const { action, operation, files } = content;
  if (kind === 'system') return typeof action === 'string' ? action : 'unknown';
  if (typeof operation === 'string') return OPERATION_TOOLS[operation] ?? operation;
  return files === undefined ? 'send_message' : 'send_file';
}

const OPERATION_TOOLS: Readonly<Record<string, string>> = {
  edit: 'edit_message',
  reaction: 'add_reaction',
  card: 'send_card',
  ask_question: 'ask_user_question',
};

function answerText(answer: InboundMessage): string {
  const content = readContent(answer);
  return content.type === 'chat' || content.type === 'result' ? content.text : '';
}
