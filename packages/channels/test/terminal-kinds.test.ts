// What the terminal shows and takes besides texts: files, changes, questions, the history.
import { existsSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { QuestionMessage, ReceivedEvent } from '../src/channel.ts';
import { terminalText } from '../src/terminal/message-text.ts';
import { FILE_BYTES_MAX, PIECE_BYTES_MAX } from '../src/terminal/protocol.ts';
import { ConnectionLost, MessageRefused } from '../src/terminal/terminal-client.ts';
import { contentOf, type EventContent, heardOut, MAIN, until, World } from './support.ts';

let world: World;
beforeEach(() => {
  world = new World();
});
afterEach(() => world.close());

const attempt = (key: string) => ({ key, attempt: 1, uncertain: false });
const text = (words: string) => ({ kind: 'text', text: words }) as const;
const lunch: QuestionMessage = {
  kind: 'question',
  questionId: 'q-1',
  title: 'Lunch',
  question: 'What?',
  choices: ['Soup', 'Bread'],
  expiresAt: 5_000,
};

/** What is left in the folder of files. */
function leftFiles(): string[] {
  return readdirSync(join(world.folder, 'files'));
}

describe('files', () => {
  test('a sent file is a copy of its own, for its owner only, under its own name', async () => {
    const channel = await world.started();
    const reader = await world.client();
    const path = world.file('the report', 'original');
    const files = [{ name: 'report "final" é.txt', path }];
    await channel.send(MAIN, { kind: 'text', text: 'here', files }, attempt('k1'));
    writeFileSync(path, 'changed');
    await reader.has(1);
    const [message] = reader.got;
    const [file] = message?.kind === 'text' ? message.files : [];
    expect(file).toMatchObject({ name: 'report "final" é.txt', bytes: 10 });
    expect(readFileSync(file?.path ?? '', 'utf8')).toBe('the report');
    expect(statSync(file?.path ?? '').mode & 0o777).toBe(0o600);
    expect(message === undefined ? '' : terminalText(message)).toBe(`here\n[file report "final" é.txt: ${file?.path}]`);
  });

  test.each(['../../escape', '..', 'a/b\\c', '\u001b[31m\n', 'x'.repeat(5000), `${'é'.repeat(300)}.pdf`, '\ud800.txt'])(
    'the name of a sent file, whatever it is, leads to no other place',
    async (name) => {
      const channel = await world.started();
      const reader = await world.client();
      const message = { kind: 'text', text: '', files: [{ name, path: world.file('x', 'plain') }] } as const;
      expect(await channel.send(MAIN, message, attempt('k1'))).toMatchObject({ type: 'sent' });
      await reader.has(1);
      const [shown] = reader.got;
      const path = shown?.kind === 'text' ? (shown.files[0]?.path ?? '') : '';
      expect(basename(join(path, '..', '..'))).toBe('files');
      expect(path).not.toMatch(/\p{Cc}/u);
      expect(readFileSync(path, 'utf8')).toBe('x');
    },
  );

  test('a large file comes whole, in pieces, while other clients are served; its copy goes when the host has it', async () => {
    const got: EventContent[] = [];
    await world.started(async (event) => {
      got.push(await contentOf(event));
    });
    const bytes = Buffer.alloc(3 * PIECE_BYTES_MAX + 7, 'abc');
    const [a, b] = [await world.client(), await world.client({ chat: 'other' })];
    const sending = a.client.sendFiles([world.file(bytes, 'large.bin'), world.file('', 'empty')], 'look');
    const short = a.client.send('at the same time');
    await b.client.send('meanwhile');
    await Promise.all([sending, short]);
    const ofMain = got.filter(({ address }) => address.platformId === 'main');
    const first = ofMain.find((event) => event.kind === 'message' && event.text === 'look');
    expect(ofMain).toHaveLength(2);
    expect(first).toMatchObject({ files: [{ name: 'large.bin' }, { name: 'empty', bytes: Buffer.alloc(0) }] });
    expect(first?.kind === 'message' && first.files[0]?.bytes.equals(bytes)).toBe(true);
    await until(() => leftFiles().length === 0);
  });

  test('the same id with another content of a file is refused; with the same it is the same message', async () => {
    const got: ReceivedEvent[] = [];
    await world.started(async (event) => {
      got.push(event);
    });
    const { client } = await world.client();
    const path = world.file('one', 'a.txt');
    expect(await client.sendFiles([path], 'x', 'f1')).toBe('f1');
    expect(await client.sendFiles([path], 'x', 'f1')).toBe('f1');
    writeFileSync(path, 'two');
    await expect(client.sendFiles([path], 'x', 'f1')).rejects.toThrow(MessageRefused);
    expect(got).toHaveLength(1);
    expect(leftFiles()).toEqual([]);
  });

  test('what cannot be sent is refused before anything is said', async () => {
    await world.started();
    const { client } = await world.client();
    const large = world.file('', 'large');
    truncateSync(large, FILE_BYTES_MAX + 1);
    await expect(client.sendFiles([join(world.folder, 'none')])).rejects.toThrow('nothing was sent');
    await expect(client.sendFiles([world.folder])).rejects.toThrow('no regular file');
    await expect(client.sendFiles([large])).rejects.toThrow('larger than');
    await expect(client.sendFiles([])).rejects.toThrow('1 to 10 files');
    expect(await client.send('still here', 'x1')).toBe('x1');
  });

  test('52: an upload that breaks off, lies about its size or is no base64 leaves nothing', async () => {
    const channel = await world.started();
    const begin =
      '{"type":"hello","chat":"main"}\n{"type":"message","id":"a","text":"x","files":[{"name":"a","bytes":3}]}\n';
    for (const rest of [
      '{"type":"bytes","data":"AAAAAA=="}\n',
      '{"type":"bytes","data":"?"}\n',
      '{"type":"bytes","data":""}\n',
      '{"type":"message","id":"b","text":"y"}\n',
    ]) {
      const raw = await world.raw();
      raw.write(begin + rest);
      expect(await heardOut(raw)).toContain('"type":"error"');
    }
    const raw = await world.raw();
    raw.end(`${begin}{"type":"bytes","data":"AA=="}\n`);
    await heardOut(raw);
    await until(() => leftFiles().length === 0);
    const early = await world.raw();
    early.write('{"type":"hello","chat":"main"}\n{"type":"bytes","data":"AAAA"}\n');
    expect(await heardOut(early)).toContain('belongs to no file');
    await channel.stop();
    const db = new Database(join(world.folder, 'terminal.db'), { readonly: true });
    expect(db.prepare('SELECT count(*) FROM incoming').pluck().get()).toBe(0);
    db.close();
  });

  test('files that a dead host left unnamed are removed at the next start, those of messages stay', async () => {
    const channel = await world.started(() => Promise.reject(new Error('not now')));
    const { client } = await world.client();
    await expect(client.sendFiles([world.file('kept', 'a.txt')], '', 'f1')).rejects.toThrow('not now');
    await channel.send(MAIN, { ...text('x'), files: [{ name: 'b', path: world.file('b') }] }, attempt('k1'));
    await channel.stop();
    const before = leftFiles();
    expect(before).toHaveLength(2);
    for (const name of ['upload-dead', 'in-dead']) writeFileSync(join(world.folder, 'files', name), '');
    const got: EventContent[] = [];
    await world.started(async (event) => {
      got.push(await contentOf(event));
    });
    await until(() => got.length === 1);
    expect(got).toMatchObject([{ platformMessageId: 'f1', files: [{ name: 'a.txt', bytes: Buffer.from('kept') }] }]);
    expect(leftFiles()).not.toContain('upload-dead');
    expect(leftFiles()).not.toContain('in-dead');
  });

  test('a message sent again while its host died in between has its files once', async () => {
    const channel = await world.started(() => new Promise(() => {}));
    const { client } = await world.client();
    const path = world.file('content', 'a.txt');
    const lost = expect(client.sendFiles([path], 'x', 'f1')).rejects.toThrow(ConnectionLost);
    await until(() => existsSync(join(world.folder, 'files')) && leftFiles().some((name) => name.startsWith('in-')));
    await channel.stop();
    await lost;
    const got: EventContent[] = [];
    await world.started(async (event) => {
      got.push(await contentOf(event));
    });
    const next = await world.client();
    expect(await next.client.sendFiles([path], 'x', 'f1')).toBe('f1');
    expect(got).toMatchObject([{ files: [{ bytes: Buffer.from('content') }] }]);
  });
});

describe('changes and questions', () => {
  test('an edit and a reaction come as such, also to who catches up', async () => {
    const channel = await world.started();
    await channel.send(MAIN, text('helo'), attempt('k1'));
    await channel.send(MAIN, { kind: 'edit', platformMessageId: 'terminal:1', text: 'hello' }, attempt('k2'));
    await channel.send(MAIN, { kind: 'reaction', platformMessageId: 'terminal:1', emoji: '👍' }, attempt('k3'));
    const reader = await world.client({ after: 0 });
    await reader.has(3);
    expect(reader.got.map(terminalText)).toEqual(['helo', '[terminal:1 now reads] hello', '[👍 to terminal:1]']);
  });

  test('a message of another chat cannot be changed', async () => {
    const channel = await world.started();
    await channel.send({ ...MAIN, platformId: 'other' }, text('x'), attempt('k1'));
    const edit = { kind: 'edit', platformMessageId: 'terminal:1', text: 'y' } as const;
    expect(await channel.send(MAIN, edit, attempt('k2'))).toMatchObject({ type: 'failed', permanent: true });
  });

  test('a question has numbered choices; what is chosen arrives once, and what is no choice is refused', async () => {
    const got: ReceivedEvent[] = [];
    const channel = await world.started(async (event) => {
      got.push(event);
    });
    const { client, ...reader } = await world.client();
    await channel.send(MAIN, lunch, attempt('k1'));
    await until(() => reader.got.length === 1);
    expect(reader.got.map(terminalText)).toEqual(['Lunch\nWhat?\n  1. Soup\n  2. Bread']);
    await client.choose('q-1', 1, 'c1');
    await client.choose('q-1', 1, 'c1');
    await expect(client.choose('q-1', 0, 'c1')).rejects.toThrow('used for another');
    await expect(client.choose('q-1', 2)).rejects.toThrow('no such choice');
    await expect(client.choose('q-2', 0)).rejects.toThrow('no such choice');
    const other = await world.client({ chat: 'other' });
    await expect(other.client.choose('q-1', 0)).rejects.toThrow('no such choice');
    expect(got).toMatchObject([{ kind: 'choice', platformMessageId: 'c1', questionId: 'q-1', choice: 1 }]);
  });

  test('typing is shown to who is there, in that chat, and kept for nobody', async () => {
    const channel = await world.started();
    let here = 0;
    let elsewhere = 0;
    const reader = await world.client({ onTyping: () => here++ });
    const other = await world.client({ chat: 'other', onTyping: () => elsewhere++ });
    await channel.typing(MAIN);
    await channel.send(MAIN, text('done'), attempt('k1'));
    await channel.send({ ...MAIN, platformId: 'other' }, text('done'), attempt('k2'));
    await Promise.all([reader.has(1), other.has(1)]);
    expect([here, elsewhere]).toEqual([1, 0]);
    const late = await world.client({ after: 0, onTyping: () => here++ });
    await late.has(1);
    expect(here).toBe(1);
  });
});

describe('what was said', () => {
  test('can be asked for, from both sides, oldest first, and no more than was asked for', async () => {
    const channel = await world.started();
    const { client } = await world.client();
    await client.send('one', 'x1');
    await channel.send(MAIN, { ...text('two'), inReplyTo: 'x1' }, attempt('k1'));
    await client.sendFiles([world.file('a', 'a.txt')], 'three', 'x2');
    await channel.send(MAIN, lunch, attempt('k2'));
    await client.choose('q-1', 0, 'x3');
    await (await world.client({ chat: 'other' })).client.send('elsewhere');
    const all = await client.history(100);
    expect(all).toMatchObject([
      { from: 'person', id: 'x1', text: 'one', files: [] },
      { from: 'bot', message: { n: 1, kind: 'text', text: 'two', inReplyTo: 'x1' } },
      { from: 'person', id: 'x2', text: 'three', files: ['a.txt'] },
      { from: 'bot', message: { n: 2, kind: 'question' } },
      { from: 'person', id: 'x3', text: 'Soup' },
    ]);
    expect(await client.history(2)).toEqual(all.slice(-2));
    expect(await client.history(0)).toEqual([]);
  });

  test('a client that catches up sees each message once, over all its connections', async () => {
    const channel = await world.started();
    const catchUp = { folder: join(world.folder, 'mine') };
    await channel.send(MAIN, text('long ago'), attempt('k0'));
    const first = await world.client({ catchUp });
    await channel.send(MAIN, text('one'), attempt('k1'));
    await first.has(1);
    await first.client.close();
    await channel.send(MAIN, text('two'), attempt('k2'));
    const second = await world.client({ catchUp });
    await second.has(1);
    await second.client.close();
    await channel.send(MAIN, text('three'), attempt('k3'));
    const third = await world.client({ catchUp });
    await third.has(1);
    expect([first.texts, second.texts, third.texts]).toEqual([['one'], ['two'], ['three']]);
    const elsewhere = await world.client({ catchUp, chat: 'other', after: 0 });
    expect(elsewhere.client.seen).toBe(0);
  });

  test('a remembered number that is garbage counts as none', async () => {
    await world.started();
    writeFileSync(join(world.folder, 'main.seen'), '1e9\n');
    expect((await world.client({ catchUp: { folder: world.folder }, after: 0 })).client.seen).toBe(0);
  });

  test('17: a history of the first version keeps its messages, and what the host never had still comes', async () => {
    const db = new Database(join(world.folder, 'terminal.db'));
    db.exec(`
      CREATE TABLE incoming (
        n INTEGER PRIMARY KEY AUTOINCREMENT, chat TEXT NOT NULL, id TEXT NOT NULL, text TEXT NOT NULL,
        timestamp INTEGER NOT NULL, received INTEGER NOT NULL DEFAULT 0 CHECK (received IN (0, 1)), UNIQUE (chat, id)
      ) STRICT;
      CREATE INDEX incoming_unreceived ON incoming (n) WHERE received = 0;
      CREATE TABLE outgoing (
        n INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, chat TEXT NOT NULL, text TEXT NOT NULL,
        in_reply_to TEXT, timestamp INTEGER NOT NULL
      ) STRICT;
      CREATE INDEX outgoing_of_chat ON outgoing (chat, n);
      INSERT INTO incoming VALUES (1, 'main', 'x1', 'had', 1, 1), (2, 'main', 'x2', 'not had', 2, 0);
      INSERT INTO outgoing VALUES (7, 'k1', 'main', 'old answer', 'x1', 3);
      PRAGMA user_version = 1;
    `);
    db.close();
    const got: ReceivedEvent[] = [];
    const channel = await world.started(async (event) => {
      got.push(event);
    });
    await until(() => got.length === 1);
    expect(got).toMatchObject([{ platformMessageId: 'x2', text: 'not had', timestamp: 2, files: [] }]);
    const reader = await world.client({ after: 0 });
    await reader.has(1);
    expect(reader.got).toEqual([{ n: 7, timestamp: 3, kind: 'text', text: 'old answer', files: [], inReplyTo: 'x1' }]);
    expect(await channel.send(MAIN, { ...text('old answer'), inReplyTo: 'x1' }, attempt('k1'))).toEqual({
      type: 'sent',
      platformMessageId: 'terminal:7',
    });
    expect(await reader.client.send('had', 'x1')).toBe('x1');
    expect(got).toHaveLength(1);
  });

  test('52: of a chat the newest messages are kept, with their files, and of what came in all that the host never had', async () => {
    const channel = world.channel({ messagesKept: 100 });
    await channel.start(async (event) => {
      if (event.kind === 'message' && event.text === 'never') throw new Error('no');
    });
    const { client } = await world.client();
    await client.send('never', 'n1').catch(() => {});
    for (let i = 0; i < 150; i++) await client.send('hello', `x${i}`);
    const files = [{ name: 'a', path: world.file('a') }];
    await channel.send(MAIN, { ...text('with a file'), files }, attempt('k0'));
    for (let i = 1; i < 256; i++) await channel.send(MAIN, text(`${i}`), attempt(`k${i}`));
    const reader = await world.client({ after: 0 });
    await reader.has(100);
    expect(reader.texts).toEqual(Array.from({ length: 100 }, (_, i) => `${i + 156}`));
    expect(leftFiles()).toEqual([]);
    await channel.stop();
    const db = new Database(join(world.folder, 'terminal.db'), { readonly: true });
    expect(db.prepare('SELECT count(*) FROM incoming WHERE received = 1').pluck().get()).toBe(100);
    expect(db.prepare('SELECT id FROM incoming WHERE received = 0').pluck().all()).toEqual(['n1']);
    db.close();
  });

  test('52: files are kept up to so many bytes; then the oldest go, and their message says so', async () => {
    const channel = world.channel({ fileBytesKept: 1500 });
    await channel.start(async () => {});
    const path = world.file('x'.repeat(1000));
    for (const key of ['k1', 'k2']) {
      await channel.send(MAIN, { ...text(key), files: [{ name: 'a.txt', path }] }, attempt(key));
    }
    const reader = await world.client({ after: 0 });
    await reader.has(2);
    expect(reader.got.map((message) => message.kind === 'text' && message.files[0]?.path === null)).toEqual([
      true,
      false,
    ]);
    expect(reader.got.map(terminalText)[0]).toBe('k1\n[file a.txt: kept no longer]');
    expect(leftFiles()).toHaveLength(1);
  });

  test('52: what waits for a host that takes nothing is bounded', async () => {
    const channel = await world.started(() => Promise.reject(new Error('no')));
    await channel.stop();
    const db = new Database(join(world.folder, 'terminal.db'));
    db.exec(
      `WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 1000)
       INSERT INTO incoming (chat, id, text, timestamp) SELECT 'main', 'i' || i, 'x', 1 FROM s`,
    );
    db.close();
    await world.started(() => Promise.reject(new Error('no')));
    const { client } = await world.client({ chat: 'other' });
    await expect(client.send('one more')).rejects.toThrow('Too much waits for the host already; nothing was kept');
  });

  test('less than a hundred messages cannot be kept', () => {
    expect(() => world.channel({ messagesKept: 99 })).toThrow(RangeError);
  });
});
