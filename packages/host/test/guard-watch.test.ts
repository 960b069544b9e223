/** What a host tells of its guard: aloud where it is not closed in as it should be. */
import { pino } from 'pino';
import { expect, it } from 'vitest';
import { GuardWatch } from '../src/host/guard-watch.ts';
import type { OutboundGuard } from '../src/host/host-setup.ts';

const never = () => Promise.reject(new Error('It is not asked for this.'));
const failing = () => Promise.reject(new Error('no such driver'));

/** A watch over a guard that reports like this, and the lines of its log. */
function watch(report: OutboundGuard['report']) {
  const lines: { level: number; msg: string }[] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const guard: OutboundGuard = { reader: () => ({ read: never }), spool: never, remove: never, report };
  return { watch: new GuardWatch({ guard, log: { logger, rotate: () => undefined } }), lines };
}

const WARNING = 40;

it('a guard that is not closed in is a warning, with what is open and what to do (failure 75)', async () => {
  const sentence = 'It can reach the network. Install bubblewrap.';
  const { watch: seen, lines } = watch(async () => ({ isClosed: false, sentence }));
  expect(seen.sentence).toBe(null);
  expect(await seen.begin(() => false)).toBe(sentence);
  expect(lines).toMatchObject([{ level: WARNING, msg: sentence }]);
  expect(seen.sentence).toBe(sentence);
});

it('one that is closed in is told as well, and is no trouble', async () => {
  const { watch: seen, lines } = watch(async () => ({ isClosed: true, sentence: 'It is closed in.' }));
  expect(await seen.begin(() => false)).toBe(undefined);
  expect(lines).toMatchObject([{ level: 30, msg: 'It is closed in.' }]);
  expect(seen.sentence).toBe('It is closed in.');
});

it('one that cannot be tried is a warning, unless the host has ended meanwhile', async () => {
  const { watch: seen, lines } = watch(failing);
  expect(await seen.begin(() => false)).toContain('no such driver');
  expect(lines).toMatchObject([{ level: WARNING }]);
  const { watch: over, lines: none } = watch(failing);
  expect(await over.begin(() => true)).toBe(undefined);
  expect(none).toEqual([]);
});
