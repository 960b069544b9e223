import type { Approval } from '@nanoclaw/registry';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fromPayload, toPayload } from '../src/inbound/strangers.ts';
import { at, by, choice, file, type Ground, message, openGround, userOf, World } from './people-world.ts';

let ground: Ground & Disposable;
let world: World;

beforeEach(async () => {
  ground = openGround({ directAddress: (handle) => (handle === 'shy' ? undefined : at(`dm-${handle}`)) });
  world = await World.open(ground);
});

afterEach(async () => {
  await world[Symbol.asyncDispose]();
  ground[Symbol.dispose]();
});

async function askingRoom() {
  const agent = await world.agent();
  await world.wire(await world.chat('room', { strangers: 'request_approval' }), agent);
  await world.grant('owner', { role: 'owner' });
  return agent;
}

async function onlyApproval(): Promise<Approval> {
  const [approval, another] = await world.registry.approvals.list({ limit: 10 });
  if (approval === undefined || another !== undefined) throw new Error('there is not one approval');
  return approval;
}

function press(approval: Approval, index: number, handle = 'owner', id = `${handle}-${index}`) {
  const sender = by(handle);
  const event = choice(`approval:${approval.id}`, index, {
    sender,
    address: at(`dm-${handle}`),
    platformMessageId: id,
  });
  return ground.platform.say(event);
}

describe('a stranger where an admin is to be asked', () => {
  it('waits: a card goes to the owner, the stranger is told once, and the agent hears nothing', async () => {
    await askingRoom();
    expect(await ground.platform.say(message())).toBe('acknowledged');
    await ground.platform.say(message());
    await ground.platform.say(message({ platformMessageId: 'p2', text: 'again' }));
    expect(world.shown).toEqual([
      'dm-owner: Ann (memory:ann) wants to talk with Nano in the chat room: "hello"',
      expect.stringMatching(/^room: An admin was asked whether Nano may talk with you\./),
    ]);
    expect(world.cards.map((card) => card.message)).toMatchObject([{ kind: 'question', choices: ['Approve', 'Deny'] }]);
    expect(await onlyApproval()).toMatchObject({
      kind: 'sender',
      requestedBy: 'memory:ann',
      asked: { of: 'memory:owner', place: at('dm-owner') },
    });
    expect(await world.inboxes()).toEqual([]);
    expect(world.dropped).toEqual(['waits-already']);
  });

  it('is a member once approved, and the message that waited is read once', async () => {
    const agent = await askingRoom();
    await ground.platform.say(message({ files: [file('a.txt', 'x')] }));
    const approval = await onlyApproval();
    expect(await press(approval, 0)).toBe('acknowledged');
    await press(approval, 0);
    await world.people.upkeep();
    expect(await world.inboxes()).toEqual([
      'memory:room:p1: hello\n[The file "a.txt" was not kept while the message waited.]',
    ]);
    expect(await world.registry.people.memberships(agent.id)).toMatchObject([
      { userId: 'memory:ann', addedBy: 'memory:owner' },
    ]);
    await ground.platform.say(message({ platformMessageId: 'p2', text: 'now' }));
    expect(await world.inboxes()).toHaveLength(2);
    expect(await world.registry.audit.list({ limit: 10 })).toMatchObject([
      { actor: 'memory:owner', action: 'approval.sender', outcome: 'approved' },
    ]);
  });

  it('is let in by a decision that was made while the host was down, and is not asked about again before', async () => {
    await askingRoom();
    await ground.platform.say(message());
    const { id } = await onlyApproval();
    await world.registry.approvals.decide(id, { type: 'approved', by: 'operator', at: ground.clock.now });
    await ground.platform.say(message());
    await ground.platform.say(message({ platformMessageId: 'p2', text: 'again' }));
    expect([world.cards.length, (await onlyApproval()).id]).toEqual([1, id]);
    await world.people.upkeep();
    await world.people.upkeep();
    expect(await world.inboxes()).toEqual(['memory:room:p1: hello']);
  });

  it('is told when denied, and nobody is asked about them again for a day', async () => {
    await askingRoom();
    await ground.platform.say(message());
    await press(await onlyApproval(), 1);
    expect(world.shown.slice(2)).toEqual([
      'room: An admin denied the request to talk here. Your message was not passed on.',
      expect.stringMatching(/^dm-owner: Denied: /),
    ]);
    await ground.platform.say(message({ platformMessageId: 'p2' }));
    expect(world.dropped).toEqual(['recently-denied']);
    ground.clock.now += 86_400_000;
    await ground.platform.say(message({ platformMessageId: 'p3' }));
    expect(world.cards).toHaveLength(2);
    expect(await world.inboxes()).toEqual([]);
  });

  it('is told when nobody has decided in a week, and a click after that changes nothing', async () => {
    await askingRoom();
    await ground.platform.say(message());
    const approval = await onlyApproval();
    ground.clock.now += 7 * 86_400_000;
    await world.people.upkeep();
    await press(approval, 0);
    expect(world.shown.slice(2)).toEqual([
      expect.stringMatching(/^room: No admin decided on the request/),
      expect.stringMatching(/^dm-owner: This request expired before your decision, so nothing was changed: /),
    ]);
    expect(await world.inboxes()).toEqual([]);
  });

  it('does not fill the registry: what waits is bounded (failure 52)', async () => {
    await askingRoom();
    for (let n = 1; n <= 55; n++)
      await world.people.receive(message({ platformMessageId: `p${n}`, sender: by(`s${n}`) }));
    const open = await world.registry.approvals.list({ state: 'open', now: ground.clock.now, limit: 100 });
    expect(open.filter(({ kind }) => kind === 'sender')).toHaveLength(50);
    expect(world.dropped).toEqual(Array.from({ length: 5 }, () => 'too-many-requests'));
  });

  it('needs the word of each agent: what one lets in is no member of the other, who is asked once', async () => {
    const chat = await world.chat('room', { strangers: 'request_approval' });
    for (const name of ['one', 'two']) await world.wire(chat, await world.agent(name));
    await world.grant('owner', { role: 'owner' });
    await ground.platform.say(message());
    const [first] = world.cards;
    if (first?.message.kind !== 'question') throw new Error('no card');
    const { questionId } = first.message;
    await ground.platform.say(choice(questionId, 0));
    expect(await world.inboxes()).toHaveLength(1);
    expect(world.cards).toHaveLength(2);
  });
});

describe('who is asked', () => {
  it('is an admin of the agent, then a global admin, then an owner: the first to whom it can be said', async () => {
    const agent = await askingRoom();
    await world.grant('global', { role: 'admin', agentGroupId: null });
    await world.grant('shy', { role: 'admin', agentGroupId: agent.id });
    ground.platform.script({ type: 'failed', permanent: true, reason: 'blocked' });
    await ground.platform.say(message());
    expect(world.cards.map(({ address }) => address.platformId)).toEqual(['dm-owner']);
    await ground.platform.say(message({ platformMessageId: 'p2', sender: by('bob') }));
    expect(world.cards.map(({ address }) => address.platformId)).toEqual(['dm-owner', 'dm-global']);
  });

  it('is asked later when nobody can be reached at first, and the request is kept', async () => {
    await askingRoom();
    ground.platform.script({ type: 'offline' });
    expect(await ground.platform.say(message())).toBe('acknowledged');
    expect([world.cards, world.troubles]).toEqual([[], ['No admin or owner who may decide can be reached.']]);
    await world.people.upkeep();
    await world.people.upkeep();
    expect(world.cards).toHaveLength(1);
  });

  it('can type the answer where the card is: the number or the wording of a choice', async () => {
    await askingRoom();
    await ground.platform.say(message());
    const said = { address: at('dm-owner'), sender: by('owner'), isDirect: true, timestamp: ground.clock.now };
    const typed = message({ platformMessageId: 't1', text: 'Approve', ...said });
    await ground.platform.say(typed);
    await ground.platform.say(typed); // repeated by the platform
    expect(await world.inboxes()).toEqual(['memory:room:p1: hello']);
    expect(world.shown.filter((line) => line.startsWith('dm-owner: Approved'))).toHaveLength(1);
  });
});

describe('a click on a card (failure 51)', () => {
  it.each([
    ['a stranger', 'mallory'],
    ['the stranger in question', 'ann'],
    ['a member', 'member'],
    ['an admin of another agent', 'elsewhere'],
  ])('of %s changes nothing, is told so, and is in the audit log', async (_, handle) => {
    const agent = await askingRoom();
    const other = await world.agent('other');
    await world.grant('elsewhere', { role: 'admin', agentGroupId: other.id });
    await world.registry.people.ensureUser(userOf('member'), 'member');
    await world.registry.people.addMember(userOf('member'), agent.id, 'host');
    await ground.platform.say(message());
    await press(await onlyApproval(), 0, handle);
    expect((await onlyApproval()).outcome).toBeNull();
    expect(await world.inboxes()).toEqual([]);
    expect(world.shown.at(-1)).toBe(`dm-${handle}: Only an admin may decide this; nothing was changed.`);
    expect(await world.registry.audit.list({ limit: 10 })).toMatchObject([
      { actor: `memory:${handle}`, action: 'approval.sender', outcome: 'not-allowed' },
    ]);
  });

  it('of an admin who was not asked counts, of one whose role is gone does not', async () => {
    const agent = await askingRoom();
    await world.grant('scoped', { role: 'admin', agentGroupId: agent.id });
    await ground.platform.say(message());
    const approval = await onlyApproval();
    expect(approval.asked?.of).toBe('memory:scoped');
    await world.registry.people.revokeRole(userOf('scoped'), { role: 'admin', agentGroupId: agent.id });
    await press(approval, 0, 'scoped');
    expect((await onlyApproval()).outcome).toBeNull();
    await press(approval, 0, 'owner');
    expect((await onlyApproval()).outcome).toMatchObject({ type: 'approved', by: 'memory:owner' });
  });

  it('after another decision is told what was decided', async () => {
    await askingRoom();
    await world.grant('second', { role: 'owner' });
    await ground.platform.say(message());
    const approval = await onlyApproval();
    await press(approval, 1, 'owner');
    await press(approval, 0, 'second');
    expect(world.shown.at(-1)).toMatch(/^dm-second: This was already decided \(denied\): /);
    expect(await world.inboxes()).toEqual([]);
  });

  it('for a new chat is for owners and global admins, not for admins of one agent', async () => {
    const agent = await askingRoom();
    await world.grant('scoped', { role: 'admin', agentGroupId: agent.id });
    await ground.platform.say(message({ address: at('new'), isMention: true }));
    const approval = await onlyApproval();
    expect(approval.asked?.of).toBe('memory:owner');
    await press(approval, 0, 'scoped');
    expect((await onlyApproval()).outcome).toBeNull();
  });
});

describe('a chat that nobody knows', () => {
  it('is asked about once when the bot is mentioned, and wired when it is approved', async () => {
    await askingRoom();
    await ground.platform.say(message({ address: at('new') }));
    await ground.platform.say(message({ platformMessageId: 'p2', address: at('new'), isMention: true }));
    await ground.platform.say(
      message({ platformMessageId: 'p3', address: at('new'), isMention: true, sender: by('bob') }),
    );
    const approval = await onlyApproval();
    expect(approval).toMatchObject({ kind: 'channel', subject: 'memory:new' });
    expect(world.cards).toHaveLength(1);
    await press(approval, 0);
    expect(await world.inboxes()).toEqual(['memory:new:p2: hello']);
    const chat = await world.registry.wiringsFor('memory', 'new');
    expect(chat?.messagingGroup).toMatchObject({ kind: 'group', strangers: 'request_approval', denied: false });
    expect(chat?.wirings.map(({ wiring }) => wiring.engage)).toEqual([{ mode: 'mention' }]);
  });

  it('that is a direct one is wired for all that is said in it', async () => {
    await askingRoom();
    await ground.platform.say(message({ address: at('dm-ann'), isDirect: true }));
    await press(await onlyApproval(), 0);
    await ground.platform.say(message({ platformMessageId: 'p2', address: at('dm-ann'), isDirect: true }));
    expect(await world.inboxes()).toHaveLength(2);
  });

  it('is known as denied when it is denied, and nobody is asked about it ever again', async () => {
    await askingRoom();
    const mention = { address: at('new'), isMention: true };
    await ground.platform.say(message(mention));
    await press(await onlyApproval(), 1);
    ground.clock.now += 30 * 86_400_000;
    await ground.platform.say(message({ ...mention, platformMessageId: 'p2' }));
    expect(await world.registry.wiringsFor('memory', 'new')).toMatchObject({ messagingGroup: { denied: true } });
    expect(world.dropped).toEqual(['chat-denied']);
    expect(world.cards).toHaveLength(1);
  });
});

describe('an action of an agent that needs approval', () => {
  it('is handed over with its outcome, also when doing it fails at first', async () => {
    const agent = await askingRoom();
    const requested = await world.people.approvals.request({
      kind: 'action',
      subject: 'session run/1',
      agentGroupId: agent.id,
      messagingGroupId: null,
      sessionId: null,
      requestedBy: `agent:${agent.id}`,
      summary: 'Nano wants to install jq.',
      payload: { action: 'install_packages' },
    });
    expect(requested).toMatchObject({ type: 'open', isNew: true });
    const { id } = await onlyApproval();
    world.actionFailures = 1;
    expect(await world.people.approvals.decide(id, 'approved', 'operator')).toMatchObject({ type: 'decided' });
    await expect.poll(() => world.troubles).toEqual(['The image could not be built.']);
    expect(world.acted).toEqual([]);
    await world.people.upkeep();
    await expect.poll(() => onlyApproval()).toMatchObject({ isApplied: true });
    await world.people.upkeep();
    expect(world.acted).toMatchObject([{ payload: { action: 'install_packages' }, outcome: { by: 'operator' } }]);
    expect(await world.people.approvals.decide(id, 'denied', 'operator')).toMatchObject({ type: 'already-decided' });
    expect(await world.people.approvals.decide('nothing', 'denied', 'operator')).toEqual({ type: 'unknown' });
    expect(world.acted).toHaveLength(1);
    expect(await onlyApproval()).toMatchObject({ isApplied: true });
  });
});

describe('a message that waits', () => {
  it('comes back as it was, without its files', () => {
    const whole = message({
      quote: { text: 'q' },
      event: { source: 's', event: 'e', payload: [1, null] },
      isMention: true,
    });
    expect(fromPayload(toPayload(whole))).toEqual(whole);
  });

  it('is bounded, and says what is missing', () => {
    const huge = 'x'.repeat(300_000);
    const waiting = fromPayload(toPayload(message({ text: huge, quote: { text: huge } })));
    expect(JSON.stringify(waiting).length).toBeLessThan(20_000);
    expect(waiting?.text).toContain('[The text was too long to be kept whole while the message waited.]');
    expect(waiting?.quote).toBeUndefined();
  });

  it('is nothing when it was not written here', () => {
    expect(fromPayload({ text: 'hello' })).toBeUndefined();
  });
});
