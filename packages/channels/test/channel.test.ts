import { expect, test } from 'vitest';
import { textLength } from '../src/channel.ts';
import { refusal } from '../src/refusal.ts';

test('a text is as long as the platform counts it', () => {
  const text = 'né漢𝒳';
  expect(textLength(text, 'utf16-units')).toBe(5);
  expect(textLength(text, 'code-points')).toBe(4);
  expect(textLength(text, 'utf8-bytes')).toBe(10);
});

test('a refusal says how long the text is and how long it may be, and not what it says', () => {
  const channel = { type: 'chat', limits: { text: { max: 3, unit: 'code-points' } }, shows: new Set<never>() } as const;
  const address = { channelType: 'chat', platformId: 'a', threadId: null };
  expect(refusal(channel, address, { kind: 'text', text: 'abc' })).toBeUndefined();
  expect(refusal(channel, address, { kind: 'text', text: 'secret' })).toEqual({
    type: 'failed',
    permanent: true,
    reason: 'The text is 6 code-points long, and one message holds at most 3. Split it and send the parts.',
  });
});
