import { type TextUnit, textLength } from '@nanoclaw/session-db/text';
import { describe, expect, it } from 'vitest';
import { splitMessage, splitText } from '../src/index.ts';

const limit = (max: number, unit: TextUnit = 'code-points') => ({ max, unit });

describe('a text that is split', () => {
  it('stays whole when it fits, to the last character', () => {
    expect(splitText('  abcd', limit(6))).toEqual(['  abcd']);
  });

  it('breaks at a paragraph before a line, at a line before a sentence, at a sentence before a word', () => {
    expect(splitText('One two.\n\nThree. Four\nfive six', limit(20))).toEqual(['One two.', 'Three. Four\nfive six']);
    expect(splitText('One two. Three.\nFour five six', limit(20))).toEqual(['One two. Three.', 'Four five six']);
    expect(splitText('One two three. Four five six', limit(20))).toEqual(['One two three.', 'Four five six']);
    expect(splitText('One two three four five six', limit(20))).toEqual(['One two three four', 'five six']);
  });

  it('does not leave a part short for the sake of an early paragraph', () => {
    expect(splitText('Hi\n\none two three four five', limit(20))).toEqual(['Hi\n\none two three', 'four five']);
  });

  it('keeps the indentation of the line it breaks at', () => {
    expect(splitText('def f():\n\n    return 1', limit(14))).toEqual(['def f():', '    return 1']);
  });

  it('never breaks a character, be it a pair, a family or an accented letter', () => {
    const family = '👨‍👩‍👧';
    expect(splitText('😀😀😀😀😀', limit(5, 'utf16-units'))).toEqual(['😀😀', '😀😀', '😀']);
    expect(splitText('ééé', limit(5, 'utf8-bytes'))).toEqual(['éé', 'é']);
    expect(splitText(`${family}${family}`, limit(7))).toEqual([family, family]);
    expect(splitText('ae\u0301e\u0301', limit(4))).toEqual(['ae\u0301', 'e\u0301']);
  });

  it('gets through a character that is longer than the limit', () => {
    expect(splitText(`a${'\u0301'.repeat(20)}`, limit(5)).join('')).toBe(`a${'\u0301'.repeat(20)}`);
  });

  it('has no part that shows nothing', () => {
    expect(splitText(' \n '.repeat(100), limit(10))).toEqual([]);
    expect(splitText(`a${' '.repeat(50)}b`, limit(10))).toEqual(['a', 'b']);
  });

  it('closes a block of code at a break and opens it again', () => {
    const code = Array.from({ length: 40 }, (_, i) => `  line ${i}`).join('\n');
    const parts = splitText(`PassState:\n\`\`\`ts\n${code}\n\`\`\`\nDone.`, limit(200));
    expect(parts.length).toBeGreaterThan(2);
    for (const part of parts) expect(part.split('\n').filter((line) => line.startsWith('```')).length % 2).toBe(0);
    for (const part of parts.slice(1, -1)) expect(part.startsWith('```ts\n  line')).toBe(true);
  });

  it.each(['utf16-units', 'code-points', 'utf8-bytes'] as const)(
    'loses nothing but white space and is within the limit, counted in %s',
    (unit) => {
      const random = generator(7);
      const pieces = ['word', ' ', '\n', '\n\n', 'é', '😀', '漢字', '. ', '👨‍👩‍👧', 'x'.repeat(30), '  - ', '。'];
      for (let round = 0; round < 300; round += 1) {
        const text = Array.from({ length: 60 }, () => pieces[Math.floor(random() * pieces.length)]).join('');
        const max = 4 + Math.floor(random() * 60);
        const parts = splitText(text, { max, unit });
        expect(parts.join('').replaceAll(/\s/g, '')).toBe(text.replaceAll(/\s/g, ''));
        for (const part of parts) {
          expect(textLength(part, unit)).toBeLessThanOrEqual(max);
          expect(part.trim()).not.toBe('');
        }
      }
    },
  );

  it('with blocks of code is within the limit too', () => {
    const random = generator(9);
    const pieces = ['```\n', '```ts\n', 'word ', '\n', 'é'.repeat(50), `\`\`\`${'long'.repeat(20)}\n`];
    for (let round = 0; round < 200; round += 1) {
      const text = Array.from({ length: 80 }, () => pieces[Math.floor(random() * pieces.length)]).join('');
      for (const part of splitText(text, limit(200, 'utf8-bytes')))
        expect(textLength(part, 'utf8-bytes')).toBeLessThanOrEqual(200);
    }
  });

  it('needs a limit in which any character fits', () => {
    expect(() => splitText('a', limit(3))).toThrow(RangeError);
  });
});

describe('a message that is split', () => {
  const body = { text: 'Choose one of these', files: ['a', 'b', 'c'], buttons: [{ payload: '1' }, { payload: '2' }] };

  it('stays one message when all of it fits', () => {
    expect(partsOf(splitMessage(body, { text: limit(100) }))).toEqual([body]);
  });

  it('has files and buttons with its last text, and what is too much of them after it', () => {
    expect(partsOf(splitMessage(body, { text: limit(12), filesMax: 2, buttonsMax: 1 }))).toEqual([
      { text: 'Choose one', files: [], buttons: [] },
      { text: 'of these', files: ['a', 'b'], buttons: [{ payload: '1' }] },
      { text: '', files: ['c'], buttons: [] },
      { text: '…', files: [], buttons: [{ payload: '2' }] },
    ]);
  });

  it('is impossible, and says why, where no number of parts helps (failure 41)', () => {
    expect(splitMessage(body, { text: limit(100), filesMax: 0 })).toMatchObject({ type: 'impossible' });
    expect(splitMessage(body, { text: limit(100), buttonsMax: 0 })).toMatchObject({ type: 'impossible' });
    const long = { ...body, buttons: [{ payload: 'é'.repeat(40) }] };
    expect(splitMessage(long, { text: limit(100), buttonPayload: limit(64, 'utf8-bytes') })).toEqual({
      type: 'impossible',
      reason: 'A button sends back 80 utf8-bytes, and its channel takes at most 64.',
    });
  });
});

function partsOf<Part>(split: { type: 'parts'; parts: Iterable<Part> } | { type: 'impossible' }): Part[] {
  return split.type === 'parts' ? [...split.parts] : [];
}

/** Park and Miller's generator: the same numbers in every run. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}
