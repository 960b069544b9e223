// A real host process is killed with SIGKILL at the points where a message could be lost or doubled.
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ConnectionLost } from '../src/terminal/terminal-client.ts';
import { type HostProcess, spawnHost } from './host-process.ts';
import { World } from './support.ts';

let world: World;
beforeEach(() => {
  world = new World();
});
afterEach(() => world.close());

function host(manner: string): HostProcess {
  const process = spawnHost('terminal-host.ts', [world.folder, inboxFile(), manner]);
  world.onClose(process.kill);
  return process;
}

function inboxFile(): string {
  return join(world.folder, 'inbox');
}

/** What the host has durably, in the order in which it was given. */
function inbox(): unknown[] {
  if (!existsSync(inboxFile())) return [];
  return readFileSync(inboxFile(), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

function count(table: 'incoming' | 'outgoing'): unknown {
  const db = new Database(join(world.folder, 'terminal.db'), { readonly: true });
  try {
    return db.prepare(`SELECT count(*) FROM ${table}`).pluck().get();
  } finally {
    db.close();
  }
}

test('a host killed before it stored a message gets it at its next start, and the client that sends it again is told', async () => {
  const first = host('hang-before-storing');
  await first.said('serving');
  const { client } = await world.client();
  const lost = expect(client.send('do not lose me', 'x1')).rejects.toThrow(ConnectionLost);
  await first.said('asked');
  await first.kill();
  await lost;
  expect(inbox()).toEqual([]);
  expect(statSync(world.socketPath).isSocket()).toBe(true); // stale: its host is dead

  const second = host('store');
  await second.said('serving');
  const next = await world.client();
  expect(await next.client.send('do not lose me', 'x1')).toBe('x1');
  expect(inbox()).toMatchObject([{ platformMessageId: 'x1', text: 'do not lose me' }]);
  await second.kill();
  expect(count('incoming')).toBe(1);
});

test('a host killed between storing a message and answering gets the very same message again, and no second one', async () => {
  const first = host('die-after-storing');
  await first.said('serving');
  const { client } = await world.client();
  await expect(client.send('once please', 'x1')).rejects.toThrow(ConnectionLost);
  await first.kill();
  expect(inbox()).toHaveLength(1);

  const second = host('store');
  await second.said('serving');
  const next = await world.client();
  expect(await next.client.send('once please', 'x1')).toBe('x1');
  expect(await next.client.send('once please', 'x1')).toBe('x1');
  const [one, again, ...others] = inbox();
  expect(again).toEqual(one);
  expect(others).toEqual([]);
  await second.kill();
  expect(count('incoming')).toBe(1);
});

test('a host killed between sending and noting it finds the same message with its key, and people see it once', async () => {
  const first = host('send-and-die');
  await once(first.child, 'exit');
  expect(count('outgoing')).toBe(1);

  const second = host('send');
  expect(JSON.parse(await second.said('sent'))).toEqual({ type: 'sent', platformMessageId: 'terminal:1' });
  const reader = await world.client({ after: 0 });
  await reader.client.send('seen it');
  expect(reader.texts).toEqual(['exactly once']);
  await second.kill();
  expect(count('outgoing')).toBe(1);
});

test('a host refuses the folder of another that lives, in another process too', async () => {
  const first = host('store');
  await first.said('serving');
  await expect(world.started()).rejects.toThrow(/^Another process is serving the terminal/);
  const { client } = await world.client();
  expect(await client.send('hello', 'x1')).toBe('x1');
});
