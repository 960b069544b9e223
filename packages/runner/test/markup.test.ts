import { describe, expect, it } from 'vitest';
import { addressed, visibleContent, withoutInternal } from '../src/markup.ts';

const PLACES = ['team', 'a&b'];
const sent = (text: string) => {
  const { text: rest, elsewhere } = addressed(text, (name) => (PLACES.includes(name) ? name : undefined));
  return [rest, ...elsewhere.map(({ place, text: inner }) => `${place}: ${inner}`)];
};

/** Texts that mention our markup without using it: all of each is kept. */
const MENTIONS = [
  'Put notes into `<internal>` and go on.',
  'Both `<internal>` and `</internal>`, or ``a ` <internal> b``.',
  '`<internal>hm</internal>` stays, as does `<message to="team">x</message>`.',
  '```\n<internal>x</internal>\n```\nThe answer is 42.',
  '~~~xml\n<message to="team">x</message>\n~~~\nend',
  '````md\n```\n<internal>\n```\n````\nend',
  '- item\n  ```\n  <internal>\n  ```\n- next',
  '> ```\n> <internal>\n> ```\nend',
  '1. ```\n   <internal>\n   ```',
  '```\n<internal> in a block that never ends',
  'A tag in quotes, "<internal>", hides nothing, nor does \\<internal> behind a backslash.',
  'a ``code\nover <internal> lines`` end',
  '<internals>x</internals> <messages to="team">',
  'x < y, </internal> alone, </message> too',
];

describe('our markup', () => {
  it.each(MENTIONS)('is kept where it is only mentioned: %j', (text) => {
    expect(sent(text)).toEqual([text]);
    expect(visibleContent({ card: [{ text }], text })).toEqual({ card: [{ text }], text });
  });

  it.each([
    ['a<internal>x</internal>b', 'ab'],
    ['a<INTERNAL>x</Internal >b<internal why="so">y</internal><internal/>', 'ab'],
    ['a<internal>x<internal>y</internal>z</internal>b', 'ab'],
    ['a<internal>I put it in <internal> tags</internal>b', 'ab'],
    ['a<internal>to the end', 'a'],
    ['a `code` <internal>`x`</internal> b', 'a `code`  b'],
    ['<internal>\n```\nnever closed\n</internal>\nb', '\nb'],
    ['<internal>\n```\n</internal>\nnot the end\n```\n</internal>b', 'b'],
    ['<internal>don`t</internal>b', 'b'],
    ['<internal>a `</internal>` b</internal>c', 'c'],
    ['`one\n\n<internal>x</internal>` two', '`one\n\n` two'],
    ['a \\`<internal>x</internal>` b', 'a \\`` b'],
  ])('is obeyed where it is used: %j', (text, shown) => {
    expect(withoutInternal(text)).toBe(shown);
  });

  it.each([
    ['<message to="team">a <internal>x</internal>b</message>c', ['c', 'team: a b']],
    ["<message to='team'>a</message>", ['', 'team: a']],
    ['<message to="a&amp;b">x</message>', ['', 'a&b: x']],
    ['<message to="team">```js\nx\n```</message>\n```\ny\n```', ['\n```\ny\n```', 'team: ```js\nx\n```']],
    ['<message to="team">a</message><message to="nobody">b</message>', ['<message to="nobody">b</message>', 'team: a']],
    ['<message to="team">a<message to="a&amp;b">b</message>c</message>d', ['d', 'team: ac', 'a&b: b']],
    ['<message to="team">never closed', ['<message to="team">never closed']],
    ['<message>x</message>', ['<message>x</message>']],
    ['<message to="nobody">a<internal>x</internal></message>', ['<message to="nobody">a</message>']],
  ])('sends what it names elsewhere: %j', (text, expected) => {
    expect(sent(text)).toEqual(expected);
  });

  it('keeps all that is not internal and shows nothing that is, in any arrangement', () => {
    // A small generator with a fixed seed: whole pieces in any order, each with what is to be left of it.
    const pieces: readonly (readonly [text: string, shown: string])[] = [
      ['word ', 'word '],
      ['<internal>SECRET</internal>', ''],
      ['<internal>SECRET `code` SECRET\n\n```\nSECRET\n```\nSECRET</internal>', ''],
      ['\n\n```\n<internal>kept\n```\n\n', '\n\n```\n<internal>kept\n```\n\n'],
      ['\n\n~~~~\n~~~\n</internal>\n~~~~\n\n', '\n\n~~~~\n~~~\n</internal>\n~~~~\n\n'],
      ['`<internal>` ', '`<internal>` '],
      ['👩‍👩‍👧 ', '👩‍👩‍👧 '],
    ];
    let seed = 79;
    for (let round = 0; round < 2_000; round++) {
      const chosen = Array.from({ length: 1 + (round % 12) }, () => {
        seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
        return pieces[(seed >>> 16) % pieces.length] ?? ['', ''];
      });
      expect(withoutInternal(chosen.map(([text]) => text).join(''))).toBe(chosen.map(([, shown]) => shown).join(''));
    }
  });

  it('costs a text of a row’s length little, whatever it is made of', () => {
    for (const piece of [
      '<internal>',
      '</internal>',
      '`',
      '``` \n',
      '<internal>`</internal>',
      '<message to="team">',
      '\\`',
      '- ',
      '> ',
    ]) {
      expect(sent(piece.repeat(150_000 / piece.length)).length).toBeGreaterThan(0);
    }
  });
});
