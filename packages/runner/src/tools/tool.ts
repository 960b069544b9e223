/**
 * How a tool is declared: its fields give the schema that the model sees and check what the model sends, so that the
 * two cannot differ.
 */
import type { Json, Millis } from '@nanoclaw/session-db';
import { cut } from '@nanoclaw/session-db/text';
import type { Tool } from '../provider.ts';

/** One argument of a tool, as `T`. */
export interface Field<T> {
  readonly name: string;
  readonly isRequired: boolean;
  readonly schema: Readonly<Record<string, Json>>;
  /** Throws `ToolInputError` when the value is missing or does not fit. */
  readonly of: (input: ToolInput) => T;
}

export type ToolInput = Readonly<Record<string, unknown>>;

/** What the model sent does not fit the tool: it is told, and may do better. */
export class ToolInputError extends Error {
  override readonly name = 'ToolInputError';
}

export interface ToolDeclaration {
  readonly name: string;
  readonly description: string;
  readonly fields: readonly Field<unknown>[];
  readonly timeoutMs?: Millis;
  readonly call: (input: ToolInput) => Promise<string>;
}

/** A tool whose calls are refused, with one sentence, unless every argument is known and fits. */
export function tool({ name, description, fields, timeoutMs, call }: ToolDeclaration): Tool {
  return {
    name,
    description,
    inputSchema: {
      type: 'object',
      properties: Object.fromEntries(fields.map((field) => [field.name, field.schema])),
      required: fields.filter((field) => field.isRequired).map((field) => field.name),
      additionalProperties: false,
    },
    timeoutMs,
    call: async (input) => {
      const unknown = Object.keys(input).find((key) => !fields.some((field) => field.name === key));
      if (unknown !== undefined) {
        const known = fields.map((field) => field.name).join(', ');
        throw new ToolInputError(`${name} has no argument ${JSON.stringify(unknown)}; it has ${known || 'none'}.`);
      }
      // All of them before the call, so that nothing is half done when the last one does not fit.
      for (const field of fields) field.of(input);
      const answer = await call(input);
      return answer.toWellFormed();
    },
  };
}

/** A text, bounded, that is not only blanks, and of a shape where it has one. Half of a character becomes U+FFFD. */
export function text(name: string, description: string, lengthMax = 100_000, pattern?: string): Field<string> {
  const shape = pattern === undefined ? undefined : new RegExp(pattern);
  return {
    name,
    isRequired: true,
    schema: {
      type: 'string',
      description,
      minLength: 1,
      maxLength: lengthMax,
      ...(pattern === undefined ? {} : { pattern }),
    },
    of: (input) => {
      const value = input[name];
      if (typeof value !== 'string' || value.trim() === '') throw new ToolInputError(`${name} must be a text.`);
      if (value.length > lengthMax) {
        throw new ToolInputError(`${name} has ${value.length} characters and may have ${lengthMax}.`);
      }
      if (shape?.test(value) === false) throw new ToolInputError(`${name} must be of the form ${pattern}.`);
      return value.toWellFormed();
    },
  };
}

/** A whole number within bounds. */
export function wholeNumber(name: string, description: string, min: number, max: number): Field<number> {
  return {
    name,
    isRequired: true,
    schema: { type: 'integer', description, minimum: min, maximum: max },
    of: (input) => {
      const value = input[name];
      if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
        throw new ToolInputError(`${name} must be a whole number from ${min} to ${max}.`);
      }
      return value;
    },
  };
}

/** One of some words. */
export function oneOf<Word extends string>(name: string, description: string, words: readonly Word[]): Field<Word> {
  return {
    name,
    isRequired: true,
    schema: { type: 'string', description, enum: words },
    of: (input) => {
      const value = words.find((word) => word === input[name]);
      if (value === undefined) throw new ToolInputError(`${name} must be one of ${words.join(', ')}.`);
      return value;
    },
  };
}

/** A list of texts, each of a shape of its own. */
export function texts(
  name: string,
  description: string,
  bounds: {
    readonly min: number;
    readonly max: number;
    readonly lengthMax: number;
    readonly pattern?: string | undefined;
  },
): Field<readonly string[]> {
  const { min, max, lengthMax, pattern } = bounds;
  const shape = pattern === undefined ? undefined : new RegExp(pattern);
  return {
    name,
    isRequired: true,
    schema: {
      type: 'array',
      description,
      minItems: min,
      maxItems: max,
      items: { type: 'string', minLength: 1, maxLength: lengthMax, ...(pattern === undefined ? {} : { pattern }) },
    },
    of: (input) => {
      const value: unknown = input[name];
      if (!Array.isArray(value) || value.length < min || value.length > max) {
        throw new ToolInputError(`${name} must be a list of ${min} to ${max} texts.`);
      }
      return value.map((item: unknown) => {
        if (typeof item !== 'string' || item.trim() === '' || item.length > lengthMax || shape?.test(item) === false) {
          throw new ToolInputError(
            `${name} has an entry that is not allowed: ${cut(JSON.stringify(item) ?? 'nothing', 100)}.`,
          );
        }
        return item.toWellFormed();
      });
    },
  };
}

/** A JSON object, of bounded size. */
export function jsonObject(
  name: string,
  description: string,
  lengthMax = 100_000,
): Field<Readonly<Record<string, Json>>> {
  return {
    name,
    isRequired: true,
    schema: { type: 'object', description },
    of: (input) => {
      const value = input[name];
      if (!isJsonObject(value, JSON_DEPTH_MAX)) {
        throw new ToolInputError(`${name} must be a JSON object of at most ${JSON_DEPTH_MAX} levels.`);
      }
      if (hasUnsafeNumber(value)) {
        const most = Number.MAX_SAFE_INTEGER;
        throw new ToolInputError(
          `${name} has a number beyond ${most}, which may have been another: write it as a text.`,
        );
      }
      if (JSON.stringify(value).length > lengthMax)
        throw new ToolInputError(`${name} is longer than ${lengthMax} characters.`);
      return value;
    },
  };
}

/** The same field, which may be left out. */
export function optional<T>(field: Field<T>): Field<T | undefined> {
  return {
    ...field,
    isRequired: false,
    of: (input) => (input[field.name] === undefined || input[field.name] === null ? undefined : field.of(input)),
  };
}

/** Below what the host takes from a row (32 levels), with room for the row around it. */
const JSON_DEPTH_MAX = 24;

function isJsonObject(value: unknown, levels: number): value is Readonly<Record<string, Json>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && isJson(value, levels);
}

function isJson(value: unknown, levels: number): value is Json {
  if (value === null || ['string', 'boolean'].includes(typeof value)) return true;
  if (typeof value === 'number') return Number.isFinite(value);
  return typeof value === 'object' && levels > 0 && Object.values(value).every((child) => isJson(child, levels - 1));
}

/** Whether it has a number that may no longer be the one that the model wrote: what was parsed does not say. */
function hasUnsafeNumber(value: Json): boolean {
  if (typeof value === 'number') return Math.abs(value) > Number.MAX_SAFE_INTEGER;
  return (
    typeof value === 'object' && value !== null && Object.values(value).some((child: Json) => hasUnsafeNumber(child))
  );
}
