/**
 * A load on a whole host: many sessions with a run each, and a steady flow of messages. Real files, claims, commits and
 * deliveries. The runs live in a thread of the host's process, so they have an event loop of their own, as agents in
 * containers do.
 *
 * A small one runs in the tests. The long one, which prints what it measured: `NANOCLAW_LOAD=1000,50,60 vitest run load`
 * (sessions, messages a second, seconds).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { inThread } from './stand-in-driver.ts';
import { loopDelay, until, WholeHost } from './whole-host.ts';

const [sessions = 30, perSecond = 20, seconds = 3] = (process.env['NANOCLAW_LOAD'] ?? '')
  .split(',')
  .filter(Boolean)
  .map(Number);

let whole: WholeHost;
beforeEach(() => {
  whole = new WholeHost({ settings: { runsMax: 1_000 }, agents: inThread() });
});
afterEach(() => whole.close(), 120_000);

test(`${perSecond} messages a second over ${sessions} sessions for ${seconds} s: nothing is lost, and nothing shown twice`, {
  timeout: 600_000 + seconds * 2_000,
}, async () => {
  await whole.wire(sessions);
  await whole.host.start();
  for (let chat = 0; chat < sessions; chat += 1) await whole.say(chat, `warm-${chat}`, `warm-${chat}`);
  await until(() => whole.platform.shown.length >= sessions, 300_000);

  const late = loopDelay();
  const cpu = process.cpuUsage();
  const took: number[] = [];
  const said: Promise<unknown>[] = [];
  const begun = performance.now();
  const ids = Array.from({ length: perSecond * seconds }, (_, n) => `load-${n}`);
  for (const [n, id] of ids.entries()) {
    await sleep(Math.max(0, begun + (n * 1_000) / perSecond - performance.now()));
    const at = performance.now();
    said.push(whole.say((n * 7_919) % sessions, id, id).then(() => took.push(performance.now() - at)));
  }
  await Promise.all(said);
  const answers = () => whole.platform.shown.slice(sessions);
  await until(() => answers().length >= ids.length, 300_000);
  const lastedMs = performance.now() - begun;
  const { user, system } = process.cpuUsage(cpu);
  const figures = {
    lastedS: lastedMs / 1_000,
    acceptedP50Ms: percentile(took, 50),
    acceptedP99Ms: percentile(took, 99),
    loopLateP50Ms: late(50),
    loopLateP99Ms: late(99),
    loopLateMaxMs: late(100),
    processors: (user + system) / 1_000 / lastedMs,
    memoryMiB: process.memoryUsage.rss() / 2 ** 20,
  };
  if (process.env['NANOCLAW_LOAD']) console.log(figures);
  // What would be shown twice may come a moment later.
  await sleep(1_000);

  const shown = answers().map(({ message }) => ('text' in message ? message.text : message.kind));
  expect(shown.toSorted()).toEqual(ids.map((id) => `You said ${id}`).toSorted());
});

function percentile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length * share) / 100)] ?? 0;
}
