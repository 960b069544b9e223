/**
 * Splits what is too long for one message of a platform, by the limits that the platform declares. Nothing is cut:
 * the parts hold all of it, in order, broken where a reader would break it. Pure. Each part is made when it is asked for,
 * and costs about its own length, so that the caller decides how much is done in one go.
 */
import {
  Blocks,
  type Container,
  characterEnd,
  codeRanges,
  endWithin,
  type Fence,
  type Reopening,
  reopening,
  type TextLimit,
  type TextRange,
  type TextUnit,
  textLength,
} from '@nanoclaw/session-db/text';

/** What one message of a platform holds. What is left out is not limited. */
export interface MessageLimits {
  readonly text: TextLimit;
  readonly filesMax?: number;
  readonly buttonsMax?: number;
  /** What a press sends back. */
  readonly buttonPayload?: TextLimit;
}

/** What one message of a platform is made of. */
export interface Body<File, Button extends { readonly payload: string }> {
  /** Its text; empty for files alone. */
  readonly text: string;
  /** The files that go with it. */
  readonly files: readonly File[];
  /** The buttons under it. */
  readonly buttons: readonly Button[];
}

export type SplitMessage<File, Button extends { readonly payload: string }> =
  | { readonly type: 'parts'; readonly parts: Iterable<Body<File, Button>> }
  /** No number of parts helps. The reason is one sentence for the agent and the operator. */
  | { readonly type: 'impossible'; readonly reason: string };

/** Stands in a part that has only buttons, because a platform refuses a message without text. */
const CONTINUED = '…';

/**
 * Splits a message into as many as its limits ask for: the texts in order, the first files and buttons with the last
 * of them, further files and buttons after it.
 */
export function splitMessage<File, Button extends { readonly payload: string }>(
  body: Body<File, Button>,
  limits: MessageLimits,
): SplitMessage<File, Button> {
  const reason = impossibility(body, limits);
  if (reason !== undefined) return { type: 'impossible', reason };

  return { type: 'parts', parts: bodies(body, limits) };
}

function* bodies<File, Button extends { readonly payload: string }>(
  body: Body<File, Button>,
  limits: MessageLimits,
): Generator<Body<File, Button>, void> {
  const [files = [], ...moreFiles] = chunks(body.files, limits.filesMax);
  const [buttons = [], ...moreButtons] = chunks(body.buttons, limits.buttonsMax);
  let last = '';
  for (const text of textParts(body.text, limits.text)) {
    if (last !== '') yield { text: last, files: [], buttons: [] };
    last = text;
  }
  yield { text: last, files, buttons };
  for (const some of moreFiles) yield { text: '', files: some, buttons: [] };
  for (const some of moreButtons) yield { text: CONTINUED, files: [], buttons: some };
}

function impossibility(
  body: Body<unknown, { readonly payload: string }>,
  { filesMax, buttonsMax, buttonPayload }: MessageLimits,
): string | undefined {
  if (filesMax === 0 && body.files.length > 0) return 'The message has files, and its channel takes none.';
  if (buttonsMax === 0 && body.buttons.length > 0) return 'The message has buttons, and its channel takes none.';
  if (buttonPayload === undefined) return undefined;
  const { max, unit } = buttonPayload;
  const longest = Math.max(0, ...body.buttons.map((button) => textLength(button.payload, unit)));
  return longest > max ? `A button sends back ${longest} ${unit}, and its channel takes at most ${max}.` : undefined;
}

function chunks<Item>(items: readonly Item[], max = Number.POSITIVE_INFINITY): Item[][] {
  const size = Math.min(max, Math.max(items.length, 1));
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));
}

/**
 * Splits a text at paragraphs, else lines, else sentences, else words, else between characters as people see them; within a
 * link or a span of code only where nothing else is near. The white space at a break is dropped, and so is a part that would
 * show nothing; every other character is kept.
 *
 * A block of code between fences is split at its lines, of which none is dropped: the part closes it, within the limit, and
 * the next opens it again in the same way. Nothing for a text without anything to show.
 *
 * Throws `RangeError` for a limit below 4, in which not every character fits.
 */
export function splitText(text: string, limit: TextLimit): string[] {
  return [...textParts(text, limit)];
}

function* textParts(text: string, limit: TextLimit): Generator<string, void> {
  if (limit.max < 4) throw new RangeError(`A text limit is at least 4, and ${limit.max} is not.`);
  if (endWithin(text, 0, limit) === text.length) {
    if (text.trim() !== '') yield text;
    return;
  }
  let head = '';
  let start = 0;
  while (start < text.length) {
    start = withoutBlanks(text, start, limit.max);
    const { body, next, close, open } = nextPiece(text, start, head, limit);
    if (body.trim() !== '') yield `${head}${body}${close}`;
    head = open;
    start = next;
  }
}

/** Where the text goes on behind blanks that would fill a part: at the line of what is shown next, or at that itself. */
function withoutBlanks(text: string, start: number, max: number): number {
  const shown = /\S/g;
  shown.lastIndex = start;
  const at = shown.exec(text)?.index ?? text.length;
  if (at - start < max) return start;
  const line = text.lastIndexOf('\n', at) + 1;
  return at - line < max / 2 ? line : at;
}

/** A piece of the text, with what stands around it so that its code is code. */
interface Piece {
  readonly body: string;
  /** Where the next one begins in the text. */
  readonly next: number;
  /** Behind the body. */
  readonly close: string;
  /** Before the body of the next one. */
  readonly open: string;
}

/** The piece that begins at `start`, behind what opens again the block of code that it is in. */
function nextPiece(text: string, start: number, head: string, limit: TextLimit): Piece {
  const { max, unit } = limit;
  const room = max - textLength(head, unit);
  let left = 0;
  for (let tries = 1; ; tries += 1) {
    const end = endWithin(text, start, { max: room - left, unit });
    const piece = pieceUpTo(text, start, end, head, limit);
    const length = textLength(piece.body, unit) + textLength(piece.close, unit);
    if (length <= room) return withClosingLine(text, piece, room - length, unit);
    if (tries === FENCES_TRIED) return { ...piece, close: '', open: '' };
    left = Math.max(left, textLength(piece.close, unit));
  }
}

/** How many lengths of fences are left room for, one after the other; only a text made for it has more of them in a part. */
const FENCES_TRIED = 4;

/** The piece from `start`, broken at the best place up to `end`. */
function pieceUpTo(text: string, start: number, end: number, head: string, limit: TextLimit): Piece {
  if (end >= text.length) return { body: text.slice(start), next: text.length, close: '', open: '' };
  const at = breakBefore(text, start, end, head);
  const body = text.slice(start, at);
  if (head === '' && !FENCES.test(text.slice(start, at + limit.max))) {
    return { body: body.trimEnd(), next: afterBreak(text, at), close: '', open: '' };
  }
  const { fence, containers } = blocksBehind(`${head}${body}`);
  if (fence === undefined) {
    const next = afterBreak(text, at);
    const marks = listMarks(text.slice(next, next + limit.max), containers);
    return { body: body.trimEnd(), next: next + marks.length, close: '', open: marks };
  }
  const { open, close, prefix } = around(fence, limit);
  // Of code every line is kept, and a blank within one.
  const isLineEnd = text[at] === '\n';
  return { body, next: isLineEnd ? at + 1 : at, close, open: open && !isLineEnd ? `${open}${prefix}` : open };
}

const FENCES = /```|~~~/;

/** The piece with the line behind it, where that one closes its code and there is room: it would be all that is left of it. */
function withClosingLine(text: string, piece: Piece, room: number, unit: TextUnit): Piece {
  const { body, next, close, open } = piece;
  if (open === '' || text[next - 1] !== '\n') return piece;
  const end = endWithin(text, next, { max: room + textLength(close, unit) - 1, unit });
  const line = text.slice(next, end).split('\n', 1)[0] ?? '';
  const at = next + line.length;
  const isWhole = at === text.length || text[at] === '\n';
  if (!isWhole || blocksBehind(`${open}${line}`).fence !== undefined) return piece;
  return { body: `${body}\n${line}`, next: afterBreak(text, at), close: '', open: '' };
}

/** Where a text stands at its end. */
function blocksBehind(text: string): Blocks {
  const blocks = new Blocks();
  for (const line of text.split('\n')) blocks.take(line);
  return blocks;
}

/**
 * What takes the place of the blanks that a text begins with, deep in a list, where without the list they would make all of
 * it code, fences as well; empty anywhere else.
 */
function listMarks(text: string, containers: readonly Container[]): string {
  const columns = containers.reduce((sum, one) => sum + (one.type === 'item' ? one.width : Number.NaN), 0);
  if (!(columns >= 4) || !text.startsWith(' '.repeat(columns)) || !/^ *(?:```|~~~)/m.test(text)) return '';
  return reopening({ containers, indent: 0, marks: '', info: '' }).open;
}

/** What closes a block of code and opens it again; both empty where they would leave too little room for the text. */
function around(fence: Fence, { max, unit }: TextLimit): Reopening {
  for (const info of [fence.info, '']) {
    const { open, close, prefix } = reopening({ ...fence, info });
    const whole = { open: `${open}\n`, close: `\n${close}`, prefix };
    if (textLength(whole.open + whole.close + prefix, unit) <= max / 3) return whole;
  }
  return { open: '', close: '', prefix: '' };
}

/** Where breaks are looked for, best first. */
interface Break {
  /** Matches where one is, with what is dropped there. */
  readonly at: RegExp;
  /** Of the piece so much has to be before it that the part is not left short. */
  readonly from: number;
  /** What it may be in: a line of a block of code, or a link and a span of code as well. */
  readonly within: 'text' | 'code lines' | 'anything';
}

const WORD = /\s/gu;
const LINE = /\n/gu;

const BREAKS: readonly Break[] = [
  { at: /\n[^\S\n]*\n/gu, from: 0.5, within: 'text' },
  { at: LINE, from: 0.4, within: 'code lines' },
  { at: /(?<=[.!?…]["')\]]?)\s|(?<=[。！？])/gu, from: 0.4, within: 'text' },
  { at: WORD, from: 0.25, within: 'text' },
  { at: LINE, from: 0, within: 'code lines' },
  { at: WORD, from: 0, within: 'anything' },
];

/** How far behind the break links and code are looked at that it may be in. */
const AHEAD = 1_000;

/** The longest that a break looks back at. */
const BEHIND = 3;

/** The best place to break at or before `end`, where the text goes on. */
function breakBefore(text: string, start: number, end: number, head: string): number {
  const ahead = text.slice(start, end + AHEAD);
  const by = start - head.length;
  const hasCode = head !== '' || ahead.includes('`') || FENCES.test(ahead);
  const marked = hasCode ? codeRanges(`${head}${ahead}`, 0) : [];
  const code = marked.map((one) => ({ ...one, start: one.start + by, end: one.end + by }));
  const links = [...ahead.matchAll(LINK)].map(({ index, 0: link }) => ({
    is: 'link' as const,
    start: start + index,
    end: start + index + link.length,
  }));
  for (const { at, from, within } of BREAKS) {
    const first = start + Math.max(1, Math.ceil((end - start) * from));
    const offset = Math.max(start, first - BEHIND);
    // One more, so that a break right behind the slice counts.
    const places = [...text.slice(offset, end + 1).matchAll(at)].map(({ index }) => offset + index);
    const best = places.findLast(
      (place) =>
        place >= first &&
        place <= end &&
        (within === 'anything' || (isFree(text, place, code, within) && isFree(text, place, links, within))) &&
        !makesFence(text, place),
    );
    if (best !== undefined && text.slice(start, best).trim() !== '') return best;
  }
  return characterEnd(text, start, end);
}

/** A link, with its text. */
const LINK = /\[[^[\]\n]{1,300}\]\([^()\s]{1,1000}(?: "[^"\n]{0,300}")?\)/g;

type Fixed = TextRange & { readonly is: 'block' | 'span' | 'link' };

/** Whether a break at a place leaves every range whole. A block may be broken at its lines, but not at the first of them. */
function isFree(text: string, place: number, ranges: readonly Fixed[], within: Break['within']): boolean {
  const range = lastBefore(ranges, place);
  if (range === undefined || place >= range.end) return true;
  return range.is === 'block' && within === 'code lines' && text.lastIndexOf('\n', place - 1) >= range.start;
}

/** The last of the ranges that begins before a place. They are in order. */
function lastBefore(ranges: readonly Fixed[], place: number): Fixed | undefined {
  let [low, high] = [0, ranges.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ranges[middle]?.start ?? place) < place) low = middle + 1;
    else high = middle;
  }
  return ranges[low - 1];
}

/** Whether what stands behind a break within a line would open a block of code at the beginning of one. */
function makesFence(text: string, place: number): boolean {
  return text[place] !== '\n' && /^\s?(?:```|~~~)/.test(text.slice(place, place + 4));
}

/** Skips the white space of a break: to the next line, keeping its indentation, or to the next word. */
function afterBreak(text: string, end: number): number {
  const gap = /^\s*\n|^[^\S\n]+/u.exec(text.slice(end, end + 1_000));
  return end + (gap?.[0].length ?? 0);
}
