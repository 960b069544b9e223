// A message of the bot in plain lines, for programs that print it. Pure.
import type { TerminalMessage } from './protocol.ts';

/**
 * All of a message as text: an edit and a reaction say what they are about, a question has its choices numbered from 1,
 * a file its place. May hold control characters, as the message does: strip them before printing.
 */
export function terminalText(message: TerminalMessage): string {
  const { text } = message;
  switch (message.kind) {
    case 'text':
      return [
        ...(text === '' ? [] : [text]),
        ...message.files.map(({ name, path }) => `[file ${name}: ${path ?? 'kept no longer'}]`),
      ].join('\n');
    case 'edit':
      return `[${message.of} now reads] ${text}`;
    case 'reaction':
      return `[${text} to ${message.to}]`;
    case 'question':
      return [
        ...(message.title === '' ? [] : [message.title]),
        text,
        ...message.choices.map((choice, index) => `  ${index + 1}. ${choice}`),
      ].join('\n');
  }
}
