/** What trials came to, as a table and as a verdict. */
import type { Trial } from './trial.ts';

/** What is measured against: the honest one's answer with nothing else going on, in milliseconds. */
export type Baseline = Pick<Trial, 'delayMs'>;

/** How late the host's loop may be beyond the machine's own lateness, in milliseconds. */
const STALL_MS_MAX = 50;
/** How much longer an honest agent's answer may take under attack. */
const DELAY_RATIO_MAX = 2;

/** Why a trial is not as it should be, a reason each. */
export function shortfalls(trial: Trial, baseline: Baseline): string[] {
  const stall = trial.stallMs - trial.idleStallMs;
  return [
    ...trial.breaches,
    ...(trial.finding === undefined ? ['it has no name'] : []),
    ...(stall > STALL_MS_MAX ? [`the loop stood still for ${Math.round(stall)} ms`] : []),
    ...(trial.delayMs > DELAY_RATIO_MAX * baseline.delayMs
      ? [`the honest one took ${(trial.delayMs / baseline.delayMs).toFixed(1)} times as long`]
      : []),
  ];
}

/** One line of the table: the attack, the longest stall, the honest agent's delay, what it was called, what is wrong. */
export function row(trial: Trial, baseline: Baseline): string {
  const wrong = shortfalls(trial, baseline);
  const cells = [
    trial.attack.padEnd(72).slice(0, 72),
    `${Math.round(trial.stallMs)} (${Math.round(trial.idleStallMs)})`.padStart(11),
    `${(trial.delayMs / baseline.delayMs).toFixed(1)}×`.padStart(7),
    `${Math.round(trial.delayMaxMs)}`.padStart(7),
    wrong.length === 0 ? `held   ${trial.finding}` : `FAILED ${wrong.join('; ')}`,
  ];
  return cells.join('  ');
}

/** The heading of the table. */
export const HEADING = [
  'attack'.padEnd(72),
  'stall (idle)'.padStart(11),
  'delay'.padStart(7),
  'max ms'.padStart(7),
  'what came of it',
].join('  ');
