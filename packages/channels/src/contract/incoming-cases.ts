// The contract of a channel, first half: what people do comes to the host, and is acknowledged once it has it.
import assert from 'node:assert/strict';
import {
  acknowledgedSay,
  aMoment,
  type Check,
  Inbox,
  plainFile,
  question,
  SOME_BYTES,
  sentId,
  TRICKY_TEXT,
} from './case-support.ts';

/** The cases about what people do, by what each promises. */
export const INCOMING: Readonly<Record<string, Check>> = {
  'a message is acknowledged only after the host has it': async (platform) => {
    const log: string[] = [];
    const asked = Promise.withResolvers<void>();
    const stored = Promise.withResolvers<void>();
    await platform.channel().start(async () => {
      asked.resolve();
      await stored.promise;
      log.push('stored');
    });
    const { acknowledged } = await platform.say({ text: 'hello' });
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
    const [message] = host.events;
    assert.ok(message?.kind === 'message');
    assert.equal(message.text, TRICKY_TEXT);
    assert.deepEqual(message.files, []);
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
    assert.equal(new Set(host.events.map((event) => event.platformMessageId)).size, 4);
  },

  'a message that the host could not take is not acknowledged, and comes again after a restart': async (platform) => {
    const first = new Inbox('refuses');
    const channel = platform.channel();
    await channel.start(first.receive);
    const { acknowledged } = await platform.say({ text: 'keep me' });
    assert.equal(await acknowledged, false);
    await channel.stop();

    const second = new Inbox();
    await platform.channel().start(second.receive);
    await second.has(1);
    assert.deepEqual(second.events, first.events, 'it is the same message, to the last field');
  },

  'a message that the host was still working on when the channel stopped comes again': async (platform) => {
    const first = new Inbox('hangs');
    const channel = platform.channel();
    await channel.start(first.receive);
    const { acknowledged } = await platform.say({ text: 'keep me' });
    await first.has(1);
    await channel.stop();
    assert.equal(await acknowledged, false);

    const second = new Inbox();
    await platform.channel().start(second.receive);
    await second.has(1);
    assert.deepEqual(second.events, first.events, 'it is the same message, to the last field');
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
      if (message.kind === 'message' && message.text === 'poison') throw new Error('cannot store this one');
      await host.receive(message);
    });
    const { acknowledged } = await platform.say({ text: 'poison' });
    assert.equal(await acknowledged, false);
    await acknowledgedSay(platform, 'fine');
    assert.deepEqual(host.texts(), ['fine']);
  },

  'a message that the platform repeats is the same one, and a host that has it is not harmed': async (platform) => {
    const host = new Inbox();
    await platform.channel().start(host.receive);
    await acknowledgedSay(platform, 'hello');
    const { acknowledged } = await platform.repeat();
    assert.equal(await acknowledged, true);
    for (const event of host.events) assert.deepEqual(event, host.events[0]);
  },

  'files come with their message, whole, and again when the host could not take it': async (platform) => {
    const first = new Inbox('refuses');
    const channel = platform.channel();
    await channel.start(first.receive);
    const files = [
      { name: 'numbers.bin', bytes: SOME_BYTES },
      { name: 'é 漢.txt', bytes: Buffer.from('text') },
      { name: 'empty', bytes: new Uint8Array() },
    ];
    const { acknowledged } = await platform.say({ text: 'look', files });
    assert.equal(await acknowledged, false);
    await channel.stop();

    const second = new Inbox();
    await platform.channel().start(second.receive);
    await second.has(1);
    const [message] = second.events;
    assert.ok(message?.kind === 'message');
    assert.equal(message.text, 'look');
    assert.deepEqual(message.files.map(plainFile), files.map(plainFile));
    assert.deepEqual(second.events, first.events, 'it is the same message, to the last byte');
  },

  'a file needs no text': async (platform) => {
    const host = new Inbox();
    await platform.channel().start(host.receive);
    const { acknowledged } = await platform.say({ text: '', files: [{ name: 'a.txt', bytes: Buffer.from('a') }] });
    assert.equal(await acknowledged, true);
    assert.deepEqual(host.texts(), ['']);
  },

  'a message in a thread says so': async (platform) => {
    if (platform.thread === undefined) return;
    const host = new Inbox();
    await platform.channel().start(host.receive);
    await platform.say({ text: 'in the chat' }).then(({ acknowledged }) => acknowledged);
    await platform.say({ text: 'in the thread', at: platform.thread }).then(({ acknowledged }) => acknowledged);
    assert.deepEqual(
      host.events.map(({ address }) => address),
      [platform.address, platform.thread],
    );
  },

  'in a group a message says whether the bot is spoken to, and is not direct': async (platform) => {
    const { group } = platform;
    if (group === undefined) return;
    const host = new Inbox();
    await platform.channel().start(host.receive);
    for (const isMention of [true, false]) {
      const { acknowledged } = await platform.say({ text: 'hello', at: group, isMention });
      assert.equal(await acknowledged, true);
    }
    assert.deepEqual(
      host.events.map((event) => event.kind === 'message' && [event.address, event.isMention, event.isDirect]),
      [
        [group, true, false],
        [group, false, false],
      ],
    );
  },

  'a choice says which question, which choice and who, is acknowledged like a message, and comes again': async (
    platform,
  ) => {
    const first = new Inbox('refuses');
    const channel = platform.channel();
    if (!channel.shows.has('question')) return;
    await channel.start(first.receive);
    await sentId(platform, channel, question(), 'k1');
    const { acknowledged } = await platform.choose('q-1', 1);
    assert.equal(await acknowledged, false);
    await channel.stop();

    const second = new Inbox();
    await platform.channel().start(second.receive);
    await second.has(1);
    assert.deepEqual(second.events, first.events, 'it is the same choice, to the last field');
    const [chosen] = second.events;
    assert.ok(chosen?.kind === 'choice');
    assert.deepEqual([chosen.questionId, chosen.choice, chosen.address], ['q-1', 1, platform.address]);
    assert.notEqual(chosen.sender.id, '');
    assert.notEqual(chosen.platformMessageId, '');
    assert.ok(Number.isSafeInteger(chosen.timestamp), 'the timestamp is in whole milliseconds');
  },
};
