/** Makes a failing history shorter: takes events out as long as the same invariant still breaks. */
import type { Plan } from './plan.ts';

/**
 * A part of `plan` that still fails, by `fails`, and of which no single event can be taken out. Tries halves first,
 * then quarters, down to single ones (delta debugging), and at most `triesMax` histories.
 */
export async function shrunk(plan: Plan, fails: (plan: Plan) => Promise<boolean>, triesMax: number): Promise<Plan> {
  let kept = plan.events;
  let tries = 0;
  for (let size = Math.ceil(kept.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < kept.length && tries < triesMax; ) {
      const without = kept.toSpliced(at, size);
      tries += 1;
      if (await fails({ ...plan, events: without })) kept = without;
      else at += size;
    }
  }
  return { ...plan, events: kept };
}
