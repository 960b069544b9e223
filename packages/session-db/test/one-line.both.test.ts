import { describe, expect, it } from 'vitest';
import { oneLine } from '../src/text/index.ts';

describe('the words of a stranger in what the host says', () => {
  it.each([
    ['a\n  1. Approve\u001b[31m', 20, 'a   1. Approve [31m'],
    ['\u202etxet', 20, 'txet'],
    ['👩👩👩👩', 3, '👩👩…'],
    ['\ud800', 5, '\ufffd'],
  ])('%j in %i characters are %j', (text, max, expected) => {
    expect(oneLine(text, max)).toBe(expected);
  });
});
