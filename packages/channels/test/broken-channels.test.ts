// Channels that break the contract, each in one way, and the sentence with which the suite says so.
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { Channel, IncomingFile, OutgoingFile, Receive, ReceivedEvent } from '../src/channel.ts';
import { channelContract, type PlatformUnderTest } from '../src/contract/index.ts';
import { openMemory } from './memory-platform.ts';

type ContractOptions = Parameters<typeof channelContract>[1];

/** What is different about the broken channel. */
type Break = (channel: Channel) => Partial<Channel>;

/** How long a wait may take where the channel hangs. */
const SHORT_MS = 100;
const HANGS = { deadlineMs: SHORT_MS };

/** Small, because the cases fill them. */
const LIMITS = {
  text: { max: 4000, unit: 'utf16-units' },
  filesMax: 2,
  fileBytesMax: 100_000,
  buttonsMax: 3,
} as const;

const folder = mkdtempSync(join(tmpdir(), 'nanoclaw-broken-'));
afterAll(() => rmSync(folder, { recursive: true }));

const never = () => new Promise<never>(() => {});

/** Gives the host something else than what came. */
function receiving(change: (event: ReceivedEvent) => ReceivedEvent): Break {
  return (channel) => ({ start: (receive) => channel.start((event) => receive(change(event))) });
}

/** Does something else with what the host makes of an event. */
function acknowledging(make: (receive: Receive) => Receive): Break {
  return (channel) => ({ start: (receive) => channel.start(make(receive)) });
}

/** Gives each event to the host of every start so far, but for those that are refused at once. */
function receivingForEveryStart(refuses: (channel: Channel) => boolean): Break {
  return (channel) => {
    const receivers: Receive[] = [];
    const all: Receive = async (event) => void (await Promise.all(receivers.map((receive) => receive(event))));
    return {
      start: async (receive) => {
        if (refuses(channel)) throw new Error('It runs already.');
        receivers.push(receive);
        await channel.start(all);
      },
    };
  };
}

function withFiles(event: ReceivedEvent, bytes: (file: IncomingFile) => AsyncIterable<Uint8Array>): ReceivedEvent {
  if (event.kind !== 'message') return event;
  return { ...event, files: event.files.map((file) => ({ ...file, bytes: () => bytes(file) })) };
}

async function* firstBytes(file: IncomingFile): AsyncGenerator<Uint8Array> {
  for await (const part of file.bytes()) {
    yield part.subarray(0, 3);
    return;
  }
}

async function* changedByte(file: IncomingFile): AsyncGenerator<Uint8Array> {
  for await (const part of file.bytes()) yield part.map((byte, index) => (index === 4097 ? byte + 1 : byte));
}

async function* endless(file: IncomingFile): AsyncGenerator<Uint8Array> {
  yield* file.bytes();
  await never();
}

async function shortened(file: OutgoingFile): Promise<OutgoingFile> {
  const path = join(folder, `${Math.random()}`);
  await writeFile(path, (await readFile(file.path)).subarray(0, 69_999));
  return { ...file, path };
}

let starts = 0;

const BROKEN: readonly (readonly [name: string, change: Break, sentence: RegExp | string, ContractOptions?])[] = [
  [
    'acknowledges before the host has the message',
    acknowledging((receive) => async (event) => {
      void Promise.allSettled([receive(event)]);
    }),
    'A message was acknowledged before the host had it: a crash in between loses it.',
  ],
  [
    'acknowledges what the host could not take',
    acknowledging((receive) => async (event) => {
      await Promise.allSettled([receive(event)]);
    }),
    'What the host could not take was acknowledged: it is lost.',
  ],
  [
    'loses the tail of a file that comes in',
    receiving((event) => withFiles(event, firstBytes)),
    'The file "numbers.bin" came with 3 of 70000 bytes; the first difference is at byte 3.',
  ],
  [
    'changes a byte of a file that comes in',
    receiving((event) => withFiles(event, changedByte)),
    'The file "numbers.bin" came with the right number of bytes, 70000; the first difference is at byte 4097.',
  ],
  [
    'never ends a file that comes in',
    receiving((event) => withFiles(event, endless)),
    `The content of the file "numbers.bin" did not come to its end within ${SHORT_MS} ms.`,
    HANGS,
  ],
  [
    'loses the tail of a file that goes out',
    (channel) => ({
      send: async (address, message, attempt) => {
        if (message.kind !== 'text') return channel.send(address, message, attempt);
        const files = message.files ?? [];
        if (files.length > 2 || files[0]?.name !== 'numbers.bin') return channel.send(address, message, attempt);
        return channel.send(address, { ...message, files: await Promise.all(files.map(shortened)) }, attempt);
      },
    }),
    'The file "numbers.bin" came with 69999 of 70000 bytes; the first difference is at byte 69999.',
  ],
  [
    'cuts long texts',
    (channel) => ({
      send: (address, message, attempt) =>
        channel.send(
          address,
          message.kind === 'text' ? { ...message, text: message.text.slice(0, channel.limits.text.max) } : message,
          attempt,
        ),
    }),
    'Number 2 of the texts that a person sees came with 4000 of 4001 characters; the first difference is at character 4000.',
  ],
  [
    'drops control characters',
    (channel) => ({
      send: (address, message, attempt) =>
        channel.send(
          address,
          message.kind === 'text' ? { ...message, text: message.text.replace(/\p{Cc}/gu, '') } : message,
          attempt,
        ),
    }),
    /^Number 1 of the texts that a person sees is "a {2}.+" instead of "a {2}.+…\.$/u,
  ],
  ['hangs in start', () => ({ start: never }), `\`start\` did not settle within ${SHORT_MS} ms.`, HANGS],
  ['hangs in stop', () => ({ stop: never }), `\`stop\` did not settle within ${SHORT_MS} ms.`, HANGS],
  ['hangs in send', () => ({ send: never }), `\`send\` did not settle within ${SHORT_MS} ms.`, HANGS],
  ['hangs in typing', () => ({ typing: never }), `\`typing\` did not settle within ${SHORT_MS} ms.`, HANGS],
  [
    'hangs in directAddress',
    () => ({ directAddress: never }),
    `\`directAddress\` did not settle within ${SHORT_MS} ms.`,
    HANGS,
  ],
  [
    'never acknowledges',
    acknowledging((receive) => async (event) => {
      await receive(event);
      await never();
    }),
    `The channel neither acknowledged to the platform what the person did, nor refused it, within ${SHORT_MS} ms.`,
    HANGS,
  ],
  [
    'acknowledges messages that it never gives to the host',
    acknowledging(() => async () => {}),
    `The host was given 0 of 1 messages or choices within ${SHORT_MS} ms.`,
    HANGS,
  ],
  [
    'rejects in send',
    () => ({ send: () => Promise.reject(new Error('the pipe is broken')) }),
    '`send` rejected: the pipe is broken',
  ],
  [
    'throws in health',
    () => ({
      health: () => {
        throw new Error('not yet');
      },
    }),
    'A call threw: not yet',
  ],
  [
    'loses the thread of a message that comes in',
    receiving((event) => ({ ...event, address: { ...event.address, threadId: null } })),
    '`threadId` of the address of a message in the thread is null instead of "thread".',
  ],
  [
    'shows a message to a thread in the chat',
    (channel) => ({
      send: (address, message, attempt) => channel.send({ ...address, threadId: null }, message, attempt),
    }),
    'The texts that a person sees in the thread: there are 0, [], and there should be 1.',
  ],
  [
    'repeats a message under another id',
    (channel) => ({
      start: (receive) => {
        const start = ++starts;
        return channel.start((event) =>
          receive({ ...event, platformMessageId: `${event.platformMessageId}-${start}` }),
        );
      },
    }),
    /^`platformMessageId` of what came again after a restart is "m1-\d+" instead of "m1-\d+"\.$/,
  ],
  [
    'gives all messages one id',
    receiving((event) => ({ ...event, platformMessageId: 'm' })),
    'Of 4 messages some share a platformMessageId: there are 1.',
  ],
  [
    'tells time in fractions',
    receiving((event) => ({ ...event, timestamp: event.timestamp + 0.5 })),
    'The timestamp must be in whole milliseconds, and is 1001.5.',
  ],
  [
    'takes every message in a group for a mention',
    receiving((event) => (event.kind === 'message' ? { ...event, isMention: true } : event)),
    '`isMention` of a message in the group is true instead of false.',
  ],
  [
    'gives the host what the bot says',
    (channel) => {
      let given: Receive | undefined;
      return {
        start: (receive) => {
          given = receive;
          return channel.start(receive);
        },
        send: async (address, message, attempt) => {
          const result = await channel.send(address, message, attempt);
          const { text } = message.kind === 'text' ? message : { text: '' };
          const place = { platformMessageId: attempt.key, address, sender: { id: 'bot', name: 'bot' }, timestamp: 1 };
          await given?.({ kind: 'message', ...place, text, files: [], isMention: true, isDirect: true });
          return result;
        },
      };
    },
    'The texts that the host was given: there are 2, ["from the bot","from a person"], and there should be 1.',
  ],
  [
    'shows a repeated attempt twice',
    (channel) => ({
      send: (address, message, attempt) =>
        channel.send(address, message, { ...attempt, key: `${attempt.key} ${attempt.attempt}` }),
    }),
    '`platformMessageId` of the result of a second attempt is "memory:2" instead of "memory:1".',
  ],
  [
    'gives up on what it could try again, and tries what can never work',
    (channel) => ({
      send: async (address, message, attempt) => {
        const result = await channel.send(address, message, attempt);
        return result.type === 'failed' ? { ...result, permanent: false } : result;
      },
    }),
    'An empty text must be refused for good, and was refused for now: The message has no text, so there is nothing to show.',
  ],
  [
    'shows nothing and says that it did',
    () => ({ send: async () => ({ type: 'sent', platformMessageId: 'x' }) }),
    'The texts that a person sees: there are 0, [], and there should be 1.',
  ],
  [
    'says that it is online when it is stopped',
    () => ({ health: () => ({ state: 'online' }) }),
    '`state` of the health before the start is "online" instead of "stopped".',
  ],
  [
    'can be started twice',
    (channel) => ({ start: async (receive) => void (await Promise.allSettled([channel.start(receive)])) }),
    'A channel that runs was started once more, and must reject that.',
  ],
  [
    'receives for a start that it has refused',
    receivingForEveryStart(() => false),
    'The texts that went to the start that was refused: there are 1, ["hello"], and there should be 0.',
  ],
  [
    'receives for a start that was stopped',
    receivingForEveryStart((channel) => channel.health().state !== 'stopped'),
    'The texts that went to the start that was stopped: there are 1, ["hello"], and there should be 0.',
  ],
  [
    'claims what its platform is declared to lack',
    () => ({}),
    'The platform is declared to lack "edits", but the channel has "edit" in its `shows`.',
    { lacks: ['edits'] },
  ],
  [
    'shows less than its platform is declared to have',
    () => ({ shows: new Set(['files']) }),
    'The channel does not have "edit" in its `shows`; give it that, or declare that the platform lacks "edits".',
  ],
  [
    'says other of duplicates than the suite was told',
    () => ({ duplicates: 'none' }),
    'The channel\'s `duplicates` is "none", and the suite was told "key".',
  ],
  [
    'gives an id where the platform is declared to have none',
    () => ({}),
    'The platform is declared to lack "message-ids", but a text was sent under the id "memory:1".',
    { lacks: ['message-ids'] },
  ],
];

/** The platform in memory with channels of which something is different. */
async function openBroken(change: Break): Promise<PlatformUnderTest> {
  const platform = await openMemory({ limits: LIMITS });
  return {
    ...platform,
    channel: () => {
      const channel = platform.channel();
      return { ...plain(channel), ...change(channel) };
    },
  };
}

function plain(channel: Channel): Channel {
  return {
    type: channel.type,
    duplicates: channel.duplicates,
    limits: channel.limits,
    shows: channel.shows,
    start: (receive) => channel.start(receive),
    send: (address, message, attempt) => channel.send(address, message, attempt),
    stop: () => channel.stop(),
    health: () => channel.health(),
    typing: async (address) => channel.typing?.(address),
    directAddress: (handle) => channel.directAddress(handle),
  };
}

/** What the cases that fail say, by their names. All run at once, as they may. */
async function failures(open: () => Promise<PlatformUnderTest>, options?: ContractOptions): Promise<string[]> {
  const cases = channelContract(open, options);
  const outcomes = await Promise.allSettled(cases.map(({ run }) => run()));
  return outcomes.flatMap((outcome) => {
    if (outcome.status === 'fulfilled') return [];
    const { reason } = outcome;
    if (!(reason instanceof Error)) throw new Error('a case threw something that is no error', { cause: reason });
    return [reason.message];
  });
}

describe('the suite of the contract', () => {
  test('finds nothing wrong with the channel that the broken ones are made of', async () => {
    expect(await failures(() => openBroken(() => ({})))).toEqual([]);
  });

  for (const [name, change, sentence, options] of BROKEN) {
    test(`catches a channel that ${name}, in a sentence`, async () => {
      const found = await failures(() => openBroken(change), options);
      expect(found).toContainEqual(typeof sentence === 'string' ? sentence : expect.stringMatching(sentence));
      for (const each of found) {
        expect(each.length).toBeLessThan(300);
        expect(each).not.toContain('\n');
      }
    });
  }

  test.each([
    ['does not open', () => never(), `The platform under test did not open within ${SHORT_MS} ms.`],
    [
      'does not close',
      async () => ({ ...(await openMemory({})), close: never }),
      `The platform's \`close\` did not settle within ${SHORT_MS} ms.`,
    ],
    [
      'has no thread and is not declared to lack threads',
      async () => ({ ...(await openMemory({})), thread: undefined }),
      'The platform under test has no `thread`; give it, or declare that the platform lacks "threads".',
    ],
    [
      'cannot say what a person sees',
      async () => ({ ...(await openMemory({})), visibleMessages: () => Promise.reject(new Error('no screen')) }),
      "The platform's `visibleMessages` rejected: no screen",
    ],
  ] as const)('says so of a platform that %s', async (_name, open, sentence) => {
    expect(await failures(open, HANGS)).toContain(sentence);
  });
});
