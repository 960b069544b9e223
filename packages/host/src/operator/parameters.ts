/** Parameters that several commands share. */
import { z } from 'zod';
import { messageOf, parseJson } from '../errors/index.ts';
import { argument, option } from './command.ts';

/** A text that is not empty. */
export const Text = z.string().trim().min(1, 'it is empty');

/** A text; an empty one is `null`. */
export const TextOrNone = z
  .string()
  .trim()
  .transform((text) => (text === '' ? null : text));

/** `yes` or `no`, as a boolean. */
export const YesNo = z.enum(['yes', 'no']).transform((answer) => answer === 'yes');

/** JSON of a given shape, as one argument. */
export function jsonOf<Schema extends z.ZodType>(schema: Schema) {
  return z
    .string()
    .transform((text, context): unknown => {
      try {
        return parseJson(text);
      } catch (error) {
        context.addIssue({ code: 'custom', message: `it is not JSON: ${messageOf(error)}` });
        return z.NEVER;
      }
    })
    .pipe(schema);
}

/** A whole number in a range, written with digits alone. */
export function whole(min: number, max: number) {
  const what = `it is not a whole number from ${min} to ${max}`;
  return z
    .union([z.number(), z.string().regex(/^-?\d{1,15}$/, what)], what)
    .transform(Number)
    .pipe(z.int(what).min(min, what).max(max, what));
}

/** `--limit N` of a list. */
export function limit(fallback: number) {
  return option(whole(1, 1_000).default(fallback), `how many at most, newest first (${fallback})`, { value: 'n' });
}

/** `GROUP`, a positional parameter. */
export const groupArgument = argument(Text, 'the agent group: its folder, its id, or the beginning of its id');

/** `--group GROUP` that narrows a list. */
export const groupOption = option(Text.exactOptional(), 'only this agent group: its folder or its id', {
  value: 'group',
});

/** `SESSION`, a positional parameter. */
export const sessionArgument = argument(Text, 'the session: its id, or the beginning of it');
