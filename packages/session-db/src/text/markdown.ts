/** What of a text is code, as CommonMark has it: blocks between fences, and spans between backticks. Pure, and linear. */

/** The line that opens a block of code. */
export interface Fence {
  /** What stands before it on its line: indentation, and the marks of quotes and lists. */
  readonly prefix: string;
  /** The fence itself: three or more backticks or tildes. */
  readonly marks: string;
  /** What follows it: mostly the name of a language. */
  readonly info: string;
}

/** The fence that a line opens; `undefined` for any other line. */
export function openingFence(line: string): Fence | undefined {
  const found = /^((?:[ \t]*(?:>|(?:[-+*]|\d{1,9}[.)])(?=[ \t])))*[ \t]*)(`{3,}|~{3,})(.*)$/s.exec(line);
  const [, prefix = '', marks = '', rest = ''] = found ?? [];
  const info = rest.trim();
  // A backtick behind it makes it a span of code within a line.
  return found === null || (marks.startsWith('`') && info.includes('`')) ? undefined : { prefix, marks, info };
}

/** Whether a line closes a block: by as many of the same marks, or more, and nothing else. */
export function closesFence(line: string, { marks }: Fence): boolean {
  const [, found = ''] = /^[ \t>]*(`{3,}|~{3,})[ \t\r]*$/.exec(line) ?? [];
  return found.startsWith(marks);
}

/** A part of a text, from `start` up to `end`. */
export interface TextRange {
  /** Its first UTF-16 unit. */
  readonly start: number;
  /** The unit behind its last. */
  readonly end: number;
}

/**
 * The code in a text from `from` on, in order. `aside` matches what may stand before a fence that opens, and behind one that
 * closes, without being of the text.
 */
export function codeRanges(
  text: string,
  from: number,
  aside?: { readonly before: RegExp; readonly behind: RegExp },
): TextRange[] {
  const ranges: TextRange[] = [];
  let fence: (Fence & { readonly start: number }) | undefined;
  let paragraph = from;
  const endParagraph = (end: number): void => {
    ranges.push(...codeSpans(text, paragraph, end));
  };
  for (let start = from; start < text.length; ) {
    const newline = text.indexOf('\n', start);
    const next = newline === -1 ? text.length : newline + 1;
    const line = text.slice(start, newline === -1 ? text.length : newline);
    if (fence !== undefined) {
      const bare = aside === undefined ? line : line.replace(aside.behind, '');
      if (closesFence(bare, fence)) {
        ranges.push({ start: fence.start, end: start + bare.length });
        fence = undefined;
        paragraph = start + bare.length;
      }
    } else {
      const skipped = aside?.before.exec(line)?.[0].length ?? 0;
      const opened = openingFence(line.slice(skipped));
      if (opened !== undefined || line.trim() === '') {
        endParagraph(start + (opened === undefined ? 0 : skipped));
        paragraph = next;
      }
      if (opened !== undefined) fence = { ...opened, start: start + skipped };
    }
    start = next;
  }
  if (fence === undefined) endParagraph(text.length);
  else ranges.push({ start: fence.start, end: text.length });
  return ranges;
}

/** Spans of code in a paragraph: from a run of backticks to the next of the same length. */
function codeSpans(text: string, from: number, to: number): TextRange[] {
  const paragraph = text.slice(from, to);
  if (!paragraph.includes('`')) return [];
  const runs = new Map<number, number[]>();
  for (const { index, 0: run } of paragraph.matchAll(/`+/g)) {
    const same = runs.get(run.length);
    if (same === undefined) runs.set(run.length, [index]);
    else same.push(index);
  }
  for (const same of runs.values()) same.reverse();
  const ranges: TextRange[] = [];
  let at = 0;
  for (const { index, 0: mark } of paragraph.matchAll(/\\[^]|`+/g)) {
    // Within a span a backslash is a letter like any other, so a match may begin in what the last span took.
    if (index < at || mark.startsWith('\\')) continue;
    const same = runs.get(mark.length) ?? [];
    while ((same.at(-1) ?? Number.POSITIVE_INFINITY) <= index) same.pop();
    const close = same.at(-1);
    if (close === undefined) continue;
    at = close + mark.length;
    ranges.push({ start: from + index, end: from + at });
  }
  return ranges;
}
