/** Medians and percentiles. Pure. */

/** The value below which this share of the values lies, from 0 to 1. `NaN` without values. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

/** The middle value; of two, the upper one. `NaN` without values. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** A figure of some rounds: the median of the rounds, and the best and the worst of them. */
export interface Figure {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** What the rounds of one thing come to. */
export function figure(rounds: readonly number[]): Figure {
  return { median: median(rounds), min: Math.min(...rounds), max: Math.max(...rounds) };
}

/** Three digits, and no more of them behind the point than tell something. */
export function shown(value: number): string {
  if (!Number.isFinite(value)) return '–';
  if (Math.abs(value) >= 100) return Math.round(value).toString();
  return value.toPrecision(3).replace(/\.?0+$/, '');
}
