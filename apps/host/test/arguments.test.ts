import { describe, expect, it } from 'vitest';
import { help, parseCommand } from '../src/arguments.js';
import { Problem } from '../src/problem.js';

describe('the command line', () => {
  it('starts when nothing is said', () => {
    expect(parseCommand([])).toEqual({ type: 'start', say: undefined, data: undefined });
    expect(parseCommand(['start', '--say', 'hello', '--data', '/d'])).toEqual({
      type: 'start',
      say: 'hello',
      data: '/d',
    });
  });

  it.each([
    [['--frobnicate'], "Unknown option '--frobnicate'; nothing was started. See --help."],
    [['dance'], 'There is no command "dance"; nothing was started. See --help.'],
    [['start', 'now'], 'There is no command "now"; nothing was started. See --help.'],
    [['--say', ' '], '--say needs a message that is not empty; nothing was started. Example: --say "hello".'],
  ])('refuses %j in one sentence', (words, message) => {
    expect(() => parseCommand(words)).toThrow(new Problem(message, 2));
  });

  it('names each option and each exit code in its help', () => {
    for (const word of ['--say', '--data', 'NANOCLAW_BUN', 'Exit codes']) expect(help()).toContain(word);
  });
});
