/** Results as a table in Markdown. Pure. */
import { shown } from './figures.ts';
import type { Measure, Result } from './measure.ts';

/** One measure: a row for each contestant, with the ratio of its first figure to the one of `reference`. */
export function table(measure: Measure, results: readonly Result[], reference: string): string {
  const [compared = ''] = measure.columns;
  const base = results.find(({ contestant }) => contestant.name === reference);
  const unit = base?.type === 'measured' ? base.figures[compared]?.median : undefined;
  const rows = results.map((result) => {
    if (result.type === 'absent') return [result.contestant.name, `not measured: ${result.reason}`];
    const cells = measure.columns.map((column) => {
      const { median, min, max } = result.figures[column] ?? NOTHING;
      return `${shown(median)} (${shown(min)}–${shown(max)})`;
    });
    const ratio = unit === undefined ? '' : `${shown((result.figures[compared] ?? NOTHING).median / unit)} ×`;
    return [result.contestant.name, ...cells, ratio];
  });
  const head = ['', ...measure.columns, `to the ${reference}`];
  return `\n### ${measure.title}\n\n${markdown([head, head.map(() => '---'), ...rows])}\n`;
}

const NOTHING = { median: Number.NaN, min: Number.NaN, max: Number.NaN };

/** Rows of cells, the way Markdown has them. */
export function markdown(rows: readonly (readonly string[])[]): string {
  return rows.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
