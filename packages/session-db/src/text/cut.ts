/**
 * Cutting text: the only place that does. A cut never leaves half of what a reader sees as one character, nor half a pair of
 * UTF-16 units, which strict programs and model APIs refuse together with everything around it. Pure.
 */

/** How a length is counted: as JavaScript and many platforms do, as Unicode does, or as it is stored. */
export type TextUnit = 'utf16-units' | 'code-points' | 'utf8-bytes';

/** The longest text of something, counted in its unit. */
export interface TextLimit {
  /** How many units fit. */
  readonly max: number;
  /** What is counted. */
  readonly unit: TextUnit;
}

/** The length of a text in a unit. */
export function textLength(text: string, unit: TextUnit): number {
  switch (unit) {
    case 'utf16-units':
      return text.length;
    case 'code-points': {
      let length = 0;
      for (const _ of text) length += 1;
      return length;
    }
    case 'utf8-bytes':
      return Buffer.byteLength(text);
  }
}

/**
 * The text, well-formed, cut to the limit with an ellipsis where it is longer. A number is a limit in UTF-16 units. Costs what
 * is kept, not what is left out.
 */
export function cut(text: string, limit: number | TextLimit): string {
  const { max, unit } = limitOf(limit);
  if (endWithin(text, 0, { max, unit }) === text.length) return text.toWellFormed();
  const room = max - textLength(ELLIPSIS, unit);
  return room < 1 ? beginning(text, { max, unit }) : `${beginning(text, { max: room, unit })}${ELLIPSIS}`;
}

const ELLIPSIS = '…';

/** The beginning of a text within the limit, well-formed, without an ellipsis: for names, and for what says by itself that it was cut. */
export function beginning(text: string, limit: number | TextLimit): string {
  return text.slice(0, characterEnd(text, 0, endWithin(text, 0, limitOf(limit)))).toWellFormed();
}

/** The end of a text, at most so many UTF-16 units, well-formed: of an output whose last words count. */
export function ending(text: string, lengthMax: number): string {
  const from = Math.max(0, text.length - lengthMax);
  if (from === 0) return text.toWellFormed();
  // A character that began before is left out as a whole.
  const start = characterStart(text, from);
  return text.slice(start === from ? from : characterAfter(text, start)).toWellFormed();
}

/** The end of the longest slice from `start` that is within the limit, between two code points. */
export function endWithin(text: string, start: number, { max, unit }: TextLimit): number {
  if (unit === 'utf16-units') {
    const end = Math.min(text.length, start + Math.max(0, max));
    return isInPair(text, end) ? end - 1 : end;
  }
  let end = start;
  let length = 0;
  while (end < text.length) {
    const point = text.codePointAt(end) ?? 0;
    length += unit === 'code-points' ? 1 : bytesOf(point);
    if (length > max) break;
    end += point > 0xffff ? 2 : 1;
  }
  return end;
}

/** What a lone surrogate becomes, U+FFFD, has three bytes as well. */
function bytesOf(point: number): number {
  return point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
}

/**
 * The last place at or before `end` that is between two characters as people see them; `end` itself where the character
 * that lies there began at `start` or before, or has more than 64 UTF-16 units.
 */
export function characterEnd(text: string, start: number, end: number): number {
  if (end >= text.length) return end;
  const at = characterStart(text, end);
  return at > start ? at : end;
}

/** A base letter with its marks or an emoji with its modifiers is one character; beyond this length it may be cut. */
const CHARACTER_LENGTH_MAX = 64;

/** Where the character begins that the place `at` is in; `at` itself between two characters. */
function characterStart(text: string, at: number): number {
  if (at <= 0 || at >= text.length) return at;
  const from = anchorBefore(text, at);
  const segment = SEGMENTER.segment(text.slice(from, at + CHARACTER_LENGTH_MAX)).containing(at - from);
  const start = segment === undefined ? at : from + segment.index;
  return at - start <= CHARACTER_LENGTH_MAX ? start : isInPair(text, at) ? at - 1 : at;
}

/** The end of the character that begins at `start`. */
function characterAfter(text: string, start: number): number {
  const segment = SEGMENTER.segment(text.slice(start, start + 2 * CHARACTER_LENGTH_MAX)).containing(0);
  return start + (segment?.segment.length ?? 1);
}

/**
 * A place before `at` from which characters can be told: before a letter of ASCII, which begins one. Flags are pairs of
 * letters of their own, so that one has to begin at the first of them.
 */
function anchorBefore(text: string, at: number): number {
  const least = Math.max(0, at - 8 * CHARACTER_LENGTH_MAX);
  let from = at - 1;
  while (from > least && !(text.charCodeAt(from) >= 0x20 && text.charCodeAt(from) < 0x7f)) from -= 1;
  return isInPair(text, from) ? from - 1 : from;
}

function isInPair(text: string, at: number): boolean {
  return at > 0 && at < text.length && (text.codePointAt(at - 1) ?? 0) > 0xffff;
}

const SEGMENTER = new Intl.Segmenter('en', { granularity: 'grapheme' });

function limitOf(limit: number | TextLimit): TextLimit {
  return typeof limit === 'number' ? { max: limit, unit: 'utf16-units' } : limit;
}
