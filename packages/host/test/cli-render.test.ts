import { describe, expect, it } from 'vitest';
import { render, stripControls } from '../src/operator/render.ts';
import { column, type View } from '../src/operator/view.ts';

const PAGE = { width: 80, timeZone: 'UTC' };
const TABLE: View = {
  type: 'table',
  columns: [
    column('ID', 'id', 'id'),
    column('SINCE', 'createdAt', 'time'),
    column('PLACE', 'place.name'),
    column('SAID', 'said'),
  ],
  empty: 'There is nothing.',
};
const AT = Date.UTC(2026, 10, 21, 12);

describe('a table', () => {
  it('has a line per row under its titles', () => {
    const rows = [
      { id: 'aaaaaaaa-1', createdAt: AT, place: { name: 'main' }, said: 'hello' },
      { id: 'bbbbbbbb-2', createdAt: null, place: { name: '' }, said: true },
    ];
    expect(render(rows, TABLE, PAGE)).toBe(
      [
        'ID        SINCE                PLACE  SAID',
        'aaaaaaaa  2026-11-21 12:00:00  main   hello',
        'bbbbbbbb  -                    -      yes',
      ].join('\n'),
    );
  });

  it('cuts ids to what tells them apart', () => {
    const text = render([{ id: 'aaaaaaaaaa-1' }, { id: 'aaaaaaaaaa-2' }], TABLE, PAGE);
    expect(text).toContain('aaaaaaaaaa-1');
    expect(text).toContain('aaaaaaaaaa-2');
  });

  it('stays within the width of the terminal, and loses no word for it', () => {
    const said = Array.from({ length: 60 }, (_, at) => `word${at}`).join(' ');
    const text = render([{ id: 'a', createdAt: AT, place: { name: 'x'.repeat(100) }, said }], TABLE, PAGE);
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);
    expect(text.replace(/\s/g, '')).toContain('2026-11-21');
    for (const word of ['word0', 'word59']) expect(text.replace(/\s+/g, '')).toContain(word);
  });

  it('breaks lines between words, and only words that are longer than their column', () => {
    const view: View = { type: 'table', columns: [column('SAID', 'said')], empty: '' };
    const said = `one two three ${'x'.repeat(30)} four`;
    expect(render([{ said }], view, { ...PAGE, width: 20 })).toBe(
      ['SAID', 'one two three', 'x'.repeat(20), `${'x'.repeat(10)} four`].join('\n'),
    );
  });

  it('has a line per row, however long, where there is no terminal', () => {
    const said = 'word '.repeat(2_000).trim();
    const text = render([{ id: 'a', createdAt: AT, place: { name: 'x'.repeat(100) }, said }], TABLE, {
      ...PAGE,
      width: Number.POSITIVE_INFINITY,
    });
    expect(text.split('\n')).toHaveLength(2);
    expect(text).toContain(said);
  });

  it('cuts nothing of writing that takes two columns for each character', () => {
    const said = '\u4f60\u597d'.repeat(40);
    for (const width of [40, Number.POSITIVE_INFINITY]) {
      expect(
        render(
          [{ said }],
          { type: 'table', columns: [column('ID', 'id'), column('SAID', 'said')], empty: '' },
          { ...PAGE, width },
        ).replace(/\s/g, ''),
      ).toContain(said);
    }
  });

  it('says so when it is empty', () => {
    expect(render([], TABLE, PAGE)).toBe('There is nothing.');
  });
});

describe('a record', () => {
  it('has a line per field, those of fields within it too', () => {
    const value = {
      name: 'main',
      nextDueAt: AT,
      engage: { mode: 'pattern' },
      skills: ['a', 'b'],
      packages: { apt: [] },
      denied: false,
      model: null,
    };
    expect(render(value, { type: 'record' }, PAGE)).toBe(
      [
        'name          main',
        'next due      2026-11-21 12:00:00',
        'engage mode   pattern',
        'skills        a, b',
        'packages apt  -',
        'denied        no',
        'model         -',
      ].join('\n'),
    );
  });
});

it('shows a list of a record as a table where its view names the columns', () => {
  const view: View = { type: 'record', tables: { channels: [column('NAME', 'name'), column('REASON', 'reason')] } };
  const channels = [
    { name: 'terminal', reason: null },
    { name: 'desk', reason: 'it is closed' },
  ];
  expect(render({ host: 'up', channels }, view, PAGE)).toBe(
    ['host      up', 'channels  NAME      REASON', '          terminal  -', '          desk      it is closed'].join(
      '\n',
    ),
  );
  expect(render({ host: 'up', channels: [] }, view, PAGE)).toBe('host      up\nchannels  -');
});

it('shows objects of a list one per line', () => {
  const channels = [
    { type: 'terminal', state: 'online', reason: null },
    { type: 'webhook', state: 'offline', reason: 'The port is taken.' },
  ];
  expect(render({ channels }, { type: 'record' }, PAGE)).toBe(
    ['channels  terminal, online', '          webhook, offline, reason The port is taken.'].join('\n'),
  );
});

describe('what strangers have written', () => {
  it('hides nothing in a table or a record: what a reader would not see is written out, keys too', () => {
    const name = 'admin\u202e\u200b\u2028\u00ad\u3164';
    const views: readonly View[] = [
      { type: 'table', columns: [column('SAID', 'said')], empty: '' },
      { type: 'record' },
    ];
    for (const view of views) {
      const value = { said: name, [`key\u202e`]: 1 };
      const text = render(view.type === 'table' ? [value] : value, view, { ...PAGE, width: 200 });
      expect(text).toContain('admin\\u202e\\u200b\\u2028\\u00ad\\u3164');
      expect(text.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u);
    }
  });

  it('is wrapped by what it takes of the screen, never within a character, and nothing of it is left out', () => {
    const view: View = { type: 'table', columns: [column('ID', 'name'), column('SAID', 'said')], empty: '' };
    const pieces = ['写真', '👩‍👩‍👧‍👦', '🇩🇪', 'e\u0301', 'word ', 'किम', '😀'];
    for (let seed = 1; seed < 60; seed++) {
      const said = Array.from({ length: 60 }, (_, n) => pieces[(n * seed + (n >> 2)) % pieces.length]).join('');
      const text = render(
        [
          { name: '名前', said },
          { name: 'abcd', said: 'x' },
        ],
        view,
        { ...PAGE, width: 20 + (seed % 40) },
      );
      const rows = text.split('\n');
      expect(Math.max(...rows.map(columnsOf))).toBeLessThanOrEqual(20 + (seed % 40));
      expect(text.replace(/\s/g, '')).toBe(`IDSAID名前${said.replace(/\s/g, '')}abcdx`);
      const whole = new Set([...new Intl.Segmenter('en').segment(said)].map(({ segment }) => segment));
      const shown = rows
        .slice(1, -1)
        .flatMap((row) => [...new Intl.Segmenter('en').segment(row.slice(row.startsWith('名前') ? 2 : 0))]);
      expect(shown.filter(({ segment }) => segment !== ' ' && !whole.has(segment))).toEqual([]);
    }
  });

  it('does not drive the terminal, in whatever place it is shown', () => {
    const hostile = 'a\u001b[2Jb\u001b]0;title\u0007c\u202ed\u0000e\rf';
    const views: readonly View[] = [
      { type: 'table', columns: [column('SAID', 'said')], empty: '' },
      { type: 'record' },
      { type: 'message' },
      { type: 'sections', sections: [{ key: 'within', heading: 'SAID', view: { type: 'record' } }] },
    ];
    const value = {
      said: hostile,
      message: hostile,
      within: { said: hostile, list: [hostile], deep: { json: [{ hostile }] } },
    };
    for (const view of views) {
      const text = render(view.type === 'table' ? [value] : value, view, PAGE);
      expect(text.replaceAll('\n', '')).not.toMatch(/\p{Cc}|\u202e/u);
    }
    expect(stripControls('line\n\ttab')).toBe('line\n\ttab');
  });
});

/** Of the pieces above: what a terminal draws them with. */
function columnsOf(text: string): number {
  const characters = [...new Intl.Segmenter('en').segment(text)];
  return characters.reduce((sum, { segment }) => sum + (/\p{sc=Han}|\p{Emoji_Presentation}/u.test(segment) ? 2 : 1), 0);
}
