/**
 * Splits what is too long for one message of a platform, by the limits that the platform declares. Nothing is cut:
 * the parts hold all of it, in order, broken where a reader would break it. Pure.
 */

/** The longest text of one message, counted the way the platform counts. `max` is at least 4. */
export interface TextLimit {
  readonly max: number;
  readonly unit: TextUnit;
}

export type TextUnit = 'utf16-units' | 'code-points' | 'utf8-bytes';

/** What one message of a platform holds. What is left out is not limited. */
export interface MessageLimits {
  readonly text: TextLimit;
  readonly filesMax?: number;
  readonly buttonsMax?: number;
  /** What a press sends back. */
  readonly buttonPayload?: TextLimit;
}

export interface Body<File, Button extends { readonly payload: string }> {
  readonly text: string;
  readonly files: readonly File[];
  readonly buttons: readonly Button[];
}

export type SplitMessage<File, Button extends { readonly payload: string }> =
  | { readonly type: 'parts'; readonly parts: readonly Body<File, Button>[] }
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

  const texts = splitText(body.text, limits.text);
  const files = chunks(body.files, limits.filesMax);
  const buttons = chunks(body.buttons, limits.buttonsMax);
  const parts = [
    ...texts.slice(0, -1).map((text) => ({ text, files: [], buttons: [] })),
    { text: texts.at(-1) ?? '', files: files[0] ?? [], buttons: buttons[0] ?? [] },
    ...files.slice(1).map((some) => ({ text: '', files: some, buttons: [] })),
    ...buttons.slice(1).map((some) => ({ text: CONTINUED, files: [], buttons: some })),
  ];
  return { type: 'parts', parts };
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

/** The length of a text in the unit of a platform. */
export function textLength(text: string, unit: TextUnit): number {
  switch (unit) {
    case 'utf16-units':
      return text.length;
    case 'code-points':
      return [...text].length;
    case 'utf8-bytes':
      return Buffer.byteLength(text);
  }
}

/** What closes a block of code at the end of a part; the next part opens it again. */
const FENCE = '```';

/** Below this a platform's limit leaves no room to close and open blocks of code. */
const FENCED_FROM = 200;

/**
 * Splits a text at paragraphs, else lines, else sentences, else words, else between characters as people see them. The
 * white space at a break is dropped, and so is a part that would show nothing; every other character is kept. A block
 * of code that is split is closed and opened again. Empty for a text without anything to show.
 *
 * Throws `RangeError` for a limit below 4, in which not every character fits.
 */
export function splitText(text: string, limit: TextLimit): string[] {
  if (limit.max < 4) throw new RangeError(`A text limit is at least 4, and ${limit.max} is not.`);
  if (textLength(text, limit.unit) <= limit.max) return text.trim() === '' ? [] : [text];

  const keepsFences = limit.max >= FENCED_FROM && text.includes(FENCE);
  const parts: string[] = [];
  let opener = '';
  let start = 0;
  while (start < text.length) {
    const head = opener === '' ? '' : `${opener}\n`;
    const room = keepsFences ? limit.max - textLength(`${head}\n${FENCE}`, limit.unit) : limit.max;
    const end = breakBefore(text, start, furthest(text, start, { max: room, unit: limit.unit }));
    const body = text.slice(start, end).trimEnd();
    opener = keepsFences ? openFence(opener, body) : '';
    if (body.trim() !== '') parts.push(`${head}${body}${opener === '' ? '' : `\n${FENCE}`}`);
    start = afterBreak(text, end);
  }
  return parts;
}

/** The end of the longest slice from `start` that is within the limit. */
function furthest(text: string, start: number, { max, unit }: TextLimit): number {
  let end = start;
  let length = 0;
  while (end < text.length) {
    const character = String.fromCodePoint(text.codePointAt(end) ?? 0);
    length += textLength(character, unit);
    if (length > max) break;
    end += character.length;
  }
  return end;
}

/** Where breaks are looked for, best first, each only in so much of the slice's end that the part is not left short. */
const BREAKS: readonly { readonly at: RegExp; readonly from: number }[] = [
  { at: /\n[^\S\n]*\n/gu, from: 0.5 },
  { at: /\n/gu, from: 0.4 },
  { at: /(?<=[.!?…]["')\]]?)\s|(?<=[。！？])/gu, from: 0.4 },
  { at: /\s/gu, from: 0 },
];

/** The best place to break at or before `end`; `end` itself when the text ends there. */
function breakBefore(text: string, start: number, end: number): number {
  if (end >= text.length) return end;
  // One more, so that a break right behind the slice counts.
  const slice = text.slice(start, end + 1);
  for (const { at, from } of BREAKS) {
    let best = 0;
    for (const match of slice.matchAll(at)) if (match.index <= end - start) best = match.index;
    if (best > 0 && best >= slice.length * from && slice.slice(0, best).trim() !== '') return start + best;
  }
  return characterBefore(text, start, end);
}

/** A base letter with its marks or an emoji with its modifiers is one character; beyond this length it may be split. */
const CHARACTER_MAX = 64;

function characterBefore(text: string, start: number, end: number): number {
  const from = Math.max(start, end - CHARACTER_MAX);
  const segments = new Intl.Segmenter().segment(text.slice(from, end + CHARACTER_MAX));
  const whole = segments.containing(end - from);
  return whole !== undefined && from + whole.index > start ? from + whole.index : end;
}

/** Skips the white space of a break: to the next line, keeping its indentation, or to the next word. */
function afterBreak(text: string, end: number): number {
  const gap = /^\s*\n|^[^\S\n]+/u.exec(text.slice(end, end + 1_000));
  return end + (gap?.[0].length ?? 0);
}

/** The line that opened the block of code in which `body` ends, or '' when it ends in none. */
function openFence(before: string, body: string): string {
  let opener = before;
  for (const line of body.split('\n')) {
    const trimmed = line.trimStart();
    if (trimmed.startsWith(FENCE)) opener = opener === '' ? trimmed.slice(0, 40) : '';
  }
  return opener;
}
