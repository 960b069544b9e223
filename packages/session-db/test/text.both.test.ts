import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BrokenLine,
  beginning,
  cut,
  ending,
  escapeHidden,
  hasHidden,
  isZone,
  lines,
  machineZone,
  oneLine,
  type TextUnit,
  textLength,
  zoneProblem,
} from '../src/text/index.ts';

const UNITS: readonly TextUnit[] = ['utf16-units', 'code-points', 'utf8-bytes'];

/** What a reader takes for one character, of several code points each. */
const CHARACTERS = ['👩‍👩‍👧‍👦', '🇩🇪', '🏳️‍🌈', '👍🏽', 'é', 'กำ', '각', 'e\u0301\u0323', '1️⃣', '😀'];

/** Texts of letters, whole characters, marks alone and halves of pairs. */
const texts = fc
  .array(
    fc.oneof(
      fc.constantFrom(...CHARACTERS, 'a', ' ', '\n', '\u0301', '\ud83d', '\ude00', '🇩'),
      fc.string({ unit: 'binary' }),
    ),
    { maxLength: 40 },
  )
  .map((parts) => parts.join(''));

const same = { seed: 80, numRuns: 2_000 };

const whole = (text: string) => [...new Intl.Segmenter('en').segment(text)].map(({ segment }) => segment);

describe('a cut', () => {
  it('is well-formed, within its limit, and the beginning of the text, whatever the text, the limit and the unit', () => {
    fc.assert(
      fc.property(texts, fc.integer({ min: 0, max: 60 }), fc.constantFrom(...UNITS), (text, max, unit) => {
        const [short, start] = [cut(text, { max, unit }), beginning(text, { max, unit })];
        expect([short.isWellFormed(), start.isWellFormed()]).toEqual([true, true]);
        expect(textLength(short, unit)).toBeLessThanOrEqual(max);
        expect(textLength(start, unit)).toBeLessThanOrEqual(max);
        expect(text.toWellFormed().startsWith(start)).toBe(true);
        expect(text.toWellFormed().startsWith(short.replace(/…$/, ''))).toBe(true);
        if (textLength(text, unit) <= max) expect([short, start]).toEqual([text.toWellFormed(), text.toWellFormed()]);
        else if (max > 3) expect(short.endsWith('…')).toBe(true);
      }),
      same,
    );
  });

  it('never leaves half of what a reader sees as one character', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...CHARACTERS, 'a', ' '), { maxLength: 30 }), fc.nat(80), (parts, max) => {
        const text = parts.join('');
        const characters = whole(text);
        const kept = beginning(text, max);
        if (kept.length < (characters[0] ?? '').length) return;
        expect(whole(kept)).toEqual(characters.slice(0, whole(kept).length));
        const last = ending(text, max);
        expect(last.length).toBeLessThanOrEqual(max);
        if (last !== '') expect(whole(last)).toEqual(characters.slice(-whole(last).length));
      }),
      same,
    );
  });

  it('gives the end of a text well-formed', () => {
    fc.assert(
      fc.property(texts, fc.nat(60), (text, max) => {
        const last = ending(text, max);
        expect([last.isWellFormed(), last.length <= max, text.toWellFormed().endsWith(last)]).toEqual([
          true,
          true,
          true,
        ]);
      }),
      same,
    );
  });

  it('costs what is kept and not what is left out, of characters without end too', () => {
    for (const piece of ['a', '😀', '🇩🇪', '\u0301', '\ud83d', 'क्']) {
      const text = piece.repeat(4_000_000 / piece.length);
      for (let i = 0; i < 200; i++) expect(cut(text, 100).length).toBeLessThanOrEqual(100);
    }
  });
});

describe('hidden marks', () => {
  const HIDDEN = [
    '\u202e',
    '\u2066',
    '\u2028',
    '\u2029',
    '\u200b',
    '\u00ad',
    '\ufeff',
    '\u0085',
    '\u3164',
    '\u{e0041}',
    '\0',
    '\u001b',
    '\u061c',
  ];

  it('are written out, and what joins letters and emoji stays', () => {
    for (const mark of HIDDEN) {
      expect([hasHidden(`a${mark}b`), escapeHidden(`a${mark}b`)]).toEqual([
        true,
        `a${JSON.parse(JSON.stringify(mark)).replace(/[^]/g, (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)}b`,
      ]);
      expect(oneLine(`a${mark}b`, 10)).toBe('a b');
    }
    for (const text of [...CHARACTERS, 'می‌خواهم', 'ക്‍', '❤️', '#️⃣', 'Straße, 写真']) {
      expect([text, hasHidden(text), escapeHidden(text), oneLine(text, 40)]).toEqual([text, false, text, text]);
    }
    expect(escapeHidden('ad\u200dmin')).toBe('ad\\u200dmin');
    expect(escapeHidden('a\n\tb\r', 'line breaks')).toBe('a\n\tb\\u000d');
    expect(escapeHidden('a\nb')).toBe('a\\u000ab');
  });

  it('leave one line of at most so many characters, whatever the text', () => {
    fc.assert(
      fc.property(texts, fc.integer({ min: 1, max: 40 }), (text, max) => {
        const line = oneLine(text, max);
        expect([line.isWellFormed(), hasHidden(line), [...line].length <= max]).toEqual([true, false, true]);
      }),
      same,
    );
    expect(oneLine('x'.repeat(4_000_000), 10)).toBe(`${'x'.repeat(9)}…`);
    expect(oneLine(`${' '.repeat(1_000)}x`, 10)).toBe('…');
  });
});

async function read(chunks: readonly Uint8Array[], bytesMax = 1_000): Promise<string[]> {
  async function* stream() {
    yield* chunks;
  }
  return Array.fromAsync(lines(stream(), bytesMax));
}

describe('the lines of a protocol', () => {
  it('end at \\n alone, wherever the stream is cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(texts, { maxLength: 6 }), fc.integer({ min: 1, max: 9 }), async (items, size) => {
        const sent = [...items, 'a\u2028b\u2029c\u0085d\re\vf\f'].map((text) => JSON.stringify({ text }));
        const bytes = Buffer.from(sent.map((line) => `${line}\n`).join(''));
        const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
          bytes.subarray(i * size, (i + 1) * size),
        );
        expect(await read(chunks, 100_000)).toEqual(sent);
      }),
      { seed: 82, numRuns: 200 },
    );
  });

  it('are bounded and strict, and an unfinished last one is dropped', async () => {
    expect(await read([Buffer.from('a\nb')])).toEqual(['a']);
    await expect(read([Buffer.alloc(1_001, 'x')])).rejects.toThrow(BrokenLine);
    await expect(read([Buffer.from([0xff, 0x0a])])).rejects.toThrow('not UTF-8');
  });
});

describe('a time zone', () => {
  it('is every name and alias that the platform knows', () => {
    for (const name of [
      ...Intl.supportedValuesOf('timeZone'),
      'UTC',
      'GMT',
      'US/Eastern',
      'Etc/GMT+5',
      'EST5EDT',
      'Asia/Calcutta',
    ]) {
      expect([name, isZone(name), zoneProblem(name)]).toEqual([name, true, undefined]);
    }
  });

  it('is no offset, no path, nothing unknown', () => {
    for (const name of [
      '',
      '+02:00',
      'Etc/Unknown',
      'Foo/Bar',
      ':/etc/localtime',
      'undefined',
      'Europe/Berlin\n',
      `A${'/b'.repeat(400)}`,
      '\ud800',
    ]) {
      expect([name, isZone(name), zoneProblem(name)?.startsWith('There is no time zone')]).toEqual([name, false, true]);
    }
    expect(isZone(machineZone())).toBe(true);
  });
});
