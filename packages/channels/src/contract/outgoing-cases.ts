// The contract of a channel, second half: what the host sends can be seen, or the channel says why not.
import assert from 'node:assert/strict';
import { type OutgoingMessage, type Showable, textLength } from '../channel.ts';
import {
  acknowledgedSay,
  assertRefusedForGood,
  type Check,
  firstAttempt,
  Inbox,
  plainFile,
  question,
  SOME_BYTES,
  sendText,
  sentId,
  shownTexts,
  started,
  TRICKY_TEXT,
} from './case-support.ts';

/** The cases about what the host sends, by what each promises. */
export const OUTGOING: Readonly<Record<string, Check>> = {
  'a sent message can be seen, unchanged and once': async (platform) => {
    const channel = await started(platform);
    const result = await sendText(platform, channel, TRICKY_TEXT, firstAttempt('k1'));
    assert.equal(result.type, 'sent');
    assert.deepEqual(await shownTexts(platform), [TRICKY_TEXT]);
  },

  'messages appear in the order in which they were sent, also when their texts are the same': async (platform) => {
    const channel = await started(platform);
    for (const [index, text] of ['one', 'two', 'two', 'three'].entries()) {
      assert.equal((await sendText(platform, channel, text, firstAttempt(`k${index}`))).type, 'sent');
    }
    assert.deepEqual(await shownTexts(platform), ['one', 'two', 'two', 'three']);
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
    assert.deepEqual(await shownTexts(platform), ['once']);
  },

  'two attempts at the same time show nothing twice on a channel that knows keys': async (platform) => {
    const channel = await started(platform);
    if (channel.duplicates !== 'key') return;
    const results = await Promise.all([
      sendText(platform, channel, 'once', firstAttempt('k1')),
      sendText(platform, channel, 'once', { key: 'k1', attempt: 2, uncertain: true }),
    ]);
    assert.deepEqual(results[0], results[1]);
    assert.deepEqual(await shownTexts(platform), ['once']);
  },

  'an uncertain attempt at a message that never arrived is sent': async (platform) => {
    const channel = await started(platform);
    const result = await sendText(platform, channel, 'hello', { key: 'k1', attempt: 2, uncertain: true });
    assert.equal(result.type, 'sent');
    assert.deepEqual(await shownTexts(platform), ['hello']);
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
    assert.deepEqual(await shownTexts(platform), [longest]);
  },

  'a message without text is refused for good': async (platform) => {
    const channel = await started(platform);
    assertRefusedForGood(await sendText(platform, channel, '', firstAttempt('k1')));
    assertRefusedForGood(await sendText(platform, channel, ' \n', firstAttempt('k2')));
    assert.deepEqual(await shownTexts(platform), []);
  },

  'a message to an address of another channel is refused for good': async (platform) => {
    const channel = await started(platform);
    const elsewhere = { ...platform.address, channelType: `not-${channel.type}` };
    const message = { kind: 'text', text: 'hello' } as const;
    assertRefusedForGood(await channel.send(elsewhere, message, firstAttempt('k1')));
    assert.deepEqual(await shownTexts(platform), []);
  },

  'an answer to a message that the platform does not know is shown all the same': async (platform) => {
    const channel = await started(platform);
    const message = { kind: 'text', text: 'hello', inReplyTo: 'nobody-ever-said-this' } as const;
    assert.equal((await channel.send(platform.address, message, firstAttempt('k1'))).type, 'sent');
    assert.deepEqual(await shownTexts(platform), ['hello']);
  },

  "the bot's own messages are not received": async (platform) => {
    const host = new Inbox();
    const channel = platform.channel();
    await channel.start(host.receive);
    await sendText(platform, channel, 'from the bot', firstAttempt('k1'));
    await acknowledgedSay(platform, 'from a person');
    assert.deepEqual(host.texts(), ['from a person']);
  },

  'what a channel does not show it refuses for good, with a reason, and it shows nothing': async (platform) => {
    const channel = await started(platform);
    const sent = await sendText(platform, channel, 'here', firstAttempt('k0'));
    const known = sent.type === 'sent' ? (sent.platformMessageId ?? 'unknown') : 'unknown';
    const before = await platform.shown(platform.address);
    const path = await platform.file(SOME_BYTES);
    const unshown = EVERY_KIND.filter((kind) => !channel.shows.has(kind));
    for (const kind of unshown) {
      const message = example(kind, known, path);
      assertRefusedForGood(await channel.send(platform.address, message, firstAttempt(`k-${kind}`)));
    }
    assert.deepEqual(await platform.shown(platform.address), before);
  },

  'files are shown with their message, whole and under their names, and once': async (platform) => {
    const channel = await started(platform);
    if (!channel.shows.has('files')) return;
    const files = [
      { name: 'numbers.bin', path: await platform.file(SOME_BYTES) },
      { name: 'é 漢.txt', path: await platform.file(Buffer.from('text')) },
    ];
    const id = await sentId(platform, channel, { kind: 'text', text: 'look', files }, 'k1');
    const again = { key: 'k1', attempt: 2, uncertain: true };
    if (channel.duplicates !== 'none') {
      await channel.send(platform.address, { kind: 'text', text: 'look', files }, again);
    }
    const [message, ...others] = await platform.shown(platform.address);
    assert.equal(message?.platformMessageId, id);
    assert.equal(message.text, 'look');
    assert.deepEqual(message.files?.map(plainFile), [
      plainFile({ name: 'numbers.bin', bytes: SOME_BYTES }),
      plainFile({ name: 'é 漢.txt', bytes: Buffer.from('text') }),
    ]);
    assert.deepEqual(others, []);
    await sentId(platform, channel, { kind: 'text', text: '', files }, 'k2');
  },

  'too many files, one that is too large and one that is not there are refused for good': async (platform) => {
    const channel = await started(platform);
    if (!channel.shows.has('files')) return;
    const { filesMax, fileBytesMax } = channel.limits;
    const path = await platform.file(SOME_BYTES);
    const refusedFiles = [[{ name: 'gone', path: `${path}.gone` }]];
    if (filesMax !== undefined) refusedFiles.push(Array.from({ length: filesMax + 1 }, () => ({ name: 'a', path })));
    if (fileBytesMax !== undefined) {
      refusedFiles.push([{ name: 'large', path: await platform.file(new Uint8Array(fileBytesMax + 1)) }]);
    }
    for (const [index, files] of refusedFiles.entries()) {
      const message = { kind: 'text', text: 'look', files } as const;
      assertRefusedForGood(await channel.send(platform.address, message, firstAttempt(`k${index}`)));
    }
    assert.deepEqual(await platform.shown(platform.address), []);
  },

  'an edit changes the text of its message, and a repeated one changes nothing more': async (platform) => {
    const channel = await started(platform);
    if (!channel.shows.has('edit')) return;
    const id = await sentId(platform, channel, { kind: 'text', text: 'helo' }, 'k1');
    await sentId(platform, channel, { kind: 'text', text: 'other' }, 'k2');
    const edit = { kind: 'edit', platformMessageId: id, text: TRICKY_TEXT } as const;
    assert.equal((await channel.send(platform.address, edit, firstAttempt('k3'))).type, 'sent');
    const again = { key: 'k3', attempt: 2, uncertain: true };
    assert.equal((await channel.send(platform.address, edit, again)).type, 'sent');
    assert.deepEqual(await shownTexts(platform), [TRICKY_TEXT, 'other']);
  },

  'a reaction is put to its message, of the bot or of a person, once': async (platform) => {
    const host = new Inbox();
    const channel = platform.channel();
    await channel.start(host.receive);
    if (!channel.shows.has('reaction')) return;
    await acknowledgedSay(platform, 'thanks');
    const id = await sentId(platform, channel, { kind: 'text', text: 'done' }, 'k1');
    const ofPerson = host.events[0]?.platformMessageId ?? assert.fail('the message came');
    for (const [index, platformMessageId] of [id, id, ofPerson].entries()) {
      const attempt = { key: index < 2 ? 'k2' : 'k3', attempt: index + 1, uncertain: index === 1 };
      const reaction = { kind: 'reaction', platformMessageId, emoji: '👍' } as const;
      assert.equal((await channel.send(platform.address, reaction, attempt)).type, 'sent');
    }
    const [message] = await platform.shown(platform.address);
    assert.equal(new Set(message?.reactions).size, 1);
    if (channel.duplicates === 'key') assert.deepEqual(message?.reactions, ['👍']);
  },

  'a change to a message that the platform does not know is refused for good': async (platform) => {
    const channel = await started(platform);
    const unknown = 'nobody-ever-said-this';
    for (const message of [
      { kind: 'edit', platformMessageId: unknown, text: 'x' },
      { kind: 'reaction', platformMessageId: unknown, emoji: '👍' },
    ] as const) {
      assertRefusedForGood(await channel.send(platform.address, message, firstAttempt(`k-${message.kind}`)));
    }
    assert.deepEqual(await shownTexts(platform), []);
  },

  'a question is shown with its choices, and an edit takes them away': async (platform) => {
    const channel = await started(platform);
    if (!channel.shows.has('question')) return;
    const id = await sentId(platform, channel, question(), 'k1');
    const [asked] = await platform.shown(platform.address);
    assert.ok(asked !== undefined && asked.text.includes('What would you like?'));
    assert.deepEqual(asked.choices, ['Soup', 'Bread']);
    if (!channel.shows.has('edit')) return;
    await sentId(platform, channel, { kind: 'edit', platformMessageId: id, text: 'Soup it is.' }, 'k2');
    const [answered] = await platform.shown(platform.address);
    assert.equal(answered?.text, 'Soup it is.');
    assert.equal(answered.choices, undefined);
  },

  'a question of the largest size that the limits allow is shown whole; one beyond any of them is refused for good':
    async (platform) => {
      const channel = await started(platform);
      if (!channel.shows.has('question')) return;
      const { buttonsMax = 3, buttonText, buttonPayload, text } = channel.limits;
      const choices = Array.from({ length: buttonsMax }, (_, n) => `${n}`.padEnd(buttonText?.max ?? 8, '.'));
      const widestId = 'q'.repeat((buttonPayload?.max ?? 40) - `:${buttonsMax - 1}`.length);
      const questionId = widestId.slice(0, 100);
      await sentId(platform, channel, question({ questionId, choices }), 'k1');
      assert.deepEqual((await platform.shown(platform.address))[0]?.choices, choices);

      const beyond = [question({ choices: [] }), question({ question: 'x'.repeat(text.max) })];
      if (channel.limits.buttonsMax !== undefined) beyond.push(question({ choices: [...choices, 'x'] }));
      if (buttonText !== undefined) beyond.push(question({ choices: ['x'.repeat(buttonText.max + 1)] }));
      if (buttonPayload !== undefined) beyond.push(question({ choices, questionId: `${widestId}q` }));
      for (const [index, message] of beyond.entries()) {
        assertRefusedForGood(await channel.send(platform.address, message, firstAttempt(`beyond-${index}`)));
      }
      assert.equal((await platform.shown(platform.address)).length, 1);
    },

  'a card is shown as it is, one that is too large is refused for good': async (platform) => {
    const channel = await started(platform);
    if (!channel.shows.has('card')) return;
    const card = { title: 'Weather', rows: [{ day: 'Mon', high: 7 }], isFinal: true, note: null };
    await sentId(platform, channel, { kind: 'card', card, fallbackText: 'Monday: 7' }, 'k1');
    assert.deepEqual((await platform.shown(platform.address))[0]?.card, card);
    const { cardBytesMax } = channel.limits;
    if (cardBytesMax === undefined) return;
    const large = { kind: 'card', card: { text: 'x'.repeat(cardBytesMax) }, fallbackText: 'large' } as const;
    assertRefusedForGood(await channel.send(platform.address, large, firstAttempt('k2')));
  },

  'a message to a thread is shown there and not in the chat, where there are threads; else it is refused for good':
    async (platform) => {
      const channel = await started(platform);
      const { address, thread } = platform;
      const message = { kind: 'text', text: 'in the thread' } as const;
      if (thread === undefined) {
        assertRefusedForGood(await channel.send({ ...address, threadId: 'no-such' }, message, firstAttempt('k1')));
        return;
      }
      assert.equal((await channel.send(thread, message, firstAttempt('k1'))).type, 'sent');
      assert.deepEqual(
        (await platform.shown(thread)).map(({ text }) => text),
        ['in the thread'],
      );
      assert.deepEqual(await shownTexts(platform), []);
    },

  'saying that the bot types shows nothing that stays, and harms nothing on a channel that is stopped': async (
    platform,
  ) => {
    const channel = platform.channel();
    if (channel.typing === undefined) return;
    await channel.typing(platform.address);
    await channel.start(new Inbox().receive);
    await channel.typing(platform.address);
    assert.deepEqual(await platform.shown(platform.address), []);
  },

  'a direct chat, where there is one, is a place of this channel': async (platform) => {
    const host = new Inbox();
    const channel = platform.channel();
    await channel.start(host.receive);
    await acknowledgedSay(platform, 'hello');
    const handle = host.events[0]?.sender.id ?? assert.fail('the message came');
    const direct = await channel.directAddress(handle);
    if (direct === undefined) return;
    assert.equal(direct.channelType, channel.type);
    assert.equal((await channel.send(direct, { kind: 'text', text: 'psst' }, firstAttempt('k1'))).type, 'sent');
    assert.deepEqual(
      (await platform.shown(direct)).map(({ text }) => text),
      ['psst'],
    );
  },
};

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
