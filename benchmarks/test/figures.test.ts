import { describe, expect, it } from 'vitest';
import { figure, quantile, shown } from '../src/figures.ts';
import { table } from '../src/table.ts';

const contestant = (name: string) =>
  ({ name, group: 'peer', open: () => Promise.reject(new Error('not opened')) }) as const;

describe('figures', () => {
  it('are the middle of the rounds, with the best and the worst', () => {
    expect(figure([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3 });
    expect(quantile([5, 1, 4, 2, 3], 0.99)).toBe(5);
    expect(quantile([], 0.5)).toBeNaN();
  });

  it('are shown with three digits, and as a dash where there is none', () => {
    expect([0.12345, 1, 12.345, 1234.5, Number.NaN].map(shown)).toEqual(['0.123', '1', '12.3', '1235', '–']);
  });
});

describe('a table', () => {
  const measure = { name: 'latency', title: 'Latency', sessions: 1, columns: ['p50'], round: async () => ({ p50: 1 }) };

  it('compares with the reference, and says why somebody is not in it', () => {
    const text = table(
      measure,
      [
        { type: 'measured', contestant: contestant('prototype'), figures: { p50: figure([2, 2]) } },
        { type: 'measured', contestant: contestant('product'), figures: { p50: figure([6, 6]) } },
        { type: 'absent', contestant: contestant('redis'), reason: 'apt-get is not here' },
      ],
      'prototype',
    );
    expect(text).toContain('| product | 6 (6–6) | 3 × |');
    expect(text).toContain('| redis | not measured: apt-get is not here |');
  });
});
