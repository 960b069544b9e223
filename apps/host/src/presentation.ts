/** How a message looks on a channel that knows only text. Pure. */
import type { JsonObject } from '@nanoclaw/session-db';

/** The text that stands for a chat message; `undefined` when it has nothing to show. */
export function asText(content: JsonObject): string | undefined {
  switch (content['operation']) {
    case undefined:
      return plain(content);
    case 'edit':
      return joined(`(message ${numberOf(content)}, corrected)`, textOf(content, 'text'));
    case 'reaction':
      return joined(textOf(content, 'emoji'), `(to message ${numberOf(content)})`);
    case 'ask_question':
      return question(content);
    case 'card':
      return textOf(content, 'fallbackText') ?? JSON.stringify(content['card'] ?? null, null, 2);
    default:
      return undefined;
  }
}

function plain(content: JsonObject): string | undefined {
  const names = list(content['files']).map((file) => `[file: ${nameOf(file)}]`);
  const text = textOf(content, 'text');
  const lines = [...(text === undefined ? [] : [text]), ...names];
  return lines.length === 0 ? undefined : lines.join('\n');
}

function question(content: JsonObject): string {
  const choices = list(content['options']).map((option, i) => `  ${i + 1}. ${String(option)}`);
  return [textOf(content, 'title') ?? '', textOf(content, 'question') ?? '', ...choices].filter(Boolean).join('\n');
}

function joined(...parts: readonly (string | undefined)[]): string | undefined {
  return parts.includes(undefined) ? undefined : parts.join(' ');
}

function numberOf(content: JsonObject): string {
  return String(content['messageId']);
}

function nameOf(file: unknown): string {
  return typeof file === 'object' && file !== null && 'name' in file ? String(file.name) : String(file);
}

function textOf(content: JsonObject, key: string): string | undefined {
  const value = content[key];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
