/** Measures that are taken of several contestants, in turns. */
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import type { Contestant, Opened } from './contestant.ts';
import { type Figure, figure } from './figures.ts';

/** What is measured, and how a round of it goes. */
export interface Measure<Column extends string = string> {
  /** As `--only` names it. */
  readonly name: string;
  /** What it is, for the table. */
  readonly title: string;
  /** How many sessions a contestant is opened with. */
  readonly sessions: number;
  /** The figures of a round, in the order in which they are shown. The first one is compared. */
  readonly columns: readonly Column[];
  /** One round with one contestant. */
  round(opened: Opened): Promise<Readonly<Record<Column, number>>>;
}

/** What a contestant came to; `absent` when it cannot be had here, with the reason. */
export type Result =
  | { readonly type: 'measured'; readonly contestant: Contestant; readonly figures: Readonly<Record<string, Figure>> }
  | { readonly type: 'absent'; readonly contestant: Contestant; readonly reason: string };

/** Takes a measure of all contestants: in turns, so that a noisy moment of the machine is not one contestant's alone. */
export async function measured(
  measure: Measure,
  contestants: readonly Contestant[],
  {
    root,
    rounds,
    onProgress,
  }: { readonly root: string; readonly rounds: number; readonly onProgress: (sentence: string) => void },
): Promise<readonly Result[]> {
  await using all = new AsyncDisposableStack();
  const results: Result[] = [];
  const taking: {
    readonly contestant: Contestant;
    readonly opened: Opened;
    readonly rounds: Readonly<Record<string, number>>[];
  }[] = [];
  for (const contestant of contestants) {
    onProgress(`${measure.name}: ${contestant.name} is started`);
    try {
      const opened = await contestant.open(mkdtempSync(join(root, 'of-')), measure.sessions);
      taking.push({ contestant, opened: all.use(opened), rounds: [] });
    } catch (error) {
      results.push({ type: 'absent', contestant, reason: error instanceof Error ? error.message : String(error) });
    }
  }
  // The first round warms up.
  for (let round = 0; round <= rounds; round += 1) {
    onProgress(`${measure.name}: round ${round} of ${rounds}`);
    for (const each of taking) {
      const figures = await measure.round(each.opened);
      if (round > 0) each.rounds.push(figures);
    }
  }
  for (const { contestant, rounds: taken } of taking) {
    const entries = measure.columns.map(
      (column) => [column, figure(taken.map((one) => one[column] ?? Number.NaN))] as const,
    );
    results.push({ type: 'measured', contestant, figures: Object.fromEntries(entries) });
  }
  return results;
}
