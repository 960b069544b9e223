/** Errors that nothing caught, in a real host: a module's end nothing, the host's own end it in order. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Install, until } from './host-process.ts';

let install: Install;
beforeEach(() => {
  install = new Install();
});
afterEach(() => install.close());

/** A channel of somebody else's that does all that it must not, again and again. */
const NOISY = `
import { EventEmitter } from 'node:events';
import { connect } from 'node:net';

const channel = {
  type: 'noisy',
  duplicates: 'none',
  limits: { text: { max: 1000, unit: 'characters' }, filesMax: 0, fileBytesMax: 0, choicesMax: 0, choiceTextMax: 0 },
  shows: new Set(),
  start: async (receive) => {
    setInterval(() => { throw new Error('thrown in a timer'); }, 50);
    setInterval(() => void Promise.reject(new Error('rejected late')), 50);
    setInterval(() => new EventEmitter().emit('error', new Error('told to no listener')), 50);
    setInterval(() => void receive(undefined), 50);
    setInterval(() => void Promise.reject('no error at all'), 50);
    setInterval(() => connect({ port: 1, host: '127.0.0.1' }), 50);
  },
  send: async () => ({ type: 'sent', platformMessageId: 'x' }),
  stop: async () => undefined,
  health: () => ({ state: 'online' }),
  directAddress: async () => undefined,
};
export default {
  options: { '~standard': { version: 1, vendor: 'noisy', validate: (value) => ({ value }) } },
  create: () => channel,
};
`;

it('a channel whose timers throw, whose promises reject and whose emitters are not heard keeps no one from being answered', async () => {
  mkdirSync(join(install.data, 'mine'));
  writeFileSync(join(install.data, 'mine', 'noisy.js'), NOISY);
  writeFileSync(join(install.data, 'mine', 'package.json'), '{ "type": "module" }');
  writeFileSync(
    join(install.data, 'config.json'),
    JSON.stringify({ channels: { desk: { module: './mine/noisy.js' } } }),
  );
  const host = await install.daemon({ NANOCLAW_LOG: 'error' });
  const person = await install.join();
  const timesOf = async (origin: string) =>
    (await install.nanoclaw('status'))
      .rowsOf('uncaught')
      .find((row) => row.text('origin') === origin)
      ?.number('times') ?? 0;
  await until(async () => (await timesOf('channel "desk"')) > 100 && (await timesOf('unknown')) > 20);
  await person.say('say still here');
  await person.hears(/still here/);
  host.kill('SIGTERM');
  const { exitCode, stderr } = await host.ended;
  expect(exitCode).toBe(0);
  const lines = stderr.split('\n').filter((line) => line.includes('nothing caught'));
  // Named with where it came from, and ever less often.
  expect(lines.some((line) => line.includes('channel \\"desk\\"') && line.includes('noisy.js'))).toBe(true);
  expect(lines.length).toBeLessThan(60);
});

it("an error of the host's own ends it in order, with exit code 1, and counts as a crash at the next start", async () => {
  // Any file of the program, so code that the program came with.
  const own = fileURLToPath(new URL('own-error.ts', import.meta.url));
  const host = await install.daemon({ NANOCLAW_LOG: 'warn', NODE_OPTIONS: `--import=${own}` });
  const person = await install.join();
  await person.say('say hello');
  await person.hears(/hello/);
  if (host.pid !== undefined) process.kill(host.pid, 'SIGUSR2');
  const { exitCode, stderr } = await host.ended;
  expect(exitCode).toBe(1);
  expect(stderr).toContain('the host met an error of its own and ends: our own mistake Nothing accepted was lost');
  await install.daemon();
  await (await install.join()).say('say again');
  expect((await install.nanoclaw('status')).rowsOf('uncaught')).toEqual([]);
});
