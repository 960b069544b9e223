// What makes a message impossible to send, whatever is behind the channel: for channels to ask first in `send`, so that
// a limit is kept the same way everywhere. Pure; what can only be learned by opening a file is in `outgoing-files.ts`.
import { type ChoiceLimits, choicesProblem } from '@nanoclaw/session-db/text';
import {
  type Address,
  type Channel,
  type OutgoingMessage,
  type SendResult,
  type TextLimit,
  textLength,
} from './channel.ts';

/** A result that says that the same attempt can never succeed. */
export type Refused = SendResult & { type: 'failed'; permanent: true };

/** What `refusal` looks at. */
export type Refusing = Pick<Channel, 'type' | 'limits' | 'shows'>;

/**
 * Why this channel can never show this message at this address: another channel's address, a kind that it does not
 * show, nothing to show, or more than its limits allow. `undefined` when nothing speaks against it.
 */
export function refusal(channel: Refusing, address: Address, message: OutgoingMessage): Refused | undefined {
  const reason =
    address.channelType === channel.type
      ? (unshownReason(channel, message) ?? contentReason(channel, message))
      : `The address belongs to the channel "${address.channelType}", not to "${channel.type}".`;
  return reason === undefined ? undefined : refused(reason);
}

/** The result that refuses for good, with one sentence for an operator. */
export function refused(reason: string): Refused {
  return { type: 'failed', permanent: true, reason };
}

/** What a press of a choice's button sends back to a platform that keeps nothing else with it. */
export function choicePayload(questionId: string, choice: number): string {
  return `${questionId}:${choice}`;
}

/** The question and the choice that `choicePayload` wrote; `undefined` for a text that it did not write. */
export function readChoicePayload(payload: string): { questionId: string; choice: number } | undefined {
  const [, questionId, digits] = /^(.+):(0|[1-9]\d{0,5})$/s.exec(payload) ?? [];
  return questionId === undefined ? undefined : { questionId, choice: Number(digits) };
}

/** More is no emoji, nor the name of one. */
const EMOJI_BYTES_MAX = 64;

function unshownReason({ type, shows }: Refusing, message: OutgoingMessage): string | undefined {
  if (message.kind !== 'text') {
    return shows.has(message.kind) ? undefined : `The channel "${type}" cannot show this: ${message.kind}.`;
  }
  const hasFiles = (message.files ?? []).length > 0;
  return hasFiles && !shows.has('files') ? `The channel "${type}" cannot show files.` : undefined;
}

function contentReason({ limits }: Refusing, message: OutgoingMessage): string | undefined {
  switch (message.kind) {
    case 'text': {
      const files = message.files?.length ?? 0;
      if (files === 0 && isBlank(message.text)) return NOTHING_TO_SHOW;
      return tooLong('text', message.text, limits.text) ?? tooMany('files', files, limits.filesMax);
    }
    case 'edit':
      return isBlank(message.text) ? NOTHING_TO_SHOW : tooLong('text', message.text, limits.text);
    case 'reaction':
      if (isBlank(message.emoji)) return 'The reaction has no emoji.';
      return tooLong('emoji', message.emoji, { max: EMOJI_BYTES_MAX, unit: 'utf8-bytes' });
    case 'question': {
      const { questionId, title, question, choices } = message;
      if (isBlank(question)) return 'The question has no text.';
      return (
        choicesProblem(choices, OWN_LIMITS) ??
        tooLong('question', `${title}\n${question}`, limits.text) ??
        tooMany('choices', choices.length, limits.buttonsMax) ??
        first(choices.map((choice) => tooLong('choice', choice, limits.buttonText))) ??
        tooLong('payload of a button', choicePayload(questionId, choices.length - 1), limits.buttonPayload)
      );
    }
    case 'card': {
      if (isBlank(message.fallbackText)) return 'The card has no text to fall back to.';
      const { cardBytesMax } = limits;
      if (cardBytesMax === undefined) return undefined;
      return tooLong('card', JSON.stringify(message.card), { max: cardBytesMax, unit: 'utf8-bytes' });
    }
  }
}

/** How many choices there are, and how long, is for each channel to say. */
const OWN_LIMITS: ChoiceLimits = { choicesMax: Number.POSITIVE_INFINITY, lengthMax: Number.POSITIVE_INFINITY };

const NOTHING_TO_SHOW = 'The message has no text, so there is nothing to show.';

function isBlank(text: string): boolean {
  return text.trim() === '';
}

function tooLong(what: string, text: string, limit: TextLimit | undefined): string | undefined {
  if (limit === undefined) return undefined;
  const { max, unit } = limit;
  const length = textLength(text, unit);
  if (length <= max) return undefined;
  return `The ${what} is ${length} ${unit} long, and one message holds at most ${max}.${ADVICE[what] ?? ''}`;
}

const ADVICE: Readonly<Record<string, string>> = { text: ' Split it and send the parts.' };

function tooMany(what: string, count: number, max: number | undefined): string | undefined {
  if (max === undefined || count <= max) return undefined;
  return `The message has ${count} ${what}, and its channel takes at most ${max}.`;
}

function first(reasons: readonly (string | undefined)[]): string | undefined {
  return reasons.find((reason) => reason !== undefined);
}
