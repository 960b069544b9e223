import type { Question } from '@nanoclaw/registry';
import type { InboundEntry, OutboundMessage } from '@nanoclaw/session-db';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { choiceOf } from '../src/decisions/questions.ts';
import type { SessionHandle } from '../src/session/sessions.ts';
import { at, by, choice, type Ground, message, openGround, World } from './people-world.ts';

let ground: Ground & Disposable;
let world: World;
let session: SessionHandle;

beforeEach(async () => {
  ground = openGround();
  world = await World.open(ground);
  await world.wire(await world.chat(), await world.agent());
  await world.grant('owner', { role: 'owner' });
  await world.people.receive(message({ text: 'do it' }));
  const [made] = await world.handles();
  if (made === undefined) throw new Error('no session was made');
  session = made;
  world.woken.length = 0;
});

afterEach(async () => {
  await world[Symbol.asyncDispose]();
  ground[Symbol.dispose]();
});

function asking(changes: Partial<OutboundMessage> = {}): OutboundMessage {
  return {
    id: 'run/1',
    seq: 3,
    runId: 'run',
    kind: 'chat',
    timestamp: 0,
    deliverAfter: null,
    address: null,
    inReplyTo: 'memory:room:p1',
    content: { operation: 'ask_question', title: 'Colour', question: 'Which one?', options: ['Red', 'Blue'] },
    ...changes,
  };
}

async function ask(changes: Partial<OutboundMessage> = {}): Promise<Question> {
  const opened = await world.people.questions.open(session, asking(changes), at('room'));
  if ('refused' in opened) throw new Error(opened.refused);
  const question = (await world.registry.questions.list({ limit: 10 })).find(({ id }) => id === opened.questionId);
  if (question === undefined) throw new Error('no question was opened');
  return question;
}

function press(question: Question, index: number, handle = 'ann', id = `${handle}-${index}`) {
  const where = { address: at('room'), sender: by(handle), platformMessageId: id };
  return ground.platform.say(choice(question.id, index, where));
}

function answers(): InboundEntry[] {
  return session.files
    .history({ limit: 100 })
    .entries.filter((entry): entry is InboundEntry => entry.type === 'in' && entry.inReplyTo !== null);
}

describe('a question', () => {
  it('is the same one however often its message is sent, and is asked of whoever caused it', async () => {
    const question = await ask();
    expect((await ask()).id).toBe(question.id);
    expect(question).toMatchObject({ askedOf: 'memory:ann', options: ['Red', 'Blue'], place: at('room') });
    expect(question.expiresAt).toBe(ground.clock.now + 300_000);
  });

  it('is asked of nobody by name when the row names no message of this session', async () => {
    expect((await ask({ inReplyTo: 'memory:room:made-up' })).askedOf).toBeNull();
  });

  it('is refused when five are open, which a repeated one is not', async () => {
    for (let n = 1; n <= 5; n++) await ask({ id: `run/${n}` });
    await ask({ id: 'run/5' });
    const sixth = await world.people.questions.open(session, asking({ id: 'run/6' }), at('room'));
    expect(sixth).toEqual({ refused: expect.stringContaining('5 questions are open already') });
  });

  it('whose time is over stands in the way of no other, whether or not somebody has noted that it is over', async () => {
    const { now } = ground.clock;
    const brief = { content: { ...asking().content, expiresAt: now + 1_000 } };
    for (const n of [1, 2, 3, 4]) await ask({ id: `run/${n}`, ...brief });
    await ask({ id: 'run/5' });
    ground.clock.now = now + 1_000;
    await ground.platform.say(message({ platformMessageId: 'p2', text: 'Red' }));
    expect(answers()).toMatchObject([{ inReplyTo: 'run/5', content: { text: 'Red' } }]);
    for (const n of [6, 7]) await ask({ id: `run/${n}` });
  });

  it('is open for a week at most, whatever the agent wishes', async () => {
    const content = { ...asking().content, expiresAt: Number.MAX_SAFE_INTEGER };
    expect((await ask({ content })).expiresAt).toBe(ground.clock.now + 7 * 86_400_000);
  });
});

describe('the press of a button', () => {
  it('gives the answer to the session that asked, wakes it, and says nothing', async () => {
    const question = await ask();
    expect(await press(question, 1)).toBe('acknowledged');
    expect(answers()).toMatchObject([
      {
        id: `answer/${question.id}`,
        kind: 'chat',
        trigger: 'wakes',
        inReplyTo: 'run/1',
        content: { text: 'Blue', sender: by('ann') },
      },
    ]);
    expect(world.woken).toEqual([session.id]);
    expect(world.shown).toEqual([]);
    expect(await world.registry.questions.get(question.id)).toMatchObject({ outcome: { option: 1, by: 'memory:ann' } });
  });

  it('goes to the asking session although another one is newer (failure 29)', async () => {
    const question = await ask();
    await world.wire(await world.chat('hall'), await world.agent('other'));
    await world.people.receive(message({ address: at('hall') }));
    await press(question, 0);
    expect(answers()).toHaveLength(1);
  });

  it.each([
    ['of somebody else', 'bob', 'This question is for another person; your answer was not passed on.', 0],
    ['of an admin', 'owner', undefined, 1],
  ])('counts when it is one %s: %s', async (_, handle, told, taken) => {
    const question = await ask();
    expect(await press(question, 0, handle)).toBe('acknowledged');
    expect(answers()).toHaveLength(taken);
    expect(world.shown).toEqual(told === undefined ? [] : [`room: ${told}`]);
  });

  it('by a stranger does not answer a question to everybody in a chat that does not hear strangers', async () => {
    const question = await ask({ inReplyTo: null });
    const [chat] = await world.registry.messagingGroups();
    if (chat) await world.registry.updateMessagingGroup(chat.id, { strangers: 'strict' });
    await press(question, 0, 'bob');
    expect(answers()).toEqual([]);
  });

  it('answers once: a second is told so, and the platform that repeats the first hears nothing', async () => {
    const question = await ask();
    await press(question, 0);
    expect(await press(question, 0)).toBe('acknowledged');
    expect(world.shown).toEqual([]);
    await press(question, 1, 'owner');
    expect(world.shown).toEqual(['room: This question was already answered.']);
    expect(answers()).toMatchObject([{ content: { text: 'Red' } }]);
  });

  it.each([0, 1, 2, 3, 4, 5, 6, 7, 8])(
    'while somebody types another answer, %i turns later, answers once',
    async (turns) => {
      const question = await ask();
      const where = { address: at('room'), sender: by('owner') };
      const pressed = world.people.receive(choice(question.id, 1, where));
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      const typed = world.people.receive(message({ platformMessageId: 'p2', text: 'Red' }));
      await Promise.allSettled([pressed, typed]);
      expect(answers()).toHaveLength(1);
    },
  );

  it('that comes too late is told so and leaves the session nothing to do (failure 32)', async () => {
    const question = await ask();
    const due = session.files.dueCount(ground.clock.now);
    ground.clock.now = question.expiresAt;
    await press(question, 0);
    await world.people.upkeep();
    await press(question, 1, 'owner');
    expect(world.shown).toEqual([
      'room: This question has expired. Write to the agent instead.',
      'room: This question has expired. Write to the agent instead.',
    ]);
    expect(answers()).toEqual([]);
    expect(session.files.dueCount(ground.clock.now)).toBe(due);
  });

  it.each([
    ['an unknown question', 'no-such-question', 0],
    ['an id with the wildcards of LIKE (failure 32)', '%', 0],
    ['a choice that the question has not', undefined, 7],
  ])('of %s is told so', async (_, id, index) => {
    const question = await ask();
    const where = { address: at('room'), sender: by('ann') };
    await world.people.receive(choice(id ?? question.id, index, where));
    expect(world.shown).toEqual(['room: This question is no longer open. Write to the agent instead.']);
    expect(answers()).toEqual([]);
  });

  it('from another chat does not answer the question of this one', async () => {
    const question = await ask();
    await world.people.receive(choice(question.id, 0, { address: at('hall'), sender: by('ann') }));
    expect(answers()).toEqual([]);
  });
});

describe('a text where a question is open', () => {
  it.each([
    ['2', 'Blue'],
    [' Red ', 'Red'],
  ])('%j of the person asked is the answer, and no message besides', async (text, option) => {
    const question = await ask();
    const said = message({ platformMessageId: 'p2', text });
    await ground.platform.say(said);
    expect(answers()).toMatchObject([{ id: 'memory:room:p2', inReplyTo: 'run/1', content: { text: option } }]);
    // The platform repeats it when the question is closed already.
    await ground.platform.say(said);
    expect(await world.inboxes()).toEqual(['memory:room:p1: do it', `memory:room:p2: ${option}`]);
    expect((await world.registry.questions.get(question.id))?.outcome).toMatchObject({ type: 'answered' });
  });

  it.each([
    ['3', 'ann', 'no such choice'],
    ['red', 'ann', 'not its wording'],
    ['I like Red', 'ann', 'more than its wording'],
    ['2', 'bob', 'not the person asked'],
  ])('%j by %s is an ordinary message: %s', async (text, handle) => {
    await ask();
    await ground.platform.say(message({ platformMessageId: 'p2', text, sender: by(handle) }));
    expect(answers()).toEqual([]);
    expect(await world.inboxes()).toContain(`memory:room:p2: ${text}`);
  });

  it('is an ordinary message when two questions are open, in another thread, and after the end', async () => {
    const question = await ask();
    await world.people.receive(message({ platformMessageId: 'p2', text: '1', address: at('room', 't') }));
    await ask({ id: 'run/2' });
    await world.people.receive(message({ platformMessageId: 'p3', text: '1' }));
    ground.clock.now = question.expiresAt;
    await world.people.receive(message({ platformMessageId: 'p4', text: '1' }));
    expect(answers()).toEqual([]);
    expect(await world.inboxes()).toHaveLength(4);
  });

  it.each([
    ['2', 1],
    ['10', undefined],
    ['0', undefined],
    ['01', undefined],
    ['', undefined],
    ['7', 0],
  ])('choice %j of "7" and "b" is %j: the wording comes before the number', (text, expected) => {
    expect(choiceOf(text, ['7', 'b'])).toBe(expected);
  });
});
