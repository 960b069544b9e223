import { afterEach, beforeEach, expect, test } from 'vitest';
import { postResult } from '../src/webhook/callback.ts';
import { SIGNATURE_HEADER, signWebhook, TIMESTAMP_HEADER } from '../src/webhook/signature.ts';
import { until } from './support.ts';
import { HOOK, SECRET, WebhookWorld } from './webhook-world.ts';

let world: WebhookWorld;
beforeEach(() => {
  world = new WebhookWorld();
});
afterEach(() => world.close());

const hello = { kind: 'text', text: 'hello' } as const;
const first = { key: 'k1', attempt: 1, uncertain: false };
const again = { key: 'k1', attempt: 2, uncertain: true };

function withCallback(url: string): void {
  world.endpoints = [{ name: 'hook', secret: SECRET, callback: { url } }];
}

test.each([
  [200, null, { type: 'sent' }],
  [204, null, { type: 'sent' }],
  [301, null, { type: 'failed', permanent: true }],
  [400, null, { type: 'failed', permanent: true }],
  [404, null, { type: 'failed', permanent: true }],
  [408, null, { type: 'failed', permanent: false }],
  [425, null, { type: 'failed', permanent: false }],
  [429, '7', { type: 'failed', permanent: false, retryAfterMs: 7000 }],
  [500, null, { type: 'failed', permanent: false }],
  [503, 'Thu, 01 Jan 1970 00:00:20 GMT', { type: 'failed', permanent: false, retryAfterMs: 10_000 }],
  [503, 'Thu, 01 Jan 1970 00:00:00 GMT', { type: 'failed', permanent: false, retryAfterMs: 0 }],
  [503, '999999999', { type: 'failed', permanent: false, retryAfterMs: 3_600_000 }],
])('an answer of %i with Retry-After %s is %o', (status, retryAfter, result) => {
  expect(postResult(status, retryAfter, 10_000)).toMatchObject(result);
  expect('retryAfterMs' in postResult(status, 'soon', 10_000)).toBe(false);
});

test('a post is signed, and names the message by a key that all its attempts have', async () => {
  const keys: unknown[] = [];
  const url = await world.server((request, body, response) => {
    const { [TIMESTAMP_HEADER]: seconds, [SIGNATURE_HEADER]: signature, 'idempotency-key': key } = request.headers;
    expect(signature).toBe(signWebhook(SECRET, Number(seconds), body));
    keys.push(key, JSON.parse(body));
    response.writeHead(keys.length === 2 ? 500 : 200).end();
  });
  withCallback(url);
  const channel = await world.started();
  expect(await channel.send(HOOK, hello, first)).toMatchObject({ type: 'failed', permanent: false });
  expect(await channel.send(HOOK, hello, again)).toEqual({ type: 'sent', platformMessageId: 'webhook:1' });
  expect(keys).toHaveLength(4);
  expect(keys.slice(2)).toEqual(keys.slice(0, 2));
  expect(keys[1]).toEqual({ n: 1, id: 'webhook:1', timestamp: expect.any(Number), kind: 'text', text: 'hello' });
});

test('36: a message that the callback has confirmed is not posted again, also by a new run of the host', async () => {
  let posts = 0;
  withCallback(await world.server((_request, _body, response) => void (posts++, response.end())));
  const channel = await world.started();
  const sent = await channel.send(HOOK, hello, first);
  await channel.stop();
  const next = await world.started();
  expect(await next.send(HOOK, hello, again)).toEqual(sent);
  expect(posts).toBe(1);
  expect(await next.send(HOOK, { ...hello, text: 'other' }, again)).toMatchObject({ type: 'failed', permanent: true });
});

test('a callback that takes too long, breaks off, or is not there leaves the caller unsure', async () => {
  let late: (() => void) | undefined;
  withCallback(await world.server(() => {}));
  const channel = await world.started(async () => {}, {
    setTimer: (_delayMs, action) => {
      late = action;
      return () => {};
    },
  });
  const sending = channel.send(HOOK, hello, first);
  await until(() => late !== undefined);
  late?.();
  expect(await sending).toMatchObject({ type: 'failed', permanent: false, reason: expect.stringContaining('in time') });
  await channel.stop();

  withCallback(await world.server((request) => request.socket.destroy()));
  const second = await world.started();
  expect(await second.send(HOOK, hello, again)).toMatchObject({ type: 'failed', permanent: false });
  await second.stop();

  withCallback('http://127.0.0.1:1/callback?token=hidden');
  const third = await world.started();
  const result = await third.send(HOOK, hello, again);
  expect(result).toMatchObject({ type: 'failed', permanent: false });
  expect(JSON.stringify(result)).not.toContain('hidden');
});

test('a redirect is not followed', async () => {
  let isFollowed = false;
  const elsewhere = await world.server((_request, _body, response) => {
    isFollowed = true;
    response.end();
  });
  withCallback(
    await world.server((_request, _body, response) => response.writeHead(307, { location: elsewhere }).end()),
  );
  const channel = await world.started();
  expect(await channel.send(HOOK, hello, first)).toMatchObject({ type: 'failed', permanent: true });
  expect(isFollowed).toBe(false);
});

test('an answer without end is not read', async () => {
  withCallback(
    await world.server((_request, _body, response) => {
      const write = () => {
        while (!response.destroyed && response.write('x'.repeat(65_536)));
      };
      response.on('drain', write);
      write();
    }),
  );
  const channel = await world.started();
  expect((await channel.send(HOOK, hello, first)).type).toBe('sent');
});

test('a stop ends a post that hangs', async () => {
  const asked = Promise.withResolvers<void>();
  withCallback(await world.server(() => asked.resolve()));
  const channel = await world.started();
  const sending = channel.send(HOOK, hello, first);
  await asked.promise;
  await channel.stop();
  expect(await sending).toMatchObject({ type: 'failed', permanent: false });
});

test('what was to be posted is kept for fetching when the endpoint has no callback any more', async () => {
  withCallback('http://127.0.0.1:1/callback');
  const channel = await world.started();
  await channel.send(HOOK, hello, first);
  channel.removeEndpoint('hook');
  channel.addEndpoint({ name: 'hook', secret: SECRET });
  expect((await channel.send(HOOK, hello, again)).type).toBe('sent');
  expect(await (await world.get('?after=0')).json()).toMatchObject({ messages: [{ text: 'hello' }] });
});
