import { describe, expect, it } from 'vitest';
import { isId, isOpen, type QuestionId, type Registry, type SessionId } from '../src/index.ts';
import type { NewQuestion } from '../src/questions.ts';
import { agentWithSession, ENGINES, registryOn, user } from './folder.ts';

const alice = user('alice');
const place = { channelType: 'telegram', platformId: '-1', threadId: '7' } as const;
const five = { openMax: 5 };

function aQuestion(sessionId: SessionId, changes: Partial<NewQuestion> = {}): NewQuestion {
  return {
    sessionId,
    messageId: 'm-1',
    place,
    title: 'Dinner',
    question: 'What is for dinner?',
    options: ['Soup', 'Rice'],
    askedOf: alice,
    expiresAt: 1_000,
    ...changes,
  };
}

describe.each(ENGINES)('on %s, a question', (engine) => {
  const clock = { now: 0 };
  async function asked(
    changes?: Partial<NewQuestion>,
  ): Promise<{ registry: Registry; id: QuestionId; sessionId: SessionId }> {
    const registry = await registryOn(engine, clock);
    const { session } = await agentWithSession(registry);
    const question = await registry.questions.open(aQuestion(session.id, changes), five);
    if (question === undefined) throw new Error('there was room for it');
    return { registry, id: question.id, sessionId: session.id };
  }

  it('is opened once for its message, however often it is sent, also after it ended', async () => {
    const { registry, id, sessionId } = await asked();
    const again = await registry.questions.open(aQuestion(sessionId, { title: 'Changed' }), five);
    expect(again).toEqual({
      ...aQuestion(sessionId),
      id,
      createdAt: 0,
      outcome: null,
      isNotified: false,
    });
    await registry.questions.answer(id, { option: 0, by: alice, at: 1 });
    expect((await registry.questions.open(aQuestion(sessionId), five))?.outcome).toMatchObject({ option: 0 });
    const both = await Promise.all(
      [1, 2].map(() => registry.questions.open(aQuestion(sessionId, { messageId: 'm-2' }), five)),
    );
    expect(both[0]).toEqual(both[1]);
  });

  it('is not opened in a session that has as many open as it may, until one ends', async () => {
    const { registry, id, sessionId } = await asked();
    const second = aQuestion(sessionId, { messageId: 'm-2' });
    expect(await registry.questions.open(second, { openMax: 1 })).toBeUndefined();
    expect(await registry.questions.list({ state: 'open', now: 0, limit: 9 })).toHaveLength(1);
    await registry.questions.answer(id, { option: 1, by: alice, at: 1 });
    expect(await registry.questions.open(second, { openMax: 1 })).toMatchObject({ messageId: 'm-2' });
  });

  it('is answered once; later answers are told so and change nothing', async () => {
    const { registry, id } = await asked();
    const answers = await Promise.all(
      [0, 1, 0].map((option) => registry.questions.answer(id, { option, by: alice, at: 5 })),
    );
    expect(answers.toSorted()).toEqual(['already', 'already', 'answered']);
    const outcome = { type: 'answered', option: answers.indexOf('answered') % 2, by: alice, at: 5 };
    expect((await registry.questions.get(id))?.outcome).toEqual(outcome);
    expect(await registry.questions.answer(unknownId(), { option: 0, by: alice, at: 5 })).toBe('unknown');
  });

  it('cannot be answered after its time, whether or not somebody has noted that it is over (32)', async () => {
    const { registry, id } = await asked();
    expect(await registry.questions.answer(id, { option: 0, by: alice, at: 1_000 })).toBe('expired');
    expect(await registry.questions.expire(999)).toEqual([]);
    expect(await registry.questions.expire(1_000)).toMatchObject([{ id, outcome: { type: 'expired', at: 1_000 } }]);
    expect(await registry.questions.expire(1_001)).toEqual([]);
    expect(await registry.questions.answer(id, { option: 0, by: alice, at: 1 })).toBe('expired');
  });

  it('takes no answer that is none of its choices', async () => {
    const { registry, id } = await asked();
    for (const option of [2, -1, 0.5]) {
      await expect(registry.questions.answer(id, { option, by: alice, at: 5 })).rejects.toMatchObject({
        code: 'invalid',
      });
    }
    expect((await registry.questions.get(id))?.outcome).toBeNull();
  });

  it.each<[string, Partial<NewQuestion>]>([
    ['no choices', { options: [] }],
    ['an empty choice', { options: ['a', ''] }],
    ['an endless choice', { options: ['a'.repeat(201)] }],
    ['too many choices', { options: Array.from({ length: 21 }, String) }],
    ['no text', { question: '' }],
    ['an endless text', { question: 'a'.repeat(4_001) }],
    ['an endless title', { title: 'a'.repeat(201) }],
  ])('with %s is refused', async (_, changes) => {
    await expect(asked(changes)).rejects.toMatchObject({ code: 'invalid' });
  });

  it('is found at its place while it is open, in that thread and no other', async () => {
    const { registry, id, sessionId } = await asked();
    const elsewhere = [
      { ...place, threadId: null },
      { ...place, threadId: '8' },
      { ...place, platformId: '-2' },
    ];
    for (const other of elsewhere) expect(await registry.questions.openAt(other, 0)).toEqual([]);
    expect(await registry.questions.openAt(place, 0)).toMatchObject([{ id }]);
    const whole = { ...place, threadId: null };
    await registry.questions.open(aQuestion(sessionId, { messageId: 'm-2', place: whole }), five);
    expect(await registry.questions.openAt(whole, 0)).toMatchObject([{ messageId: 'm-2' }]);
    await registry.questions.answer(id, { option: 0, by: alice, at: 5 });
    expect(await registry.questions.openAt(place, 0)).toEqual([]);
  });

  it('is not open any more at its time, before anybody has noted that it is over', async () => {
    const { registry, id } = await asked();
    for (const [now, found] of [
      [999, [{ id }]],
      [1_000, []],
    ] as const) {
      expect(await registry.questions.openAt(place, now)).toMatchObject(found);
      expect(await registry.questions.list({ state: 'open', now, limit: 9 })).toMatchObject(found);
      const question = await registry.questions.get(id);
      expect(question && isOpen(question, now)).toBe(found.length === 1);
    }
    expect(await registry.questions.list({ state: 'ended', limit: 9 })).toEqual([]);
  });

  it('waits to be told to its session from its end on, until it is', async () => {
    const { registry, id, sessionId } = await asked();
    await registry.questions.open(aQuestion(sessionId, { messageId: 'm-2', expiresAt: 10 }), five);
    expect(await registry.questions.markNotified(id)).toBe(false);
    await registry.questions.answer(id, { option: 0, by: alice, at: 5 });
    await registry.questions.expire(10);
    expect((await registry.questions.pendingNotifications(9)).map(({ messageId }) => messageId)).toEqual([
      'm-1',
      'm-2',
    ]);
    expect(await registry.questions.pendingNotifications(1)).toHaveLength(1);
    expect([await registry.questions.markNotified(id), await registry.questions.markNotified(id)]).toEqual([
      true,
      false,
    ]);
    expect(await registry.questions.pendingNotifications(9)).toMatchObject([{ messageId: 'm-2', isNotified: false }]);
    expect((await registry.questions.get(id))?.isNotified).toBe(true);
  });

  it('is listed newest first, and goes with its session', async () => {
    const { registry, id, sessionId } = await asked();
    clock.now = 1;
    await registry.questions.open(aQuestion(sessionId, { messageId: 'm-2' }), five);
    clock.now = 0;
    await registry.questions.answer(id, { option: 0, by: alice, at: 5 });
    const listed = async (only?: { state: 'open'; now: number } | { state: 'ended' }): Promise<string[]> =>
      (await registry.questions.list({ ...only, limit: 9 })).map((found) => found.messageId);
    expect([await listed(), await listed({ state: 'open', now: 5 }), await listed({ state: 'ended' })]).toEqual([
      ['m-2', 'm-1'],
      ['m-2'],
      ['m-1'],
    ]);
    expect(await registry.questions.list({ limit: 1 })).toHaveLength(1);
    expect(await registry.deleteSession(sessionId)).toBe(true);
    expect(await listed()).toEqual([]);
  });

  it('is pruned when it is told and old, never while it waits', async () => {
    const { registry, id, sessionId } = await asked();
    await registry.questions.open(aQuestion(sessionId, { messageId: 'm-2' }), five);
    await registry.questions.answer(id, { option: 0, by: alice, at: 5 });
    expect(await registry.prune(1_000, 10)).toBe(0);
    await registry.questions.markNotified(id);
    expect([await registry.prune(5, 10), await registry.prune(6, 10)]).toEqual([0, 1]);
    expect(await registry.questions.list({ limit: 9 })).toMatchObject([{ messageId: 'm-2' }]);
  });
});

function unknownId(): QuestionId {
  const id = 'nothing';
  if (!isId<QuestionId>(id)) throw new Error('it is an id');
  return id;
}
