import { describe, test } from 'vitest';
import type { Address } from '../src/channel.js';
import { channelContract, type PlatformUnderTest } from '../src/contract.js';
import { MemoryPlatform, type MemoryPlatformOptions } from '../src/memory.js';
import { TerminalClient } from '../src/terminal-client.js';
import { MAIN, World } from './support.js';

describe('the terminal', () => {
  for (const { name, run } of channelContract(openTerminal)) test(name, run);
});

for (const duplicates of ['key', 'history', 'none'] as const) {
  describe(`memory, duplicates: ${duplicates}`, () => {
    for (const { name, run } of channelContract(() => openMemory({ duplicates }))) test(name, run);
  });
}

for (const unit of ['code-points', 'utf8-bytes'] as const) {
  describe(`memory, limits in ${unit}`, () => {
    for (const { name, run } of channelContract(() => openMemory({ limits: { text: { max: 200, unit } } })))
      test(name, run);
  });
}

async function openTerminal(): Promise<PlatformUnderTest> {
  const world = new World();
  return {
    address: MAIN,
    channel: () => world.channel(),
    say: async (text) => {
      const { client } = await world.client();
      return {
        acknowledged: client.send(text).then(
          () => true,
          () => false,
        ),
      };
    },
    shown: () => shownInTerminal(world),
    close: () => world.close(),
  };
}

/** What a new client of the chat is shown, with a message of its own as the sign that it has seen all. */
async function shownInTerminal(world: World): Promise<string[]> {
  const viewer = world.channel();
  // The channel of the test may be running; then it is the one to look through.
  await viewer.start(async () => {}).catch(() => {});
  const texts: string[] = [];
  const client = await TerminalClient.connect(world.socketPath, {
    chat: 'main',
    after: 0,
    newId: () => 'unused',
    onMessage: ({ text }) => texts.push(text),
  });
  // An empty message is refused, and answers come after the messages that were there before.
  await client.send(' ').catch(() => {});
  await client.close();
  await viewer.stop();
  return texts;
}

async function openMemory(options: MemoryPlatformOptions): Promise<PlatformUnderTest> {
  const platform = new MemoryPlatform(options);
  const address: Address = { channelType: 'memory', platformId: 'chat', threadId: null };
  let said = 0;
  return {
    address,
    channel: () => platform.channel(),
    say: async (text) => {
      const heard = platform.say({
        platformMessageId: `m${++said}`,
        address,
        sender: { id: 'ada', name: 'Ada' },
        text,
        timestamp: 1_000 + said,
        isMention: true,
        isDirect: true,
      });
      return { acknowledged: heard.then((outcome) => outcome === 'acknowledged') };
    },
    shown: async () => platform.shown.map(({ message }) => message.text),
    close: async () => {},
  };
}
