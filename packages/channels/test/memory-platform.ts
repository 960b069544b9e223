// The platform in memory as the suite of the contract sees it.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Address, IncomingFile, ReceivedEvent } from '../src/channel.ts';
import type { PlatformUnderTest, UserMessage, VisibleMessage } from '../src/contract/index.ts';
import { MemoryPlatform, type MemoryPlatformOptions, type SentMessage } from '../src/testing/memory-platform.ts';
import { type Change, folded } from './support.ts';

export async function openMemory(options: MemoryPlatformOptions): Promise<PlatformUnderTest> {
  const platform = new MemoryPlatform(options);
  const folder = mkdtempSync(join(tmpdir(), 'nanoclaw-memory-'));
  const address: Address = { channelType: 'memory', platformId: 'chat', threadId: null };
  const group: Address = { ...address, platformId: 'group' };
  let count = 0;
  let last: ReceivedEvent | undefined;
  const act = (event: ReceivedEvent) => {
    last = event;
    return { acknowledged: platform.say(event).then((outcome) => outcome === 'acknowledged') };
  };
  const common = () => ({
    platformMessageId: `m${++count}`,
    sender: { id: 'ada', name: 'Ada' },
    timestamp: 1_000 + count,
  });
  return {
    address,
    thread: { ...address, threadId: 'thread' },
    group,
    channel: () => platform.channel(),
    say: async ({ text, at = address, files = [], isMention = true }: UserMessage) =>
      act({
        kind: 'message',
        ...common(),
        address: at,
        text,
        files: files.map(inMemory),
        isMention,
        isDirect: at.platformId !== group.platformId,
      }),
    repeat: async () => {
      if (last === undefined) throw new Error('nothing was said');
      return act(last);
    },
    choose: async (questionId, choice) => act({ kind: 'choice', ...common(), address, questionId, choice }),
    visibleMessages: async (at) =>
      folded(platform.shown.filter((shown) => isSamePlace(shown.address, at)).map(changeOf)),
    file: async (content) => {
      const path = join(folder, `${++count}`);
      writeFileSync(path, content);
      return path;
    },
    close: async () => rmSync(folder, { recursive: true }),
  };
}

function inMemory({ name, bytes }: { name: string; bytes: Uint8Array }): IncomingFile {
  return {
    name,
    async *bytes() {
      yield bytes;
    },
  };
}

function isSamePlace(a: Address, b: Address): boolean {
  return a.platformId === b.platformId && a.threadId === b.threadId;
}

function changeOf({ platformMessageId, message, files }: SentMessage): Change & VisibleMessage {
  switch (message.kind) {
    case 'text':
      return { kind: 'text', platformMessageId, text: message.text, files };
    case 'edit':
      return { kind: 'edit', platformMessageId, of: message.platformMessageId, text: message.text };
    case 'reaction':
      return { kind: 'reaction', platformMessageId, to: message.platformMessageId, text: message.emoji };
    case 'question':
      return { kind: 'question', platformMessageId, text: message.question, choices: message.choices };
    case 'card':
      return { kind: 'card', platformMessageId, text: message.fallbackText, card: message.card };
  }
}
