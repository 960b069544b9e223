import { once } from 'node:events';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ReceivedEvent } from '../src/channel.ts';
import { contentOf, heardOut, until } from './support.ts';
import { HOOK, SECRET, signedHeaders, WebhookWorld } from './webhook-world.ts';

let world: WebhookWorld;
beforeEach(() => {
  world = new WebhookWorld();
});
afterEach(() => world.close());

const attempt = (key: string) => ({ key, attempt: 1, uncertain: false });
const text = (words: string) => ({ kind: 'text', text: words }) as const;

function rows(table: 'incoming' | 'outgoing'): Record<string, unknown>[] {
  const db = new Database(join(world.folder, 'webhook.db'), { readonly: true });
  try {
    return db.prepare<[], Record<string, unknown>>(`SELECT * FROM ${table} ORDER BY n`).all();
  } finally {
    db.close();
  }
}

describe('what programs say', () => {
  test('a message carries its endpoint, thread, sender, event and files', async () => {
    const got: unknown[] = [];
    await world.started(async (event) => {
      got.push(await contentOf(event));
    });
    const event = { source: 'shop', event: 'order', payload: { total: 7, items: [{ name: 'tea' }], note: null } };
    const files = [{ name: 'é.txt', mediaType: 'text/plain', data: Buffer.from('hi').toString('base64') }];
    const sender = { id: 'ada', name: 'Ada' };
    const response = await world.post({ id: 'm1', text: 'look', thread: 'orders', sender, event, files });
    expect([response.status, await response.json()]).toEqual([202, { accepted: true, id: 'm1' }]);
    expect(got).toEqual([
      {
        kind: 'message',
        platformMessageId: 'm1',
        address: { ...HOOK, threadId: 'orders' },
        sender: { id: 'hook/ada', name: 'Ada' },
        text: 'look',
        files: [{ name: 'é.txt', mediaType: 'text/plain', bytes: Buffer.from('hi') }],
        event,
        timestamp: expect.any(Number),
        isMention: true,
        isDirect: false,
      },
    ]);
  });

  test('one endpoint cannot speak as the person of another, nor with its secret', async () => {
    world.endpoints = [...world.endpoints, { name: 'other', secret: 'another secret of the tests' }];
    const got: string[] = [];
    await world.started(async ({ sender }) => {
      got.push(sender.id);
    });
    const message = { id: 'm1', text: 'x', sender: { id: 'ada' } };
    await world.post(message);
    await world.post(message, { name: 'other', secret: 'another secret of the tests' });
    expect((await world.post(message, { name: 'other' })).status).toBe(401);
    expect(got).toEqual(['hook/ada', 'other/ada']);
  });

  test.each([
    ['not JSON', 'not a JSON object'],
    ['[]', 'not a JSON object'],
    [{ text: 'x' }, '"id" is'],
    [{ id: 'webhook:1', text: 'x' }, '"id" is'],
    [{ id: 'm1' }, 'has a text, files, an event or a choice'],
    [{ id: 'm1', text: ' ' }, 'has a text, files, an event or a choice'],
    [{ id: 'm1', text: 7 }, '"text" is'],
    [{ id: 'm1', text: 'x'.repeat(65_537) }, '"text" is'],
    [{ id: 'm1', text: 'x', thread: 'a\nb' }, '"thread" is'],
    [{ id: 'm1', text: 'x', sender: 'ada' }, '"sender" has'],
    [{ id: 'm1', text: 'x', sender: { id: 'ada', role: 'owner' } }, '"sender" has'],
    [{ id: 'm1', files: [{ name: '../x', data: '' }] }, '"files" is'],
    [{ id: 'm1', files: [{ name: 'x', data: '!' }] }, '"files" is'],
    [{ id: 'm1', files: [{ name: 'x', data: Buffer.alloc(262_145).toString('base64') }] }, '"files" is'],
    [{ id: 'm1', files: Array.from({ length: 5 }, () => ({ name: 'x', data: '' })) }, '"files" is'],
    [{ id: 'm1', event: { source: 'a', event: 'b' } }, '"event" has'],
    [{ id: 'm1', choice: { questionId: 'q', choice: -1 } }, '"choice" has'],
    [{ id: 'm1', text: 'x', choice: { questionId: 'q', choice: 0 } }, 'stands alone'],
    [{ id: 'm1', text: 'x', admin: true }, '"admin" is not known'],
    ['{"id":"m1","text":"x","text":"y"}', 'The key "text" is in it twice'],
    [
      '{"id":"m1","event":{"source":"a","event":"b","payload":{"order":12345678901234567890}}}',
      'The number 12345678901234567890 cannot be kept exactly',
    ],
    ['{"id":"m1","event":{"source":"a","event":"b","payload":1e999}}', 'The number 1e999 cannot be kept exactly'],
    ['{"id":"m1","text":"half a smile: \\ud83d"}', 'half of a character'],
    [
      `{"id":"m1","text":"x","event":{"source":"a","event":"b","payload":${'['.repeat(900_000)}${']'.repeat(900_000)}}}`,
      'deep',
    ],
  ])('what is wrong with a message is told in a sentence, and nothing is kept', async (message, sentence) => {
    const channel = await world.started();
    const response = await world.post(message);
    expect(response.status).toBe(400);
    expect(await response.json()).toEqual({ error: expect.stringContaining(sentence) });
    await channel.stop();
    expect(rows('incoming')).toEqual([]);
  });

  test('a message repeated under its id is the same message, and the host gets it once', async () => {
    const got: ReceivedEvent[] = [];
    const channel = await world.started(async (event) => {
      got.push(event);
    });
    expect((await world.post({ id: 'm1', text: 'x' })).status).toBe(202);
    expect((await world.post('{ "text": "x",  "id": "m1" }')).status).toBe(202);
    const other = await world.post({ id: 'm1', text: 'y' });
    expect([other.status, await other.text()]).toEqual([409, expect.stringContaining('Only the first was kept')]);
    expect(got).toHaveLength(1);
    await channel.stop();
    expect(rows('incoming')).toMatchObject([{ id: 'm1', content: null }]);
  });

  test('30: two endpoints may use the same id', async () => {
    world.endpoints = [...world.endpoints, { name: 'other', secret: SECRET }];
    const got: string[] = [];
    await world.started(async ({ address }) => {
      got.push(address.platformId);
    });
    for (const name of ['hook', 'other'])
      expect((await world.post({ id: 'm1', text: 'x' }, { name })).status).toBe(202);
    expect(got).toEqual(['hook', 'other']);
  });

  test('31: the program hears "accepted" only after the host has it, and "again, later" when it could not', async () => {
    let isFull = true;
    const channel = await world.started(async () => {
      if (isFull) throw new Error('the disk is full');
    });
    const response = await world.post({ id: 'm1', text: 'x' });
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '10']);
    expect(world.troubles).toEqual([{ type: 'not-received', endpoint: 'hook', id: 'm1', reason: 'the disk is full' }]);
    isFull = false;
    expect((await world.post({ id: 'm1', text: 'x' })).status).toBe(202);
    await channel.stop();
    expect(rows('incoming')).toHaveLength(1);
  });

  test('a host that hangs on one endpoint takes the messages of the others', async () => {
    world.endpoints = [...world.endpoints, { name: 'other', secret: SECRET }];
    const channel = await world.started(({ address }) =>
      address.platformId === 'hook' ? new Promise(() => {}) : Promise.resolve(),
    );
    const hanging = world.post({ id: 'm1', text: 'x' }).catch(() => undefined);
    expect((await world.post({ id: 'm1', text: 'x' }, { name: 'other' })).status).toBe(202);
    await channel.stop();
    expect(await hanging).toBeUndefined();
  });

  test('52: what waits for a host that takes nothing is bounded, and what is there can still be repeated', async () => {
    const channel = await world.started(() => Promise.reject(new Error('not now')));
    await world.post({ id: 'first', text: 'x' });
    await channel.stop();
    const db = new Database(join(world.folder, 'webhook.db'));
    db.exec(
      `WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 999)
       INSERT INTO incoming (endpoint, id, digest, content, bytes, timestamp)
       SELECT 'hook', 'i' || i, '', '{"id":"x","text":"x","files":[]}', 1, 1 FROM s`,
    );
    db.close();
    const next = await world.started(() => Promise.reject(new Error('not now')));
    await until(() => world.troubles.length > 1000);
    const more = await world.post({ id: 'more', text: 'x' });
    expect([more.status, await more.text()]).toEqual([503, expect.stringContaining('Too much waits')]);
    expect(await (await world.post({ id: 'first', text: 'x' })).text()).toContain('could not take');
    await next.stop();
    expect(rows('incoming')).toHaveLength(1000);
  });
});

describe('signatures', () => {
  test.each([
    ['none', {}],
    ['one of another secret', signedHeaders('another secret', '{"id":"m1","text":"x"}')],
    ['one over another body', signedHeaders(SECRET, '{"id":"m1","text":"y"}')],
    ['one of ten minutes ago', signedHeaders(SECRET, '{"id":"m1","text":"x"}', Math.floor(Date.now() / 1000) - 600)],
    ['one of the future', signedHeaders(SECRET, '{"id":"m1","text":"x"}', Math.floor(Date.now() / 1000) + 600)],
    ['a timestamp that is none', { ...signedHeaders(SECRET, '{"id":"m1","text":"x"}'), 'x-nanoclaw-timestamp': '1e3' }],
    ['one cut short', { ...signedHeaders(SECRET, '{"id":"m1","text":"x"}'), 'x-nanoclaw-signature': 'v1=' }],
  ])('a request with %s is refused with a sentence, and nothing is kept', async (_, headers) => {
    const channel = await world.started();
    const response = await fetch(`${world.url}/hooks/hook`, {
      method: 'POST',
      body: '{"id":"m1","text":"x"}',
      headers,
    });
    expect(response.status).toBe(401);
    expect(await response.json()).toEqual({ error: expect.any(String) });
    await channel.stop();
    expect(rows('incoming')).toEqual([]);
  });

  test('a wrong name and a wrong secret are refused alike', async () => {
    await world.started();
    const answers = [
      await world.post({ id: 'm1', text: 'x' }, { name: 'nobody' }),
      await world.post({ id: 'm1', text: 'x' }, { secret: 'a wrong secret of the tests' }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([401, 401]);
    expect(await answers[0]?.text()).toBe(await answers[1]?.text());
  });

  test('a recorded request is the same message while its signature holds, and nothing after it', async () => {
    const got: ReceivedEvent[] = [];
    await world.started(async (event) => {
      got.push(event);
    });
    const body = '{"id":"m1","text":"x"}';
    const headers = signedHeaders(SECRET, body);
    const replay = () => fetch(`${world.url}/hooks/hook`, { method: 'POST', body, headers });
    expect([(await replay()).status, (await replay()).status]).toEqual([202, 202]);
    world.skewMs = 6 * 60 * 1000;
    expect((await replay()).status).toBe(401);
    expect(got).toHaveLength(1);
  });

  test('34: what the bot said to a callback is not taken as a message of the program', async () => {
    const posted = Promise.withResolvers<{ body: string; headers: Record<string, string> }>();
    const url = await world.server((request, body, response) => {
      response.end();
      const name = ['x-nanoclaw-timestamp', 'x-nanoclaw-signature'] as const;
      posted.resolve({ body, headers: Object.fromEntries(name.map((each) => [each, String(request.headers[each])])) });
    });
    world.endpoints = [{ name: 'hook', secret: SECRET, callback: { url } }];
    const channel = await world.started();
    await channel.send(HOOK, text('from the bot'), attempt('k1'));
    const response = await fetch(`${world.url}/hooks/hook`, { method: 'POST', ...(await posted.promise) });
    expect([response.status, await response.text()]).toEqual([400, expect.stringContaining('is not known')]);
  });

  test('a request for messages is signed for its very target', async () => {
    const channel = await world.started();
    await channel.send(HOOK, text('secret'), attempt('k1'));
    const headers = signedHeaders(SECRET, 'GET /hooks/hook/messages?after=1');
    expect((await fetch(`${world.url}/hooks/hook/messages?after=1`, { headers })).status).toBe(200);
    expect((await fetch(`${world.url}/hooks/hook/messages?after=0`, { headers })).status).toBe(401);
    expect((await world.get('?after=0', { secret: 'a wrong secret of the tests' })).status).toBe(401);
  });
});

describe('fetching', () => {
  test('a program fetches from where it was, and again what it did not say it has', async () => {
    const channel = await world.started();
    for (const words of ['one', 'two', 'three']) await channel.send(HOOK, text(words), attempt(words));
    const page = async (query: string) => (await world.get(query)).json();
    expect(await page('?after=1')).toEqual({ messages: [told(2, 'two'), told(3, 'three')], next: 3 });
    expect(await page('?after=1')).toMatchObject({ next: 3 });
    expect(await page('?after=3')).toEqual({ messages: [], next: 3 });
    expect(await page('')).toMatchObject({ next: 3 });
    expect(await page('?after=99')).toMatchObject({ messages: [{ n: 1 }, { n: 2 }, { n: 3 }] });
  });

  test('a program that waits is told when there is something, or when its time is over', async () => {
    const timers: (() => void)[] = [];
    const channel = await world.started(async () => {}, {
      setTimer: (_delayMs, action) => {
        timers.push(action);
        return () => {};
      },
    });
    const waiting = world.get('?after=0&wait=60');
    await until(() => timers.length === 1);
    await channel.send(HOOK, text('news'), attempt('k1'));
    expect(await (await waiting).json()).toMatchObject({ messages: [{ text: 'news' }], next: 1 });

    const inVain = world.get('?after=1&wait=60');
    await until(() => timers.length === 2);
    timers[1]?.();
    expect(await (await inVain).json()).toEqual({ messages: [], next: 1 });
  });

  test('52: what nobody fetches is bounded: then a message is refused for now, said why, and nothing is dropped', async () => {
    const channel = await world.started();
    await channel.send(HOOK, text('first'), attempt('k0'));
    await channel.stop();
    const db = new Database(join(world.folder, 'webhook.db'));
    db.exec(
      `WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 4999)
       INSERT INTO outgoing (key, endpoint, kind, digest, content, bytes, timestamp, state)
       SELECT 'filler-' || i, 'hook', 'text', '', '{"kind":"text","text":"x"}', 1, 1, 'kept' FROM s`,
    );
    db.close();
    const next = await world.started();
    const result = await next.send(HOOK, text('too many'), attempt('k1'));
    expect(result).toMatchObject({ type: 'failed', permanent: false, reason: expect.stringContaining('fetches no') });
    expect(await (await world.get('?after=0')).json()).toMatchObject({ messages: { length: 100 }, next: 100 });
    await world.get('?after=100');
    expect((await next.send(HOOK, text('room again'), attempt('k1'))).type).toBe('sent');
  });

  test('what was fetched is forgotten but for the newest thousand', async () => {
    const channel = await world.started();
    await channel.stop();
    const db = new Database(join(world.folder, 'webhook.db'));
    db.exec(
      `WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 1500)
       INSERT INTO outgoing (key, endpoint, kind, digest, content, bytes, timestamp, state)
       SELECT 'filler-' || i, 'hook', 'text', '', '{"kind":"text","text":"x"}', 1, 1, 'kept' FROM s`,
    );
    db.close();
    const next = await world.started();
    await world.get('?after=1500');
    await next.stop();
    expect(rows('outgoing')).toHaveLength(1000);
  });
});

describe('endpoints', () => {
  test('can be added and removed while the channel runs', async () => {
    const channel = await world.started();
    channel.addEndpoint({ name: 'late', secret: 'a secret that came late' });
    const late = { name: 'late', secret: 'a secret that came late' };
    expect((await world.post({ id: 'm1', text: 'x' }, late)).status).toBe(202);
    expect(channel.removeEndpoint('late')).toBe(true);
    expect(channel.removeEndpoint('late')).toBe(false);
    expect((await world.post({ id: 'm2', text: 'x' }, late)).status).toBe(401);
    const result = await channel.send({ ...HOOK, platformId: 'late' }, text('x'), attempt('k1'));
    expect(result).toMatchObject({ type: 'failed', permanent: true });
  });

  test.each([
    [{ name: 'hook', secret: SECRET }, 'there is one already'],
    [{ name: '../x', secret: SECRET }, 'a name has'],
    [{ name: 'x', secret: 'short' }, 'fewer than 16'],
    [{ name: 'x', secret: SECRET, callback: { url: 'file:///etc/passwd' } }, 'no HTTP address'],
    [{ name: 'x', secret: SECRET, callback: { url: 'http://a:b@c/' } }, 'a name or password'],
  ])('one that cannot work is refused when it is added', (endpoint, reason) => {
    expect(() => world.channel().addEndpoint(endpoint)).toThrow(reason);
  });

  test('the store is for its owner only, and a second channel on it is refused', async () => {
    await world.started();
    expect(statSync(join(world.folder, 'webhook.db')).mode & 0o777).toBe(0o600);
    await expect(world.started()).rejects.toThrow(/^Another process is serving webhooks .+ stop it first/);
    expect((await world.post({ id: 'm1', text: 'x' })).status).toBe(202);
  });

  test('a port that is taken is one clear sentence, and the channel can be started when it is free', async () => {
    const other = new WebhookWorld();
    world.onClose(() => other.close());
    const first = await other.started();
    const channel = world.channel({ port: Number(new URL(first.url ?? '').port) });
    await expect(channel.start(async () => {})).rejects.toThrow(
      /^The webhook channel cannot listen on 127\.0\.0\.1, port/,
    );
    expect(channel.health()).toEqual({ state: 'stopped' });
    await first.stop();
    await channel.start(async () => {});
    expect(channel.health()).toEqual({ state: 'online' });
  });
});

describe('hostile clients', () => {
  test.each([
    ['GET', '/', 404],
    ['POST', '/hooks/', 404],
    ['POST', '/hooks/../hook', 404],
    ['POST', '/hooks/hook/messages', 405],
    ['DELETE', '/hooks/hook', 405],
    ['GET', '/hooks/hook/messages?after=-1', 400],
    ['GET', '/hooks/hook/messages?wait=61', 400],
  ])('%s %s is answered with a sentence', async (method, path, status) => {
    await world.started();
    const raw = await world.raw();
    raw.write(`${method} ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
    expect(await heardOut(raw)).toMatch(new RegExp(`^HTTP/1.1 ${status} [^]*\\{"error":".+"\\}`));
  });

  test('garbage and bodies that are too large, said or not, are refused, and others are served', async () => {
    await world.started();
    const garbage = await world.raw();
    garbage.write('\u0000\u0001 what?\r\n\r\n');
    expect(await heardOut(garbage)).toMatch(/^HTTP\/1\.1 400/);

    const head = `POST /hooks/hook HTTP/1.1\r\nhost: x\r\n${headerLines()}`;
    const said = await world.raw();
    said.write(`${head}content-length: 99999999999\r\n\r\n`);
    expect(await heardOut(said)).toMatch(/^HTTP\/1\.1 413[^]*larger than/);

    const unsaid = await world.raw();
    const heard = heardOut(unsaid);
    unsaid.write(`${head}transfer-encoding: chunked\r\n\r\n`);
    const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
    for (let sent = 0; sent < 40 && !unsaid.destroyed; sent++) unsaid.write(chunk);
    // The answer may be lost to who goes on sending without listening.
    expect(await heard.catch(() => 'reset')).toMatch(/^HTTP\/1\.1 413|^reset/);
    expect((await world.post({ id: 'm1', text: 'x' })).status).toBe(202);
  });

  test('one that does not get on with its request is cut off, and leaves nothing', async () => {
    const channel = await world.started(async () => {}, { requestMaxMs: 50 });
    const head = `POST /hooks/hook HTTP/1.1\r\nhost: x\r\n${headerLines()}`;
    for (const beginning of ['', 'POST /hooks/hook HT', `${head}content-length: 100\r\n\r\n{"id":`]) {
      const raw = await world.raw();
      raw.write(beginning);
      await heardOut(raw); // ends by the other side, or the test's own time does
    }
    await channel.stop();
    expect(rows('incoming')).toEqual([]);
  });

  test('many slow bodies at once are refused for now, and cannot lock out others for long', async () => {
    await world.started();
    const head = `POST /hooks/hook HTTP/1.1\r\nhost: x\r\n${headerLines()}content-length: 100\r\n\r\n{`;
    for (let i = 0; i < 16; i++) (await world.raw()).write(head);
    const post = async () => (await world.post({ id: 'm1', text: 'x' })).status;
    let status = await post();
    while (status === 202) status = await post(); // until all of them have come in
    expect(status).toBe(503);
    world.skewMs = 1_000; // by then an honest body is there
    expect(await post()).toBe(202);
  });

  test('one that closes its side after its request still gets the answer', async () => {
    await world.started();
    const body = '{"id":"m1","text":"x"}';
    const raw = await world.raw();
    raw.allowHalfOpen = true;
    raw.end(
      `POST /hooks/hook HTTP/1.1\r\nhost: x\r\nconnection: close\r\n${headerLines(body)}content-length: ${body.length}\r\n\r\n${body}`,
    );
    expect(await heardOut(raw)).toMatch(/^HTTP\/1\.1 202/);
  });

  test('a program that goes away while it waits for messages is not waited for', async () => {
    let cancelled = 0;
    await world.started(async () => {}, { setTimer: () => () => void cancelled++ });
    const target = '/hooks/hook/messages?wait=60';
    const raw = await world.raw();
    raw.write(`GET ${target} HTTP/1.1\r\nhost: x\r\n${headerLines(`GET ${target}`)}\r\n`);
    const other = await world.get('?after=0');
    expect(other.status).toBe(200);
    raw.destroy();
    await once(raw, 'close');
    await until(() => cancelled === 1);
  });
});

test('the queries that run with each message use an index', async () => {
  await (await world.started()).stop();
  const db = new Database(join(world.folder, 'webhook.db'));
  world.onClose(() => db.close());
  const plan = (sql: string) => JSON.stringify(db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all());
  expect(
    plan(`SELECT count(*), sum(bytes) FROM incoming INDEXED BY incoming_pending
          WHERE endpoint = 'a' AND content IS NOT NULL`),
  ).toContain('incoming_pending');
  expect(
    plan(`SELECT count(*), sum(bytes) FROM outgoing INDEXED BY outgoing_kept
          WHERE endpoint = 'a' AND state = 'kept' AND n > 1`),
  ).toContain('COVERING INDEX outgoing_kept');
  expect(plan(`SELECT n FROM incoming WHERE endpoint = 'a' ORDER BY n DESC LIMIT 1 OFFSET 9`)).toContain(
    'incoming_of_endpoint',
  );
});

function told(n: number, words: string) {
  return { n, id: `webhook:${n}`, timestamp: expect.any(Number), kind: 'text', text: words };
}

/** The headers of a signed request, as lines. */
function headerLines(body = '{'): string {
  return Object.entries(signedHeaders(SECRET, body))
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('');
}
