import { expect, test } from 'vitest';
import { Health, type Readiness } from '../src/observability/health.ts';
import { type Gauges, Metrics } from '../src/observability/metrics.ts';

const QUIET: Gauges = {
  sessions: 0,
  runs: 0,
  runsWaiting: 0,
  dueMessages: 0,
  oldestDueMs: 0,
  modelTroubles: [],
  channels: [],
};
const PROMPT = { p50: 0, p99: 0, max: 0 };

async function served(gauges: () => Gauges, readiness: () => Readiness = () => ({ type: 'ready' })) {
  const metrics = new Metrics();
  metrics.watch({ gauges, loopDelay: () => PROMPT, openFiles: () => ({ open: 41, max: 1_024 }) });
  const health = await Health.open({
    port: 0,
    readiness,
    metrics: (request, response) => metrics.answer(request, response),
  });
  const get = async (path: string, init?: RequestInit) => {
    const response = await fetch(`http://127.0.0.1:${health.port}${path}`, init);
    return { status: response.status, body: await response.text() };
  };
  return {
    metrics,
    health,
    get,
    [Symbol.asyncDispose]: async () => {
      await health[Symbol.asyncDispose]();
      await metrics[Symbol.asyncDispose]();
    },
  };
}

test('what was counted and what is so now can be scraped', async () => {
  let due = 3;
  const gauges = () => ({
    sessions: 2,
    runs: 1,
    runsWaiting: 0,
    dueMessages: due,
    oldestDueMs: 1_500,
    modelTroubles: [{ provider: 'claude', kind: 'refused', messages: 4 }],
    channels: [{ instance: 'terminal', isOnline: true }],
  });
  await using host = await served(gauges);
  host.metrics.count('deliveries', 'sent');
  host.metrics.count('deliveries', 'sent');
  host.metrics.count('deliveries', 'failed');
  host.metrics.count('wake_failures');

  const { status, body } = await host.get('/metrics');
  expect(status).toBe(200);
  expect(body).toMatch(/^nanoclaw_deliveries_total\{outcome="sent"\} 2$/m);
  expect(body).toMatch(/^nanoclaw_deliveries_total\{outcome="failed"\} 1$/m);
  expect(body).toMatch(/^nanoclaw_wake_failures_total(\{\})? 1$/m);
  expect(body).toMatch(/^nanoclaw_due_messages(\{\})? 3$/m);
  expect(body).toMatch(/^nanoclaw_oldest_due_seconds(\{\})? 1.5$/m);
  expect(body).toMatch(/^nanoclaw_model_waiting_messages\{provider="claude",kind="refused"\} 4$/m);
  expect(body).toMatch(/^nanoclaw_channel_online\{channel="terminal"\} 1$/m);
  expect(body).toMatch(/^nanoclaw_event_loop_delay_seconds\{quantile="0.99"\} 0$/m);
  expect(body).toMatch(/^nanoclaw_open_files(\{\})? 41$/m);
  expect(body).toMatch(/^nanoclaw_open_files_max(\{\})? 1024$/m);
  due = 0;
  expect((await host.get('/metrics')).body).toMatch(/^nanoclaw_due_messages(\{\})? 0$/m);
});

test('two hosts in one process count apart', async () => {
  await using one = await served(() => QUIET);
  await using other = await served(() => QUIET);
  one.metrics.count('kills', 'silent');
  expect((await one.get('/metrics')).body).toContain('nanoclaw_kills_total{reason="silent"} 1');
  expect((await other.get('/metrics')).body).not.toContain('silent');
});

test('a host that does not do its work is alive and not ready, and says why', async () => {
  let state: Readiness = { type: 'not-ready', reasons: ['The channel "webhook" is offline.'] };
  await using host = await served(
    () => QUIET,
    () => state,
  );
  expect((await host.get('/health')).status).toBe(200);
  const { status, body } = await host.get('/ready');
  expect(status).toBe(503);
  expect(body).toContain('The channel \\"webhook\\" is offline.');
  state = { type: 'ready' };
  expect((await host.get('/ready')).status).toBe(200);
});

test('anything else is refused', async () => {
  await using host = await served(() => QUIET);
  expect((await host.get('/metrics', { method: 'POST' })).status).toBe(405);
  expect((await host.get('/')).status).toBe(404);
});

test('a port that is taken is one sentence, with what to do', async () => {
  await using host = await served(() => QUIET);
  const options = { port: host.health.port, readiness: (): Readiness => ({ type: 'ready' }), metrics: () => undefined };
  await expect(Health.open(options)).rejects.toThrow(/cannot be served on port \d+ .*Choose another `healthPort`/);
});
