/** A second agent, made and wired by the command line alone: to another chat of the terminal and to programs. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { filesBelow, freePort, Install, until } from './host-process.ts';
import { CallbackServer, WebhookProgram } from './webhook-program.ts';

let install: Install;
let port: number;

beforeEach(async () => {
  install = new Install();
  port = await freePort();
  await install.daemon({ NANOCLAW_WEBHOOK_PORT: String(port) });
  await install.nanoclaw('groups', 'create', 'helper', '--name', 'Helper', '--provider', 'offline');
});
afterEach(() => install.close());

/** Makes an endpoint, with a chat of its own, and wires the second agent to it. */
async function hook(strangers: string, wiring: readonly string[], ...more: string[]): Promise<WebhookProgram> {
  const secret = (await install.nanoclaw('webhooks', 'create', 'shop', ...more)).text('secret');
  await install.nanoclaw('messaging-groups', 'create', 'webhook', 'shop', '--strangers', strangers);
  await install.nanoclaw('wirings', 'create', 'helper', 'webhook:shop', ...wiring);
  return new WebhookProgram('shop', secret, port);
}

describe('in a second chat of the terminal', () => {
  it('answers what matches its pattern and nothing else, and keeps to its own conversation', async () => {
    await install.nanoclaw('messaging-groups', 'create', 'terminal', 'side', '--strangers', 'public');
    const wire = (pattern: string) =>
      install.run(['wirings', 'create', 'helper', 'terminal:side', '--engage', 'pattern', '--pattern', pattern]);
    const { exitCode, stderr } = await wire('(nano');
    expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: expect.stringContaining('(nano') });
    expect((await wire('(?i)^nano')).exitCode).toBe(0);

    const [main, side] = [await install.join(), await install.join({ chat: 'side' })];
    await side.say('nobody in particular');
    await side.say('Nano, are you there?');
    await main.say('hello');
    await main.hears(/^You said “hello”/);
    await side.hears(/^You said “Nano, are you there\?”/);
    expect(side.messages).toHaveLength(1);
    expect(main.messages).toHaveLength(1);
    const sessions = await install.nanoclaw('sessions', 'list');
    expect(sessions.column('agent').toSorted()).toEqual(['helper', 'main']);
  });
});

describe('for programs', () => {
  it('answers a signed message, which it has on disk before it says 202, to whoever fetches with a signature', async () => {
    const shop = await hook('public', ['--engage', 'mention', '--session-mode', 'per-thread']);
    expect(await shop.post({ id: 'order-1', text: 'ordered tea', thread: 'till-1' })).toBe(202);
    const [session] = (await install.nanoclaw('sessions', 'list')).column('id');
    expect(install.count('inbound', "messages_in WHERE id LIKE '%order-1'", session)).toBe(1);
    const first = await shop.hears(/ordered tea/);
    expect(first).toMatchObject({ thread: 'till-1', inReplyTo: 'order-1' });

    // Another thread is another conversation.
    expect(await shop.post({ id: 'order-2', text: 'what did I say', thread: 'till-2' })).toBe(202);
    await shop.hears(/^Nothing: this is a new conversation\.$/);
    expect(await shop.post({ id: 'order-3', text: 'what did I say', thread: 'till-1' })).toBe(202);
    expect((await shop.hears(/^You said “ordered tea”\.$/)).thread).toBe('till-1');
    expect((await install.nanoclaw('sessions', 'list')).column('threadId').toSorted()).toEqual(['till-1', 'till-2']);
  });

  it('takes a replayed message once, and refuses one that is wrongly signed, old, or from nobody it knows', async () => {
    const shop = await hook('public', ['--engage', 'mention']);
    const order = { id: 'order-1', text: 'ordered tea' };
    expect(await shop.post(order)).toBe(202);
    await shop.hears(/ordered tea/);
    expect(await Promise.all([shop.post(order), shop.post(order)])).toEqual([202, 202]);
    expect(await shop.post({ ...order, text: 'ordered coffee' })).toBe(409);
    expect(await shop.post({ id: 'forged', text: 'x' }, { secret: 'a secret of somebody else' })).toBe(401);
    expect(await shop.post({ id: 'old', text: 'x' }, { timestamp: Date.now() / 1_000 - 3_600 })).toBe(401);
    const stranger = new WebhookProgram('no-such-endpoint', 'a secret of somebody else', port);
    expect(await stranger.post({ id: 'from-nobody', text: 'x' })).toBe(401);
    await expect(stranger.fetched()).rejects.toThrow('401');
    await shop.post({ id: 'order-2', text: 'the last' });
    await shop.hears(/the last/);
    expect(await shop.fetched()).toHaveLength(2);
    expect(install.rows('inbound', 'SELECT count(*) AS n FROM messages_in')).toEqual([{ n: 2 }]);
  });

  it('posts its answer to a callback, signed, and again with the same key until the program has taken it', async () => {
    await using callback = await CallbackServer.open();
    callback.statuses.push(503);
    const created = await install.nanoclaw('webhooks', 'create', 'shop', '--callback', callback.url);
    callback.secret = created.text('secret');
    await install.nanoclaw('messaging-groups', 'create', 'webhook', 'shop', '--strangers', 'public');
    await install.nanoclaw('wirings', 'create', 'helper', 'webhook:shop', '--engage', 'mention');
    const shop = new WebhookProgram('shop', callback.secret, port);
    expect(await shop.post({ id: 'order-1', text: 'ordered tea' })).toBe(202);
    await until(() => callback.posts.length === 2);
    const [first, second] = callback.posts;
    expect(first?.answer.text).toMatch(/ordered tea/);
    expect(second).toEqual(first);
    expect(callback.posts.map(({ isSigned }) => isSigned)).toEqual([true, true]);
  });

  it('hears nothing from people it does not know where strangers are not welcome, and the operator sees that', async () => {
    const shop = await hook('strict', ['--engage', 'mention']);
    expect(await shop.post({ id: 'm-1', text: 'let me in', sender: { id: 'ann' } })).toBe(202);
    expect((await install.nanoclaw('dropped-messages', 'list')).value).toMatchObject([
      { platformId: 'shop', count: 1 },
    ]);
    await install.nanoclaw('users', 'create', 'webhook:shop/ann', '--name', 'Ann');
    await install.nanoclaw('members', 'create', 'helper', 'webhook:shop/ann');
    expect(await shop.post({ id: 'm-2', text: 'now I am known', sender: { id: 'ann' } })).toBe(202);
    await shop.hears(/now I am known/);
    expect(await shop.fetched()).toHaveLength(1);
  });

  it('opens and closes an endpoint while the host runs', async () => {
    const shop = await hook('public', ['--engage', 'mention']);
    expect(await shop.post({ id: 'm-1', text: 'hello' })).toBe(202);
    await shop.hears(/hello/);
    await install.nanoclaw('webhooks', 'delete', 'shop');
    expect(await shop.post({ id: 'm-2', text: 'hello?' })).toBe(401);
    expect((await install.nanoclaw('webhooks', 'list')).value).toEqual([]);
  });
});

describe('files', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'nano-files-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('go to the agent from a terminal and come back to it, byte for byte', async () => {
    const person = await install.join();
    const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, n) => n % 251));
    writeFileSync(join(folder, 'report.bin'), bytes);
    await person.client.sendFiles([join(folder, 'report.bin')], 'please read this');
    await person.hears(/please read this/);
    const stored = install.rows<{ id: string; content: string }>('inbound', 'SELECT id, content FROM messages_in');
    expect(JSON.parse(stored[0]?.content ?? '{}').attachments).toMatchObject([{ name: 'report.bin' }]);
    expect(filesBelow(install.session()).some((file) => readFileSync(file).equals(bytes))).toBe(true);

    await person.say('send me a file named answer.txt');
    const answer = await person.hears('Here is your file.');
    if (answer.kind !== 'text') throw new Error(`This is no text: ${answer.kind}`);
    expect(answer.files.map(({ name }) => name)).toEqual(['answer.txt']);
    expect(readFileSync(answer.files[0]?.path ?? '', 'utf8')).toMatch(/^Written by the offline agent/);
  });

  it('go to the agent from a program and come back to it', async () => {
    const shop = await hook('public', ['--engage', 'mention']);
    const file = { name: 'order.txt', data: Buffer.from('one tea').toString('base64') };
    expect(await shop.post({ id: 'm-1', text: 'send me a file named bill.txt', files: [file] })).toBe(202);
    const answer = await shop.hears(/^Here is your file\.$/);
    expect(Buffer.from(answer.files?.[0]?.data ?? '', 'base64').toString()).toMatch(/^Written by the offline agent/);
    expect(filesBelow(install.session()).map((path) => readFileSync(path, 'utf8'))).toContain('one tea');
  });
});
