/** JSON from outside is counted before it is parsed. */
import { assert, bigInt, double, jsonValue, property } from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { boundedJson, inexactness } from '../src/json.ts';

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

describe('JSON that would become something else', () => {
  it.each([
    ['{"a":1,"a":2}', 'The key "a" is in it twice.'],
    ['{"b":[{"a":1},{"a":{"x":1,"\\u0078" : 2}}]}', 'The key "x" is in it twice.'],
    ['{"__proto__":1,"__proto__":2}', 'The key "__proto__" is in it twice.'],
    ['[12345678901234567890]', 'The number 12345678901234567890 cannot be kept exactly; write it as a text.'],
    ['{"id":9007199254740993}', 'The number 9007199254740993 cannot be kept exactly; write it as a text.'],
    ['-9007199254740993', 'The number -9007199254740993 cannot be kept exactly; write it as a text.'],
    ['[0.1234567890123456789]', 'The number 0.1234567890123456789 cannot be kept exactly; write it as a text.'],
    ['1.0000000000000000001', 'The number 1.0000000000000000001 cannot be kept exactly; write it as a text.'],
    ['1e400', 'The number 1e400 cannot be kept exactly; write it as a text.'],
    ['1e-400', 'The number 1e-400 cannot be kept exactly; write it as a text.'],
    [`1${'0'.repeat(500)}`, `The number 1${'0'.repeat(58)}… cannot be kept exactly; write it as a text.`],
    ['["\\ud83d"]', 'A text in it has half of a character (a surrogate without its other one).'],
    ['{"\\ude00x":1}', 'A text in it has half of a character (a surrogate without its other one).'],
    ['"\ud83d"', 'A text in it has half of a character (a surrogate without its other one).'],
  ])('%s: %s', (text, problem) => {
    expect(inexactness(text)).toBe(problem);
  });

  it.each([
    '{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}',
    '{"a":"a","x":["a","a"]}',
    '[0,-0,1.0,1.50,100,1e2,1E+2,0.1,1e21,123456789012345680000,9007199254740992,5e-324,0.30000000000000004]',
    '["12345678901234567890","{\\"a\\":1,\\"a\\":2}","\\\\ud83d","\\ud83d\\ude00"]',
    'true',
  ])('does not find what is kept: %s', (text) => {
    expect(inexactness(text)).toBeUndefined();
    expect(JSON.parse(JSON.stringify(JSON.parse(text)))).toEqual(JSON.parse(text.replace('-0', '0')));
  });

  it('is never what JavaScript has written', () => {
    assert(
      property(jsonValue(), double(), bigInt({ min: -(2n ** 53n), max: 2n ** 53n }), (value, some, whole) => {
        expect(inexactness(JSON.stringify([value, some, Number(whole)], undefined, 1), 'replaced')).toBeUndefined();
      }),
    );
  });

  it('costs a walk, whatever it is made of', () => {
    const texts = [`"${'\\\\'.repeat(500_000)}"`, `[${'0'.repeat(1_000_000)}1]`, `[${'"",'.repeat(300_000)}1]`];
    for (const text of [...texts, `{${'"\\u0061":{'.repeat(30_000)}${'}'.repeat(30_001)}`]) inexactness(text);
  });
});
