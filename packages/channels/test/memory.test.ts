import { expect, test } from 'vitest';
import type { Attempt, ReceivedMessage } from '../src/channel.ts';
import { MemoryPlatform } from '../src/testing/memory-platform.ts';

const address = { channelType: 'memory', platformId: 'chat', threadId: null };
const hello = { kind: 'text', text: 'hello' } as const;
const first: Attempt = { key: 'k1', attempt: 1, uncertain: false };
const second: Attempt = { key: 'k1', attempt: 2, uncertain: true };

test.each([
  { duplicates: 'key', times: 1 },
  { duplicates: 'history', times: 1 },
  { duplicates: 'none', times: 2 },
] as const)('after a lost answer a retry leaves $times on a platform with duplicates: $duplicates', async (example) => {
  const platform = new MemoryPlatform({ duplicates: example.duplicates });
  const channel = platform.channel();
  await channel.start(async () => {});
  platform.script({ type: 'answer-lost' });
  expect(await channel.send(address, hello, first)).toMatchObject({ type: 'failed', permanent: false });
  expect(await channel.send(address, hello, second)).toMatchObject({ type: 'sent' });
  expect(platform.shown).toHaveLength(example.times);
});

test('a channel with history looks only when the caller is unsure', async () => {
  const platform = new MemoryPlatform({ duplicates: 'history' });
  const channel = platform.channel();
  await channel.start(async () => {});
  await channel.send(address, hello, first);
  await channel.send(address, hello, { ...second, uncertain: false });
  expect(platform.shown).toHaveLength(2);
});

test('scripted failures show nothing, come one per send, and end', async () => {
  const platform = new MemoryPlatform();
  const channel = platform.channel();
  await channel.start(async () => {});
  const busy = { type: 'failed', permanent: false, retryAfterMs: 700, reason: 'busy' } as const;
  platform.script({ type: 'offline' }, busy, { type: 'works' });
  expect(await channel.send(address, hello, first)).toEqual({ type: 'offline' });
  expect(await channel.send(address, hello, first)).toEqual(busy);
  expect(platform.shown).toEqual([]);
  expect(await channel.send(address, hello, first)).toEqual({ type: 'sent', platformMessageId: 'memory:1' });
  expect(platform.shown).toEqual([{ platformMessageId: 'memory:1', address, message: hello, key: 'k1', files: [] }]);
});

test('a send that hangs ends with the channel, and holds up no other', async () => {
  const platform = new MemoryPlatform();
  const channel = platform.channel();
  await channel.start(async () => {});
  platform.script({ type: 'hangs' });
  const hanging = channel.send(address, hello, first);
  expect(await channel.send(address, hello, { ...first, key: 'k2' })).toMatchObject({ type: 'sent' });
  await channel.stop();
  expect(await hanging).toMatchObject({ type: 'failed', permanent: false });
  expect(platform.shown).toHaveLength(1);
});

test('what people write while no host runs is kept for the next one', async () => {
  const platform = new MemoryPlatform();
  expect(await platform.say(message('m1'))).toBe('kept');
  const got: string[] = [];
  await platform.channel().start(async ({ platformMessageId }) => {
    got.push(platformMessageId);
  });
  expect(await platform.say(message('m2'))).toBe('acknowledged');
  expect(got).toEqual(['m1', 'm2']);
  expect(platform.unacknowledged).toEqual([]);
});

test('a host that was killed while it stored a message does not acknowledge it afterwards', async () => {
  const platform = new MemoryPlatform();
  const stored = Promise.withResolvers<void>();
  await platform.channel().start(() => stored.promise); // never stopped: killed
  const heard = platform.say(message('m1'));
  await platform.channel().start(() => new Promise(() => {}));
  stored.resolve();
  expect(await heard).toBe('kept');
  expect(platform.unacknowledged).toEqual([message('m1')]);
});

function message(platformMessageId: string): ReceivedMessage {
  const sender = { id: 'ada', name: 'Ada' };
  return {
    kind: 'message',
    files: [],
    platformMessageId,
    address,
    sender,
    text: 'hi',
    timestamp: 1,
    isMention: true,
    isDirect: true,
  };
}
