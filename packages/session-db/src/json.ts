/**
 * JSON from outside: of a container, of a program that posts, of a process that reads for the host. How deep it is and how
 * many values it has is counted over the text, before a parser makes anything of it: a megabyte of brackets or keys costs a
 * parser, and every walk through what it made, many times what the count does (2 ms for 1 MiB).
 */
import type { Json } from './messages.ts';

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

const [QUOTE, COMMA, BACKSLASH, OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [
  34, 44, 92, 91, 93, 123, 125,
] as const;
