// The suite that every channel must pass. It knows no test framework: a case is a name and a function that throws.
//
//   for (const { name, run } of channelContract(openPlatform)) test(name, run);
//
// A channel to a real service is tested against a fake of the service's network interface, so that the channel's own
// code runs in full.
import assert from 'node:assert/strict';
import { type Address, type Attempt, type Channel, type Receive, type ReceivedMessage, textLength } from './channel.js';

/** One promise of the contract. `run` throws an `AssertionError` when the channel breaks it. */
export interface ContractCase {
  name: string;
  run: () => Promise<void>;
}

/** What the suite needs of a platform, or of the fake of one. Each case opens one of its own. */
export interface PlatformUnderTest {
  /** A channel to this platform, not started. Each call is a new life of the host, with what an earlier one left. */
  channel(): Channel;
  /** A chat in which the person writes and reads. */
  address: Address;
  /**
   * The person writes a text, under an id of its own for each call. `acknowledged` resolves with true when the channel
   * has acknowledged the message, and with false when it has refused it or went away without an acknowledgement.
   */
  say(text: string): Promise<{ acknowledged: Promise<boolean> }>;
  /** The texts that a person sees at `address`, from the bot only, in order, whether or not a channel runs. */
  shown(): Promise<string[]>;
  /** Ends everything that was started, channels included. */
  close(): Promise<void>;
}

/** The cases for one kind of channel. */
export function channelContract(open: () => Promise<PlatformUnderTest>): ContractCase[] {
  return Object.entries(CASES).map(([name, check]) => ({
    name,
    run: async () => {
      const platform = await open();
      try {
        await check(platform);
      } finally {
        await platform.close();
      }
    },
  }));
}

type Check = (platform: PlatformUnderTest) => Promise<void>;

/** Spaces, line ends, quotes, markup, a zero byte, an escape sequence, letters beyond the first plane. */
const TRICKY_TEXT = 'a  "b" \'c\' \\ <d&> {e} `f`\n\r\n\t\u0000 \u001b[31mred\u001b[0m é 漢 👩‍👩‍👧 𝒳';

const CASES: Readonly<Record<string, Check>> = {
  // ── In ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  'a message is acknowledged only after the host has it': async (platform) => {
    const log: string[] = [];
    const asked = Promise.withResolvers<void>();
    const stored = Promise.withResolvers<void>();
    await platform.channel().start(async () => {
      asked.resolve();
      await stored.promise;
      log.push('stored');
    });
    const { acknowledged } = await platform.say('hello');
    const noted = acknowledged.then((yes) => log.push(yes ? 'acknowledged' : 'refused'));
    await asked.promise;
    await aMoment();
    stored.resolve();
    await noted;
    assert.deepEqual(log, ['stored', 'acknowledged']);
  },

  'a message says who wrote it, where and when, and its text is untouched': async (platform) => {
    const host = new Inbox();
    const channel = platform.channel();
    await channel.start(host.receive);
    await acknowledgedSay(platform, TRICKY_TEXT);
    const [message] = host.messages;
    assert.ok(message);
    assert.equal(message.text, TRICKY_TEXT);
    assert.deepEqual(message.address, platform.address);
    assert.equal(message.address.channelType, channel.type);
    assert.notEqual(message.platformMessageId, '');
    assert.notEqual(message.sender.id, '');
    assert.ok(Number.isSafeInteger(message.timestamp), 'the timestamp is in whole milliseconds');
    assert.ok(message.isMention || !message.isDirect, 'in a direct message the bot is always spoken to');
  },

  'messages come in the order in which they were written, each under its own id': async (platform) => {
    const host = new Inbox();
    await platform.channel().start(host.receive);
    for (const text of ['one', 'two', 'two', 'three']) await acknowledgedSay(platform, text);
    assert.deepEqual(host.texts(), ['one', 'two', 'two', 'three']);
    assert.equal(new Set(host.messages.map((message) => message.platformMessageId)).size, 4);
  },

  'a message that the host could not take is not acknowledged, and comes again after a restart': async (platform) => {
    const first = new Inbox('refuses');
    const channel = platform.channel();
    await channel.start(first.receive);
    const { acknowledged } = await platform.say('keep me');
    assert.equal(await acknowledged, false);
    await channel.stop();

    const second = new Inbox();
    await platform.channel().start(second.receive);
    await second.has(1);
    assert.deepEqual(second.messages, first.messages, 'it is the same message, to the last field');
  },

  'a message that the host was still working on when the channel stopped comes again': async (platform) => {
    const first = new Inbox('hangs');
    const channel = platform.channel();
    await channel.start(first.receive);
    const { acknowledged } = await platform.say('keep me');
    await first.has(1);
    await channel.stop();
    assert.equal(await acknowledged, false);

    const second = new Inbox();
    await platform.channel().start(second.receive);
    await second.has(1);
    assert.deepEqual(second.messages, first.messages, 'it is the same message, to the last field');
  },

  'a message that was acknowledged does not come again': async (platform) => {
    const channel = platform.channel();
    await channel.start(new Inbox().receive);
    await acknowledgedSay(platform, 'old');
    await channel.stop();

    const second = new Inbox();
    await platform.channel().start(second.receive);
    await acknowledgedSay(platform, 'new');
    assert.deepEqual(second.texts(), ['new']);
  },

  'a message that the host could not take does not keep others from coming': async (platform) => {
    const host = new Inbox();
    await platform.channel().start(async (message) => {
      if (message.text === 'poison') throw new Error('cannot store this one');
      await host.receive(message);
    });
    const { acknowledged } = await platform.say('poison');
    assert.equal(await acknowledged, false);
    await acknowledgedSay(platform, 'fine');
    assert.deepEqual(host.texts(), ['fine']);
  },

  // ── Out ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  'a sent message can be seen, unchanged and once': async (platform) => {
    const channel = await started(platform);
    const result = await sendText(platform, channel, TRICKY_TEXT, firstAttempt('k1'));
    assert.equal(result.type, 'sent');
    assert.deepEqual(await platform.shown(), [TRICKY_TEXT]);
  },

  'messages appear in the order in which they were sent, also when their texts are the same': async (platform) => {
    const channel = await started(platform);
    for (const [index, text] of ['one', 'two', 'two', 'three'].entries()) {
      assert.equal((await sendText(platform, channel, text, firstAttempt(`k${index}`))).type, 'sent');
    }
    assert.deepEqual(await platform.shown(), ['one', 'two', 'two', 'three']);
  },

  'a repeated attempt shows nothing twice, and finds the same id, on a channel that knows keys or history': async (
    platform,
  ) => {
    const channel = await started(platform);
    if (channel.duplicates === 'none') return;
    const first = await sendText(platform, channel, 'once', firstAttempt('k1'));
    const again = await sendText(platform, channel, 'once', { key: 'k1', attempt: 2, uncertain: true });
    assert.deepEqual(again, first);
    await channel.stop();
    const next = await started(platform);
    assert.deepEqual(await sendText(platform, next, 'once', { key: 'k1', attempt: 3, uncertain: true }), first);
    assert.deepEqual(await platform.shown(), ['once']);
  },

  'two attempts at the same time show nothing twice on a channel that knows keys': async (platform) => {
    const channel = await started(platform);
    if (channel.duplicates !== 'key') return;
    const results = await Promise.all([
      sendText(platform, channel, 'once', firstAttempt('k1')),
      sendText(platform, channel, 'once', { key: 'k1', attempt: 2, uncertain: true }),
    ]);
    assert.deepEqual(results[0], results[1]);
    assert.deepEqual(await platform.shown(), ['once']);
  },

  'an uncertain attempt at a message that never arrived is sent': async (platform) => {
    const channel = await started(platform);
    const result = await sendText(platform, channel, 'hello', { key: 'k1', attempt: 2, uncertain: true });
    assert.equal(result.type, 'sent');
    assert.deepEqual(await platform.shown(), ['hello']);
  },

  'a text of exactly the longest length is shown whole, a longer one is refused for good and never cut': async (
    platform,
  ) => {
    const channel = await started(platform);
    const { max, unit } = channel.limits.text;
    const longest = 'x'.repeat(max);
    assert.equal(textLength(longest, unit), max);
    assert.equal((await sendText(platform, channel, longest, firstAttempt('k1'))).type, 'sent');
    assertRefusedForGood(await sendText(platform, channel, `${longest}x`, firstAttempt('k2')));
    assert.deepEqual(await platform.shown(), [longest]);
  },

  'a message without text is refused for good': async (platform) => {
    const channel = await started(platform);
    assertRefusedForGood(await sendText(platform, channel, '', firstAttempt('k1')));
    assertRefusedForGood(await sendText(platform, channel, ' \n', firstAttempt('k2')));
    assert.deepEqual(await platform.shown(), []);
  },

  'a message to an address of another channel is refused for good': async (platform) => {
    const channel = await started(platform);
    const elsewhere = { ...platform.address, channelType: `not-${channel.type}` };
    const message = { kind: 'text', text: 'hello' } as const;
    assertRefusedForGood(await channel.send(elsewhere, message, firstAttempt('k1')));
    assert.deepEqual(await platform.shown(), []);
  },

  'an answer to a message that the platform does not know is shown all the same': async (platform) => {
    const channel = await started(platform);
    const message = { kind: 'text', text: 'hello', inReplyTo: 'nobody-ever-said-this' } as const;
    assert.equal((await channel.send(platform.address, message, firstAttempt('k1'))).type, 'sent');
    assert.deepEqual(await platform.shown(), ['hello']);
  },

  "the bot's own messages are not received": async (platform) => {
    const host = new Inbox();
    const channel = platform.channel();
    await channel.start(host.receive);
    await sendText(platform, channel, 'from the bot', firstAttempt('k1'));
    await acknowledgedSay(platform, 'from a person');
    assert.deepEqual(host.texts(), ['from a person']);
  },

  // ── Life ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  'a channel that does not run is offline, and shows nothing': async (platform) => {
    const channel = platform.channel();
    assert.deepEqual(await sendText(platform, channel, 'early', firstAttempt('k1')), { type: 'offline' });
    await channel.start(new Inbox().receive);
    await channel.stop();
    assert.deepEqual(await sendText(platform, channel, 'late', firstAttempt('k2')), { type: 'offline' });
    assert.deepEqual(await platform.shown(), []);
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

/** A host that remembers what it was given, and then stores it, refuses it, or never answers. */
class Inbox {
  readonly messages: ReceivedMessage[] = [];
  readonly #manner: 'stores' | 'refuses' | 'hangs';
  #waiting: { count: number; resolve: () => void }[] = [];

  constructor(manner: 'stores' | 'refuses' | 'hangs' = 'stores') {
    this.#manner = manner;
  }

  readonly receive: Receive = async (message) => {
    this.messages.push(message);
    for (const { count, resolve } of this.#waiting) if (this.messages.length >= count) resolve();
    if (this.#manner === 'refuses') throw new Error('the disk is full');
    if (this.#manner === 'hangs') await new Promise(() => {});
  };

  texts(): string[] {
    return this.messages.map((message) => message.text);
  }

  /** Resolves once so many messages have come. */
  async has(count: number): Promise<void> {
    if (this.messages.length >= count) return;
    await new Promise<void>((resolve) => {
      this.#waiting.push({ count, resolve });
    });
  }
}

async function started(platform: PlatformUnderTest): Promise<Channel> {
  const channel = platform.channel();
  await channel.start(new Inbox().receive);
  return channel;
}

async function acknowledgedSay(platform: PlatformUnderTest, text: string): Promise<void> {
  const { acknowledged } = await platform.say(text);
  assert.equal(await acknowledged, true, 'the message is acknowledged');
}

function sendText(platform: PlatformUnderTest, channel: Channel, text: string, attempt: Attempt) {
  return channel.send(platform.address, { kind: 'text', text }, attempt);
}

function firstAttempt(key: string): Attempt {
  return { key, attempt: 1, uncertain: false };
}

function assertRefusedForGood(result: Awaited<ReturnType<Channel['send']>>): void {
  assert.equal(result.type, 'failed');
  assert.ok(result.type === 'failed' && result.permanent, 'it is refused for good');
}

/** Long enough for an acknowledgement that comes too early to be seen; nothing depends on its length otherwise. */
function aMoment(): Promise<void> {
  return new Promise((resolve) => {
    // tidy: allow sleep — a suite for tests, not code that a host runs; a case has to give a fault time to show.
    setTimeout(resolve, 30);
  });
}
