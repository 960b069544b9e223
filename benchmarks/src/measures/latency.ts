/** One message at a time with pauses between: how long a person waits who talks to an agent that is awake. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Opened } from '../contestant.ts';
import { quantile } from '../figures.ts';

const MESSAGES = 60;
const WARM_UP = 10;
const PAUSE_MS = 15;

/** A round: the middle and the worst of its messages, in milliseconds. */
export async function latency(opened: Opened): Promise<{ readonly p50: number; readonly p99: number }> {
  const times: number[] = [];
  for (let i = 0; i < WARM_UP + MESSAGES; i += 1) {
    const begun = performance.now();
    await opened.ask(0);
    if (i >= WARM_UP) times.push(performance.now() - begun);
    await sleep(PAUSE_MS);
  }
  return { p50: quantile(times, 0.5), p99: quantile(times, 0.99) };
}
