// What of a message of the bot a terminal's history keeps. Pure.
import type { OutgoingMessage } from '../channel.ts';
import type { Outgoing, OutgoingDetail } from './terminal-history.ts';

/** A message as the history has it, but for where and when. */
export type HistoryEntry = Pick<Outgoing, 'text' | 'inReplyTo' | 'detail' | 'folder'>;

/** The entry of a message whose files are nowhere yet. One that is `known` has the sizes of its files from there. */
export function historyEntry(message: OutgoingMessage, known: OutgoingDetail | undefined): HistoryEntry {
  const common = { folder: null, inReplyTo: 'inReplyTo' in message ? (message.inReplyTo ?? null) : null };
  switch (message.kind) {
    case 'text': {
      const sizes = known?.kind === 'text' ? known.files : [];
      const files = (message.files ?? []).map(({ name }, position) => ({ name, bytes: sizes[position]?.bytes ?? 0 }));
      return { ...common, text: message.text.toWellFormed(), detail: { kind: 'text', files } };
    }
    case 'edit':
      return { ...common, text: message.text.toWellFormed(), detail: { kind: 'edit', of: message.platformMessageId } };
    case 'reaction':
      return {
        ...common,
        text: message.emoji.toWellFormed(),
        detail: { kind: 'reaction', to: message.platformMessageId },
      };
    case 'question': {
      const { questionId, title, question, choices, expiresAt } = message;
      const detail = {
        kind: 'question',
        questionId,
        title: title.toWellFormed(),
        choices: choices.map((choice) => choice.toWellFormed()),
        expiresAt,
      } as const;
      return { ...common, text: question.toWellFormed(), detail };
    }
    case 'card': // refused before: the terminal shows none
      return { ...common, text: message.fallbackText.toWellFormed(), detail: { kind: 'text', files: [] } };
  }
}
