/** One answer to what a name may be, and to what choices a question may have, for every door. */
import { describe, expect, it } from 'vitest';
import { choicesProblem, isName, type NameOf, namePattern, nameProblem } from '../src/text/index.ts';

describe('a name', () => {
  it.each<[NameOf, string]>([
    ['agent', 'Ábel the 2nd'],
    ['agent', '👩‍👩‍👧 家族'],
    ['channel', 'my-irc-2'],
    ['MCP server', '2files'],
    ['skill', 'weather'],
    ['mount', 'My_notes.2'],
    ['endpoint', 'Shop.orders_2'],
    ['chat', 'main'],
    ['file', 'Überblick (final).tar.gz'],
    ['Debian package', 'libstdc++6'],
    ['npm package', '@scope/name.js'],
    ['npm release', '@scope/name.js@1.2.3-rc.1'],
  ])('of a kind of thing is taken: %s %s', (of, name) => {
    expect(nameProblem(of, name)).toBeUndefined();
  });

  it.each<[NameOf, string]>([
    ['agent', ''],
    ['agent', ' padded'],
    ['agent', 'two\nlines'],
    ['agent', 'turned \u202eround'],
    ['agent', 'half \ud83d'],
    ['agent', 'x'.repeat(101)],
    ['channel', 'agent'],
    ['channel', 'Irc'],
    ['channel', '2irc'],
    ['MCP server', 'nanoclaw'],
    ['MCP server', 'My.Server'],
    ['MCP server', 'x'.repeat(41)],
    ['skill', 'my_skill'],
    ['skill', '../x'],
    ['mount', '.ssh'],
    ['endpoint', 'a/b'],
    ['chat', ''],
    ['file', '..'],
    ['file', 'a/b'],
    ['file', 'a\u0000b'],
    ['file', 'half \ud83d'],
    ['file', 'é'.repeat(128)],
    ['Debian package', '--force'],
    ['npm package', 'left-pad@1.0.0'],
    ['npm release', 'left-pad@^1'],
  ])('that cannot be one is refused with a sentence, and not cleaned: %s %j', (of, name) => {
    expect(isName(of, name)).toBe(false);
    expect(nameProblem(of, name)).toMatch(/^".*" (?:is not|cannot be) the name of an? [A-Za-z ]+: .+\.$/s);
  });

  it('has a pattern for schemas that takes what it takes', () => {
    expect(new RegExp(namePattern('MCP server') ?? '').test('files')).toBe(true);
    expect(new RegExp(namePattern('MCP server') ?? '').test('My.Server')).toBe(false);
    expect(namePattern('agent')).toBeUndefined();
  });
});

describe('the choices of a question', () => {
  it.each<[readonly string[], string | undefined]>([
    [['yes', 'no'], undefined],
    [['👍', '👎'], undefined],
    [[], 'A question has choices, and none of them is empty.'],
    [['yes', ' '], 'A question has choices, and none of them is empty.'],
    [Array.from({ length: 21 }, (_, n) => `${n}`), 'A question has at most 20 choices, and this one has 21.'],
    [['x'.repeat(201)], `The choice "${'x'.repeat(59)}…" has 201 characters, and one has at most 200.`],
    [['Yes', 'no', 'yes '], 'The choices "Yes" and "yes " read alike.'],
    [['pay', 'ｐａｙ'], 'The choices "pay" and "ｐａｙ" read alike.'],
    [['a\nb'], 'The choice "a\\u000ab" has more than one line, or marks that cannot be seen.'],
    [['a\u202eb'], 'The choice "a\\u202eb" has more than one line, or marks that cannot be seen.'],
  ])('%j: %s', (choices, problem) => {
    expect(choicesProblem(choices)).toBe(problem);
  });
});
