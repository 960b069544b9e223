/** Two hosts in one process, each on a data folder of its own: nothing in a module may be shared between them. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createHost } from '../src/host/create-host.ts';
import { echoing, until, WholeHost } from './whole-host.ts';

let one: WholeHost;
let other: WholeHost;

beforeEach(async () => {
  one = new WholeHost({ agents: echoing('one heard') });
  other = new WholeHost({ agents: echoing('other heard') });
  await Promise.all([one.wire(3), other.wire(3)]);
  await Promise.all([one.host.start(), other.host.start()]);
});
afterEach(() => Promise.all([one.close(), other.close()]));

/** What a host has shown, in any order. */
function shown({ platform }: WholeHost): string[] {
  return platform.shown.map(({ message }) => ('text' in message ? message.text : message.kind)).toSorted();
}

/** The same messages, with the same ids, to each of the hosts; gives what each of them is to show. */
async function sayToBoth(names: readonly string[]): Promise<void> {
  const said = names.flatMap((name, n) => [one.say(n % 3, name, name), other.say(n % 3, name, name)]);
  expect(new Set(await Promise.all(said))).toEqual(new Set(['acknowledged']));
}

test('the same messages to both are answered once by each, and none crosses over', async () => {
  const names = Array.from({ length: 12 }, (_, n) => `message-${n}`);
  await sayToBoth(names);
  await until(() => one.platform.shown.length >= 12 && other.platform.shown.length >= 12);
  expect(shown(one)).toEqual(names.map((name) => `one heard ${name}`).toSorted());
  expect(shown(other)).toEqual(names.map((name) => `other heard ${name}`).toSorted());
});

test('the end of one leaves the other at its work', async () => {
  await sayToBoth(['before']);
  await until(() => one.platform.shown.length === 1 && other.platform.shown.length === 1);
  await one.host.stop('stop-runs');
  expect(await other.say(0, 'after', 'after')).toBe('acknowledged');
  expect(await one.say(0, 'after', 'after')).toBe('kept');
  await until(() => other.platform.shown.length === 2);
  expect(shown(other)).toEqual(['other heard after', 'other heard before']);
  expect(shown(one)).toEqual(['one heard before']);
});

test('a second host in the process is refused the data folder of the first, and gets its own (failure 55)', async () => {
  await expect(createHost({ data: one.data.root })).rejects.toThrow(
    /^Another host already runs on .* \(process \d+, since .*\); it was left alone\./,
  );
  expect(await one.say(0, 'still there', 'still there')).toBe('acknowledged');
});
