// The contract of a channel, first half: what people do comes to the host, and is acknowledged once it has it.
import { type Case, question, SOME_BYTES, send, trickyText, writeAndReceive } from './case-support.ts';
import { aMoment, fail } from './deadline.ts';
import { expectSame } from './difference.ts';
import type { HostInbox } from './host-inbox.ts';
import type { UserAction, WatchedPlatform } from './watched-platform.ts';

/** The cases about what people do. */
export const INCOMING_CASES: readonly Case[] = [
  {
    name: 'a message is acknowledged only after the host has it',
    needs: ['acknowledgements'],
    check: async (platform) => {
      const given = Promise.withResolvers<void>();
      const stored = Promise.withResolvers<void>();
      let isStored = false;
      await platform.channel().start(async () => {
        given.resolve();
        await stored.promise;
        isStored = true;
      });
      const action = await platform.say({ text: 'hello' });
      const acknowledged = action.acknowledged().then((yes) => ({ yes, isStored }));
      await platform.within(Promise.race([given.promise, acknowledged]), 'The host was not given a message');
      await aMoment();
      stored.resolve();
      const outcome = await acknowledged;
      if (!outcome.yes) fail('A message that the host took was not acknowledged.');
      if (!outcome.isStored) fail('A message was acknowledged before the host had it: a crash in between loses it.');
    },
  },
  {
    name: 'a message says who wrote it, where and when, and its text is untouched',
    check: async (platform) => {
      const host = platform.host();
      const channel = platform.channel();
      await channel.start(host.receive);
      const text = trickyText(platform);
      await writeAndReceive(platform, host, text);
      const [message] = host.events;
      if (message?.kind !== 'message') fail('What came is no message.');
      expectSame('the text of the message', message.text, text);
      expectSame('the files of a message without any', message.files, []);
      expectSame('the address of the message', message.address, platform.address);
      expectSame('`channelType` of its address', message.address.channelType, channel.type);
      assertEventFields(message);
      if (message.isDirect && !message.isMention)
        fail('A direct message must be a mention: there the bot is always spoken to.');
    },
  },
  {
    name: 'messages come in the order in which they were written, each under its own id',
    check: async (platform) => {
      const host = platform.host();
      await platform.channel().start(host.receive);
      const texts = ['one', 'two', 'two', 'three'];
      for (const text of texts) await writeAndReceive(platform, host, text);
      expectSame('the texts that the host was given', host.texts(), texts);
      const ids = new Set(host.events.map((event) => event.platformMessageId));
      if (ids.size < texts.length)
        fail(`Of ${texts.length} messages some share a platformMessageId: there are ${ids.size}.`);
    },
  },
  {
    name: 'a message that the host could not take is not acknowledged, and comes again after a restart',
    needs: ['redelivery'],
    check: async (platform) => {
      const first = platform.host('refuses');
      const channel = platform.channel();
      await channel.start(first.receive);
      await assertNotTaken(first, await platform.say({ text: 'keep me' }));
      await channel.stop();
      await expectAgain(platform, first);
    },
  },
  {
    name: 'a message that the host was still working on when the channel stopped comes again',
    needs: ['redelivery'],
    check: async (platform) => {
      const first = platform.host('hangs');
      const channel = platform.channel();
      await channel.start(first.receive);
      const action = await platform.say({ text: 'keep me' });
      await first.has(1);
      await channel.stop();
      if ((await action.acknowledged()) === true) {
        fail('A message was acknowledged that the host was still working on when the channel stopped.');
      }
      await expectAgain(platform, first);
    },
  },
  {
    name: 'a message that was acknowledged does not come again',
    check: async (platform) => {
      const first = platform.host();
      const channel = platform.channel();
      await channel.start(first.receive);
      await writeAndReceive(platform, first, 'old');
      await channel.stop();
      const second = platform.host();
      await platform.channel().start(second.receive);
      await writeAndReceive(platform, second, 'new');
      expectSame('the texts that the host was given after a restart', second.texts(), ['new']);
    },
  },
  {
    name: 'a message that the host could not take does not keep others from coming',
    check: async (platform) => {
      const host = platform.host();
      await platform.channel().start(async (message) => {
        if (message.kind === 'message' && message.text === 'poison') throw new Error('cannot store this one');
        await host.receive(message);
      });
      const action = await platform.say({ text: 'poison' });
      if ((await action.acknowledged()) === true) fail('A message that the host could not take was acknowledged.');
      await writeAndReceive(platform, host, 'fine');
      expectSame('the texts that the host took', host.texts(), ['fine']);
    },
  },
  {
    name: 'a message that the platform repeats is the same one, and a host that has it is not harmed',
    needs: ['redelivery'],
    check: async (platform) => {
      const host = platform.host();
      await platform.channel().start(host.receive);
      await writeAndReceive(platform, host, 'hello');
      const action = await platform.repeat();
      if ((await action.acknowledged()) === false) fail('A message that the platform repeated was not acknowledged.');
      for (const event of host.events) expectSame('the repeated message', event, host.events[0]);
    },
  },
  {
    name: 'files come with their message, whole',
    needs: ['attachments'],
    check: async (platform) => {
      const host = platform.host();
      await platform.channel().start(host.receive);
      await writeAndReceive(platform, host, { text: 'look', files: FILES });
      assertFilesCame(host);
    },
  },
  {
    name: 'files come again, whole, with a message that the host could not take',
    needs: ['attachments', 'redelivery'],
    check: async (platform) => {
      const first = platform.host('refuses');
      const channel = platform.channel();
      await channel.start(first.receive);
      await assertNotTaken(first, await platform.say({ text: 'look', files: FILES }));
      await channel.stop();
      assertFilesCame(await expectAgain(platform, first));
    },
  },
  {
    name: 'a file needs no text',
    needs: ['attachments'],
    check: async (platform) => {
      const host = platform.host();
      await platform.channel().start(host.receive);
      await writeAndReceive(platform, host, { text: '', files: [{ name: 'a.txt', bytes: Buffer.from('a') }] });
      expectSame('the texts that the host was given', host.texts(), ['']);
    },
  },
  {
    name: 'a message in a thread says so',
    needs: ['threads'],
    check: async (platform) => {
      const host = platform.host();
      await platform.channel().start(host.receive);
      await writeAndReceive(platform, host, 'in the chat');
      await writeAndReceive(platform, host, { text: 'in the thread', at: platform.thread });
      expectSame('the address of a message in the chat', host.events[0]?.address, platform.address);
      expectSame('the address of a message in the thread', host.events[1]?.address, platform.thread);
    },
  },
  {
    name: 'in a group a message says whether the bot is spoken to, and is not direct',
    needs: ['groups'],
    check: async (platform) => {
      const { group } = platform;
      const host = platform.host();
      await platform.channel().start(host.receive);
      for (const isMention of [true, false]) {
        await writeAndReceive(platform, host, { text: 'hello', at: group, isMention });
        const event = host.events.at(-1);
        if (event?.kind !== 'message') fail('What came from the group is no message.');
        expectSame('the address of a message in the group', event.address, group);
        expectSame('`isMention` of a message in the group', event.isMention, isMention);
        expectSame('`isDirect` of a message in the group', event.isDirect, false);
      }
    },
  },
  {
    name: 'a choice says which question, which choice and who',
    needs: ['questions'],
    check: async (platform) => {
      const host = platform.host();
      const channel = platform.channel();
      await channel.start(host.receive);
      await send(platform, channel, question(), { key: 'k1', attempt: 1, uncertain: false });
      const action = await platform.choose('q-1', 1);
      if ((await action.acknowledged()) === false) fail('A choice that the host took was not acknowledged.');
      await host.has(1);
      assertChoice(platform, host);
    },
  },
  {
    name: 'a choice that the host could not take is not acknowledged, and comes again after a restart',
    needs: ['questions', 'redelivery'],
    check: async (platform) => {
      const first = platform.host('refuses');
      const channel = platform.channel();
      await channel.start(first.receive);
      await send(platform, channel, question(), { key: 'k1', attempt: 1, uncertain: false });
      await assertNotTaken(first, await platform.choose('q-1', 1));
      await channel.stop();
      assertChoice(platform, await expectAgain(platform, first));
    },
  },
];

const FILES: readonly { readonly name: string; readonly bytes: Uint8Array }[] = [
  { name: 'numbers.bin', bytes: SOME_BYTES },
  { name: 'é 漢.txt', bytes: Buffer.from('text') },
  { name: 'empty', bytes: new Uint8Array() },
];

/** The host was given what it refuses, and the platform was told that. */
async function assertNotTaken(host: HostInbox, action: UserAction): Promise<void> {
  const isAcknowledged = await action.acknowledged();
  await host.has(1);
  if (isAcknowledged === true) fail('What the host could not take was acknowledged: it is lost.');
}

/** Starts a new channel, and gives the host to which the same came again, to the last byte. */
async function expectAgain(platform: WatchedPlatform, before: HostInbox): Promise<HostInbox> {
  const host = platform.host();
  await platform.channel().start(host.receive);
  await host.has(1);
  expectSame('what came again after a restart', host.events[0], before.events[0]);
  return host;
}

function assertFilesCame(host: HostInbox): void {
  const [message] = host.events;
  if (message?.kind !== 'message') fail('What came is no message.');
  expectSame('the text of a message with files', message.text, 'look');
  const files = message.files.map(({ name, bytes }) => ({ name, bytes }));
  expectSame('the files of the message', files, FILES);
}

function assertChoice(platform: WatchedPlatform, host: HostInbox): void {
  const [chosen] = host.events;
  if (chosen?.kind !== 'choice') fail('What came is no choice.');
  expectSame('`questionId` of the choice', chosen.questionId, 'q-1');
  expectSame('the position of the choice', chosen.choice, 1);
  expectSame('the address of the choice', chosen.address, platform.address);
  assertEventFields(chosen);
}

function assertEventFields(event: HostInbox['events'][number]): void {
  if (event.platformMessageId === '') fail('The platformMessageId of what came is empty.');
  if (event.sender.id === '') fail('The id of its sender is empty.');
  if (!Number.isSafeInteger(event.timestamp))
    fail(`The timestamp must be in whole milliseconds, and is ${event.timestamp}.`);
}
