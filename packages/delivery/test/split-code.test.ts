// What is split stays the Markdown that it was, as another reader of CommonMark sees it.

import { type TextUnit, textLength } from '@nanoclaw/session-db/text';
import * as fc from 'fast-check';
import MarkdownIt from 'markdown-it';
import { describe, expect, it } from 'vitest';
import { splitText } from '../src/index.ts';

const reader = new MarkdownIt('commonmark');

interface Block {
  readonly info: string;
  readonly code: string;
}

/** The blocks of code between fences in a text. */
function blocksIn(text: string): Block[] {
  return reader
    .parse(text, {})
    .filter(({ type }) => type === 'fence')
    .map(({ info, content }) => ({ info: info.trim(), code: content }));
}

/** Whether a block is still open where the text ends: a line behind it would be in it. */
function isOpen(text: string): boolean {
  return (
    JSON.stringify(blocksIn(`${text}\n> x\n`)) !== JSON.stringify(blocksIn(text)) ||
    blocksIn(`${text}\nthe end\n`).some(({ code }) => code.includes('the end\n'))
  );
}

/** The blocks of all parts, those of the same info one behind the other as one. */
function joined(blocks: readonly Block[]): Block[] {
  const all: Block[] = [];
  for (const { info, code } of blocks) {
    const last = all.at(-1);
    if (last?.info === info) all[all.length - 1] = { info, code: last.code + code };
    else all.push({ info, code });
  }
  return all;
}

const word = fc.constantFrom(
  'alpha',
  'beta',
  'é',
  '漢字',
  '👩‍👩‍👧',
  'x = 1;',
  '`code`',
  '`` a ` b ``',
  '[a link](https://x.org/y)',
  '2. not',
  '# no',
);
const line = fc.array(word, { minLength: 1, maxLength: 3 }).map((words) => words.join(' '));
const codeLine = fc.oneof(
  line,
  fc.constantFrom(
    '',
    '  indented',
    '\tby a tab',
    '```',
    '~~~',
    '````',
    '``` js',
    '~~~~~',
    '> quoted',
    '- item',
    '    ````',
  ),
);
/** Each block has an info of its own, so that what is put together again can be told apart. */
const fence = fc
  .record({
    mark: fc.constantFrom('`', '~'),
    extra: fc.nat(3),
    indent: fc.constantFrom(0, 0, 1, 3),
    info: fc.constantFrom('js', 'c++ title="a b"', 'ünï', ''),
    lines: fc.array(codeLine, { minLength: 1, maxLength: 14 }),
  })
  .map(({ mark, extra, indent, info, lines }) => {
    const longest = Math.max(0, ...lines.map((one) => new RegExp(`^ *(\\${mark}+)`).exec(one)?.[1]?.length ?? 0));
    const marks = mark.repeat(Math.max(3, longest + 1) + extra);
    return (number: number, isNested: boolean) =>
      [`${' '.repeat(isNested ? 0 : indent)}${marks}${info}${number}`, ...lines, marks].join('\n');
  });
const paragraph = fc.array(line, { minLength: 1, maxLength: 4 }).map((lines) => () => lines.join('\n'));

const indented = (text: string, first: string, others: string) =>
  text
    .split('\n')
    .map((one, index) => `${index === 0 ? first : others}${one}`)
    .join('\n');

/** What stands around a block: nothing, a quote, an item of a list, an item in an item, an item in a quote. */
const around = fc.constantFrom<readonly [first: string, others: string]>(
  ['', ''],
  ['', ''],
  ['> ', '> '],
  ['- ', '  '],
  ['1. ', '   '],
  ['- - ', '    '],
  ['> - ', '>   '],
  ['- > ', '  > '],
  ['12. - ', '      '],
);

const documents = fc
  .array(fc.record({ block: fc.oneof(fence, paragraph), around, inside: fc.boolean() }), { minLength: 1, maxLength: 8 })
  .map((blocks) =>
    blocks
      .map(({ block, around: [first, others], inside }, index) => {
        const text = block(index, first !== '');
        return inside && first !== '' ? indented(`Here:\n\n${text}`, first, others) : indented(text, first, others);
      })
      .join('\n\n<!-- -->\n\n'),
  );

const UNITS: readonly TextUnit[] = ['utf16-units', 'code-points', 'utf8-bytes'];
const same = { seed: 41, numRuns: 1_500 };

describe('code in a text that is split', () => {
  it('is the same code in parts that each close what they open, whatever stands around it (failure 41)', () => {
    fc.assert(
      fc.property(documents, fc.integer({ min: 240, max: 500 }), fc.constantFrom(...UNITS), (text, max, unit) => {
        const parts = splitText(text, { max, unit });
        for (const part of parts) expect(textLength(part, unit)).toBeLessThanOrEqual(max);
        expect(parts.filter(isOpen)).toEqual([]);
        expect(joined(parts.flatMap(blocksIn))).toEqual(joined(blocksIn(text)));
      }),
      same,
    );
  });

  it('is closed at the end of each part but the last, in any soup of fences, quotes and lists', () => {
    const soup = fc
      .array(fc.oneof(codeLine, line), {
        minLength: 10,
        maxLength: 60,
      })
      .map((lines) => lines.join('\n'));
    fc.assert(
      fc.property(soup, fc.integer({ min: 60, max: 300 }), fc.constantFrom(...UNITS), (text, max, unit) => {
        const parts = splitText(text, { max, unit });
        for (const part of parts) expect(textLength(part, unit)).toBeLessThanOrEqual(max);
        expect(parts.slice(0, -1).filter(isOpen)).toEqual([]);
      }),
      same,
    );
  });

  it('is not broken within a span or a link where a word before it ends', () => {
    const span = 'Say `npm run build and nothing else` or [read on here](https://example.org/a/long/way) now';
    expect(splitText(`${'word '.repeat(8)}${span}`, { max: 60, unit: 'code-points' })).toEqual([
      'word word word word word word word word Say',
      '`npm run build and nothing else` or',
      '[read on here](https://example.org/a/long/way) now',
    ]);
  });
});
