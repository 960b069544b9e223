import { existsSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { messageFiles } from '@nanoclaw/session-db/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SessionHandle } from '../src/session/sessions.ts';
import { asHost, OutboundWorld } from './outbound-world.ts';

let world: OutboundWorld;
let session: SessionHandle;
let asked: string;

async function begin(platform: ConstructorParameters<typeof Object>[0] = {}): Promise<void> {
  world = await OutboundWorld.make(platform);
  session = await world.session('nano');
  asked = await world.hear(session, 'p1');
}
beforeEach(() => begin());
afterEach(() => world[Symbol.asyncDispose]());

/** Another platform than the one that every test begins with. */
async function on(platform: Parameters<typeof OutboundWorld.make>[0]): Promise<void> {
  await world[Symbol.asyncDispose]();
  await begin(platform);
}

const texts = () => world.platform.shown.map(({ message }) => ('text' in message ? message.text : message.kind));
const errors = () => session.files.deliveries.deadLetters(10).map(({ error }) => error);

describe('where an outbound message goes', () => {
  it('is where its session answers, as an answer to the message of the person', async () => {
    world.row(session, { inReplyTo: asked, content: { text: 'hello' } });
    await world.deliver(session);
    expect(world.platform.shown).toMatchObject([
      { address: { platformId: 'nano' }, message: { kind: 'text', text: 'hello', inReplyTo: 'p1' } },
    ]);
  });

  it('is the asking chat and not the newest one, when the row names none (failure 29)', async () => {
    const other = await world.agent('other');
    await world.registry.createWiring({
      messagingGroupId: other.chat.id,
      agentGroupId: session.agentGroupId,
      engage: { mode: 'mention' },
      senderScope: 'all',
      otherwise: 'drop',
      sessionMode: 'agent-shared',
      priority: 0,
    });
    await world.refresh(session, world.address('other'));
    world.row(session, { inReplyTo: asked });
    await world.deliver(session);
    expect(world.platform.shown).toMatchObject([{ address: { platformId: 'nano' } }]);
  });

  it('is nowhere that the host has not given to this agent, whatever the row claims (failure 49)', async () => {
    world.row(session, { address: world.address('secret') });
    world.row(session, { address: { channelType: 'agent', platformId: 'id-1', threadId: session.id } });
    await world.deliver(session);
    expect(world.platform.shown).toEqual([]);
    expect(errors()).toEqual([
      'This agent may not write to memory secret: it is not among the destinations of this session.',
      'This agent may not write to agent id-1: it is not among the destinations of this session.',
    ]);
    expect(world.notices.map(({ reason }) => reason)).toEqual(errors());
  });

  it('is its own chat alone where the wiring says so, whatever else the agent is wired to (failure 74)', async () => {
    await world.session('other');
    const [wiring] = (await world.registry.wirings()).filter((one) => one.agentGroupId === session.agentGroupId);
    if (wiring === undefined) throw new Error('The session of this test is that of a wired chat.');
    const there = (await world.registry.messagingGroups()).find(({ platformId }) => platformId === 'other');
    if (there === undefined) throw new Error('The other chat is there.');
    const { id: _, createdAt: __, ...as } = wiring;
    await world.registry.createWiring({ ...as, messagingGroupId: there.id });
    for (const reach of ['all-destinations', 'own-chat'] as const) {
      await world.registry.updateWiring(wiring.id, { reach });
      await world.refresh(session);
      world.row(session, { address: world.address('other'), content: { text: reach } });
      world.row(session, { content: { text: `here, ${reach}` } });
      await world.deliver(session);
    }
    expect(texts().toSorted()).toEqual(['all-destinations', 'here, all-destinations', 'here, own-chat']);
    expect(errors()).toEqual([
      'This agent may not write to memory other: it is not among the destinations of this session.',
    ]);
  });

  it('is nowhere any more when the permission is withdrawn between two attempts', async () => {
    world.platform.script({ type: 'failed', permanent: false, reason: 'busy' });
    world.row(session, {});
    await world.deliver(session);
    asHost(session, (files) => files.setRouting({ destinations: [], replyTo: world.address('nano') }, world.now));
    world.now += 60_000;
    await world.deliver(session);
    expect(world.platform.shown).toEqual([]);
    expect(errors()).toHaveLength(1);
  });

  it.each([
    ['a channel that this host has not', { address: { channelType: 'smoke', platformId: 'x', threadId: null } }],
    ['nothing to show', { content: { text: 7 } }],
    ['an operation that nobody knows', { content: { operation: 'dance', text: 'x' } }],
    ['an edit of nothing', { content: { operation: 'edit', messageId: 'one', text: 'x' } }],
    ['a card that is none', { content: { operation: 'card', card: 'x' } }],
  ])('is a dead letter with a reason for %s, and never counts as delivered (failure 37)', async (_, row) => {
    world.row(session, row);
    await world.deliver(session);
    expect(world.platform.shown).toEqual([]);
    expect(errors()).toHaveLength(1);
  });

  it('waits while its channel is offline (failure 37)', async () => {
    await world.channel.stop();
    world.row(session, {});
    await world.deliver(session);
    const due = asHost(session, (files) => files.deliveries.due(world.now + 5_000, 10));
    expect(due).toMatchObject([{ attempts: 0, tries: 0 }]);
  });

  it('holds back what is too much at once, and loses nothing of it', async () => {
    for (let i = 0; i < 260; i += 1) world.row(session, { content: { text: `m${i}` } });
    for (let i = 0; i < 4; i += 1) await world.deliver(session);
    expect(world.platform.shown).toHaveLength(240);
    world.now += 60_000;
    await world.deliver(session);
    expect(texts()).toEqual(Array.from({ length: 260 }, (_, i) => `m${i}`));
  });
});

describe('a long text', () => {
  it('is split and never cut, its files with the last part (failure 41)', async () => {
    await on({ limits: { text: { max: 20, unit: 'code-points' }, filesMax: 2 } });
    const { id } = world.row(session, { content: { text: 'one two three four five six seven', files: ['a.txt'] } });
    world.files(session, id, { 'a.txt': 'A' });
    await world.deliver(session);
    expect(texts().join(' ')).toBe('one two three four five six seven');
    expect(world.platform.shown.map(({ files }) => files.length)).toEqual([
      ...texts()
        .slice(1)
        .map(() => 0),
      1,
    ]);
  });
});

describe('a message with files', () => {
  it('brings copies of its files, which are removed on both sides once it is delivered', async () => {
    const { id } = world.row(session, { content: { text: 'look', files: ['a.txt', 'b.txt'] } });
    world.files(session, id, { 'a.txt': 'A', 'b.txt': 'B' });
    await world.deliver(session);
    expect(world.platform.shown[0]?.files.map(({ name, bytes }) => `${name}=${bytes}`)).toEqual(['a.txt=A', 'b.txt=B']);
    expect(existsSync(messageFiles(session.folder.outbound.files, id))).toBe(false);
    expect(existsSync(messageFiles(join(session.folder.host, 'spool'), id))).toBe(false);
  });

  it('is sent once when the clean-up fails after it, and is cleaned up later (failure 36)', async () => {
    const { id } = world.row(session, { content: { text: 'look', files: ['a.txt'] } });
    world.files(session, id, { 'a.txt': 'A' });
    world.cleanUpError = new Error('the disk is away');
    const first = await world.deliver(session);
    expect(first.troubles).toHaveLength(1);
    expect(existsSync(messageFiles(session.folder.outbound.files, id))).toBe(true);
    world.now += 120_000;
    await world.deliver(session);
    expect(world.platform.shown).toHaveLength(1);
    expect(existsSync(messageFiles(session.folder.outbound.files, id))).toBe(false);
  });

  it('says in its text which files could not go with it, and leaks nothing of the host (failure 47)', async () => {
    const { id } = world.row(session, {
      content: { text: 'look', files: ['link', '../../inbound/inbound.db', 'a.txt', 'gone'] },
    });
    world.files(session, id, { 'a.txt': 'A' });
    symlinkSync('/etc/hostname', join(messageFiles(session.folder.outbound.files, id), 'link'));
    await world.deliver(session);
    expect(world.platform.shown[0]?.files.map(({ name }) => name)).toEqual(['a.txt']);
    expect(texts()[0]).toContain('The file ../../inbound/inbound.db was not sent: It is not a plain file name.');
    expect(texts()[0]).toContain('The file gone was not sent: There is no such file.');
    expect(texts()[0]?.split('\n')).toHaveLength(4);
  });

  it('says that a file is too big for its channel', async () => {
    await on({ limits: { text: { max: 4_000, unit: 'utf16-units' }, fileBytesMax: 3 } });
    const { id } = world.row(session, { content: { text: 'look', files: ['a.txt'] } });
    world.files(session, id, { 'a.txt': 'more' });
    await world.deliver(session);
    expect(texts()).toEqual(['look\n(The file a.txt was not sent: It has 4 bytes, and its channel allows at most 3.)']);
  });

  it('names its files where the channel shows none, and removes them all the same', async () => {
    await on({ shows: [] });
    const { id } = world.row(session, { content: { files: ['a.txt'] } });
    world.files(session, id, { 'a.txt': 'A' });
    await world.deliver(session);
    expect(texts()).toEqual(['(A file that cannot be shown here: a.txt)']);
    expect(existsSync(messageFiles(session.folder.outbound.files, id))).toBe(false);
  });

  it('leaves the files of other messages alone, whatever id its row has (failure 47)', async () => {
    const kept = world.row(session, { id: 'kept', address: world.address('secret'), content: { files: ['k.txt'] } });
    world.files(session, kept.id, { 'k.txt': 'K' });
    world.row(session, { id: '..', content: { text: 'x', files: ['a'] } });
    world.row(session, { id: 'x/../kept', content: { text: 'x', files: ['a'] } });
    await world.deliver(session);
    expect(existsSync(messageFiles(session.folder.outbound.files, 'kept'))).toBe(true);
    expect(existsSync(session.folder.outbound.database)).toBe(true);
  });
});

describe('an edit or a reaction', () => {
  it('goes to the earlier message by the id that its platform gave it', async () => {
    const first = world.row(session, { inReplyTo: asked });
    world.row(session, { content: { operation: 'edit', messageId: first.seq, text: 'better' } });
    world.row(session, { content: { operation: 'reaction', messageId: 2, emoji: '👍' } });
    for (let i = 0; i < 2; i += 1) await world.deliver(session);
    expect(world.platform.shown.map(({ message }) => message)).toMatchObject([
      { kind: 'text' },
      { kind: 'edit', platformMessageId: 'memory:1', text: 'better' },
      { kind: 'reaction', platformMessageId: 'p1', emoji: '👍' },
    ]);
  });

  it('goes to the chat of that message, whatever place the row claims', async () => {
    const other = await world.agent('other');
    await world.registry.destinations.create({
      agentGroupId: session.agentGroupId,
      name: 'other',
      target: { type: 'channel', messagingGroupId: other.chat.id },
    });
    await world.refresh(session);
    const first = world.row(session, {});
    await world.deliver(session);
    world.row(session, {
      address: world.address('other'),
      content: { operation: 'edit', messageId: first.seq, text: 'x' },
    });
    await world.deliver(session);
    expect(world.platform.shown[1]).toMatchObject({ address: { platformId: 'nano' }, message: { kind: 'edit' } });
  });

  it('is refused for a message that is not there, and for an edit of what a person wrote', async () => {
    world.row(session, { content: { operation: 'reaction', messageId: 400, emoji: 'x' } });
    world.row(session, { content: { operation: 'edit', messageId: 2, text: 'x' } });
    await world.deliver(session);
    expect(world.platform.shown).toEqual([]);
    expect(errors()).toEqual([
      'There is no message 400.',
      "Message 2 is a person's, and only an agent's own messages can be edited.",
    ]);
  });

  it('is a text where the channel shows neither', async () => {
    await on({ shows: [] });
    const first = world.row(session, {});
    world.row(session, { content: { operation: 'edit', messageId: first.seq, text: 'better' } });
    world.row(session, { content: { operation: 'reaction', messageId: 2, emoji: '👍' } });
    await world.deliver(session);
    expect(texts()).toEqual(['hi', `(message ${first.seq}, corrected) better`, '👍 (to message 2)']);
  });
});

describe('a question', () => {
  const QUESTION = { operation: 'ask_question', title: 'Drink', question: 'Which?', options: ['tea', 'coffee'] };

  it('is open before it is shown, with the choices as buttons', async () => {
    world.row(session, { inReplyTo: asked, content: QUESTION });
    await world.deliver(session);
    const [question] = await world.registry.questions.list({ state: 'open', now: world.now, limit: 10 });
    expect(question).toMatchObject({ options: ['tea', 'coffee'], askedOf: 'memory:anna' });
    expect(world.platform.shown).toMatchObject([
      { message: { kind: 'question', questionId: question?.id, choices: ['tea', 'coffee'], inReplyTo: 'p1' } },
    ]);
  });

  it('is lines with numbers where the channel has no buttons, and open all the same', async () => {
    await on({ shows: [] });
    world.row(session, { content: QUESTION });
    await world.deliver(session);
    expect(texts()).toEqual(['Drink\nWhich?\n  1. tea\n  2. coffee']);
    expect(await world.registry.questions.list({ state: 'open', now: world.now, limit: 10 })).toHaveLength(1);
  });

  it.each([
    ['its buttons cannot send back what they must', { buttonPayload: { max: 10, unit: 'utf8-bytes' } } as const],
    ['it has more choices than the channel has buttons', { buttonsMax: 1 } as const],
  ])('is lines with numbers when %s (failure 41)', async (_, more) => {
    await on({ limits: { text: { max: 4_000, unit: 'utf16-units' }, ...more } });
    world.row(session, { content: QUESTION });
    await world.deliver(session);
    expect(texts()).toEqual(['Drink\nWhich?\n  1. tea\n  2. coffee']);
  });

  it('that is one too many is a result for the tool that waits, at once', async () => {
    const rows = Array.from({ length: 6 }, () => world.row(session, { inReplyTo: asked, content: QUESTION }));
    await world.deliver(session);
    expect(world.platform.shown).toHaveLength(5);
    expect(session.files.received(`result/${rows[5]?.id}`)).toMatchObject({
      kind: 'system',
      inReplyTo: rows[5]?.id,
      content: { status: 'error', error: expect.stringContaining('5 questions are open already') },
    });
  });

  it('is one question, however often it is sent', async () => {
    world.platform.script({ type: 'answer-lost' });
    world.row(session, { content: QUESTION });
    await world.deliver(session);
    world.now += 60_000;
    await world.deliver(session);
    expect(await world.registry.questions.list({ limit: 10 })).toHaveLength(1);
    expect(world.platform.shown).toHaveLength(1);
  });
});

describe('a card', () => {
  const CARD = { operation: 'card', card: { title: 'x' }, fallbackText: 'a card' };

  it('is a card where the channel has them, and its text elsewhere', async () => {
    world.row(session, { content: CARD });
    await world.deliver(session);
    expect(world.platform.shown).toMatchObject([{ message: { kind: 'card', card: { title: 'x' } } }]);
    await on({ shows: [] });
    world.row(session, { content: CARD });
    await world.deliver(session);
    expect(texts()).toEqual(['a card']);
  });
});
