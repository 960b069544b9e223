import type { Showable } from '@nanoclaw/channels';
import type { JsonObject } from '@nanoclaw/session-db';
import { describe, expect, it } from 'vitest';
import { asText, questionOf, showing, withRefusals } from '../src/channels/presentation.ts';

const ALL: readonly Showable[] = ['files', 'edit', 'reaction', 'question', 'card'];
const PLACE = { channelType: 'x', platformId: 'y', threadId: null };
const LIMITS = { text: { max: 1_000, unit: 'utf16-units' } } as const;
const QUESTION = { operation: 'ask_question', title: 'Drink', question: 'Which?', options: ['tea', 'coffee'] };

describe('a message where only text can be shown', () => {
  it.each([
    [{ text: 'hello' }, 'hello'],
    [{ text: 'look', files: [{ name: 'a.txt' }] }, 'look\n(A file that cannot be shown here: a.txt)'],
    [{ files: ['a.txt'] }, '(A file that cannot be shown here: a.txt)'],
    [{ operation: 'edit', messageId: 3, text: 'new' }, '(message 3, corrected) new'],
    [{ operation: 'reaction', messageId: 2, emoji: '👍' }, '👍 (to message 2)'],
    [QUESTION, 'Drink\nWhich?\n  1. tea\n  2. coffee'],
    [{ operation: 'card', card: { a: 1 }, fallbackText: 'a card' }, 'a card'],
    [{ operation: 'card', card: { a: 1 } }, '{\n  "a": 1\n}'],
    [{ operation: 'dance' }, undefined],
    [{ text: '' }, undefined],
    [{ operation: 'edit', messageId: 3 }, undefined],
  ])('%j is %j', (content, expected) => {
    expect(asText(content)).toBe(expected);
  });
});

const shown = (content: JsonObject, shows: readonly Showable[] = ALL, more = {}) => {
  const how = showing(content, { type: 'x', limits: { ...LIMITS, ...more }, shows: new Set(shows) }, PLACE);
  return how.type === 'parts' ? { ...how, parts: [...how.parts] } : how;
};

describe('how a message is shown', () => {
  it.each([
    ['an edit', { operation: 'edit', messageId: 7, text: 'new' }, { type: 'whole', target: 7 }],
    ['a reaction', { operation: 'reaction', messageId: 8, emoji: '👍' }, { type: 'whole', target: 8 }],
    ['a question', QUESTION, { type: 'whole' }],
    ['a card', { operation: 'card', card: {}, fallbackText: 'x' }, { type: 'whole' }],
    ['a text', { text: 'x' }, { type: 'parts', parts: [{ text: 'x' }] }],
  ])('%s stays what it is where the channel has it', (_, content, expected) => {
    expect(shown(content)).toEqual(expected);
  });

  it('is text where the channel has no such kind, and a question stays one to be opened', () => {
    expect(shown({ operation: 'edit', messageId: 7, text: 'new' }, [])).toEqual({
      type: 'parts',
      parts: [{ text: '(message 7, corrected) new' }],
    });
    expect(shown(QUESTION, [])).toEqual({
      type: 'parts',
      parts: [{ ...QUESTION, text: 'Drink\nWhich?\n  1. tea\n  2. coffee' }],
    });
  });

  it('is text where the kind is beyond a limit: a button that is too long, a payload, a card (failure 41)', () => {
    for (const limit of [
      { buttonText: { max: 5, unit: 'code-points' } },
      { buttonPayload: { max: 37, unit: 'utf8-bytes' } },
    ]) {
      expect(shown(QUESTION, ALL, limit)).toMatchObject({ type: 'parts' });
    }
    expect(shown({ operation: 'card', card: { a: 'long' }, fallbackText: 'x' }, ALL, { cardBytesMax: 4 })).toEqual({
      type: 'parts',
      parts: [{ text: 'x' }],
    });
  });

  it('leaves room beside files for a word about those that cannot go with the text', () => {
    const result = shown({ text: 'x'.repeat(990), files: ['a'] });
    const parts = result.type === 'parts' ? result.parts : [];
    expect(parts.map(({ files }) => files)).toEqual([undefined, ['a']]);
    expect(parts.map(({ text }) => text).join('')).toBe('x'.repeat(990));
  });

  it.each([
    [{ operation: 'ask_question', question: 'Which?', options: [] }],
    [{ operation: 'ask_question', question: 'Which?', options: ['a', 7] }],
    [{ operation: 'ask_question', question: 'Which?', options: ['a', ' '] }],
    [{ operation: 'ask_question', question: '', options: ['a'] }],
    [{ operation: 'ask_question', question: 'Which?', options: Array.from({ length: 21 }, (_, i) => `${i}`) }],
    [{ operation: 'reaction', messageId: -1, emoji: 'x' }],
    [{ operation: 'reaction', messageId: 2 ** 60, emoji: 'x' }],
    [{ operation: 'card', card: [] }],
  ])('is impossible for %j', (content) => {
    expect(shown(content)).toMatchObject({ type: 'impossible' });
  });
});

describe('a question', () => {
  it('has its choices without blanks around them, and the time it names, if it is one', () => {
    expect(questionOf({ ...QUESTION, options: [' tea '], expiresAt: 7 })).toMatchObject({
      choices: ['tea'],
      expiresAt: 7,
    });
    expect(questionOf({ ...QUESTION, expiresAt: 'soon' })?.expiresAt).toBeUndefined();
    expect(questionOf({ text: 'x' })).toBeUndefined();
  });
});

describe('files that could not go with a text', () => {
  const refused = [{ name: 'a\nb', reason: 'No.' }];

  it('are named in it, each on one line, or counted where there is no room', () => {
    expect(withRefusals('x', refused, LIMITS.text)).toBe('x\n(The file a b was not sent: No.)');
    expect(withRefusals('x', refused, { max: 32, unit: 'utf16-units' })).toBe('x\n(Files that were not sent: 1)');
    expect(withRefusals('x', refused, { max: 10, unit: 'utf16-units' })).toBe('x');
  });
});
