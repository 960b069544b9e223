// The contract of a channel: how it starts, stops, and starts again.
import { type Case, expectVisible, firstAttempt, sendText, writeAndReceive } from './case-support.ts';
import { fail } from './deadline.ts';
import { expectSame } from './difference.ts';
import { CallRejected } from './watched-platform.ts';

/** The cases about starts and stops. */
export const START_STOP_CASES: readonly Case[] = [
  {
    name: 'a channel that does not run is offline, and shows nothing',
    check: async (platform) => {
      const channel = platform.channel();
      const early = await sendText(platform, channel, 'early', firstAttempt('k1'));
      expectSame('the result of `send` before the start', early, { type: 'offline' });
      await channel.start(platform.host().receive);
      await channel.stop();
      const late = await sendText(platform, channel, 'late', firstAttempt('k2'));
      expectSame('the result of `send` after the stop', late, { type: 'offline' });
      await expectVisible(platform, []);
    },
  },
  {
    name: 'health says whether the channel runs',
    check: async (platform) => {
      const channel = platform.channel();
      expectSame('the health before the start', channel.health(), { state: 'stopped' });
      await channel.start(platform.host().receive);
      expectSame('the health after the start', channel.health(), { state: 'online' });
      await channel.stop();
      expectSame('the health after the stop', channel.health(), { state: 'stopped' });
    },
  },
  {
    name: 'a channel can be stopped twice, and started again',
    check: async (platform) => {
      const channel = platform.channel();
      await channel.stop();
      await channel.start(platform.host().receive);
      await channel.stop();
      await channel.stop();
      const host = platform.host();
      await channel.start(host.receive);
      await writeAndReceive(platform, host, 'hello');
      expectSame('the texts that the host was given', host.texts(), ['hello']);
    },
  },
  {
    name: 'a channel stopped while it starts is stopped, and can be started again',
    check: async (platform) => {
      const channel = platform.channel();
      const overtaken = platform.host();
      const [start, stop] = await Promise.allSettled([channel.start(overtaken.receive), channel.stop()]);
      // A start that is overtaken may resolve or reject, but not hang.
      if (start.status === 'rejected' && !(start.reason instanceof CallRejected)) throw start.reason;
      if (stop.status === 'rejected') throw stop.reason;
      expectSame('the health after a stop during the start', channel.health(), { state: 'stopped' });
      const host = platform.host();
      await channel.start(host.receive);
      await writeAndReceive(platform, host, 'hello');
      expectSame('the texts that the host was given', host.texts(), ['hello']);
      expectSame('the texts that went to the start that was stopped', overtaken.texts(), []);
    },
  },
  {
    name: 'a channel that runs refuses to be started, and goes on',
    check: async (platform) => {
      const host = platform.host();
      const channel = platform.channel();
      await channel.start(host.receive);
      const refused = platform.host();
      const second = await channel.start(refused.receive).then(
        () => 'resolved',
        (error: unknown) => error,
      );
      if (second === 'resolved') fail('A channel that runs was started once more, and must reject that.');
      if (!(second instanceof CallRejected)) throw second;
      await writeAndReceive(platform, host, 'hello');
      expectSame('the texts that the host was given', host.texts(), ['hello']);
      expectSame('the texts that went to the start that was refused', refused.texts(), []);
    },
  },
];
