// The contract of a channel: how it starts, stops, and starts again.
import assert from 'node:assert/strict';
import { acknowledgedSay, type Check, firstAttempt, Inbox, sendText, shownTexts } from './case-support.ts';

/** The cases about starts and stops, by what each promises. */
export const LIFE: Readonly<Record<string, Check>> = {
  'a channel that does not run is offline, and shows nothing': async (platform) => {
    const channel = platform.channel();
    assert.deepEqual(await sendText(platform, channel, 'early', firstAttempt('k1')), { type: 'offline' });
    await channel.start(new Inbox().receive);
    await channel.stop();
    assert.deepEqual(await sendText(platform, channel, 'late', firstAttempt('k2')), { type: 'offline' });
    assert.deepEqual(await shownTexts(platform), []);
  },

  'health says whether the channel runs': async (platform) => {
    const channel = platform.channel();
    assert.deepEqual(channel.health(), { state: 'stopped' });
    await channel.start(new Inbox().receive);
    assert.deepEqual(channel.health(), { state: 'online' });
    await channel.stop();
    assert.deepEqual(channel.health(), { state: 'stopped' });
  },

  'a channel can be stopped twice, and started again': async (platform) => {
    const channel = platform.channel();
    await channel.stop();
    await channel.start(new Inbox().receive);
    await channel.stop();
    await channel.stop();
    const host = new Inbox();
    await channel.start(host.receive);
    await acknowledgedSay(platform, 'hello');
    assert.deepEqual(host.texts(), ['hello']);
  },

  'a channel stopped while it starts is stopped, and can be started again': async (platform) => {
    const channel = platform.channel();
    await Promise.allSettled([channel.start(new Inbox().receive), channel.stop()]);
    assert.deepEqual(channel.health(), { state: 'stopped' });
    const host = new Inbox();
    await channel.start(host.receive);
    await acknowledgedSay(platform, 'hello');
    assert.deepEqual(host.texts(), ['hello']);
  },

  'a channel that runs refuses to be started, and goes on': async (platform) => {
    const host = new Inbox();
    const channel = platform.channel();
    await channel.start(host.receive);
    await assert.rejects(channel.start(new Inbox().receive));
    await acknowledgedSay(platform, 'hello');
    assert.deepEqual(host.texts(), ['hello']);
  },
};
