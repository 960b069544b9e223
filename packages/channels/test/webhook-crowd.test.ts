// Many connections at once to the webhook channel, and bodies that cost more to parse than to send: a program that posts
// is served beside them.
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseWebhookMessage } from '../src/webhook/protocol.ts';
import { peerOf, Seats } from '../src/webhook/seats.ts';
import { WebhookWorld } from './webhook-world.ts';

let world: WebhookWorld;
beforeEach(() => {
  world = new WebhookWorld();
});
afterEach(() => world.close());

/** Connections that begin a request and never come to the end of its headers. */
async function crowd(count: number, localAddress: string): Promise<void> {
  const port = Number(new URL(world.url).port);
  for (let i = 0; i < count; i++) {
    const socket = connect({ port, host: '127.0.0.1', localAddress });
    world.onClose(() => socket.destroy());
    socket.on('error', () => {}); // being cut off is what happens to them
    await once(socket, 'connect');
    socket.write('POST /hooks/hook HTTP/1.1\r\nhost: x\r\nx-slow:');
  }
}

const post = async (id: string) => (await world.post({ id, text: 'x' })).status;

describe('256 connections that send only headers (failure 76)', () => {
  // Other systems have one loopback address.
  test.skipIf(process.platform !== 'linux')('of one peer give way to a program at another at once', async () => {
    await world.started();
    await crowd(300, '127.0.0.2');
    expect(await post('m1')).toBe(202);
    expect(world.troubles).toEqual([{ type: 'request-failed', reason: expect.stringContaining('gave way') }]);
  });

  test('give way to any other once they are slow', async () => {
    await world.started();
    await crowd(256, '127.0.0.1');
    world.skewMs = 1_000;
    expect(await post('m1')).toBe(202);
  });

  test('do not cut off a program that waits for messages', async () => {
    const channel = await world.started();
    const waiting = world.get('?wait=60');
    await world.get('?after=0');
    await crowd(255, '127.0.0.1');
    world.skewMs = 1_000;
    await crowd(256, '127.0.0.1');
    const message = { kind: 'text', text: 'hello' } as const;
    const address = { channelType: 'webhook', platformId: 'hook', threadId: null };
    await channel.send(address, message, { key: 'k', attempt: 1, uncertain: false });
    expect(await (await waiting).json()).toMatchObject({ messages: [{ text: 'hello' }] });
  });
});

describe('a seat', () => {
  test('goes to the peer with fewer, from the oldest of the peer with the most', () => {
    const seats = new Seats<string>({ max: 4, slowMs: 1_000 });
    for (const guest of ['a1', 'a2', 'a3', 'b1']) seats.admit(guest, guest.slice(0, 1), 0);
    expect(seats.admit('c1', 'c', 1)).toEqual({ type: 'seated', evicted: 'a1' });
    expect(seats.admit('a4', 'a', 1)).toEqual({ type: 'full' });
    expect(seats.admit('b2', 'b', 1)).toEqual({ type: 'full' });
    expect(seats.admit('b2', 'b', 1_000)).toEqual({ type: 'seated', evicted: 'a2' });
  });

  test('is kept while it is held', () => {
    const seats = new Seats<string>({ max: 1, slowMs: 1_000 });
    seats.admit('a', 'a', 0);
    {
      using _held = seats.hold('a');
      expect(seats.admit('b', 'b', 5_000)).toEqual({ type: 'full' });
    }
    expect(seats.admit('b', 'b', 5_000)).toEqual({ type: 'seated', evicted: 'a' });
  });

  test.each([
    ['127.0.0.1', '127.0.0.1'],
    ['::ffff:10.0.0.7', '10.0.0.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:db8::6', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
  ])('is of the peer: %s is %s', (address, peer) => expect(peerOf(address)).toBe(peer));
});

describe('JSON that costs more to parse than to send (failure 76)', () => {
  test.each([
    ['deep', '['.repeat(2 ** 20), 'nested more than 32 deep'],
    [
      'wide',
      `{"id":"m1","event":${JSON.stringify(Array.from({ length: 20_000 }, () => ({})))}}`,
      'more than 20000 values',
    ],
    ['many keys', `{${Array.from({ length: 150_000 }, (_, i) => `"${i}":1`).join()}}`, 'more than 20000 values'],
  ])('is refused before anything is made of it: %s', (_, body, problem) => {
    expect(parseWebhookMessage(body)).toEqual({ problem: expect.stringContaining(problem) });
  });
});
