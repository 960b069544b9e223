/**
 * Results as text for people. Pure. Everything in a result may be a stranger's words, so nothing in it drives the
 * terminal: control characters are taken out before it is drawn.
 */
import { stripVTControlCharacters } from 'node:util';
import type { Json } from '@nanoclaw/session-db';
import { escapeHidden } from '@nanoclaw/session-db/text';
import type { Column, View } from './view.ts';

/** How results are drawn. */
export interface RenderOptions {
  /** Columns of the terminal; infinite where there is none, so that every row is one line. */
  readonly width: number;
  /** The time zone in which times are shown; IANA. */
  readonly timeZone: string;
}

/** Draws a result in its view, without a line break at the end. */
export function render(value: Json, view: View, page: RenderOptions): string {
  switch (view.type) {
    case 'table':
      return table(Array.isArray(value) ? value : [], view.columns, view.empty, page);
    case 'record':
      return record(value, view.tables ?? {}, page);
    case 'message':
      return cell(field(value, 'message'));
    case 'sections':
      return view.sections
        .map(({ key, heading, view: of }) => `${heading}\n${render(field(value, key), of, page)}`)
        .join('\n\n');
  }
}

/** A text without control characters and sequences, so that it cannot drive a terminal; line breaks and tabs stay. */
export function stripControls(text: string): string {
  return stripVTControlCharacters(text)
    .replace(/(?![\n\t])\p{Cc}/gu, '')
    .replace(/[\u202a-\u202e\u2066-\u2069]/gu, '')
    .replace(/[\u2028\u2029]/gu, '\n');
}

function table(rows: readonly Json[], columns: readonly Column[], empty: string, page: RenderOptions): string {
  if (rows.length === 0) return empty;
  const texts = rows.map((row) => columns.map((column) => cellOf(field(row, column.key), column, page)));
  const titled = [columns.map(({ title }) => title), ...shortIds(texts, columns)];
  const widths = fitting(
    columns.map((_, at) => Math.max(...titled.map((cells) => longestLine(cells[at] ?? '')))),
    page.width - GAP * (columns.length - 1),
  );
  return titled.flatMap((cells) => drawnRow(cells, widths)).join('\n');
}

/** The lines of a row, each cell in its column. */
function drawnRow(cells: readonly string[], widths: readonly number[]): string[] {
  const wrappedCells = cells.map((text, at) => wrapped(text, widths[at] ?? 1));
  const height = Math.max(...wrappedCells.map((lines) => lines.length));
  return Array.from({ length: height }, (_, line) =>
    wrappedCells
      .map((lines, at) => padded(lines[line] ?? '', (widths[at] ?? 1) + GAP))
      .join('')
      .trimEnd(),
  );
}

/** Lines of at most a width, broken between words where that is possible. Nothing is left out. */
function wrapped(text: string, width: number): string[] {
  return text.split('\n').flatMap((line) => {
    if (textWidth(line) <= width) return [line.trimEnd()];
    const lines = [''];
    for (const word of line.split(/(?<=\s)/).flatMap((each) => broken(each, width))) {
      const last = lines.length - 1;
      if (textWidth(`${lines[last]}${word}`.trimEnd()) <= width) lines[last] += word;
      else lines.push(word);
    }
    return lines.map((each) => each.trimEnd());
  });
}

/** A word in pieces of at most a width. */
function broken(word: string, width: number): string[] {
  if (textWidth(word.trimEnd()) <= width) return [word];
  const pieces: string[] = [];
  let [piece, pieceWidth] = ['', 0];
  for (const { segment: character } of CHARACTERS.segment(word)) {
    const characterWidth = textWidth(character);
    if (piece !== '' && pieceWidth + characterWidth > width) {
      pieces.push(piece);
      [piece, pieceWidth] = ['', 0];
    }
    piece += character;
    pieceWidth += characterWidth;
  }
  return [...pieces, piece];
}

function padded(text: string, width: number): string {
  return `${text}${' '.repeat(Math.max(0, width - textWidth(text)))}`;
}

/** Columns of a terminal: two for each East Asian character and each picture, one for other characters as people see them. */
function textWidth(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  let width = 0;
  for (const { segment } of CHARACTERS.segment(text)) width += WIDE.test(segment) ? 2 : BARE_MARK.test(segment) ? 0 : 1;
  return width;
}

const CHARACTERS = new Intl.Segmenter('en', { granularity: 'grapheme' });
const BARE_MARK = /^[\p{Mn}\p{Me}\p{Cf}]+$/u;
const WIDE =
  /[\p{sc=Han}\p{sc=Hangul}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Bopomofo}\p{Emoji_Presentation}\u3000-\u303e\uff01-\uff60\uffe0-\uffe6]|\p{Emoji}\ufe0f/u;

const GAP = 2;

/** Ids cut to the shortest beginning that tells the ids of a column apart, and no shorter than eight characters. */
function shortIds(texts: readonly (readonly string[])[], columns: readonly Column[]): readonly string[][] {
  const lengths = columns.map((column, at) => {
    if (column.as !== 'id') return Number.POSITIVE_INFINITY;
    const ids = [...new Set(texts.map((cells) => cells[at] ?? ''))];
    let length = ID_LENGTH_MIN;
    while (new Set(ids.map((id) => id.slice(0, length))).size < ids.length) length += 1;
    return length;
  });
  return texts.map((cells) => cells.map((text, at) => text.slice(0, lengths[at])));
}

const ID_LENGTH_MIN = 8;

/** Widths that fit: the widest column gives way first, and none gets narrower than it must be to be read. */
function fitting(natural: readonly number[], room: number): number[] {
  const widths = natural.map((width) => Math.max(1, width));
  for (let over = widths.reduce((sum, width) => sum + width, 0) - room; over > 0; over -= 1) {
    const widest = Math.max(...widths);
    if (widest <= COLUMN_WIDTH_MIN) break;
    widths[widths.indexOf(widest)] = widest - 1;
  }
  return widths;
}

const COLUMN_WIDTH_MIN = 6;

function longestLine(text: string): number {
  return Math.max(...text.split('\n').map(textWidth));
}

function record(value: Json, tables: Readonly<Record<string, readonly Column[]>>, page: RenderOptions): string {
  if (!isObject(value)) return cell(value);
  const fields = flattened(value);
  const width = Math.max(0, ...fields.map(([name]) => textWidth(legible(words(name)))));
  const beside = { ...page, width: page.width - width - GAP };
  const text = (name: string, of: Json): string => {
    const columns = tables[name];
    return columns !== undefined && Array.isArray(of) ? table(of, columns, '-', beside) : fieldText(name, of, page);
  };
  return fields
    .map(([name, of]) => `${padded(legible(words(name)), width + GAP)}${indented(text(name, of), width + GAP)}`)
    .join('\n');
}

/** The fields of an object, those of objects within it by `outer.inner`. */
function flattened(value: { readonly [key: string]: Json }, prefix = ''): (readonly [string, Json])[] {
  return Object.entries(value).flatMap(([name, of]) =>
    isObject(of) ? flattened(of, `${prefix}${name}.`) : [[`${prefix}${name}`, of] as const],
  );
}

function indented(text: string, by: number): string {
  return text.split('\n').join(`\n${' '.repeat(by)}`);
}

/** Times and durations are recognised by their names: `createdAt`, `since`, `nextSlot`; `oldestDueMs`. */
function fieldText(name: string, value: Json, page: RenderOptions): string {
  if (typeof value !== 'number') return cell(value);
  if (/(^|\.)(at|since|until)$|(At|Slot)$/.test(name)) return time(value, page);
  return name.endsWith('Ms') ? `${value / 1_000} s` : cell(value);
}

/** A text in a table or a record: what a reader would not see in it is written out, because it may hide or forge there. */
function legible(text: string): string {
  return escapeHidden(text.replaceAll('\t', '  '), 'line breaks');
}

function cellOf(value: Json, { as }: Column, page: RenderOptions): string {
  return as === 'time' && typeof value === 'number' ? time(value, page) : cell(value);
}

function cell(value: Json): string {
  if (value === null) return '-';
  if (typeof value === 'string') return value === '' ? '-' : legible(value);
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (Array.isArray(value))
    return value.length === 0 ? '-' : value.map((each) => cell(each)).join(value.some(isObject) ? '\n' : ', ');
  if (!isObject(value)) return String(value);
  const shown = Object.entries(value).filter(([, of]) => of !== null);
  // Type and state stand for themselves; all else is shown with its name.
  const names = (name: string) => (name === 'type' || name === 'state' ? '' : `${legible(words(name))} `);
  return shown.map(([name, of]) => `${names(name)}${cell(of)}`).join(', ');
}

/** `2026-11-21 10:53:15`, by the reader's clock. */
function time(at: number, { timeZone }: RenderOptions): string {
  if (Math.abs(at) > DATE_MAX_MS) return String(at);
  const format = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'medium' });
  return format.format(at);
}

const DATE_MAX_MS = 8.64e15;

/** `nextDueAt` as `next due`, `oldestDueMs` as `oldest due`. */
function words(name: string): string {
  return name
    .replaceAll('.', ' ')
    .replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
    .replace(/ (at|ms)$/, '');
}

function field(value: Json, key: string): Json {
  return key.split('.').reduce<Json>((of, name) => (isObject(of) ? (of[name] ?? null) : null), value);
}

function isObject(value: Json): value is { readonly [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
