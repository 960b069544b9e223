/** Two channels of one type under names of their own. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MemoryPlatform } from '@nanoclaw/channels/testing';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { asInstance } from '../src/channels/instance.ts';
import { createHost } from '../src/host/create-host.ts';
import { NO_MODULES } from '../src/modules/references.ts';
import { StandInDriver } from './stand-in-driver.ts';
import { echoing, until, WholeHost } from './whole-host.ts';

test('an instance speaks of itself by its name, whatever type its channel claims', async () => {
  const platform = new MemoryPlatform({ type: 'memory' });
  const channel = asInstance(platform.channel(), 'desk', { onBehalfOf: async (_origin, work) => work() });
  const heard: string[] = [];
  await channel.start(async ({ address }) => void heard.push(address.channelType));
  for (const channelType of ['memory', 'terminal', 'desk']) {
    await platform.say({
      kind: 'message',
      platformMessageId: channelType,
      address: { channelType, platformId: 'chat', threadId: null },
      sender: { id: 'ada', name: 'Ada' },
      text: 'hello',
      files: [],
      timestamp: 1,
      isMention: true,
      isDirect: true,
    });
  }
  expect(heard).toEqual(['desk', 'desk', 'desk']);
  const address = { channelType: 'desk', platformId: 'chat', threadId: null };
  const sent = await channel.send(address, { kind: 'text', text: 'hi' }, { key: 'k', attempt: 1, uncertain: false });
  expect(sent.type).toBe('sent');
  expect(platform.shown.map(({ address: { channelType } }) => channelType)).toEqual(['memory']);
  expect((await channel.directAddress('ada'))?.channelType).toBe('desk');
});

test('the same person in the same chat of two instances has a session in each, and each answers in its own', async () => {
  const [one, two] = [new MemoryPlatform({ type: 'memory' }), new MemoryPlatform({ type: 'memory' })];
  const host = new WholeHost({
    options: {
      channels: {
        one: { channel: one.channel(), newChats: 'answer' },
        two: { channel: two.channel(), newChats: 'answer' },
      },
    },
  });
  try {
    await host.host.start();
    expect(await say(one, 'to one')).toBe('acknowledged');
    expect(await say(two, 'to two')).toBe('acknowledged');
    await until(() => one.shown.length === 1 && two.shown.length === 1);
    const texts = [one, two].map(({ shown }) => shown.map(({ message }) => 'text' in message && message.text));
    expect(texts).toEqual([['You said to one'], ['You said to two']]);
    const chats = await host.running.registry.messagingGroups();
    expect(chats.map(({ channelType, platformId }) => `${channelType}:${platformId}`).toSorted()).toEqual([
      'one:same-chat',
      'two:same-chat',
    ]);
    expect((await host.running.registry.sessions()).length).toBe(2);
  } finally {
    await host.close();
  }
});

test('a name that has been one type’s is not given to another, and the host goes on without that channel', async () => {
  const root = mkdtempSync(join(tmpdir(), 'nano-'));
  const hostWith = (type: string, platform = new MemoryPlatform({ type })) =>
    createHost({
      data: root,
      modules: NO_MODULES,
      channels: { desk: { channel: platform.channel(), newChats: 'answer' } },
      driver: () => new StandInDriver(echoing('You said'), () => Date.now()),
      log: { logger: pino({ level: 'silent' }), rotate: () => undefined },
    });
  try {
    await (await hostWith('irc')).stop();
    const platform = new MemoryPlatform({ type: 'telegram' });
    const other = await hostWith('telegram', platform);
    expect(await say(platform, 'as somebody else')).toBe('kept');
    expect(await other.registry.channels.list()).toMatchObject([{ name: 'desk', type: 'irc' }]);
    await other.stop();
    await (await hostWith('irc')).stop();
  } finally {
    rmSync(root, { recursive: true });
  }
});

function say(platform: MemoryPlatform, text: string): Promise<'acknowledged' | 'kept'> {
  return platform.say({
    kind: 'message',
    platformMessageId: 'same-id',
    address: { channelType: 'memory', platformId: 'same-chat', threadId: null },
    sender: { id: 'ada', name: 'Ada' },
    text,
    files: [],
    timestamp: 1,
    isMention: true,
    isDirect: true,
  });
}
