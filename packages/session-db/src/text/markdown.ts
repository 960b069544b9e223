/** What of a text is code, as CommonMark has it: blocks between fences, and spans between backticks. Pure, and linear. */
import { Blocks } from './blocks.ts';

/** A part of a text, from `start` up to `end`. */
export interface TextRange {
  /** Its first UTF-16 unit. */
  readonly start: number;
  /** The unit behind its last. */
  readonly end: number;
}

/** Code in a text. */
export interface CodeRange extends TextRange {
  /** A block from the line that opens it up to the end of the one that closes it, or a span within a paragraph. */
  readonly is: 'block' | 'span';
}

/**
 * The code in a text from `from` on, in order. `aside` matches what may stand before a fence that opens, and behind one that
 * closes, without being of the text.
 */
export function codeRanges(
  text: string,
  from: number,
  aside?: { readonly before: RegExp; readonly behind: RegExp },
): CodeRange[] {
  const ranges: CodeRange[] = [];
  const blocks = new Blocks();
  /** Where the block of code began that is open. */
  let code: number | undefined;
  let paragraph = from;
  for (let start = from; start < text.length; ) {
    const newline = text.indexOf('\n', start);
    const next = newline === -1 ? text.length : newline + 1;
    const line = text.slice(start, newline === -1 ? text.length : newline);
    const skipped = code === undefined ? (aside?.before.exec(line)?.[0].length ?? 0) : 0;
    const bare = code === undefined || aside === undefined ? line : line.replace(aside.behind, '');
    const is = blocks.take(bare.slice(skipped));
    if (code !== undefined && is !== 'within') {
      const end = is === 'closes' ? start + bare.length : start;
      ranges.push({ is: 'block', start: code, end });
      code = undefined;
      paragraph = end;
    }
    if (is === 'opens' || (is === 'beside' && line.trim() === '')) {
      ranges.push(...codeSpans(text, paragraph, start + (is === 'opens' ? skipped : 0)));
      paragraph = next;
    }
    if (is === 'opens') code = start + skipped;
    start = next;
  }
  if (code === undefined) ranges.push(...codeSpans(text, paragraph, text.length));
  else ranges.push({ is: 'block', start: code, end: text.length });
  return ranges;
}

/** Spans of code in a paragraph: from a run of backticks to the next of the same length. */
function codeSpans(text: string, from: number, to: number): CodeRange[] {
  const paragraph = text.slice(from, to);
  if (!paragraph.includes('`')) return [];
  const runs = new Map<number, number[]>();
  for (const { index, 0: run } of paragraph.matchAll(/`+/g)) {
    const same = runs.get(run.length);
    if (same === undefined) runs.set(run.length, [index]);
    else same.push(index);
  }
  for (const same of runs.values()) same.reverse();
  const ranges: CodeRange[] = [];
  let at = 0;
  for (const { index, 0: mark } of paragraph.matchAll(/\\[^]|`+/g)) {
    // Within a span a backslash is a letter like any other, so a match may begin in what the last span took.
    if (index < at || mark.startsWith('\\')) continue;
    const same = runs.get(mark.length) ?? [];
    while ((same.at(-1) ?? Number.POSITIVE_INFINITY) <= index) same.pop();
    const close = same.at(-1);
    if (close === undefined) continue;
    at = close + mark.length;
    ranges.push({ is: 'span', start: from + index, end: from + at });
  }
  return ranges;
}
