import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ReceivedEvent } from '../src/channel.ts';
import { LINE_BYTES_MAX, TEXT_BYTES_MAX } from '../src/terminal/protocol.ts';
import { TerminalChannel, terminalSocketPath } from '../src/terminal/terminal-channel.ts';
import { ConnectionLost, MessageRefused, TerminalClient } from '../src/terminal/terminal-client.ts';
import { heardOut, MAIN, textOf, until, World } from './support.ts';

let world: World;
beforeEach(() => {
  world = new World();
});
afterEach(() => world.close());

function text(words: string, inReplyTo?: string) {
  return { kind: 'text', text: words, ...(inReplyTo === undefined ? {} : { inReplyTo }) } as const;
}

function attempt(key: string) {
  return { key, attempt: 1, uncertain: false };
}

/** Lets the channel read what clients have written so far: it answers a client that came after them. */
async function roundTrip(): Promise<void> {
  const { client } = await world.client({ chat: 'round-trip' });
  await client.send(' ').catch(() => {});
  await client.close();
}

/** Reads the history while nobody serves it. */
function rows(table: 'incoming' | 'outgoing'): unknown[] {
  const db = new Database(join(world.folder, 'terminal.db'), { readonly: true });
  try {
    return db.prepare(`SELECT * FROM ${table} ORDER BY n`).all();
  } finally {
    db.close();
  }
}

describe('chats', () => {
  test('every client of a chat sees what is sent to it, and nobody else does', async () => {
    const channel = await world.started();
    const [a, b, other] = [await world.client(), await world.client(), await world.client({ chat: 'other' })];
    await channel.send(MAIN, text('to main'), attempt('k1'));
    await channel.send({ ...MAIN, platformId: 'other' }, text('to other'), attempt('k2'));
    await Promise.all([a.has(1), b.has(1), other.has(1)]);
    expect([a.texts, b.texts, other.texts]).toEqual([['to main'], ['to main'], ['to other']]);
  });

  test('a message carries the chat, and its answer the id of the question', async () => {
    const got: ReceivedEvent[] = [];
    const channel = await world.started(async (message) => {
      got.push(message);
    });
    const reader = await world.client({ chat: 'work' });
    const id = await reader.client.send('how much is it?');
    expect(got).toEqual([
      {
        kind: 'message',
        platformMessageId: id,
        files: [],
        address: { ...MAIN, platformId: 'work' },
        sender: { id: 'local', name: 'local' },
        text: 'how much is it?',
        timestamp: expect.any(Number),
        isMention: true,
        isDirect: true,
      },
    ]);
    await channel.send({ ...MAIN, platformId: 'work' }, text('a lot', id), attempt('k1'));
    await reader.has(1);
    expect(reader.got).toEqual([
      { n: 1, timestamp: expect.any(Number), kind: 'text', text: 'a lot', files: [], inReplyTo: id },
    ]);
  });

  test('a client that says what it saw last gets what it missed, also across a restart of the host', async () => {
    const channel = await world.started();
    const early = await world.client();
    await channel.send(MAIN, text('one'), attempt('k1'));
    await early.has(1);
    await early.client.close();
    await channel.send(MAIN, text('two'), attempt('k2'));
    await channel.stop();
    const next = await world.started();
    await next.send(MAIN, text('three'), attempt('k3'));
    const late = await world.client({ after: early.client.seen });
    await late.has(2);
    expect(late.texts).toEqual(['two', 'three']);
  });

  test('a client that does not say what it saw gets only what is sent from now on', async () => {
    const channel = await world.started();
    await channel.send(MAIN, text('old'), attempt('k1'));
    const reader = await world.client();
    expect(reader.client.seen).toBe(1);
    await channel.send(MAIN, text('new'), attempt('k2'));
    await reader.has(1);
    expect(reader.texts).toEqual(['new']);
    expect(reader.client.seen).toBe(2);
  });

  test('a client that knows another history gets this one from the start', async () => {
    const channel = await world.started();
    await channel.send(MAIN, text('one'), attempt('k1'));
    const reader = await world.client({ after: 99 });
    await reader.has(1);
    expect(reader.texts).toEqual(['one']);
  });

  test('a long history comes whole and in order to a client that catches up while more is sent', async () => {
    const channel = await world.started();
    const body = 'x'.repeat(60_000);
    for (let n = 0; n < 60; n++) await channel.send(MAIN, text(`${n} ${body}`), attempt(`k${n}`));
    const reader = await world.client({ after: 0 });
    for (let n = 60; n < 65; n++) await channel.send(MAIN, text(`${n} ${body}`), attempt(`k${n}`));
    await reader.has(65);
    expect(reader.texts.map((words) => Number(words.split(' ')[0]))).toEqual([...Array(65).keys()]);
  });
});

describe('sending', () => {
  test('the same key with another text, chat or question is refused for good, and shows nothing', async () => {
    const channel = await world.started();
    await channel.send(MAIN, text('one'), attempt('k1'));
    for (const [address, message] of [
      [MAIN, text('two')],
      [{ ...MAIN, platformId: 'other' }, text('one')],
      [MAIN, text('one', 'id-1')],
    ] as const) {
      expect(await channel.send(address, message, attempt('k1'))).toMatchObject({ type: 'failed', permanent: true });
    }
    await channel.stop();
    expect(rows('outgoing')).toHaveLength(1);
  });

  test('a retry of a text with half a surrogate pair is the same message', async () => {
    const channel = await world.started();
    const first = await channel.send(MAIN, text('x\ud800'), attempt('k1'));
    expect(first.type).toBe('sent');
    expect(await channel.send(MAIN, text('x\ud800'), attempt('k1'))).toEqual(first);
  });

  test('a thread and an impossible chat name are refused for good', async () => {
    const channel = await world.started();
    for (const address of [
      { ...MAIN, threadId: 't' },
      { ...MAIN, platformId: '../main' },
    ]) {
      expect(await channel.send(address, text('x'), attempt('k1'))).toMatchObject({ type: 'failed', permanent: true });
    }
  });
});

describe('receiving', () => {
  test('a message sent again under its id is the same message, and the host gets it once', async () => {
    const got: string[] = [];
    const channel = await world.started(async (message) => {
      got.push(textOf(message) ?? '');
    });
    const a = await world.client();
    const id = await a.client.send('hello');
    const b = await world.client();
    expect(await b.client.send('hello', id)).toBe(id);
    expect(await a.client.send('hello', id)).toBe(id);
    expect(got).toEqual(['hello']);
    await channel.stop();
    expect(rows('incoming')).toHaveLength(1);
  });

  test('a message sent again while the host still works on it is accepted with the first, and comes once', async () => {
    const stored = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    let times = 0;
    await world.started(async () => {
      times++;
      asked.resolve();
      await stored.promise;
    });
    const a = await world.client();
    const lost = a.client.send('hello', 'x1');
    await asked.promise;
    await Promise.all([expect(lost).rejects.toThrow(ConnectionLost), a.client.close()]);
    const b = await world.client();
    const again = b.client.send('hello', 'x1');
    await roundTrip();
    stored.resolve();
    expect(await again).toBe('x1');
    expect(times).toBe(1);
  });

  test('the host gets the messages of a chat one by one, whoever of its clients wrote them', async () => {
    const log: string[] = [];
    const stored = Promise.withResolvers<void>();
    await world.started(async (message) => {
      log.push(`${textOf(message)} begins`);
      if (textOf(message) === 'one') await stored.promise;
      log.push(`${textOf(message)} ends`);
    });
    const [a, b] = [await world.client(), await world.client()];
    const one = a.client.send('one');
    await until(() => log.length > 0);
    const two = b.client.send('two');
    await roundTrip();
    stored.resolve();
    await Promise.all([one, two]);
    expect(log).toEqual(['one begins', 'one ends', 'two begins', 'two ends']);
  });

  test('the same id with another text is refused, and the first text stays', async () => {
    const channel = await world.started();
    const { client } = await world.client();
    await client.send('first', 'x1');
    await expect(client.send('second', 'x1')).rejects.toThrow(MessageRefused);
    await channel.stop();
    expect(rows('incoming')).toMatchObject([{ id: 'x1', text: 'first' }]);
  });

  test('two chats may use the same id', async () => {
    const got: string[] = [];
    await world.started(async (message) => {
      got.push(`${message.address.platformId} ${textOf(message)}`);
    });
    await (await world.client({ chat: 'a' })).client.send('from a', 'x1');
    await (await world.client({ chat: 'b' })).client.send('from b', 'x1');
    expect(got).toEqual(['a from a', 'b from b']);
  });

  test('when the host cannot take a message, the person is told why and may try again at once', async () => {
    let isFull = true;
    const got: ReceivedEvent[] = [];
    await world.started(async (message) => {
      got.push(message);
      if (isFull) throw new Error('the disk is full');
    });
    const { client } = await world.client();
    await expect(client.send('hello', 'x1')).rejects.toThrow(
      'The host could not take the message: the disk is full. Send it again to try again now',
    );
    expect(world.troubles).toEqual([{ type: 'not-received', chat: 'main', id: 'x1', reason: 'the disk is full' }]);
    isFull = false;
    expect(await client.send('hello', 'x1')).toBe('x1');
    expect(got).toHaveLength(2);
    expect(got[1]).toEqual(got[0]); // the time of its first copy included
  });

  test('a host that hangs on one chat takes the messages of the others', async () => {
    await world.started((message) => (textOf(message) === 'hang' ? new Promise(() => {}) : Promise.resolve()));
    const stuck = await world.client({ chat: 'stuck' });
    const hanging = expect(stuck.client.send('hang')).rejects.toThrow(ConnectionLost);
    const { client } = await world.client({ chat: 'free' });
    expect(await client.send('hello', 'x1')).toBe('x1');
    await stuck.client.close();
    await hanging;
  });

  test('what the host never had comes first at the next start, in the order in which it was written', async () => {
    const channel = await world.started(() => Promise.reject(new Error('not now')));
    const { client } = await world.client();
    for (const words of ['one', 'two', 'three']) await expect(client.send(words)).rejects.toThrow(MessageRefused);
    await channel.stop();

    const got: string[] = [];
    await world.started(async (message) => {
      got.push(textOf(message) ?? '');
    });
    const next = await world.client();
    await next.client.send('four');
    expect(got).toEqual(['one', 'two', 'three', 'four']);
  });

  test('an empty and an overlong message are refused with a reason, and not stored', async () => {
    const channel = await world.started();
    const { client } = await world.client();
    await expect(client.send(' \n')).rejects.toThrow('The message is empty');
    await expect(client.send('x'.repeat(TEXT_BYTES_MAX + 1))).rejects.toThrow('Send it in parts');
    const raw = await world.raw();
    raw.end(
      `${JSON.stringify({ type: 'hello', chat: 'main' })}\n${JSON.stringify({
        type: 'message',
        id: 'x1',
        text: 'x'.repeat(TEXT_BYTES_MAX + 1),
      })}\n`,
    );
    expect(await heardOut(raw)).toContain('"refused"');
    await channel.stop();
    expect(rows('incoming')).toEqual([]);
  });
});

describe('clients that misbehave', () => {
  test.each([
    ['no JSON', 'GET / HTTP/1.1\r\n\r\n'],
    ['no hello', '{"type":"message","id":"a","text":"x"}\n'],
    ['two hellos', '{"type":"hello","chat":"main"}\n{"type":"hello","chat":"main"}\n'],
    ['a bad chat name', '{"type":"hello","chat":"../../etc"}\n'],
    ['bytes that are no text', Buffer.from([0xff, 0xfe, 0x0a])],
    ['deep JSON', `${'['.repeat(200_000)}\n`],
  ])('one that says %s is told so and dropped, and the others do not notice', async (_, bytes) => {
    const channel = await world.started();
    const good = await world.client();
    const raw = await world.raw();
    const heard = heardOut(raw);
    raw.write(bytes);
    expect(await heard).toMatch(/\{"type":"error","reason":".+"\}\n$/);
    expect(world.troubles).toMatchObject([{ type: 'client-dropped' }]);
    await channel.send(MAIN, text('still here'), attempt('k1'));
    await good.has(1);
  });

  test('one whose line never ends is dropped when the line is too long', async () => {
    await world.started();
    const raw = await world.raw();
    const heard = heardOut(raw);
    raw.write(Buffer.alloc(LINE_BYTES_MAX + 1, 'x'));
    await heard;
    expect(world.troubles).toEqual([
      { type: 'client-dropped', chat: undefined, reason: `A line is longer than ${LINE_BYTES_MAX} bytes.` },
    ]);
  });

  test('one that closes its side after its message still gets the answer, and then the end', async () => {
    await world.started(roundTrip); // long enough to notice that the client has closed its side
    const raw = await world.raw();
    raw.allowHalfOpen = true;
    raw.end('{"type":"hello","chat":"main"}\n{"type":"message","id":"a","text":"x"}\n');
    expect(await heardOut(raw)).toBe('{"type":"welcome","after":0}\n{"type":"accepted","id":"a"}\n');
    expect(world.troubles).toEqual([]);
  });

  test('one that dies in the middle of a line leaves nothing behind', async () => {
    const channel = await world.started();
    const raw = await world.raw();
    raw.end('{"type":"hello","chat":"main"}\n{"type":"message","id":"a","te');
    await heardOut(raw);
    expect(world.troubles).toEqual([]);
    await channel.stop();
    expect(rows('incoming')).toEqual([]);
  });

  test('one that does not read is dropped, and finds everything when it comes back', async () => {
    const channel = await world.started();
    const good = await world.client();
    const raw = await world.raw();
    raw.pause();
    raw.write('{"type":"hello","chat":"main","after":0}\n');
    let sent = 0;
    // The reader that does read is let read: what is sent in one go nobody could have read.
    while (world.troubles.length === 0) {
      await channel.send(MAIN, text(`${sent} ${'x'.repeat(30_000)}`), attempt(`k${sent}`));
      await good.has(++sent);
    }
    expect(world.troubles).toEqual([
      { type: 'client-dropped', chat: 'main', reason: 'It does not read what is sent to it.' },
    ]);
    const back = await world.client({ after: 0 });
    await back.has(sent);
    expect(back.texts.map((words) => Number(words.split(' ')[0]))).toEqual([...Array(sent).keys()]);
  });

  test('one that asks and never reads the answers is dropped', async () => {
    await world.started();
    const raw = await world.raw();
    raw.pause();
    raw.write('{"type":"hello","chat":"main"}\n');
    const question = `${JSON.stringify({ type: 'message', id: 'i'.repeat(128), text: '' })}\n`;
    const writeMore = () => {
      while (!raw.destroyed && raw.write(question)) if (world.troubles.length > 0) return;
    };
    raw.on('drain', writeMore);
    writeMore();
    await until(() => world.troubles.length > 0);
    expect(world.troubles).toEqual([{ type: 'client-dropped', chat: 'main', reason: 'It does not read its answers.' }]);
  });

  test('connections that never say hello cannot lock out a person', async () => {
    await world.started();
    for (let i = 0; i < 70; i++) await world.raw();
    const { client } = await world.client();
    expect(await client.send('hello', 'x1')).toBe('x1');
  });

  test('one person too many is told so, and those who are there stay', async () => {
    const channel = await world.started();
    const readers = [];
    for (let i = 0; i < 64; i++) readers.push(await world.client());
    await expect(world.client()).rejects.toThrow('The terminal has 64 connections already');
    await channel.send(MAIN, text('hello'), attempt('k1'));
    for (const reader of readers) await reader.has(1);
  });
});

describe('the client', () => {
  test('when no host runs, connecting says so and what to do', async () => {
    await expect(world.client()).rejects.toThrow(/^No host answers on .+ Nothing was sent\. Start the host/);
  });

  test('when the host goes, the client says so and what was not accepted can be sent again under its id', async () => {
    const asked = Promise.withResolvers<void>();
    const channel = await world.started(() => {
      asked.resolve();
      return new Promise(() => {});
    });
    const { client } = await world.client();
    const sending = client.send('hello').catch((error: unknown) => error);
    await asked.promise;
    await channel.stop();
    const error = await sending;
    if (!(error instanceof ConnectionLost)) throw new Error('expected a lost connection', { cause: error });
    expect(await client.closed).toMatchObject({ type: 'lost' });
    await expect(client.send('more')).rejects.toThrow(ConnectionLost);
    const got: string[] = [];
    await world.started(async (message) => {
      got.push(message.platformMessageId);
    });
    const next = await world.client();
    expect(await next.client.send('hello', error.id)).toBe(error.id);
    expect(got).toEqual([error.id]);
  });

  test('closing it ends the promise it gives and asks nothing of the host', async () => {
    await world.started();
    const { client } = await world.client();
    await client.close();
    expect(await client.closed).toEqual({ type: 'closed' });
    expect(world.troubles).toEqual([]);
  });

  test('a view that throws ends the connection, and says why', async () => {
    const channel = await world.started();
    const client = await TerminalClient.connect(world.socketPath, {
      chat: 'main',
      newId: () => 'unused',
      onMessage: () => {
        throw new Error('the screen is gone');
      },
    });
    await channel.send(MAIN, text('hello'), attempt('k1'));
    expect(await client.closed).toEqual({ type: 'lost', reason: 'the screen is gone' });
    expect(client.seen).toBe(0);
  });

  test('a host that does not follow the protocol is left', async () => {
    const server = createServer((socket) => socket.end('nonsense\n'));
    world.onClose(() => server.close());
    server.listen(world.socketPath);
    await once(server, 'listening');
    await expect(world.client()).rejects.toThrow('The host does not follow the protocol.');
  });
});

describe('the folder', () => {
  test('socket and history are for their owner only, and nothing else is left in the folder', async () => {
    const folder = join(world.folder, 'made', 'by-us');
    const channel = new TerminalChannel({ folder, now: () => 1 });
    await channel.start(async () => {});
    try {
      expect(statSync(folder).mode & 0o777).toBe(0o700);
      expect(readdirSync(folder).toSorted()).toEqual(['files', 'terminal.db', 'terminal.db-wal', 'terminal.sock']);
      for (const name of readdirSync(folder)) {
        expect(statSync(join(folder, name)).mode & 0o777).toBe(name === 'files' ? 0o700 : 0o600);
      }
    } finally {
      await channel.stop();
    }
    expect(readdirSync(folder)).toEqual(['files', 'terminal.db']);
  });

  test('a second channel on the folder is refused, names what to do, and leaves the first alone', async () => {
    const first = await world.started();
    const reader = await world.client();
    const second = world.channel();
    await expect(second.start(async () => {})).rejects.toThrow(
      /^Another process is serving the terminal .+ It keeps running; stop it first/,
    );
    expect(second.health()).toEqual({ state: 'stopped' });
    await first.send(MAIN, text('still here'), attempt('k1'));
    await reader.has(1);
  });

  test('a live socket of another program is not taken over', async () => {
    const server = createServer((socket) => socket.destroy());
    world.onClose(() => server.close());
    server.listen(world.socketPath);
    await once(server, 'listening');
    await expect(world.started()).rejects.toThrow(/^Another process serves the terminal's socket/);
    expect(server.listening).toBe(true);
    expect(statSync(world.socketPath).isSocket()).toBe(true);
  });

  test('a file that is no socket in the place of the socket is not removed', async () => {
    writeFileSync(world.socketPath, 'precious');
    await expect(world.started()).rejects.toThrow(/Move it away\.$/);
    expect(statSync(world.socketPath).size).toBe(8);
  });

  test('what a host left that died while it bound its socket is cleared', async () => {
    mkdirSync(join(world.folder, '.new'));
    writeFileSync(join(world.folder, '.new', 's'), '');
    await world.started();
    await world.client();
    expect(existsSync(join(world.folder, '.new'))).toBe(false);
  });

  test('a path too long for a socket is one clear sentence, before anything is made', async () => {
    const folder = join(world.folder, 'x'.repeat(100));
    const channel = new TerminalChannel({ folder, now: () => 1 });
    await expect(channel.start(async () => {})).rejects.toThrow(
      /^The path of the terminal's socket is \d+ bytes long and the system allows 103: .+ Use a folder with a shorter path\.$/,
    );
    expect(readdirSync(world.folder)).toEqual([]);
    expect(() => terminalSocketPath(`/${'x'.repeat(88)}`)).not.toThrow();
    expect(() => terminalSocketPath(`/${'x'.repeat(89)}`)).toThrow('shorter path');
  });

  test('a history of a newer version and a file that is none are refused and left as they are', async () => {
    const path = join(world.folder, 'terminal.db');
    const db = new Database(path);
    db.pragma('user_version = 3');
    db.close();
    await expect(world.started()).rejects.toThrow(/has version 3.+ Nothing was changed/);
    writeFileSync(path, 'not a database, and longer than the header of one '.repeat(10));
    await expect(world.started()).rejects.toThrow(/cannot be opened .+ Nothing was changed/);
    expect(statSync(path).size).toBe(500);
  });

  test('after a set-up that failed the same channel can be started', async () => {
    const channel = world.channel();
    writeFileSync(world.socketPath, 'in the way');
    await expect(channel.start(async () => {})).rejects.toThrow('Move it away');
    rmSync(world.socketPath);
    await channel.start(async () => {});
    expect(channel.health()).toEqual({ state: 'online' });
  });

  test('a channel stopped while it starts says so, and the folder is free when the stop is done', async () => {
    const channel = world.channel();
    const starting = expect(channel.start(async () => {})).rejects.toThrow('was stopped while it started');
    await channel.stop();
    expect(readdirSync(world.folder)).toEqual(['files', 'terminal.db']);
    await world.started();
    await starting;
    await world.client();
  });

  test('the queries that run with each message use an index', async () => {
    await (await world.started()).stop();
    const db = new Database(join(world.folder, 'terminal.db'));
    world.onClose(() => db.close());
    const plan = (sql: string) => JSON.stringify(db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all());
    expect(plan(`SELECT n FROM outgoing WHERE chat = 'a' AND n > 1 ORDER BY n LIMIT 32`)).toContain('outgoing_of_chat');
    expect(plan(`SELECT n FROM incoming WHERE received = 0 ORDER BY n`)).toContain('incoming_unreceived');
    expect(plan(`SELECT coalesce(max(n), 0) FROM outgoing`)).toContain('SEARCH');
  });
});
