import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Address, InboundEntry, OutboundMessage } from '@nanoclaw/session-db';
import { messageFiles } from '@nanoclaw/session-db/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { inboundId, platformIdOf } from '../src/session/received.ts';
import type { SessionHandle } from '../src/session/sessions.ts';
import { asHost } from './outbound-world.ts';
import { at, by, file, type Ground, message, openGround, userOf, World } from './people-world.ts';

const RETRY = { triesMax: 5, backoffBaseMs: 1, backoffMaxMs: 1 };

let ground: Ground & Disposable;
let world: World;

beforeEach(async () => {
  ground = openGround();
  world = await World.open(ground);
});

afterEach(async () => {
  await world[Symbol.asyncDispose]();
  ground[Symbol.dispose]();
});

function entries(session: SessionHandle | undefined): InboundEntry[] {
  return session?.files.history({ limit: 100 }).entries.filter((entry) => entry.type === 'in') ?? [];
}

/** The agent has said something in a chat, and its platform calls that so. */
function answerIn(session: SessionHandle | undefined, address: Address, platformMessageId: string): void {
  const own: OutboundMessage = {
    id: 'run/1',
    seq: 3,
    runId: 'run',
    kind: 'chat',
    timestamp: 0,
    deliverAfter: null,
    address: null,
    inReplyTo: null,
    content: { text: 'mine' },
  };
  if (session === undefined) throw new Error('There is no session.');
  asHost(session, ({ deliveries }) => {
    deliveries.accept([{ message: own, address }], 3, 0);
    const [attempt] = deliveries.begin(deliveries.due(0, 1), 0, RETRY);
    if (attempt === undefined) throw new Error('nothing was due');
    deliveries.record(attempt, { to: 'delivered', platformMessageId }, 0);
  });
}

async function wiredRoom() {
  const agent = await world.agent();
  const chat = await world.chat();
  await world.wire(chat, agent);
  return { agent, chat };
}

describe('a received message', () => {
  it('is on disk and has woken its session when the platform hears that it was taken (failure 31)', async () => {
    await wiredRoom();
    expect(await ground.platform.say(message())).toBe('acknowledged');
    const [session] = await world.handles();
    expect(session?.files.dueCount(ground.clock.now)).toBe(1);
    expect(world.woken).toEqual([session?.id]);
    expect(session?.files.routing()).toMatchObject({
      replyTo: at('room'),
      destinations: [{ channelType: 'memory', platformId: 'room' }],
    });
  });

  it('is one message when its platform sends it twice, even under another name (failure 30)', async () => {
    await wiredRoom();
    await ground.platform.say(message());
    expect(await ground.platform.say(message({ sender: { id: 'ann', name: 'Anna' } }))).toBe('acknowledged');
    expect(await world.inboxes()).toEqual(['memory:room:p1: hello']);
  });

  it('is one message when it comes again while it is still being taken', async () => {
    await wiredRoom();
    let readers = 0;
    const counted = {
      name: 'a.txt',
      bytes: async function* () {
        readers += 1;
        yield Buffer.from('whole');
      },
    };
    const same = message({ files: [counted] });
    await Promise.all([world.people.receive(same), world.people.receive(same)]);
    expect(await world.inboxes()).toEqual(['memory:room:p1: hello']);
    expect(readers).toBe(1);
  });

  it('keeps its own id when chats and threads of one session number theirs alike (failure 30)', async () => {
    const agent = await world.agent();
    for (const name of ['room', 'hall'])
      await world.wire(await world.chat(name), agent, { sessionMode: 'agent-shared' });
    await world.people.receive(message({ text: 'one' }));
    await world.people.receive(message({ text: 'two', address: at('hall') }));
    await world.people.receive(message({ text: 'three', address: at('room', 't') }));
    expect(await world.inboxes()).toEqual(['memory:room:p1: one', 'memory:hall:p1: two', 'memory:room#t:p1: three']);
  });

  it("that is the agent's own, given back by its platform, is not read as input (failure 34)", async () => {
    await wiredRoom();
    await world.people.receive(message());
    const [session] = await world.handles();
    answerIn(session, at('room'), 'bot-7');
    await world.people.receive(message({ platformMessageId: 'bot-7', text: 'mine' }));
    await world.people.receive(message({ platformMessageId: 'p2', text: 'mine' }));
    expect(await world.inboxes()).toEqual(['memory:room:p1: hello', 'run/1', 'memory:room:p2: mine']);
    expect(world.dropped).toEqual(['own-message']);
  });

  it("is read when its own chat calls it as another one calls a message of the agent's (failure 34)", async () => {
    const agent = await world.agent();
    for (const name of ['room', 'hall'])
      await world.wire(await world.chat(name), agent, { sessionMode: 'agent-shared' });
    await world.people.receive(message());
    const [session] = await world.handles();
    answerIn(session, at('room'), '7');
    await world.people.receive(message({ platformMessageId: '7', text: 'theirs', address: at('hall') }));
    expect(await world.inboxes()).toContain('memory:hall:7: theirs');
    expect(world.dropped).toEqual([]);
  });

  it('has an id from which the platform finds its own again, and only for its own address', () => {
    const address = at('room', 'a:b');
    expect(platformIdOf(address, inboundId(address, 'c:d'))).toBe('c:d');
    expect(platformIdOf(at('room'), inboundId(address, 'c:d'))).toBeUndefined();
    expect(inboundId(at('a:b'), 'c')).not.toBe(inboundId(at('a'), 'b:c'));
    expect(inboundId(address, 'x'.repeat(1_000)).length).toBeLessThanOrEqual(300);
  });

  it.each([
    ['a handle that can be no user', message({ sender: by('') })],
    ['a chat without an id', message({ address: at('') })],
    ['a thread that is longer than can be kept', message({ address: at('room', 't'.repeat(501)) })],
    ['no id of its own', message({ platformMessageId: '' })],
  ])('is let go for good with %s, because it would be refused each time it came', async (_, odd) => {
    await wiredRoom();
    expect(await ground.platform.say(odd)).toBe('acknowledged');
    expect(world.dropped).toEqual(['malformed']);
    expect(await world.inboxes()).toEqual([]);
  });
});

describe('what the agent reads of it', () => {
  it('has the text, the sender, the quote and the files, which are on disk before the message', async () => {
    await wiredRoom();
    const quote = { sender: 'Bob', text: 'earlier' };
    await world.people.receive(message({ quote, files: [file('../notes.txt', 'inside', 'text/plain')] }));
    const [session] = await world.handles();
    const [entry] = entries(session);
    expect(entry).toMatchObject({
      kind: 'chat',
      content: {
        text: 'hello',
        sender: { id: 'ann', name: 'Ann' },
        replyTo: quote,
        attachments: [{ name: 'notes.txt', mimeType: 'text/plain' }],
      },
    });
    const stored = messageFiles(session?.folder.inbound.files ?? '', 'memory:room:p1');
    expect(readFileSync(join(stored, 'notes.txt'), 'utf8')).toBe('inside');
  });

  it('says which files were refused, and why', async () => {
    await wiredRoom();
    const files = Array.from({ length: 33 }, (_, index) => file(`${index}.txt`, 'x'));
    await world.people.receive(message({ text: '', files }));
    const [entry] = entries((await world.handles())[0]);
    expect(entry?.content['attachments']).toHaveLength(32);
    expect(entry?.content['text']).toBe('[The file "32.txt" was not accepted: A message brings at most 32 files.]');
  });

  it('is an event for an event, with what came beside it around the payload', async () => {
    await wiredRoom();
    const event = { source: 'git', event: 'push', payload: { ref: 'main' } };
    await world.people.receive(message({ text: '', event }));
    await world.people.receive(message({ platformMessageId: 'p2', text: '/clear', event }));
    expect(entries((await world.handles())[0]).map(({ kind, content }) => [kind, content['payload']])).toEqual([
      ['webhook', { ref: 'main' }],
      ['webhook', { text: '/clear', files: [], payload: { ref: 'main' } }],
    ]);
  });

  it('is sent again by the platform when its files cannot be read to the end', async () => {
    await wiredRoom();
    const broken = {
      name: 'a.txt',
      bytes: async function* () {
        yield Buffer.from('half');
        throw new Error('The connection ended.');
      },
    };
    expect(await ground.platform.say(message({ files: [broken] }))).toBe('kept');
    expect(await world.inboxes()).toEqual([]);
    expect(await ground.platform.say(message({ files: [file('a.txt', 'whole')] }))).toBe('acknowledged');
    expect(await world.inboxes()).toEqual(['memory:room:p1: hello']);
  });
});

describe('the wirings of a chat', () => {
  it('are decided each by itself: one engages, one listens, one drops', async () => {
    const chat = await world.chat();
    await world.wire(chat, await world.agent('eager'));
    await world.wire(chat, await world.agent('shy'), { engage: { mode: 'mention' }, otherwise: 'accumulate' });
    await world.wire(chat, await world.agent('deaf'), { engage: { mode: 'mention' } });
    await world.people.receive(message());
    const sessions = await world.handles();
    expect(sessions.map((session) => entries(session).map(({ trigger }) => trigger))).toEqual([['wakes'], ['context']]);
    expect(world.woken).toEqual([sessions[0]?.id]);
    expect(world.dropped).toEqual([]);
  });

  it('get the message although the session of one is broken, and the platform hears "again"', async () => {
    const chat = await world.chat();
    await world.wire(chat, await world.agent('broken'), { priority: 1 });
    await world.wire(chat, await world.agent('sound'));
    await world.people.receive(message());
    const [broken, sound] = await world.handles();
    broken?.closeFile();
    const database = broken?.folder.inbound.database ?? '';
    const whole = readFileSync(database);
    writeFileSync(database, 'this is no database, and longer than a header of one hundred bytes would be, for certain');
    const second = message({ platformMessageId: 'p2' });
    expect(await ground.platform.say(second)).toBe('kept');
    expect(entries(sound).map(({ id }) => id)).toEqual(['memory:room:p1', 'memory:room:p2']);

    rmSync(database);
    writeFileSync(database, whole);
    expect(await ground.platform.say(second)).toBe('acknowledged');
    expect(entries(broken).map(({ id }) => id)).toEqual(['memory:room:p1', 'memory:room:p2']);
    expect(entries(sound)).toHaveLength(2);
  });

  it('that are sticky stay engaged in the thread of a mention, and nowhere else', async () => {
    await world.wire(await world.chat(), await world.agent(), { engage: { mode: 'mention-sticky' } });
    const said = (id: string, threadId: string | null, isMention = false) =>
      world.people.receive(message({ platformMessageId: id, address: at('room', threadId), isMention }));
    await said('before', 't');
    await said('mention', 't', true);
    await said('after', 't');
    await said('other', 'u');
    await said('outside', null);
    expect((await world.inboxes()).map((line) => line.split(':')[2])).toEqual(['mention', 'after']);
    expect(world.dropped).toEqual(['not-engaged', 'not-engaged', 'not-engaged']);
  });

  it('leave answers where they were when they only listen, and move them to whoever asks (failure 29)', async () => {
    const agent = await world.agent();
    const shared = { sessionMode: 'agent-shared', engage: { mode: 'mention' }, otherwise: 'accumulate' } as const;
    for (const name of ['room', 'hall']) await world.wire(await world.chat(name), agent, shared);
    await world.people.receive(message({ isMention: true, address: at('room', 't') }));
    await world.people.receive(message({ address: at('hall') }));
    const [session] = await world.handles();
    expect(session?.files.routing().replyTo).toEqual(at('room', 't'));
    await world.people.receive(message({ platformMessageId: 'p2', isMention: true, address: at('hall') }));
    expect(session?.files.routing().replyTo).toEqual(at('hall'));
    expect(entries(session).map(({ address }) => address)).toEqual([at('room', 't'), at('hall'), at('hall')]);
  });
});

describe('who may speak', () => {
  it.each([
    ['the owner', 'owner', ['hello']],
    ['a global admin', 'global', ['hello']],
    ['an admin of the agent', 'scoped', ['hello']],
    ['a member', 'member', ['hello']],
    ['an admin of another agent', 'elsewhere', []],
    ['a stranger', 'stranger', []],
  ])('in a strict chat: %s', async (_, handle, heard) => {
    const agent = await world.agent();
    const other = await world.agent('other');
    await world.wire(await world.chat('room', { strangers: 'strict' }), agent);
    await world.grant('owner', { role: 'owner' });
    await world.grant('global', { role: 'admin', agentGroupId: null });
    await world.grant('scoped', { role: 'admin', agentGroupId: agent.id });
    await world.grant('elsewhere', { role: 'admin', agentGroupId: other.id });
    await world.registry.people.ensureUser(userOf('member'), 'member');
    await world.registry.people.addMember(userOf('member'), agent.id, 'host');
    await world.people.receive(message({ sender: by(handle) }));
    expect((await world.inboxes()).map((line) => line.split(': ')[1])).toEqual(heard);
  });

  it('is counted by chat and reason, and strangers who are not heard do not become users', async () => {
    await world.wire(await world.chat('room', { strangers: 'strict' }), await world.agent());
    await world.chat('secret', { denied: true });
    await world.people.receive(message());
    await world.people.receive(message({ platformMessageId: 'p2' }));
    await world.people.receive(message({ address: at('secret'), isMention: true }));
    await world.people.receive(message({ address: at('unknown') }));
    const counted = (await world.registry.dropped.list()).map(({ platformId, reason, count }) => [
      platformId,
      reason,
      count,
    ]);
    expect(counted.toSorted()).toEqual([
      ['room', 'stranger', 2],
      ['secret', 'chat-denied', 1],
      ['unknown', 'not-wired', 1],
    ]);
    expect(await world.registry.people.users()).toEqual([]);
  });

  it('is known by channel and handle, and the name follows the platform', async () => {
    await wiredRoom();
    await world.people.receive(message());
    await world.people.receive(message({ platformMessageId: 'p2', sender: { id: 'ann', name: 'Anna' } }));
    expect(await world.registry.people.users()).toMatchObject([{ id: 'memory:ann', name: 'Anna' }]);
  });
});

describe('commands', () => {
  it('of an admin go to the agent and into the audit log, once', async () => {
    await wiredRoom();
    await world.grant('owner', { role: 'owner' });
    const clear = message({ text: ' /clear ', sender: by('owner') });
    await world.people.receive(clear);
    await world.people.receive(clear);
    const [session] = await world.handles();
    expect(entries(session)).toMatchObject([{ kind: 'command', content: { text: '/clear' } }]);
    expect(session?.files.routing().replyTo).toEqual(at('room'));
    expect(await world.registry.audit.list({ limit: 10 })).toMatchObject([
      { actor: 'memory:owner', action: 'command', detail: { command: '/clear' } },
    ]);
  });

  it('that are refused are answered in the chat, and no file of a session is written for it (failure 16)', async () => {
    await wiredRoom();
    expect(await ground.platform.say(message({ text: '/clear' }))).toBe('acknowledged');
    expect(world.shown).toEqual(['room: /clear is for admins of this agent; nothing was changed.']);
    expect(await world.handles()).toEqual([]);
  });

  it('that are refused are answered later when they cannot be answered now, and once', async () => {
    const chat = await world.chat();
    for (const name of ['one', 'two']) await world.wire(chat, await world.agent(name));
    ground.platform.script({ type: 'failed', permanent: false, reason: 'busy' });
    const clear = message({ text: '/clear' });
    expect(await ground.platform.say(clear)).toBe('kept');
    expect(await ground.platform.say(clear)).toBe('acknowledged');
    expect(world.shown).toHaveLength(1);
  });

  it.each(['/clear@bot', '/clearx', '/clear now'])(
    'are exact words: %s of an admin is chat (failure 33)',
    async (text) => {
      await wiredRoom();
      await world.grant('owner', { role: 'owner' });
      await world.people.receive(message({ text, sender: by('owner') }));
      expect(entries((await world.handles())[0])).toMatchObject([{ kind: 'chat', content: { text } }]);
    },
  );

  it('that are meant for other programs are dropped without a word', async () => {
    await wiredRoom();
    await world.people.receive(message({ text: '/help' }));
    expect([await world.inboxes(), world.shown, world.dropped]).toEqual([[], [], []]);
  });

  it('to stop need no mention, and are for whoever may speak', async () => {
    const agent = await world.agent();
    await world.wire(await world.chat(), agent, { engage: { mode: 'mention' } });
    await world.wire(await world.chat('strict', { strangers: 'strict' }), agent);
    await world.wire(await world.chat('asking', { strangers: 'request_approval' }), agent);
    await world.people.receive(message({ text: '/stop' }));
    await world.people.receive(message({ text: '/stop', address: at('strict') }));
    await world.people.receive(message({ text: '/stop', address: at('asking') }));
    expect(await world.inboxes()).toEqual(['memory:room:p1: /stop']);
    expect(world.dropped).toEqual(['stranger', 'stranger']);
    expect(await world.registry.approvals.list({ limit: 10 })).toEqual([]);
  });

  it('to stop are exact words too: what only begins like one calls nobody (failure 33)', async () => {
    await world.wire(await world.chat(), await world.agent(), { engage: { mode: 'mention' } });
    for (const text of ['/stop@bot', '/stopx', '/stop the music']) await world.people.receive(message({ text }));
    expect(await world.inboxes()).toEqual([]);
    expect(world.dropped).toEqual(['not-engaged', 'not-engaged', 'not-engaged']);
  });

  it('that do not call an agent which listens are nothing to remember', async () => {
    const settings = { engage: { mode: 'mention' }, otherwise: 'accumulate' } as const;
    await world.wire(await world.chat(), await world.agent(), settings);
    await world.grant('owner', { role: 'owner' });
    await world.people.receive(message({ text: '/clear', sender: by('owner') }));
    expect(await world.inboxes()).toEqual([]);
  });
});
