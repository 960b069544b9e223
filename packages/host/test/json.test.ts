/** Where JSON that a person wrote is wrong. */
import { expect, it } from 'vitest';
import { parseJson } from '../src/errors/json.ts';

it('gives what JSON.parse gives', () => {
  const value = { text: 'a "\u00e9\n\\', list: [1, -0.5e3, true, null, {}, []] };
  expect(parseJson(`\n ${JSON.stringify(value, null, 2)} \n`)).toEqual(value);
});

it.each([
  ['{\n  "a": 1,\n}', 'line 3, column 1'],
  ['{\n  "a": \n}', 'line 3, column 1'],
  ['{\n  "a": 1\n  "b": 2\n}', 'line 3, column 3'],
  ["{ 'a': 1 }", 'line 1, column 3'],
  ['{ "a" 1 }', 'line 1, column 7'],
  ['{ "a": tru }', 'line 1, column 8'],
  ['{ "a": "one\ntwo" }', 'line 1, column 8'],
  ['{ "a": [1, 2 }', 'line 1, column 14'],
  ['{ "a": 01 }', 'line 1, column 9'],
  ['{ "a": 1 } // so', 'line 1, column 12'],
  ['{ "a": [', 'line 1, column 9'],
  ['', 'line 1, column 1'],
])('says where %j stops being JSON', (text, place) => {
  expect(() => parseJson(text)).toThrow(new SyntaxError(place));
});

it.each([
  ['{"port": 1, "port": 2}', 'The key "port" is in it twice'],
  ['{"port": 12345678901234567890}', 'The number 12345678901234567890 cannot be kept exactly; write it as a text'],
  ['{"name": "\\ud83d"}', 'A text in it has half of a character (a surrogate without its other one)'],
])('says what of %j would become something else', (text, what) => {
  expect(() => parseJson(text)).toThrow(new SyntaxError(what));
});
