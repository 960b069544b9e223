import type { Channel, Health, Receive } from '@nanoclaw/channels';
import { expect, test } from 'vitest';
import { Connections } from '../src/channels/connections.ts';

/** A platform whose set-up fails as often as it is told, and that can be cut off. */
class Flaky implements Channel {
  readonly duplicates = 'key';
  readonly limits = { text: { max: 100, unit: 'utf16-units' as const } };
  readonly shows = new Set<never>();
  starts = 0;
  /** What a set-up waits for. */
  setUp: Promise<void> = Promise.resolve();
  failuresLeft: number;
  #health: Health = { state: 'stopped' };
  readonly type: string;

  constructor(type: string, failures: number) {
    this.type = type;
    this.failuresLeft = failures;
  }

  async start(_receive: Receive): Promise<void> {
    this.starts += 1;
    await this.setUp;
    if (this.#health.state !== 'stopped') throw new Error('It runs already.');
    if (this.failuresLeft > 0) {
      this.failuresLeft -= 1;
      throw new Error('The platform does not answer.');
    }
    this.#health = { state: 'online' };
  }

  cutOff(): void {
    this.#health = { state: 'offline', reason: 'The line is dead.' };
  }

  async send(): Promise<never> {
    throw new Error('Nothing is sent here.');
  }

  async stop(): Promise<void> {
    this.#health = { state: 'stopped' };
  }

  health(): Health {
    return this.#health;
  }

  async directAddress(): Promise<undefined> {
    return undefined;
  }
}

/** Timers that go off when they are told to; `waits` is what they were set for. */
function clockwork() {
  const timers = new Set<{ ms: number; action: () => void }>();
  const waits: number[] = [];
  return {
    waits,
    pending: () => timers.size,
    setTimer: (ms: number, action: () => void) => {
      const timer = { ms, action };
      waits.push(ms);
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    /** Lets all that are set now go off, and what follows from it. */
    async tick() {
      const due = [...timers];
      timers.clear();
      for (const { action } of due) action();
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

function connected(channels: readonly Channel[], random = 0) {
  const clock = clockwork();
  const troubles: string[] = [];
  const connections = new Connections({
    clock,
    random: () => random,
    uncaught: { onBehalfOf: async (_origin, work) => work() },
    onTrouble: ({ channel, reason, waitMs }) => troubles.push(`${channel}: ${reason} ${waitMs}`),
  });
  for (const channel of channels) void connections.add(channel.type, channel);
  return { clock, troubles, connections, start: () => connections.start(async () => undefined) };
}

test('a channel whose set-up failed at the start comes up by itself, and the others do not wait for it', async () => {
  const flaky = new Flaky('flaky', 3);
  const steady = new Flaky('steady', 0);
  const { clock, connections, troubles, start } = connected([flaky, steady]);
  await start();
  expect(connections.states().map(({ health }) => health)).toEqual([
    { state: 'offline', reason: 'The platform does not answer.' },
    { state: 'online' },
  ]);
  for (let i = 0; i < 3; i += 1) await clock.tick();
  expect(connections.states().map(({ health }) => health.state)).toEqual(['online', 'online']);
  expect(troubles).toEqual([1_000, 2_000, 4_000].map((ms) => `flaky: The platform does not answer. ${ms}`));
  await connections.stop();
});

test('a platform that lets nobody in is asked more and more slowly, down to every five minutes', async () => {
  const { clock, connections, start } = connected([new Flaky('flaky', Number.POSITIVE_INFINITY)]);
  await start();
  for (let i = 0; i < 20; i += 1) await clock.tick();
  expect(clock.waits.slice(0, 4)).toEqual([1_000, 2_000, 4_000, 8_000]);
  expect(clock.waits.at(-1)).toBe(300_000);
  await connections.stop();
});

test('a channel that is cut off later is set up anew', async () => {
  const channel = new Flaky('line', 0);
  const { clock, connections, troubles, start } = connected([channel]);
  await start();
  channel.cutOff();
  await clock.tick();
  expect(troubles).toEqual(['line: The line is dead. 1000']);
  await clock.tick();
  expect(channel.starts).toBe(2);
  expect(channel.health()).toEqual({ state: 'online' });
  await connections.stop();
});

test('a channel that comes up and falls at once is not set up faster for it', async () => {
  const channel = new Flaky('line', 0);
  const { clock, connections, troubles, start } = connected([channel]);
  await start();
  for (let i = 0; i < 3; i += 1) {
    channel.cutOff();
    await clock.tick();
    await clock.tick();
  }
  expect(troubles.map((trouble) => Number(trouble.split(' ').at(-1)))).toEqual([1_000, 2_000, 4_000]);
  await connections.stop();
});

test('a stop leaves no timer and no channel behind', async () => {
  const { clock, connections, start } = connected([new Flaky('flaky', 9), new Flaky('steady', 0)]);
  await start();
  await connections.stop();
  expect(clock.pending()).toBe(0);
  expect(connections.states().map(({ health }) => health.state)).toEqual(['stopped', 'stopped']);
});

test('a stop in the middle of a set-up that fails waits for it, and nothing is tried again', async () => {
  const channel = new Flaky('flaky', 1);
  const { promise, resolve } = Promise.withResolvers<void>();
  channel.setUp = promise;
  const { clock, connections, troubles, start } = connected([channel]);
  const started = start();
  const stopped = connections.stop();
  resolve();
  await Promise.all([started, stopped]);
  expect(clock.pending()).toBe(0);
  expect(troubles).toEqual([]);
});

test('channels that were cut off together are not set up together: each wait is less by a chance of its own', async () => {
  const channel = new Flaky('flaky', 3);
  const { clock, connections, start } = connected([channel], 0.5);
  await start();
  for (let i = 0; i < 2; i += 1) await clock.tick();
  expect(clock.waits).toEqual([875, 1_750, 3_500]);
  await connections.stop();
});

test('a channel that cannot be stopped is told as trouble, and the others are stopped', async () => {
  const stuck = new Flaky('stuck', 0);
  stuck.stop = () => Promise.reject(new Error('The line hangs.'));
  const steady = new Flaky('steady', 0);
  const { clock, connections, troubles, start } = connected([stuck, steady]);
  await start();
  await connections.stop();
  expect(troubles).toEqual(['stuck: The line hangs. 0']);
  expect(steady.health()).toEqual({ state: 'stopped' });
  expect(clock.pending()).toBe(0);
});
