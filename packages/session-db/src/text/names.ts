/**
 * Names that people, models and programs give: what each kind may look like, in one place, so that what one door takes no
 * other refuses. A name is taken as it is or refused with a sentence; it is never cleaned or shortened. Pure.
 */
import { cut, textLength } from './cut.ts';
import { escapeHidden, hasHidden } from './hidden.ts';

/** What a name is of. */
export type NameOf = keyof typeof KINDS;

interface Kind {
  /** The rest of the sentence "a name has …". */
  readonly has: string;
  readonly fits: RegExp | ((name: string) => boolean);
  /** Has the shape, and stands for something else already. */
  readonly taken?: { readonly name: string; readonly is: string };
}

const KINDS = {
  /** As people read it. */
  agent: {
    has: '1 to 100 characters on one line, without blanks around them and without marks that cannot be seen',
    fits: (name) => isTitle(name, 100),
  },
  /** Or a provider or driver of the configuration. */
  channel: {
    has: '1 to 64 small letters, digits or "-", and begins with a letter',
    fits: /^[a-z][a-z0-9-]{0,63}$/,
    taken: { name: 'agent', is: 'in addresses that is another agent' },
  },
  chat: { has: '1 to 64 letters, digits, dots, dashes or underscores', fits: /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/ },
  endpoint: { has: '1 to 64 letters, digits, dots, dashes or underscores', fits: /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/ },
  /** As its owner calls it, wherever it is kept. */
  file: {
    has: '1 to 255 bytes without slashes and control characters, and is not made of dots alone',
    fits: (name) => name !== '' && textLength(name, 'utf8-bytes') <= 255 && !/[/\\\p{Cc}\p{Cs}]|^\.{1,2}$/u.test(name),
  },
  'MCP server': {
    has: '1 to 40 small letters, digits or "-", and does not begin with "-"',
    fits: /^[a-z0-9][a-z0-9-]{0,39}$/,
    taken: { name: 'nanoclaw', is: "that is the runner's own" },
  },
  mount: {
    has: '1 to 64 letters, digits, dots, dashes or underscores, and begins with a letter or digit',
    fits: /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/,
  },
  provider: { has: '1 to 64 small letters, digits or "-", and begins with a letter', fits: /^[a-z][a-z0-9-]{0,63}$/ },
  skill: {
    has: '1 to 64 small letters, digits or "-", and does not begin with "-"',
    fits: /^[a-z0-9][a-z0-9-]{0,63}$/,
  },
  'Debian package': { has: 'the form of Debian, without a version', fits: /^[a-z0-9][a-z0-9+.-]{1,99}$/ },
  'npm package': {
    has: 'the form of npm, without a version',
    fits: /^(@[a-z0-9][a-z0-9._-]{0,99}\/)?[a-z0-9][a-z0-9._-]{0,99}$/,
  },
  /** A package, or one version of it. */
  'npm release': {
    has: 'the form of npm, perhaps with an exact version behind "@"',
    fits: /^(@[a-z0-9][a-z0-9._-]{0,99}\/)?[a-z0-9][a-z0-9._-]{0,99}(@[0-9][0-9A-Za-z.+-]{0,49})?$/,
  },
} as const satisfies Readonly<Record<string, Kind>>;

/** Whether a text can be the name of such a thing. */
export function isName(of: NameOf, text: string): boolean {
  const { fits, taken }: Kind = KINDS[of];
  return text !== taken?.name && (typeof fits === 'function' ? fits(text) : fits.test(text));
}

/** Why a text cannot be the name of such a thing, as one sentence; `undefined`: it can. */
export function nameProblem(of: NameOf, text: string): string | undefined {
  if (isName(of, text)) return undefined;
  const { has, taken }: Kind = KINDS[of];
  const shown = `"${escapeHidden(cut(text, 60))}"`;
  const article = /^(?:[aeiou]|MCP|npm)/.test(of) ? 'an' : 'a';
  if (text === taken?.name) return `${shown} cannot be the name of ${article} ${of}: ${taken.is}.`;
  return `${shown} is not the name of ${article} ${of}: such a name has ${has}.`;
}

/** The shape of such a name as a regular expression, for the schemas that models see; `undefined` where none says it. */
export function namePattern(of: NameOf): string | undefined {
  const { fits }: Kind = KINDS[of];
  return typeof fits === 'function' ? undefined : fits.source;
}

/** Whether a text of a bounded length can stand in a line for people: not blank, nothing around it, nothing hidden in it. */
export function isTitle(text: string, lengthMax: number): boolean {
  const isBounded = text.length > 0 && text.length <= lengthMax;
  return isBounded && text.trim() === text && text.isWellFormed() && !hasHidden(text);
}
