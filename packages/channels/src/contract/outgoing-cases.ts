// The contract of a channel, second half: what the host sends can be seen, or the channel says why not.
import { type OutgoingMessage, type Showable, textLength } from '../channel.ts';
import {
  assertRefusedForGood,
  assertSent,
  type Case,
  expectVisible,
  firstAttempt,
  question,
  SOME_BYTES,
  send,
  sendForId,
  sendText,
  trickyText,
  writeAndReceive,
} from './case-support.ts';
import { fail } from './deadline.ts';
import { expectSame } from './difference.ts';

/** The cases about what the host sends. */
export const OUTGOING_CASES: readonly Case[] = [
  {
    name: 'a sent message can be seen, unchanged and once',
    check: async (platform) => {
      const channel = await platform.startedChannel();
      const text = trickyText(platform);
      assertSent('A text', await sendText(platform, channel, text, firstAttempt('k1')));
      await expectVisible(platform, [text]);
    },
  },
  {
    name: 'a sent message has the id under which it is seen',
    needs: ['message-ids'],
    check: async (platform) => {
      const channel = await platform.startedChannel();
      const id = await sendForId(platform, channel, { kind: 'text', text: 'hello' }, 'k1');
      const [message] = await platform.visibleMessages(platform.address);
      expectSame('the platformMessageId of a visible message', message?.platformMessageId, id);
    },
  },
  {
    name: 'messages appear in the order in which they were sent, also when their texts are the same',
    check: async (platform) => {
      const channel = await platform.startedChannel();
      const texts = ['one', 'two', 'two', 'three'];
      for (const [index, text] of texts.entries()) {
        assertSent('A text', await sendText(platform, channel, text, firstAttempt(`k${index}`)));
      }
      await expectVisible(platform, texts);
    },
  },
  {
    name: 'a repeated attempt shows nothing twice, and finds the same id, on a channel that knows keys or history',
    duplicates: ['key', 'history'],
    check: async (platform) => {
      const channel = await platform.startedChannel();
      const first = await sendText(platform, channel, 'once', firstAttempt('k1'));
      const again = await sendText(platform, channel, 'once', { key: 'k1', attempt: 2, uncertain: true });
      expectSame('the result of a second attempt', again, first);
      await channel.stop();
      const next = await platform.startedChannel();
      const third = await sendText(platform, next, 'once', { key: 'k1', attempt: 3, uncertain: true });
      expectSame('the result of a third attempt, after a restart', third, first);
      await expectVisible(platform, ['once']);
    },
  },
  {
    name: 'two attempts at the same time show nothing twice on a channel that knows keys',
    duplicates: ['key'],
    check: async (platform) => {
      const channel = await platform.startedChannel();
      const [first, second] = await Promise.all([
        sendText(platform, channel, 'once', firstAttempt('k1')),
        sendText(platform, channel, 'once', { key: 'k1', attempt: 2, uncertain: true }),
      ]);
      expectSame('the result of a second attempt at the same time', second, first);
      await expectVisible(platform, ['once']);
    },
  },
  {
    name: 'an uncertain attempt at a message that never arrived is sent',
    check: async (platform) => {
      const channel = await platform.startedChannel();
      const attempt = { key: 'k1', attempt: 2, uncertain: true };
      assertSent('An uncertain attempt at a text', await sendText(platform, channel, 'hello', attempt));
      await expectVisible(platform, ['hello']);
    },
  },
  {
    name: 'a text of exactly the longest length is shown whole, a longer one is refused for good and never cut',
    check: async (platform) => {
      const channel = await platform.startedChannel();
      const { max, unit } = channel.limits.text;
      const longest = 'x'.repeat(max);
      expectSame('the length of the longest text', textLength(longest, unit), max);
      assertSent('A text of the longest length', await sendText(platform, channel, longest, firstAttempt('k1')));
      const result = await sendText(platform, channel, `${longest}x`, firstAttempt('k2'));
      await expectVisible(platform, result.type === 'sent' ? [longest, `${longest}x`] : [longest]);
      assertRefusedForGood('A text that is longer than the limit', result);
    },
  },
  {
    name: 'a message without text is refused for good',
    check: async (platform) => {
      const channel = await platform.startedChannel();
      assertRefusedForGood('An empty text', await sendText(platform, channel, '', firstAttempt('k1')));
      assertRefusedForGood('A text of spaces only', await sendText(platform, channel, ' \n', firstAttempt('k2')));
      await expectVisible(platform, []);
    },
  },
  {
    name: 'a message to an address of another channel is refused for good',
    check: async (platform) => {
      const channel = await platform.startedChannel();
      const elsewhere = { ...platform.address, channelType: `not-${channel.type}` };
      const result = await channel.send(elsewhere, { kind: 'text', text: 'hello' }, firstAttempt('k1'));
      assertRefusedForGood('A message to an address of another channel', result);
      await expectVisible(platform, []);
    },
  },
  {
    name: 'an answer to a message that the platform does not know is shown all the same',
    check: async (platform) => {
      const channel = await platform.startedChannel();
      const message = { kind: 'text', text: 'hello', inReplyTo: UNKNOWN_ID } as const;
      const result = await channel.send(platform.address, message, firstAttempt('k1'));
      assertSent('An answer to an unknown message', result);
      await expectVisible(platform, ['hello']);
    },
  },
  {
    name: "the bot's own messages are not received",
    check: async (platform) => {
      const host = platform.host();
      const channel = platform.channel();
      await channel.start(host.receive);
      await sendText(platform, channel, 'from the bot', firstAttempt('k1'));
      await writeAndReceive(platform, host, 'from a person');
      expectSame('the texts that the host was given', host.texts(), ['from a person']);
    },
  },
  {
    name: 'what a channel does not show it refuses for good, with a reason, and it shows nothing',
    check: async (platform) => {
      const channel = await platform.startedChannel();
      const known = assertSent('A text', await sendText(platform, channel, 'here', firstAttempt('k0'))) ?? UNKNOWN_ID;
      const before = await platform.visibleMessages(platform.address);
      // Any regular file will do where the platform makes none: it is refused before it is opened.
      const path = platform.has('file') ? await platform.file(SOME_BYTES) : import.meta.filename;
      for (const kind of EVERY_KIND.filter((each) => !channel.shows.has(each))) {
        const result = await channel.send(platform.address, example(kind, known, path), firstAttempt(`k-${kind}`));
        assertRefusedForGood(`A message of the kind ${kind}, which the channel does not show,`, result);
      }
      expectSame('what a person sees', await platform.visibleMessages(platform.address), before);
    },
  },
  {
    name: 'files are shown with their message, whole and under their names, and once',
    needs: ['files'],
    check: async (platform) => {
      const channel = await platform.startedChannel();
      const contents = [
        { name: 'numbers.bin', bytes: SOME_BYTES },
        { name: 'é 漢.txt', bytes: Buffer.from('text') },
      ];
      const files = [];
      for (const { name, bytes } of contents) files.push({ name, path: await platform.file(bytes) });
      const message = { kind: 'text', text: 'look', files } as const;
      const id = await send(platform, channel, message, firstAttempt('k1'));
      if (channel.duplicates !== 'none') {
        await channel.send(platform.address, message, { key: 'k1', attempt: 2, uncertain: true });
      }
      const [shown, ...others] = await platform.visibleMessages(platform.address);
      if (id !== null) expectSame('the platformMessageId of the visible message', shown?.platformMessageId, id);
      expectSame('the text of the visible message', shown?.text, 'look');
      const visibleFiles = shown?.files?.map(({ name, bytes }) => ({ name, bytes }));
      expectSame('the files of the visible message', visibleFiles ?? [], contents);
      if (others.length > 0) fail('A message with files that was sent twice under one key is visible twice.');
      await send(platform, channel, { kind: 'text', text: '', files }, firstAttempt('k2'));
    },
  },
  {
    name: 'too many files, one that is too large and one that is not there are refused for good',
    needs: ['files'],
    check: async (platform) => {
      const channel = await platform.startedChannel();
      const { filesMax, fileBytesMax } = channel.limits;
      const path = await platform.file(SOME_BYTES);
      const refused = [{ what: 'A file that is not there', files: [{ name: 'gone', path: `${path}.gone` }] }];
      if (filesMax !== undefined) {
        const files = Array.from({ length: filesMax + 1 }, () => ({ name: 'a', path }));
        refused.push({ what: 'A message with more files than the limit', files });
      }
      if (fileBytesMax !== undefined) {
        const files = [{ name: 'large', path: await platform.file(new Uint8Array(fileBytesMax + 1)) }];
        refused.push({ what: 'A file that is larger than the limit', files });
      }
      for (const [index, { what, files }] of refused.entries()) {
        const message = { kind: 'text', text: 'look', files } as const;
        assertRefusedForGood(what, await channel.send(platform.address, message, firstAttempt(`k${index}`)));
      }
      await expectVisible(platform, []);
    },
  },
  {
    name: 'an edit changes the text of its message, and a repeated one changes nothing more',
    needs: ['edits'],
    check: async (platform) => {
      const channel = await platform.startedChannel();
      const id = await sendForId(platform, channel, { kind: 'text', text: 'helo' }, 'k1');
      await send(platform, channel, { kind: 'text', text: 'other' }, firstAttempt('k2'));
      const text = trickyText(platform);
      const edit = { kind: 'edit', platformMessageId: id, text } as const;
      await send(platform, channel, edit, firstAttempt('k3'));
      await send(platform, channel, edit, { key: 'k3', attempt: 2, uncertain: true });
      await expectVisible(platform, [text, 'other']);
    },
  },
  {
    name: 'a reaction is put to its message, of the bot or of a person, once',
    needs: ['reactions'],
    check: async (platform) => {
      const host = platform.host();
      const channel = platform.channel();
      await channel.start(host.receive);
      await writeAndReceive(platform, host, 'thanks');
      const id = await sendForId(platform, channel, { kind: 'text', text: 'done' }, 'k1');
      const ofPerson = host.events[0]?.platformMessageId ?? fail('The message of the person did not come.');
      for (const [index, platformMessageId] of [id, id, ofPerson].entries()) {
        const attempt = { key: index < 2 ? 'k2' : 'k3', attempt: index + 1, uncertain: index === 1 };
        await send(platform, channel, { kind: 'reaction', platformMessageId, emoji: '👍' }, attempt);
      }
      const [message] = await platform.visibleMessages(platform.address);
      const reactions = message?.reactions ?? [];
      expectSame('the reactions to a message', [...new Set(reactions)], ['👍']);
      if (channel.duplicates === 'key') expectSame('the reactions to a message', reactions, ['👍']);
    },
  },
  {
    name: 'a change to a message that the platform does not know is refused for good',
    check: async (platform) => {
      const channel = await platform.startedChannel();
      for (const message of [
        { kind: 'edit', platformMessageId: UNKNOWN_ID, text: 'x' },
        { kind: 'reaction', platformMessageId: UNKNOWN_ID, emoji: '👍' },
      ] as const) {
        const result = await channel.send(platform.address, message, firstAttempt(`k-${message.kind}`));
        assertRefusedForGood(`A message of the kind ${message.kind} for an unknown message`, result);
      }
      await expectVisible(platform, []);
    },
  },
  {
    name: 'a question is shown with its choices',
    needs: ['questions'],
    check: async (platform) => {
      const channel = await platform.startedChannel();
      await send(platform, channel, question(), firstAttempt('k1'));
      const [asked] = await platform.visibleMessages(platform.address);
      if (asked?.text.includes('What would you like?') !== true) fail('The text of a question cannot be seen.');
      expectSame('the choices of a question', asked.choices, ['Soup', 'Bread']);
    },
  },
  {
    name: 'an edit gives a question another text, and takes its choices away',
    needs: ['questions', 'edits'],
    check: async (platform) => {
      const channel = await platform.startedChannel();
      const id = await sendForId(platform, channel, question(), 'k1');
      await send(platform, channel, { kind: 'edit', platformMessageId: id, text: 'Soup it is.' }, firstAttempt('k2'));
      const [answered] = await platform.visibleMessages(platform.address);
      expectSame('the text of an edited question', answered?.text, 'Soup it is.');
      expectSame('the choices of an edited question', answered?.choices, undefined);
    },
  },
  {
    name: 'a question of the largest size that the limits allow is shown whole; one beyond any of them is refused for good',
    needs: ['questions'],
    check: async (platform) => {
      const channel = await platform.startedChannel();
      const { buttonsMax = 3, buttonText, buttonPayload, text } = channel.limits;
      const choices = Array.from({ length: buttonsMax }, (_, n) => `${n}`.padEnd(buttonText?.max ?? 8, '.'));
      const widestId = 'q'.repeat((buttonPayload?.max ?? 40) - `:${buttonsMax - 1}`.length);
      const questionId = widestId.slice(0, 100);
      await send(platform, channel, question({ questionId, choices }), firstAttempt('k1'));
      const [asked] = await platform.visibleMessages(platform.address);
      expectSame('the choices of the largest question', asked?.choices, choices);

      const beyond = [
        { what: 'A question without choices', message: question({ choices: [] }) },
        { what: 'A question that is longer than the limit', message: question({ question: 'x'.repeat(text.max) }) },
      ];
      if (channel.limits.buttonsMax !== undefined) {
        beyond.push({ what: 'A question with too many choices', message: question({ choices: [...choices, 'x'] }) });
      }
      if (buttonText !== undefined) {
        const message = question({ choices: ['x'.repeat(buttonText.max + 1)] });
        beyond.push({ what: 'A question with a choice that is longer than the limit', message });
      }
      if (buttonPayload !== undefined) {
        const message = question({ choices, questionId: `${widestId}q` });
        beyond.push({ what: 'A question whose buttons would send back more than the limit', message });
      }
      for (const [index, { what, message }] of beyond.entries()) {
        assertRefusedForGood(what, await channel.send(platform.address, message, firstAttempt(`beyond-${index}`)));
      }
      const visible = await platform.visibleMessages(platform.address);
      expectSame('the number of questions that a person sees', visible.length, 1);
    },
  },
  {
    name: 'a card is shown as it is, one that is too large is refused for good',
    needs: ['cards'],
    check: async (platform) => {
      const channel = await platform.startedChannel();
      const card = { title: 'Weather', rows: [{ day: 'Mon', high: 7 }], isFinal: true, note: null };
      await send(platform, channel, { kind: 'card', card, fallbackText: 'Monday: 7' }, firstAttempt('k1'));
      expectSame('the card', (await platform.visibleMessages(platform.address))[0]?.card, card);
      const { cardBytesMax } = channel.limits;
      if (cardBytesMax === undefined) return;
      const large = { kind: 'card', card: { text: 'x'.repeat(cardBytesMax) }, fallbackText: 'large' } as const;
      const result = await channel.send(platform.address, large, firstAttempt('k2'));
      assertRefusedForGood('A card that is larger than the limit', result);
    },
  },
  {
    name: 'a message to a thread is shown there and not in the chat',
    needs: ['threads'],
    check: async (platform) => {
      const channel = await platform.startedChannel();
      const { thread } = platform;
      const message = { kind: 'text', text: 'in the thread' } as const;
      assertSent('A message to a thread', await channel.send(thread, message, firstAttempt('k1')));
      const inThread = (await platform.visibleMessages(thread)).map(({ text }) => text);
      expectSame('the texts that a person sees in the thread', inThread, ['in the thread']);
      const inChat = (await platform.visibleMessages(platform.address)).map(({ text }) => text);
      expectSame('the texts that a person sees in the chat outside the thread', inChat, []);
    },
  },
  {
    name: 'a message to a thread is refused for good where there are none',
    without: 'threads',
    check: async (platform) => {
      const channel = await platform.startedChannel();
      const address = { ...platform.address, threadId: 'no-such' };
      const result = await channel.send(address, { kind: 'text', text: 'in the thread' }, firstAttempt('k1'));
      assertRefusedForGood('A message to a thread', result);
    },
  },
  {
    name: 'saying that the bot types shows nothing that stays, and harms nothing on a channel that is stopped',
    needs: ['typing'],
    check: async (platform) => {
      const channel = platform.channel();
      await channel.typing?.(platform.address);
      await channel.start(platform.host().receive);
      await channel.typing?.(platform.address);
      await expectVisible(platform, []);
    },
  },
  {
    name: 'a direct chat is a place of this channel',
    needs: ['direct-chats'],
    check: async (platform) => {
      const host = platform.host();
      const channel = platform.channel();
      await channel.start(host.receive);
      await writeAndReceive(platform, host, 'hello');
      const handle = host.events[0]?.sender.id ?? fail('The message of the person did not come.');
      const direct = await channel.directAddress(handle);
      if (direct === undefined) {
        fail(
          'The sender of a message has no direct chat; give one, or declare that the platform lacks "direct-chats".',
        );
      }
      expectSame('the channelType of the direct chat', direct.channelType, channel.type);
      const result = await channel.send(direct, { kind: 'text', text: 'psst' }, firstAttempt('k1'));
      assertSent('A message to the direct chat', result);
      const texts = (await platform.visibleMessages(direct)).map(({ text }) => text);
      expectSame('the texts that a person sees in the direct chat', texts, ['psst']);
    },
  },
  {
    name: 'there is no direct chat where the platform has none',
    without: 'direct-chats',
    check: async (platform) => {
      const host = platform.host();
      const channel = platform.channel();
      await channel.start(host.receive);
      await writeAndReceive(platform, host, 'hello');
      const handle = host.events[0]?.sender.id ?? fail('The message of the person did not come.');
      if ((await channel.directAddress(handle)) !== undefined) {
        fail('The platform is declared to lack "direct-chats", but the channel gave the address of one.');
      }
    },
  },
];

/** No platform has made this one. */
const UNKNOWN_ID = 'an-id-that-no-message-has';

const EVERY_KIND: readonly Showable[] = ['files', 'edit', 'reaction', 'question', 'card'];

/** A message of each kind, as small as can be. */
function example(kind: Showable, platformMessageId: string, path: string): OutgoingMessage {
  switch (kind) {
    case 'files':
      return { kind: 'text', text: 'x', files: [{ name: 'a', path }] };
    case 'edit':
      return { kind, platformMessageId, text: 'x' };
    case 'reaction':
      return { kind, platformMessageId, emoji: '👍' };
    case 'question':
      return question();
    case 'card':
      return { kind, card: { title: 'x' }, fallbackText: 'x' };
  }
}
