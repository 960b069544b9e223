/**
 * Our markup in what a model writes: `<internal>…</internal>`, which is for no one to read, and `<message to="name">…</message>`,
 * which is for another place. Every text on its way to people goes through here. What stands in code, in quotes or behind a
 * backslash is a mention, and is kept. Pure.
 */
import type { Json, JsonObject } from '@nanoclaw/session-db';
import { codeRanges } from '@nanoclaw/session-db/text';

/** What a text amounts to: the pieces for the place it is written to, and those for others, in order. */
export interface Addressed<Place> {
  readonly text: string;
  readonly elsewhere: readonly { readonly place: Place; readonly text: string }[];
}

interface Tag {
  readonly name: string;
  readonly kind: 'open' | 'close' | 'empty';
  /** Of a message. */
  readonly to: string | undefined;
  readonly start: number;
  readonly end: number;
  readonly isInCode: boolean;
}

/**
 * A text without what is internal, and with what is for other places taken out of it. A place that `placeOf` does not know
 * stays as it is written, so that nothing is lost. An internal text that is never closed goes to the end: better unsaid than shown.
 */
export function addressed<Place>(
  text: string,
  placeOf: (name: string) => Place | undefined,
  levelsLeft = LEVELS_MAX,
): Addressed<Place> {
  const kept: string[] = [];
  const elsewhere: { place: Place; text: string }[] = [];
  let at = 0;
  let tags = tagsIn(text, 0);
  for (let index = 0; index < tags.length; index++) {
    const tag = tags[index];
    if (tag === undefined || tag.isInCode || tag.kind === 'close') continue;
    const place = tag.to === undefined || levelsLeft === 0 ? undefined : placeOf(tag.to);
    if (tag.name === 'message' && (place === undefined || tag.kind === 'empty')) continue;
    kept.push(text.slice(at, tag.start));
    at = tag.end;
    if (tag.kind === 'empty') continue;
    const close = closing(tags, index);
    if (close === undefined && tag.name === 'message') {
      at = tag.start;
      continue;
    }
    at = close === undefined ? text.length : close.end;
    if (place !== undefined && close !== undefined) {
      const inner = addressed(text.slice(tag.end, close.start), placeOf, levelsLeft - 1);
      elsewhere.push({ place, text: inner.text }, ...inner.elsewhere);
    }
    if (close?.isInCode === true) {
      // What was taken for code began in the element and ended with it.
      tags = tagsIn(text, at);
      index = -1;
    } else {
      while ((tags[index + 1]?.start ?? at) < at) index += 1;
    }
  }
  return { text: [...kept, text.slice(at)].join(''), elsewhere };
}

/** Messages within messages; deeper ones stay as they are written. */
const LEVELS_MAX = 8;

/** A text without what is internal. */
export function withoutInternal(text: string): string {
  return addressed(text, () => undefined).text;
}

/** The content of a row with no internal text in any of its texts, whatever their names. */
export function visibleContent(content: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(content).map(([name, value]) => [name, visible(value)]));
}

function visible(value: Json): Json {
  if (typeof value === 'string') return withoutInternal(value);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([name, of]: [string, Json]) => [name, visible(of)] as const);
  return Array.isArray(value) ? entries.map(([, of]) => of) : Object.fromEntries(entries);
}

/** The tag that closes another: its partner; else the first behind it; else, of internal text, the first even in code. */
function closing(tags: readonly Tag[], of: number): Tag | undefined {
  const opened = tags[of];
  let depth = 0;
  let first: Tag | undefined;
  let inCode: Tag | undefined;
  for (let index = of; index < tags.length; index++) {
    const tag = tags[index];
    if (tag === undefined || tag.name !== opened?.name || tag.kind === 'empty') continue;
    if (tag.isInCode) {
      if (tag.kind === 'close') inCode ??= tag;
      continue;
    }
    depth += tag.kind === 'open' ? 1 : -1;
    if (tag.kind === 'close') first ??= tag;
    if (depth === 0) return tag;
  }
  return first ?? inCode;
}

const TAG = /<(\/?)(internal|message)((?:\s[^<>]*)?\/?)>/gi;

function tagsIn(text: string, from: number): Tag[] {
  if (!text.includes('<')) return [];
  const code = codeRanges(text, from, ASIDE);
  const tags: Tag[] = [];
  let next = 0;
  for (const match of text.matchAll(TAG)) {
    const { index: start, 0: whole, 1: slash = '', 2: name = '', 3: attributes = '' } = match;
    const end = start + whole.length;
    if (start < from || isMention(text, start, end)) continue;
    while ((code[next]?.end ?? Number.POSITIVE_INFINITY) <= start) next += 1;
    const [, quoted, single] = /\bto\s*=\s*(?:"([^"]*)"|'([^']*)')/i.exec(attributes) ?? [];
    tags.push({
      name: name.toLowerCase(),
      kind: slash === '/' ? 'close' : attributes.endsWith('/') ? 'empty' : 'open',
      to: unescaped(quoted ?? single),
      start,
      end,
      isInCode: (code[next]?.start ?? Number.POSITIVE_INFINITY) <= start,
    });
  }
  return tags;
}

/** A tag of ours before a fence, or behind one that closes, is not of the code. */
const ASIDE = {
  before: /^(?:\s*<\/?(?:internal|message)(?:\s[^<>]*)?>)+[ \t]*/i,
  behind: /(?:[ \t]*<\/(?:internal|message)\s*>)+\s*$/i,
} as const;

/** In quotes, or behind a backslash. */
function isMention(text: string, start: number, end: number): boolean {
  const [before, behind] = [text.charAt(start - 1), text.charAt(end)];
  return (
    before === '\\' || (before !== '' && behind !== '' && ['""', "''", '“”', '‘’', '«»'].includes(before + behind))
  );
}

/** A name as the prompt shows it in an attribute. */
function unescaped(name: string | undefined): string | undefined {
  return name?.replaceAll('&quot;', '"').replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');
}
