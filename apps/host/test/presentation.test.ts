import { describe, expect, it } from 'vitest';
import { asText } from '../src/presentation.js';

describe('a message on a channel that knows only text', () => {
  it.each([
    [{ text: 'hello' }, 'hello'],
    [{ text: 'look', files: [{ name: 'a.txt' }] }, 'look\n[file: a.txt]'],
    [{ files: ['a.txt'] }, '[file: a.txt]'],
    [{ operation: 'edit', messageId: 3, text: 'new' }, '(message 3, corrected) new'],
    [{ operation: 'reaction', messageId: 2, emoji: '👍' }, '👍 (to message 2)'],
    [
      { operation: 'ask_question', title: 'Drink', question: 'Which?', options: ['tea', 'coffee'] },
      'Drink\nWhich?\n  1. tea\n  2. coffee',
    ],
    [{ operation: 'card', card: { a: 1 }, fallbackText: 'a card' }, 'a card'],
    [{ operation: 'card', card: { a: 1 } }, '{\n  "a": 1\n}'],
    [{ operation: 'dance' }, undefined],
    [{ text: '' }, undefined],
    [{ operation: 'edit', messageId: 3 }, undefined],
  ])('%j is %j', (content, expected) => {
    expect(asText(content)).toBe(expected);
  });
});
