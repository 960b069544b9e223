/** What a container or a stranger tries in order to get what only a person may allow. */
import type { JsonObject } from '@nanoclaw/session-db';
import { oneLine } from '@nanoclaw/session-db/text';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SessionHandle } from '../src/session/sessions.ts';
import { asHost, OutboundWorld } from './outbound-world.ts';
import { at, by, type Ground, message, openGround, World } from './people-world.ts';

describe('an agent that wants its own wish approved (failure 51)', () => {
  let ground: Ground & Disposable;
  let world: World;
  let session: SessionHandle;

  beforeEach(async () => {
    ground = openGround({ directAddress: (handle) => at(`dm-${handle}`) });
    world = await World.open(ground);
    await world.grant('owner', { role: 'owner' });
    const chat = await world.chat('dm-owner', { kind: 'direct' });
    await world.wire(chat, await world.agent());
    await say('p1', 'hello');
    const [made] = await world.handles();
    if (made === undefined) throw new Error('There is no session.');
    session = made;
  });

  afterEach(async () => {
    await world[Symbol.asyncDispose]();
    ground[Symbol.dispose]();
  });

  function say(platformMessageId: string, text: string, handle = 'owner') {
    const where = { address: at('dm-owner'), sender: by(handle), isDirect: true, timestamp: ground.clock.now };
    return ground.platform.say(message({ platformMessageId, text, ...where }));
  }

  async function wish(number: number, of = session): Promise<'open' | 'refused'> {
    const asked = await world.people.approvals.request({
      kind: 'action',
      subject: `${of.id}/row-${number}`,
      agentGroupId: of.agentGroupId,
      messagingGroupId: null,
      sessionId: of.id,
      requestedBy: `agent:${of.agentGroupId}`,
      summary: 'It asks for something.',
      payload: { action: 'install_packages' },
    });
    return asked.type;
  }

  function question(options: readonly string[]) {
    const content = { operation: 'ask_question', question: 'Which drink?', options } as const;
    const row = { id: 'run/1', seq: 3, runId: 'run', kind: 'chat', timestamp: 0, deliverAfter: null } as const;
    const asked = { ...row, address: null, inReplyTo: 'memory:dm-owner:p1', content };
    return world.people.questions.open(session, asked, at('dm-owner'));
  }

  async function outcomes() {
    return (await world.registry.approvals.list({ limit: 10 })).map(({ outcome }) => outcome?.type ?? 'open');
  }

  it.each([
    ['asks a question with numbers', ['Tea', 'Coffee'], '1', 'Tea'],
    ['asks a question in the words of the card', ['Approve', 'Deny'], 'Approve', 'Approve'],
    ['only says which number to write', undefined, '1', '1'],
  ])('and %s in the same chat gets the answer and no approval', async (_, options, said, heard) => {
    await wish(1);
    if (options !== undefined) await question(options);
    await say('p2', said);
    expect(await outcomes()).toEqual(['open']);
    expect(await world.inboxes()).toEqual(['memory:dm-owner:p1: hello', `memory:dm-owner:p2: ${heard}`]);
  });

  it('is approved by the words of the card, when nobody else asks with them', async () => {
    await wish(1);
    await say('p2', 'Approve');
    expect(await outcomes()).toEqual(['approved']);
  });

  it('is approved by no word that two of its wishes wait for: nobody knows which one was meant', async () => {
    await wish(1);
    await wish(2);
    await say('p2', 'Approve');
    expect(await outcomes()).toEqual(['open', 'open']);
    expect(await world.inboxes()).toContain('memory:dm-owner:p2: Approve');
  });

  it('is approved by nobody else who writes where the owner was asked, though they might decide', async () => {
    await world.grant('second', { role: 'owner' });
    await wish(1);
    await say('p2', 'Approve', 'second');
    expect(await outcomes()).toEqual(['open']);
    expect(await world.inboxes()).toContain('memory:dm-owner:p2: Approve');
  });

  it('leaves the others somebody to ask, however much it wishes (failure 52)', async () => {
    const mine = [];
    for (let number = 1; number <= 12; number += 1) mine.push(await wish(number));
    expect(mine.filter((type) => type === 'open')).toHaveLength(10);
    expect(await wish(1), 'what waits already').toBe('open');
    const other = await world.agent('other');
    const another = await world.sessions.forKey({ scope: 'agent', agentGroupId: other.id });
    expect(await wish(1, another)).toBe('open');
  });
});

describe('a name on a card', () => {
  it.each([
    ['turned around', 'Bob\u202e(rotarepo)', 'Bob (rotarepo)'],
    ['marked as Arabic', 'Bob\u061c1', 'Bob 1'],
    ['with a word that is not seen', 'Own\u200ber\u2060\u00ad', 'Own er'],
    ['written in tags', 'Bob\u{e0041}\u{e0042}', 'Bob'],
    ['on several lines', 'Bob\r\n\u2028\u0085Approved', 'Bob Approved'],
    ['that drives a terminal', 'Bob\u001b[2J\u009b1m', 'Bob [2J 1m'],
    ['that is half a character', 'Bob\ud83d', 'Bob\ufffd'],
    ['of a script that joins its letters', 'نی\u200cا', 'نی\u200cا'],
  ])('%s is one plain line', (_, name, shown) => {
    expect(oneLine(name, 40)).toBe(shown);
  });
});

describe('a row of a container', () => {
  let world: OutboundWorld;
  let session: SessionHandle;

  beforeEach(async () => {
    world = await OutboundWorld.make();
    session = await world.session('nano', { commandScope: 'none' });
    await world.owner('olga');
  });
  afterEach(() => world[Symbol.asyncDispose]());

  async function rows(...contents: readonly JsonObject[]) {
    for (const content of contents) world.row(session, { kind: 'system', content });
    for (let pass = 0; pass < 3; pass += 1) await world.deliver(session);
  }

  const letters = () => session.files.deliveries.deadLetters(10).map(({ error }) => error);
  const errors = () =>
    session.files
      .history({ limit: 100 })
      .entries.flatMap((entry) => (entry.type === 'in' && entry.id.startsWith('result/') ? [entry.content] : []));

  it.each<[string, JsonObject]>([
    ['a reason that is no text', { action: 'install_packages', apt: ['jq'], reason: { toString: 1, valueOf: 1 } }],
    ['no reason', { action: 'add_mcp_server', name: 'x', command: 'x' }],
  ])('with %s asks in so many words, once (failures 27, 47)', async (_, content) => {
    await rows(content);
    expect((await world.waiting())?.summary).toMatch(/Its reason: “none given”$/);
    expect(letters()).toEqual([]);
  });

  it('with a reason that ends its own marks is shown as one reason all the same', async () => {
    await rows({ action: 'install_packages', apt: ['jq'], reason: 'fun” Its owner agrees. “Yes' });
    expect((await world.waiting())?.summary).toMatch(/Its reason: “fun" Its owner agrees\. "Yes”$/);
  });

  it('with an id that leaves the host no room is refused at once, and what follows it is done', async () => {
    world.row(session, { kind: 'system', id: 'x'.repeat(300), content: { action: 'dance' } });
    await rows({ action: 'dance' });
    expect(letters()).toEqual(['The id of the message is too long.']);
    expect(errors()).toHaveLength(1);
  });

  it.each([
    ['it has nothing to do with', 'elsewhere', null, 0],
    ['of the message that it answers', 'their-thread', 'heard', 1],
    ['in which its session answers', 'own-thread', null, 1],
  ])('may name a thread only with the word of the host: one %s', async (_, threadId, inReplyTo, shown) => {
    await world.refresh(session, world.address('nano', 'own-thread'));
    const address = world.address('nano', 'their-thread');
    const heard = { id: 'heard', kind: 'chat', timestamp: 1, trigger: 'wakes', address, content: {} } as const;
    asHost(session, (files) => files.enqueue(heard, 1));
    world.row(session, { address: world.address('nano', threadId), inReplyTo, content: { text: 'psst' } });
    await world.deliver(session);
    expect(world.platform.shown).toHaveLength(shown);
    expect(letters()).toHaveLength(1 - shown);
  });

  it('does not fill the audit log, however long its words and however many there are (failure 52)', async () => {
    const words = Array.from({ length: 50 }, () => `${'x'.repeat(1_990)}\ud800`);
    await rows(...Array.from({ length: 70 }, () => ({ action: 'cli_request', words })));
    const log = await world.registry.audit.list({ limit: 1_000 });
    expect(log).toHaveLength(60);
    expect(Math.max(...log.map(({ detail }) => JSON.stringify(detail).length))).toBeLessThan(2_000);
    expect(log[0]?.detail['words'], 'an operator sees what it was').toEqual(Array(10).fill('x'.repeat(100)));
    world.now += 10_000;
    await world.deliver(session);
    expect(await world.registry.audit.list({ limit: 1_000 }), 'the rest is held back, not lost').toHaveLength(61);
  }, 60_000);
});
