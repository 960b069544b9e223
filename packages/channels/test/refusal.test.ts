import { expect, test } from 'vitest';
import type { Channel, OutgoingMessage } from '../src/channel.ts';
import { choicePayload, readChoicePayload, refusal } from '../src/refusal.ts';

const channel: Pick<Channel, 'type' | 'limits' | 'shows'> = {
  type: 'chat',
  limits: {
    text: { max: 20, unit: 'code-points' },
    filesMax: 1,
    buttonsMax: 2,
    buttonText: { max: 4, unit: 'code-points' },
    buttonPayload: { max: 8, unit: 'utf8-bytes' },
    cardBytesMax: 12,
  },
  shows: new Set(['files', 'edit', 'reaction', 'question', 'card']),
};
const address = { channelType: 'chat', platformId: 'a', threadId: null };
const file = { name: 'a', path: '/a' };
const ask = {
  kind: 'question',
  questionId: 'q',
  title: 'T',
  question: 'Q?',
  choices: ['a', 'b'],
  expiresAt: 1,
} as const;

test.each<OutgoingMessage>([
  { kind: 'text', text: '', files: [file] },
  { kind: 'edit', platformMessageId: 'm', text: 'x' },
  { kind: 'reaction', platformMessageId: 'm', emoji: ':thumbs_up:' },
  { ...ask, questionId: 'sixsix' },
  { kind: 'card', card: { a: 'bcd' }, fallbackText: 'x' },
])('what a channel shows and its limits allow is not refused', (message) => {
  expect(refusal(channel, address, message)).toBeUndefined();
});

test.each<[OutgoingMessage, string]>([
  [{ kind: 'text', text: '', files: [] }, 'no text'],
  [{ kind: 'text', text: 'x', files: [file, file] }, '2 files'],
  [{ kind: 'edit', platformMessageId: 'm', text: ' ' }, 'no text'],
  [{ kind: 'reaction', platformMessageId: 'm', emoji: ' ' }, 'no emoji'],
  [{ kind: 'reaction', platformMessageId: 'm', emoji: 'x'.repeat(65) }, 'emoji is 65'],
  [{ ...ask, question: '' }, 'no text'],
  [{ ...ask, title: 'x'.repeat(20) }, 'question is 23'],
  [{ ...ask, choices: [] }, 'has choices'],
  [{ ...ask, choices: ['a', ' '] }, 'has choices'],
  [{ ...ask, choices: ['a', 'b', 'c'] }, '3 choices'],
  [{ ...ask, choices: ['abcde'] }, 'choice is 5'],
  [{ kind: 'card', card: { a: 'bcdef' }, fallbackText: 'x' }, 'card is 13'],
  [{ kind: 'card', card: {}, fallbackText: '' }, 'fall back'],
])('what goes beyond a limit is refused for good, and which limit it was is said', (message, reason) => {
  expect(refusal(channel, address, message)).toEqual({
    type: 'failed',
    permanent: true,
    reason: expect.stringContaining(reason),
  });
});

test("41: a button that would send back more than the platform's limit is refused before it is shown", () => {
  expect(refusal(channel, address, { ...ask, questionId: 'sevense' })).toMatchObject({
    permanent: true,
    reason: 'The payload of a button is 9 utf8-bytes long, and one message holds at most 8.',
  });
});

test('a channel that shows nothing but text refuses the rest, and says what it was', () => {
  const plain = { ...channel, shows: new Set<never>() };
  expect(refusal(plain, address, { kind: 'text', text: 'x', files: [file] })).toMatchObject({
    reason: 'The channel "chat" cannot show files.',
  });
  expect(refusal(plain, address, ask)).toMatchObject({ reason: 'The channel "chat" cannot show this: question.' });
});

test('what a button sends back says which question and which choice', () => {
  expect(readChoicePayload(choicePayload('a:b\n7', 12))).toEqual({ questionId: 'a:b\n7', choice: 12 });
  for (const payload of ['', 'q', 'q:', 'q:-1', 'q:01', ':1', 'q:1.5'])
    expect(readChoicePayload(payload)).toBeUndefined();
});
