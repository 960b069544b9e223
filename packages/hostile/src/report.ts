/** What trials came to, as a table and as a verdict. */
import type { Trial } from './trial.ts';

/** How late the host's loop may be beyond the machine's own lateness, in milliseconds. */
const STALL_MS_MAX = 50;
/** How much longer an honest agent's answer may take under attack than beside it. */
const DELAY_RATIO_MAX = 2;

/** What it was not held at, a reason each: on no machine may there be one. */
export function breaches(trial: Trial): string[] {
  return [...trial.breaches, ...(trial.finding === undefined ? ['it has no name'] : [])];
}

/** What it cost the others, a reason each where it was too much. A machine with much else to do shows some by chance. */
export function costs(trial: Trial): string[] {
  // A process that has work is given the processor later than one that has none: the machine's own lateness is the larger one.
  const stallMs = trial.stall.ms - Math.max(trial.idle.ms, trial.beside.ms);
  const ratio = delayRatio(trial);
  return [
    ...(stallMs > STALL_MS_MAX ? [`the loop stood still for ${Math.round(stallMs)} ms`] : []),
    ...(ratio > DELAY_RATIO_MAX ? [`the honest one took ${ratio.toFixed(1)} times as long`] : []),
  ];
}

function delayRatio({ delayMs, undisturbedMs }: Trial): number {
  return delayMs / undisturbedMs;
}

/** One line of the table: the attack, the longest stall, the honest agent's delay, what it was called, what is wrong. */
export function row(trial: Trial): string {
  const wrong = [...breaches(trial), ...costs(trial)];
  const [stall, cpu, idle, beside] = [trial.stall.ms, trial.stall.cpuMs, trial.idle.ms, trial.beside.ms].map(
    Math.round,
  );
  const cells = [
    trial.attack.padEnd(72).slice(0, 72),
    `${stall} (${cpu})`.padStart(11),
    `${idle}/${beside}`.padStart(11),
    `${delayRatio(trial).toFixed(1)}×`.padStart(7),
    `${Math.round(trial.delayMs)}`.padStart(7),
    `${Math.round(trial.delayMaxMs)}`.padStart(7),
    `${trial.answers}`.padStart(3),
    wrong.length === 0 ? `held   ${trial.finding}` : `FAILED ${wrong.join('; ')}`,
  ];
  return cells.join('  ');
}

/** The heading of the table. */
export const HEADING = [
  'attack'.padEnd(72),
  'stall (cpu)',
  'idle/beside',
  'delay'.padStart(7),
  'mid ms'.padStart(7),
  'max ms'.padStart(7),
  ' of',
  'what came of it',
].join('  ');
