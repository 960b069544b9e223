// A real host process is killed with SIGKILL at the points where a message of a program could be lost or doubled.
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type HostProcess, spawnHost } from './host-process.ts';
import { SECRET, WebhookWorld } from './webhook-world.ts';

let world: WebhookWorld;
beforeEach(() => {
  world = new WebhookWorld();
});
afterEach(() => world.close());

function host(manner: string, callback: readonly string[] = []): HostProcess {
  const process = spawnHost('webhook-host.ts', [world.folder, inboxFile(), manner, SECRET, ...callback]);
  world.onClose(process.kill);
  return process;
}

async function serving(process: HostProcess): Promise<{ url: string }> {
  return { url: JSON.parse(await process.said('serving')) };
}

function inboxFile(): string {
  return join(world.folder, 'inbox');
}

/** What the host has durably, in the order in which it was given. */
function inbox(): unknown[] {
  if (!existsSync(inboxFile())) return [];
  const lines = readFileSync(inboxFile(), 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line));
}

function count(table: 'incoming' | 'outgoing'): unknown {
  const db = new Database(join(world.folder, 'webhook.db'), { readonly: true });
  try {
    return db.prepare(`SELECT count(*) FROM ${table}`).pluck().get();
  } finally {
    db.close();
  }
}

test('31: a host killed before it stored a message gets it at its next start, and the program that sends it again is told', async () => {
  const first = host('hang-before-storing');
  const lost = world.post({ id: 'x1', text: 'do not lose me' }, await serving(first)).catch(() => 'no answer');
  await first.said('asked');
  await first.kill();
  expect(await lost).toBe('no answer');
  expect(inbox()).toEqual([]);

  const second = host('store');
  const again = await world.post({ id: 'x1', text: 'do not lose me' }, await serving(second));
  expect(again.status).toBe(202);
  expect(inbox()).toMatchObject([{ platformMessageId: 'x1', text: 'do not lose me' }]);
  await second.kill();
  expect(count('incoming')).toBe(1);
});

test('a host killed between storing a message and answering gets the very same message again, and no second one', async () => {
  const first = host('die-after-storing');
  const lost = world.post({ id: 'x1', text: 'once please' }, await serving(first)).catch(() => 'no answer');
  expect(await lost).toBe('no answer');
  await first.kill();
  expect(inbox()).toHaveLength(1);

  const second = host('store');
  const at = await serving(second);
  for (let i = 0; i < 2; i++) expect((await world.post({ id: 'x1', text: 'once please' }, at)).status).toBe(202);
  const [one, again, ...others] = inbox();
  expect(again).toEqual(one);
  expect(others).toEqual([]);
  await second.kill();
  expect(count('incoming')).toBe(1);
});

test('36: a host killed between sending and noting it finds the same message with its key, and it is there once', async () => {
  await once(host('send-and-die').child, 'exit');
  expect(count('outgoing')).toBe(1);
  const second = host('send');
  expect(JSON.parse(await second.said('sent'))).toEqual({ type: 'sent', platformMessageId: 'webhook:1' });
  await second.kill();
  expect(count('outgoing')).toBe(1);
});

test('36: a host killed while it posts to a callback posts again under the same key', async () => {
  const keys: unknown[] = [];
  const asked = Promise.withResolvers<void>();
  const url = await world.server((request, _body, response) => {
    keys.push(request.headers['idempotency-key']);
    if (keys.length > 1) response.end();
    asked.resolve();
  });
  const first = host('send', [url]);
  await asked.promise;
  await first.kill();
  const second = host('send', [url]);
  expect(JSON.parse(await second.said('sent'))).toEqual({ type: 'sent', platformMessageId: 'webhook:1' });
  expect(keys).toEqual([keys[0], keys[0]]);
});
