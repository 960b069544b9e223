/** What a program on the network that knows no secret tries against the webhook channel. */
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ReceivedEvent } from '@nanoclaw/channels';
import { signWebhook, WebhookChannel } from '@nanoclaw/channels/webhook';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { setTimer, until } from './whole-host.ts';

const SECRETS = { shop: 'the-secret-of-the-shop', bank: 'the-secret-of-the-bank' };

let folder: string;
let channel: WebhookChannel;
let now: number;
let received: ReceivedEvent[];
let troubles: object[];
let sockets: Socket[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'nano-attack-'));
  [now, received, troubles, sockets] = [1_700_000_000_000, [], [], []];
  channel = new WebhookChannel({
    folder,
    port: 0,
    endpoints: Object.entries(SECRETS).map(([name, secret]) => ({ name, secret })),
    now: () => now,
    setTimer,
    onTrouble: (trouble) => troubles.push(trouble),
  });
  await channel.start(async (event) => void received.push(event));
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await channel.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Forged {
  readonly method?: string;
  readonly path?: string;
  readonly timestamp?: number;
  readonly signature?: string;
  readonly body?: string;
}

const BODY = JSON.stringify({ id: 'm1', text: 'hello' });

async function requested({ method = 'POST', path = '/hooks/shop', timestamp = now / 1_000, ...more }: Forged) {
  const { body = BODY } = more;
  const signature = more.signature ?? signWebhook(SECRETS.shop, timestamp, body);
  const headers = { 'x-nanoclaw-timestamp': String(timestamp), 'x-nanoclaw-signature': signature };
  const sent = method === 'GET' ? {} : { body };
  return (await fetch(`${channel.url}${path}`, { method, headers, ...sent })).status;
}

describe('without the secret of an endpoint', () => {
  it.each<[string, number, () => Forged]>([
    ['another endpoint’s signature', 401, () => ({ path: '/hooks/bank' })],
    ['a signature over another body', 401, () => ({ signature: signWebhook(SECRETS.shop, now / 1_000, '{}') })],
    ['a signature of another time', 401, () => ({ signature: signWebhook(SECRETS.shop, now / 1_000 - 1, BODY) })],
    ['a signature from before five minutes', 401, () => ({ timestamp: now / 1_000 - 301 })],
    ['a signature for the future', 401, () => ({ timestamp: now / 1_000 + 301 })],
    [
      'a signature with an empty secret for no endpoint',
      401,
      () => ({ path: '/hooks/none', signature: signWebhook('', now / 1_000, BODY) }),
    ],
    ['the signature of a message, to read what there is', 401, () => ({ method: 'GET', path: '/hooks/shop/messages' })],
    [
      'the signature of a read, of other numbers',
      401,
      () => ({ method: 'GET', path: '/hooks/shop/messages?after=1', body: 'GET /hooks/shop/messages' }),
    ],
    ['a name that climbs', 404, () => ({ path: '/hooks/..%2fshop' })],
    ['a name of every object', 401, () => ({ path: '/hooks/constructor' })],
    [
      'a message of the bot sent back',
      400,
      () => ({ body: JSON.stringify({ n: 1, id: 'webhook:1', timestamp: 1, kind: 'text', text: 'hello' }) }),
    ],
  ])('%s is refused', async (_, status, forged) => {
    expect(await requested(forged())).toBe(status);
    expect(received).toEqual([]);
  });

  it('what was recorded is the same message once more, and nothing else', async () => {
    const recorded = { timestamp: now / 1_000, signature: signWebhook(SECRETS.shop, now / 1_000, BODY) };
    expect([await requested(recorded), await requested(recorded)]).toEqual([202, 202]);
    now += 301_000;
    expect(await requested(recorded)).toBe(401);
    expect(received).toHaveLength(1);
  });

  it('slow bodies keep nobody out: the slowest gives way, and it is told', async () => {
    const { hostname, port } = new URL(channel.url ?? '');
    const head = `POST /hooks/shop HTTP/1.1\r\nhost: x\r\nx-nanoclaw-timestamp: ${now / 1_000}\r\nx-nanoclaw-signature: v1=0\r\n`;
    for (let n = 0; n < 16; n += 1) {
      const socket = connect(Number(port), hostname, () => socket.write(`${head}content-length: 1000\r\n\r\n{`));
      socket.on('error', () => undefined);
      sockets.push(socket);
    }
    await until(() => sockets.every(({ bytesWritten }) => bytesWritten > 0));
    let status = 0;
    while (status !== 503) status = await requested({ body: JSON.stringify({ id: `m${status}`, text: 'hello' }) });
    now += 2_000;
    expect(await requested({ body: JSON.stringify({ id: 'm2', text: 'hello' }) })).toBe(202);
    expect(troubles).toEqual([
      { type: 'request-failed', reason: 'A request came in too slowly and gave way to others.' },
    ]);
  });
});
