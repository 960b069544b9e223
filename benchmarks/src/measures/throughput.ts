/** As many messages as can be, with a fixed number under way: what a busy host is worth. */
import type { Opened } from '../contestant.ts';
import { quantile } from '../figures.ts';

const ROUND_MS = 4_000;

/** A round: answered messages a second, and the worst wait in milliseconds. */
export async function throughput(
  opened: Opened,
  { sessions, inFlight }: { readonly sessions: number; readonly inFlight: number },
): Promise<{ readonly perSecond: number; readonly p99: number }> {
  const begun = performance.now();
  const times: number[] = [];
  const one = async (first: number) => {
    for (
      let session = first % sessions;
      performance.now() - begun < ROUND_MS;
      session = (session + inFlight) % sessions
    ) {
      const asked = performance.now();
      await opened.ask(session);
      times.push(performance.now() - asked);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, (_, i) => one(i)));
  return { perSecond: times.length / ((performance.now() - begun) / 1_000), p99: quantile(times, 0.99) };
}
