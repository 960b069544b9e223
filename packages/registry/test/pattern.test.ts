import { describe, expect, it } from 'vitest';
import { patternMatches, patternProblem } from '../src/pattern.ts';

describe('patternMatches', () => {
  it.each([
    ['.', '', true],
    ['.', 'two\nlines', true],
    ['andy', 'hey andy!', true],
    ['andy', 'hey Andy!', false],
    ['(?i)andy', 'hey Andy!', true],
    ['^!', 'not !here', false],
    ['\\bbea\\b', 'beach', false],
    ['grüße', 'viele grüße', true],
  ])('%j in %j: %s', (pattern, text, expected) => {
    expect(patternMatches(pattern, text)).toBe(expected);
  });

  it('looks at the first 4,096 characters only', () => {
    expect(patternMatches('x', `${'a'.repeat(4_095)}x`)).toBe(true);
    expect(patternMatches('x', `${'a'.repeat(4_096)}x`)).toBe(false);
  });

  it('finishes with a pattern that would keep a backtracking engine busy for longer than the universe', () => {
    expect(patternMatches('^(a+)+$', `${'a'.repeat(4_000)}!`)).toBe(false);
    expect(patternMatches('(a|aa)+$', `${'a'.repeat(4_000)}!`)).toBe(false);
  });

  it('answers undefined for a pattern that cannot be used', () => {
    expect(patternMatches('(a', 'a')).toBeUndefined();
  });
});

describe('patternProblem', () => {
  it.each([
    ['', /empty/],
    ['(a', /cannot be used/],
    ['(?=a)b', /RE2 syntax/],
    ['(a)\\1', /RE2 syntax/],
    ['a'.repeat(201), /201 characters/],
    ['[ab]*a[ab]{400}c', /too costly/],
    ['((a{100}){100}){100}', /cannot be used/],
  ])('%j is refused', (pattern, expected) => {
    expect(patternProblem(pattern)).toMatch(expected);
  });

  it.each(['.', '^!', '(?i)\\b(andy|bea)\\b', '\\p{Greek}+', 'a{2,100}'])('%j is accepted', (pattern) => {
    expect(patternProblem(pattern)).toBeUndefined();
  });
});
