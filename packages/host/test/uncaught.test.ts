/** Errors that nothing caught: whose they are, and that a channel which throws where it must not takes no one with it. */
import { MemoryPlatform } from '@nanoclaw/channels/testing';
import { pino } from 'pino';
import { afterEach, expect, test } from 'vitest';
import { UncaughtErrors } from '../src/errors/uncaught.ts';
import { until, WholeHost } from './whole-host.ts';

let whole: WholeHost | undefined;
afterEach(() => whole?.close());

const errors = () => new UncaughtErrors({ program: '/opt/nanoclaw', data: '/opt/nanoclaw/data', now: () => 7 });

const listeners = () => process.listenerCount('uncaughtException') + process.listenerCount('unhandledRejection');

/** An error whose stack leads through these files, the nearest first. */
function from(...files: readonly string[]): Error {
  const error = new Error('late\n    at core (/opt/nanoclaw/packages/host/dist/a.js:1:1)');
  error.stack = `Error: ${error.message}\n${files.map((file) => `    at work (${file}:3:9)`).join('\n')}`;
  return error;
}

const MODULE = '/opt/nanoclaw/data/mine/desk.js';
const HOST = '/opt/nanoclaw/packages/host/dist/host.js';
const NODE = 'node:internal/timers';

test.each([
  ['a module', [NODE, MODULE], 'channel "desk"', 'go-on'],
  ['a module whose code is named as a URL', [`file://${MODULE}#17`], 'channel "desk"', 'go-on'],
  ['a module that the host called', [MODULE, HOST, NODE], 'channel "desk"', 'go-on'],
  ['the host that a module called', [HOST, MODULE], 'channel "desk"', 'go-on'],
  ['Node alone', [NODE], 'unknown', 'go-on'],
  ['what a module brought along', ['/opt/nanoclaw/data/node_modules/chat/index.js', NODE], 'unknown', 'go-on'],
  ['the host', [NODE, HOST, NODE], 'the host itself', 'end'],
])('an error that comes from %s is known by its way', (_what, files, origin, after) => {
  const uncaught = errors();
  uncaught.addModule('channel "desk"', '/opt/nanoclaw/data/mine');
  expect(uncaught.note(from(...files))).toBe(after);
  expect(uncaught.records).toMatchObject([{ origin, times: 1, lastAt: 7 }]);
  expect(uncaught.isHostBroken).toBe(after === 'end');
});

test.each([undefined, null, 'text', Object.create(null), { message: 1 }, Object.assign(new Error('x'), { stack: 3 })])(
  'a thrown %o is an error that can be noted',
  (thrown) => {
    const uncaught = errors();
    expect(uncaught.note(thrown)).toBe('go-on');
    expect(uncaught.records).toMatchObject([{ origin: 'unknown', times: 1 }]);
  },
);

test('what the host rejects a message with is the error of the channel that leaves it alone', async () => {
  const uncaught = errors();
  const refusal = from(HOST);
  await expect(uncaught.onBehalfOf('channel "desk"', async () => Promise.reject(refusal))).rejects.toBe(refusal);
  expect(uncaught.note(refusal)).toBe('go-on');
  expect(uncaught.records).toMatchObject([{ origin: 'channel "desk"' }]);
});

test('a host in a program listens to no process, logs what the program notes ever less often, and counts it', async () => {
  const [log, uncaught] = [[] as string[], errors()];
  const logger = pino({ level: 'error' }, { write: (line: string) => void log.push(JSON.parse(line).times) });
  const before = listeners();
  whole = new WholeHost({ options: { uncaught, log: { logger, rotate: () => undefined } } });
  await whole.host.start();
  expect(listeners()).toBe(before);
  for (let n = 0; n < 100; n += 1) uncaught.note(from(NODE));
  expect(log).toEqual([1, 2, 4, 8, 16, 32, 64]);
});

test('a channel that cannot say how it is is offline, and the others are served', async () => {
  const broken = new MemoryPlatform({ type: 'broken' }).channel();
  let asked = 0;
  const channel = Object.assign(broken, {
    health: () => {
      asked += 1;
      throw new Error('no idea');
    },
  });
  const uncaught: unknown[] = [];
  const note = (error: unknown) => void uncaught.push(error);
  process.on('unhandledRejection', note);
  whole = new WholeHost({
    channels: [channel],
    options: {
      ports: {
        clock: {
          now: () => Date.now(),
          // The look at a channel comes at once, so that it is met within the test.
          setTimer: (ms, action) => {
            const timer = setTimeout(action, ms === 15_000 ? 0 : ms);
            return () => clearTimeout(timer);
          },
        },
      },
    },
  });
  await whole.wire(1);
  await whole.host.start();
  await until(() => asked > 1);
  await whole.say(0, 'one', 'hello');
  await until(() => whole?.platform.shown.length === 1);
  process.off('unhandledRejection', note);
  expect(uncaught).toEqual([]);
});
