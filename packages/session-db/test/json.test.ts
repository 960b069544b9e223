/** JSON from outside is counted before it is parsed. */
import { assert, jsonValue, property } from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { boundedJson } from '../src/json.ts';

const LIMITS = { depthMax: 3, valuesMax: 10 };

describe('JSON from outside', () => {
  it('within the limits is what a parser makes of it, whatever is in its texts', () => {
    const wide = { depthMax: 100, valuesMax: 100_000 };
    assert(
      property(jsonValue(), (value) => {
        const text = JSON.stringify(value);
        expect(boundedJson(text, wide)).toEqual({ type: 'json', value: JSON.parse(text) });
      }),
    );
  });

  it('is counted as it is, brackets and commas in texts left out', () => {
    assert(
      property(jsonValue(), (value) => {
        const { depth, values } = measured(value);
        const text = JSON.stringify(value, undefined, 1);
        expect(boundedJson(text, { depthMax: depth, valuesMax: 1_000_000 }).type).toBe('json');
        if (depth > 0) expect(boundedJson(text, { depthMax: depth - 1, valuesMax: 1_000_000 }).type).toBe('too-deep');
        if (values > 3) expect(boundedJson(text, { depthMax: 1_000, valuesMax: 1 }).type).toBe('too-many-values');
      }),
    );
  });

  it.each([
    ['{"a":[[[1]]]}', 'too-deep'],
    ['[1,2,3,4,5,6,7,8,9,10,11]', 'too-many-values'],
    ['{"a":"\\\\","b":[[1]]}', 'json'],
    ['{"a":"\\"[[[[[[","b":",,,,,,,,,,,,,"}', 'json'],
    ['{"a":"[[[[', 'not-json'],
    ['"\\', 'not-json'],
    ['', 'not-json'],
    [']]]]', 'not-json'],
  ])('%s: %s', (text, type) => expect(boundedJson(text, LIMITS).type).toBe(type));

  it('beyond them is refused before a parser sees it (failure 76)', () => {
    const parse = vi.spyOn(JSON, 'parse');
    expect(boundedJson('['.repeat(1_000_000), LIMITS).type).toBe('too-deep');
    expect(boundedJson(`[${'{},'.repeat(300_000)}1]`, LIMITS).type).toBe('too-many-values');
    expect(parse).not.toHaveBeenCalled();
    parse.mockRestore();
  });
});

function measured(value: unknown): { depth: number; values: number } {
  if (typeof value !== 'object' || value === null) return { depth: 0, values: 1 };
  const children = Object.values(value).map(measured);
  return {
    depth: 1 + Math.max(0, ...children.map(({ depth }) => depth)),
    values: children.reduce((sum, { values }) => sum + values, 1),
  };
}
