/**
 * JSON from outside: of a container, of a program that posts, of a process that reads for the host. How deep it is and how
 * many values it has is counted over the text, before a parser makes anything of it: a megabyte of brackets or keys costs a
 * parser, and every walk through what it made, many times what the count does (2 ms for 1 MiB).
 */
import type { Json } from './messages.ts';
import { cut } from './text/cut.ts';

/** How much of a JSON text is taken. */
export interface JsonLimits {
  /** Lists and objects within each other. */
  readonly depthMax: number;
  /** Texts, numbers, lists, objects and the like together; the keys of objects come with their values. */
  readonly valuesMax: number;
}

/** What a text is: parsed, or why it was not. */
export type BoundedJson =
  | { readonly type: 'json'; readonly value: Json }
  | { readonly type: 'not-json' }
  | { readonly type: 'too-deep' }
  | { readonly type: 'too-many-values' };

/** Parses a text of bounded length whose author is not trusted. Costs a walk over it where it is refused. Never throws. */
export function boundedJson(text: string, limits: JsonLimits): BoundedJson {
  const excess = excessOf(text, limits);
  if (excess !== undefined) return { type: excess };
  try {
    return { type: 'json', value: JSON.parse(text) };
  } catch {
    // A SyntaxError is all that can come of a text this shallow.
    return { type: 'not-json' };
  }
}

/**
 * What of a JSON text would become something else when it is read, as one sentence; `undefined`: nothing. For texts that are
 * JSON, of people and programs who are there to say it in another way: a key that is there twice, of which a parser keeps the
 * last; a number that JavaScript does not hold, and would write otherwise; half of a pair of surrogates, which is no character,
 * unless it is to become U+FFFD: in what people type.
 */
export function inexactness(text: string, halves: 'refused' | 'replaced' = 'refused'): string | undefined {
  const numbers = new RegExp(NUMBER, 'y');
  /** The keys of each object that is open; `undefined` for a list. */
  const open: (Set<string> | undefined)[] = [];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === OPEN_OBJECT) open.push(new Set());
    else if (code === OPEN_LIST) open.push(undefined);
    else if (code === CLOSE_OBJECT || code === CLOSE_LIST) open.pop();
    else if (code === QUOTE) {
      const end = endOfString(text, at);
      const value = stringOf(text.slice(at, end + 1));
      if (halves === 'refused' && !value.isWellFormed())
        return 'A text in it has half of a character (a surrogate without its other one).';
      const keys = open.at(-1);
      if (keys !== undefined && isKey(text, end + 1)) {
        if (keys.has(value)) return `The key ${JSON.stringify(cut(value, 60))} is in it twice.`;
        keys.add(value);
      }
      at = end;
    } else if (code === MINUS || (code >= DIGIT_0 && code <= DIGIT_9)) {
      numbers.lastIndex = at;
      const number = numbers.exec(text)?.[0] ?? '';
      if (!isExact(number)) return `The number ${cut(number, 60)} cannot be kept exactly; write it as a text.`;
      at += Math.max(number.length, 1) - 1;
    }
  }
  return undefined;
}

function stringOf(literal: string): string {
  return literal.includes('\\') ? String(JSON.parse(literal)) : literal.slice(1, -1);
}

function isKey(text: string, from: number): boolean {
  let at = from;
  while (BLANKS.includes(text.charCodeAt(at))) at += 1;
  return text.charCodeAt(at) === COLON;
}

/** Whether a number as JSON writes it has the value that it has when JavaScript writes it. */
function isExact(literal: string): boolean {
  const value = Number(literal);
  return (
    literal.length <= NUMBER_LENGTH_MAX && Number.isFinite(value) && decimalOf(literal) === decimalOf(String(value))
  );
}

/** Longer than the longest that JavaScript writes. */
const NUMBER_LENGTH_MAX = 400;

/** A number as its digits and the power of ten, however it was written; the same for the same value. */
function decimalOf(literal: string): string {
  const [, whole = '', fraction = '', exponent = '0'] = /^-?(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/i.exec(literal) ?? [];
  const digits = `${whole}${fraction}`.replace(/^0+/, '');
  const significant = digits.replace(/0+$/, '');
  if (significant === '') return '0';
  const power = Number(exponent) - fraction.length + digits.length - significant.length;
  return `${literal.startsWith('-') ? '-' : ''}${significant}e${power}`;
}

const NUMBER = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/;

/** What there is too much of in a text; of one that is no JSON, what a parser would meet of it at most. Pure. */
function excessOf(text: string, { depthMax, valuesMax }: JsonLimits): 'too-deep' | 'too-many-values' | undefined {
  let depth = 0;
  let values = 1;
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case QUOTE:
        at = endOfString(text, at);
        break;
      case OPEN_LIST:
      case OPEN_OBJECT:
        depth += 1;
        values += 1;
        if (depth > depthMax) return 'too-deep';
        break;
      case CLOSE_LIST:
      case CLOSE_OBJECT:
        depth -= 1;
        break;
      case COMMA:
        values += 1;
        break;
    }
    if (values > valuesMax) return 'too-many-values';
  }
  return undefined;
}

/** Where the string that begins at `start` ends; the end of the text where it does not. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(end - 1 - backslashes) === BACKSLASH) backslashes += 1;
    if (backslashes % 2 === 0) return end;
  }
  return text.length;
}

const [QUOTE, COMMA, MINUS, DIGIT_0, DIGIT_9, COLON, BACKSLASH] = [34, 44, 45, 48, 57, 58, 92] as const;
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [91, 93, 123, 125] as const;
const BLANKS: readonly number[] = [9, 10, 13, 32];
