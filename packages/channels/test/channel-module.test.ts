// The channels of this package as a host finds them: by their module, with options from a configuration.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { ChannelModule, ChannelPorts } from '../src/channel-module.ts';
import terminal from '../src/terminal/index.ts';
import webhook from '../src/webhook/index.ts';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

function ports(instance: string): ChannelPorts {
  const folder = mkdtempSync(join(tmpdir(), 'nanoclaw-module-'));
  folders.push(folder);
  return { instance, folder, clock: { now: () => 1_000_000, setTimer: () => () => {} }, onTrouble: () => {} };
}

/** What a host does with a module: checks the options, and makes the channel or hears what is wrong. */
async function made<Options>(module: ChannelModule<Options>, options: unknown, instance: string = module.type) {
  const checked = await module.options['~standard'].validate(options);
  if (checked.issues !== undefined) return checked.issues.map(({ message }) => message);
  return module.create(checked.value, ports(instance));
}

const SHOP = { name: 'shop', secret: 'sixteen characters' };

describe('the modules of the channels', () => {
  test.each([
    [terminal, {}],
    [terminal, { messagesKept: 200, fileBytesKept: 0 }],
    [webhook, { port: 0 }],
    [webhook, { port: 0, host: '::1', endpoints: [SHOP, { ...SHOP, name: 'ci', callback: { url: 'http://ci' } }] }],
  ] as const)('%# make a channel of their type from right options', async (module: ChannelModule, options) => {
    const channel = await made(module, options);
    expect(channel).toMatchObject({ type: module.type });
  });

  test.each([
    [terminal, { messagesKept: 99 }, /100/],
    [terminal, { folder: '/tmp' }, /folder/],
    [webhook, {}, /number/],
    [webhook, { port: 70_000 }, /65535/],
    [webhook, { port: 0, endpoints: [{ ...SHOP, secret: 'short' }] }, /"shop" cannot be added: its secret has fewer/],
    [webhook, { port: 0, endpoints: [{ ...SHOP, callback: { url: 'ftp://x' } }] }, /its callback is no HTTP address/],
  ] as const)('%# say in a sentence what is wrong with options', async (module: ChannelModule, options, said) => {
    expect(await made(module, options)).toEqual([expect.stringMatching(said)]);
  });

  test('two endpoints of one name are refused when the channel is made', async () => {
    await expect(made(webhook, { port: 0, endpoints: [SHOP, SHOP] })).rejects.toThrow('there is one already');
  });

  test('several channels of one type run side by side, each in its own folder', async () => {
    const channels = [await made(terminal, {}, 'desk'), await made(terminal, {}, 'phone')];
    for (const channel of channels) {
      if (Array.isArray(channel)) throw new Error(channel.join(' '));
      await channel.start(async () => {});
      expect(channel.health()).toEqual({ state: 'online' });
      await channel.stop();
    }
  });
});
