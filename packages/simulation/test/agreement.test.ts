import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { CHECKED_BY } from '../src/checked-by.ts';

const root = join(import.meta.dirname, '../../..');

/** The rows of the table in docs/INVARIANTS.md: number, and who checks it. */
function documented(): Map<string, string> {
  const lines = readFileSync(join(root, 'docs/INVARIANTS.md'), 'utf8').split('\n');
  return new Map(
    lines.flatMap((line) => {
      const cells = line.split('|').map((cell) => cell.trim());
      const [, number = '', , , checkedBy = ''] = cells;
      return /^I\d+$/.test(number) ? [[number, checkedBy] as const] : [];
    }),
  );
}

it('every documented invariant has its checker, and every checker its invariant', () => {
  expect(Object.keys(CHECKED_BY)).toEqual([...documented().keys()]);
});

it('the numbers are given once each and without a gap', () => {
  const numbers = [...documented().keys()];
  expect(numbers).toEqual(numbers.map((_, index) => `I${index + 1}`));
});

it('the document says which invariants the simulation checks', () => {
  for (const [number, checkedBy] of documented()) {
    const isSimulated = typeof CHECKED_BY[number] === 'string';
    expect([number, /\bsimulation(;|$)/.test(checkedBy)]).toEqual([number, isSimulated]);
  }
});

it('every number that the simulation checks is asked for in a checker', () => {
  const source = ['invariants.ts', 'simulate.ts'].map((name) =>
    readFileSync(join(root, 'packages/simulation/src', name), 'utf8'),
  );
  for (const [number, by] of Object.entries(CHECKED_BY)) {
    if (typeof by === 'string')
      expect(source.join('\n')).toMatch(new RegExp(`(require|InvariantViolation)\\(\\s*'${number}'`));
  }
});

it('the tests that check what no history can show are there', () => {
  for (const by of Object.values(CHECKED_BY)) {
    if (typeof by === 'object') expect([by.test, existsSync(join(root, by.test))]).toEqual([by.test, true]);
  }
});
