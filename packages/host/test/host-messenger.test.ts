import type { Channel } from '@nanoclaw/channels';
import { MemoryPlatform } from '@nanoclaw/channels/testing';
import { describe, expect, it } from 'vitest';
import { hostMessenger } from '../src/channels/host-messenger.ts';
import { at, userOf } from './people-world.ts';

const ASK = { questionId: 'q', title: 'Approval', question: 'May Ann?', choices: ['Approve', 'Deny'], expiresAt: 1 };

async function started(platform: MemoryPlatform): Promise<Channel> {
  const channel = platform.channel();
  await channel.start(async () => undefined);
  return channel;
}

function messengerOf(channel: Channel, changes: Partial<Channel> = {}) {
  const methods = { send: channel.send.bind(channel), directAddress: channel.directAddress.bind(channel) };
  const { type, duplicates, limits, shows } = channel;
  const whole = { type, duplicates, limits, shows, ...methods, ...changes };
  const health = () => channel.health();
  const port: Channel = { ...whole, start: (receive) => channel.start(receive), stop: () => channel.stop(), health };
  return hostMessenger(new Map([[type, port]]), () => () => undefined);
}

describe('what the host says', () => {
  it('is shown once per key', async () => {
    const platform = new MemoryPlatform();
    const { notify } = messengerOf(await started(platform));
    expect([await notify(at('room'), 'hello', 'k'), await notify(at('room'), 'hello', 'k')]).toEqual([
      { type: 'sent' },
      { type: 'sent' },
    ]);
    expect(platform.shown).toHaveLength(1);
  });

  it('is shown once per key where the channel has to look it up', async () => {
    const platform = new MemoryPlatform({ duplicates: 'history' });
    const { notify } = messengerOf(await started(platform));
    await notify(at('room'), 'hello', 'k');
    await notify(at('room'), 'hello', 'k');
    expect(platform.shown).toHaveLength(1);
  });

  it.each([
    ['offline', { type: 'offline' }, 'not-now'],
    ['busy', { type: 'failed', permanent: false, reason: 'busy' }, 'not-now'],
    ['of another mind', { type: 'failed', permanent: true, reason: 'gone' }, 'never'],
  ] as const)('to a platform that is %s is %j: %s', async (_, step, expected) => {
    const platform = new MemoryPlatform();
    const { notify } = messengerOf(await started(platform));
    platform.script(step);
    expect(await notify(at('room'), 'hello', 'k')).toMatchObject({ type: expected });
  });

  it('on a channel that breaks its promises is not said now, and nothing rejects', async () => {
    const broken = { send: () => Promise.reject(new Error('a bug')), directAddress: () => Promise.reject(new Error()) };
    const messenger = messengerOf(await started(new MemoryPlatform()), broken);
    expect(await messenger.notify(at('room'), 'hello', 'k')).toEqual({ type: 'not-now', reason: 'a bug' });
    expect(await messenger.directAddress(userOf('ann'))).toBeUndefined();
  });

  it('is not waited for when a platform does not answer', async () => {
    const platform = new MemoryPlatform();
    const channel = await started(platform);
    platform.script({ type: 'hangs' });
    const impatient = hostMessenger(new Map([['memory', channel]]), (_, action) => {
      queueMicrotask(action);
      return () => undefined;
    });
    expect(await impatient.notify(at('room'), 'hello', 'k')).toMatchObject({ type: 'not-now' });
    await channel.stop();
  });

  it('has no channel to be said in', async () => {
    const { notify, directAddress } = hostMessenger(new Map(), () => () => undefined);
    expect(await notify(at('room'), 'hello', 'k')).toMatchObject({ type: 'never' });
    expect(await directAddress(userOf('ann'))).toBeUndefined();
  });
});

describe('a question of the host', () => {
  it('has buttons where the channel has them', async () => {
    const platform = new MemoryPlatform();
    await messengerOf(await started(platform)).ask(at('room'), ASK, 'k');
    expect(platform.shown[0]?.message).toEqual({ kind: 'question', ...ASK });
  });

  it.each([
    ['no buttons', new MemoryPlatform({ shows: [] })],
    [
      'too little room behind a button (failure 41)',
      new MemoryPlatform({
        limits: { text: { max: 500, unit: 'code-points' }, buttonPayload: { max: 2, unit: 'utf8-bytes' } },
      }),
    ],
  ])('is lines with its choices where the channel has %s', async (_, platform) => {
    await messengerOf(await started(platform)).ask(at('room'), ASK, 'k');
    expect(platform.shown[0]?.message).toEqual({
      kind: 'text',
      text: 'Approval\nMay Ann?\n  - Approve\n  - Deny\nAnswer with Approve or Deny.',
    });
  });
});
