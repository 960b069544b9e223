// What tells two values apart, in one short sentence: bytes and long texts by the place of the first difference. Pure.

import { cut } from '@nanoclaw/session-db/text';
import { fail } from './deadline.ts';

/** Fails unless both are the same, all the way down. `what` names the value within a sentence: `the text`. */
export function expectSame(what: string, actual: unknown, expected: unknown): void {
  const found = difference(what, actual, expected);
  if (found !== undefined) fail(`${found.charAt(0).toUpperCase()}${found.slice(1)}.`);
}

/** The first difference as a sentence without capital and full stop; `undefined` when there is none. */
function difference(what: string, actual: unknown, expected: unknown): string | undefined {
  if (Object.is(actual, expected)) return undefined;
  if (actual instanceof Uint8Array && expected instanceof Uint8Array) return lengthwise(what, actual, expected, 'byte');
  if (typeof actual === 'string' && typeof expected === 'string') {
    const isShort = Math.max(actual.length, expected.length) <= QUOTED_MAX;
    return isShort ? insteadOf(what, actual, expected) : lengthwise(what, actual, expected, 'character');
  }
  if (Array.isArray(actual) && Array.isArray(expected)) return listDifference(what, actual, expected);
  if (isRecord(actual) && isRecord(expected)) return recordDifference(what, actual, expected);
  return insteadOf(what, actual, expected);
}

/** Longer texts are not quoted in a sentence. */
const QUOTED_MAX = 60;

function lengthwise<Sequence extends string | Uint8Array>(
  what: string,
  actual: Sequence,
  expected: Sequence,
  unit: string,
): string | undefined {
  const shorter = Math.min(actual.length, expected.length);
  let place = 0;
  while (place < shorter && actual[place] === expected[place]) place += 1;
  if (place === actual.length && place === expected.length) return undefined;
  const came =
    actual.length < expected.length
      ? `came with ${actual.length} of ${expected.length} ${unit}s`
      : actual.length > expected.length
        ? `came with ${actual.length} ${unit}s instead of ${expected.length}`
        : `came with the right number of ${unit}s, ${actual.length}`;
  return `${what} ${came}; the first difference is at ${unit} ${place}`;
}

function listDifference(what: string, actual: unknown[], expected: unknown[]): string | undefined {
  if (actual.length !== expected.length) {
    const found = actual.every((each) => typeof each === 'string') ? `, ${quoted(actual)}` : '';
    return `${what}: there are ${actual.length}${found}, and there should be ${expected.length}`;
  }
  return first(
    expected.map((each, index) => {
      const isFile = isRecord(each) && typeof each.name === 'string' && each.bytes instanceof Uint8Array;
      const name = isFile ? `the file ${quoted(each.name)}` : `number ${index + 1} of ${what}`;
      return () => difference(name, actual[index], each);
    }),
  );
}

function recordDifference(
  what: string,
  actual: Readonly<Record<string, unknown>>,
  expected: Readonly<Record<string, unknown>>,
): string | undefined {
  const keys = [...new Set([...Object.keys(expected), ...Object.keys(actual)])];
  return first(
    keys.map((key) => {
      const name = key === 'bytes' ? what : `\`${key}\` of ${what}`;
      return () => difference(name, actual[key], expected[key]);
    }),
  );
}

function first(checks: readonly (() => string | undefined)[]): string | undefined {
  for (const check of checks) {
    const found = check();
    if (found !== undefined) return found;
  }
  return undefined;
}

function insteadOf(what: string, actual: unknown, expected: unknown): string {
  if (actual === undefined) return `${what} is missing, and should be ${quoted(expected)}`;
  if (expected === undefined) return `${what} is ${quoted(actual)}, and should not be there`;
  return `${what} is ${quoted(actual)} instead of ${quoted(expected)}`;
}

/** A value within a sentence, cut where it is long. */
export function quoted(value: unknown): string {
  const text = value instanceof Uint8Array ? `${value.length} bytes` : (JSON.stringify(value) ?? 'missing');
  return cut(text, QUOTED_MAX + 2);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}
