import { describe, expect, it } from 'vitest';
import type { NewApproval } from '../src/approvals.ts';
import { type Approval, type ApprovalId, isOpen, type Registry } from '../src/index.ts';
import { agentWithSession, ENGINES, registryOn, user } from './folder.ts';

const alice = user('alice');
const many = { openMax: 10 };
const aRequest: NewApproval = {
  kind: 'sender',
  subject: 'a1 telegram:mallory',
  agentGroupId: null,
  messagingGroupId: null,
  sessionId: null,
  requestedBy: user('mallory'),
  summary: 'Mallory would like to speak to Andy.',
  payload: { text: 'hello \0 \ud800', files: [], nested: { n: 1 } },
  expiresAt: 1_000,
};

describe.each(ENGINES)('on %s, an approval', (engine) => {
  const clock = { now: 0 };
  async function requested(changes?: Partial<NewApproval>): Promise<{ registry: Registry; id: ApprovalId }> {
    clock.now = 0;
    const registry = await registryOn(engine, clock);
    return { registry, id: (await request(registry, changes)).id };
  }

  it('is open once for its kind and subject, however many ask for it at once', async () => {
    const { registry, id } = await requested();
    const again = await Promise.all(
      [1, 2, 3].map(() => registry.approvals.request({ ...aRequest, summary: 'again' }, many)),
    );
    for (const answer of again) expect(answer).toMatchObject({ isNew: false, approval: { ...aRequest, id } });
    expect((await request(registry, { kind: 'channel' })).id).not.toBe(id);
    await registry.approvals.decide(id, { type: 'denied', by: alice, at: 1 });
    const next = await registry.approvals.request(aRequest, many);
    expect(next?.isNew).toBe(true);
    expect((await registry.approvals.latest('sender', aRequest.subject))?.id).toBe(next?.approval.id);
  });

  it('that is over gives way to a new one, and is left to be applied', async () => {
    const { registry, id } = await requested();
    clock.now = 1_000;
    expect(await registry.approvals.request({ ...aRequest, expiresAt: 2_000 }, many)).toMatchObject({ isNew: true });
    expect(await registry.approvals.pendingEffects(9)).toMatchObject([
      { id, outcome: { type: 'expired', by: 'host', at: 1_000 } },
    ]);
  });

  it('is not made when as many of its kind are open as may be (52)', async () => {
    const { registry } = await requested();
    expect(await registry.approvals.request({ ...aRequest, subject: 'b' }, { openMax: 1 })).toBeUndefined();
    expect(await registry.approvals.request(aRequest, { openMax: 1 })).toMatchObject({ isNew: false });
    expect(await registry.approvals.request({ ...aRequest, kind: 'action' }, { openMax: 1 })).toMatchObject({
      isNew: true,
    });
    const open = await registry.approvals.list({ state: 'open', now: 0, limit: 9 });
    expect(open.filter(({ kind }) => kind === 'sender')).toHaveLength(1);
  });

  it('is decided once; the others are told so and change nothing', async () => {
    const { registry, id } = await requested();
    const decisions = (['approved', 'denied', 'approved'] as const).map((type) =>
      registry.approvals.decide(id, { type, by: alice, at: 5 }),
    );
    const results = await Promise.all(decisions);
    expect(results.toSorted()).toEqual(['already', 'already', 'decided']);
    const type = results[1] === 'decided' ? 'denied' : 'approved';
    expect((await registry.approvals.get(id))?.outcome).toEqual({ type, by: alice, at: 5 });
  });

  it('cannot be decided after its time, whether or not somebody has noted that it is over', async () => {
    const { registry, id } = await requested();
    expect(await registry.approvals.decide(id, { type: 'approved', by: alice, at: 1_000 })).toBe('expired');
    expect(await registry.approvals.expire(1_000)).toMatchObject([{ id }]);
    expect(await registry.approvals.decide(id, { type: 'approved', by: alice, at: 1 })).toBe('expired');
    await registry.approvals.markApplied(id);
    await registry.prune(1_001, 10);
    expect(await registry.approvals.decide(id, { type: 'approved', by: alice, at: 1 })).toBe('unknown');
  });

  it('waits to be applied from its end on, also after its session is gone, until it is', async () => {
    clock.now = 0;
    const registry = await registryOn(engine, clock);
    const { agent, session } = await agentWithSession(registry);
    const { id } = await request(registry, { agentGroupId: agent.id, sessionId: session.id });
    expect(await registry.approvals.markApplied(id)).toBe(false);
    await registry.approvals.decide(id, { type: 'approved', by: 'operator', at: 5 });
    await registry.deleteSession(session.id);
    expect(await registry.approvals.pendingEffects(9)).toMatchObject([{ id, sessionId: null, isApplied: false }]);
    expect([await registry.approvals.markApplied(id), await registry.approvals.markApplied(id)]).toEqual([true, false]);
    expect(await registry.approvals.pendingEffects(9)).toEqual([]);
    await registry.deleteAgentGroup(agent.id);
    expect(await registry.approvals.list({ limit: 9 })).toEqual([]);
  });

  it('knows who holds its card, and is found where the card is', async () => {
    const { registry, id } = await requested();
    const place = { channelType: 'telegram', platformId: '1', threadId: null };
    const asked = { of: alice, place };
    expect(await registry.approvals.openAt(place, 0)).toEqual([]);
    await registry.approvals.markAsked(id, { of: user('bob'), place: { ...place, threadId: 't' } });
    expect(await registry.approvals.markAsked(id, asked)).toBe(true);
    expect(await registry.approvals.openAt(place, 0)).toMatchObject([{ id, asked }]);
    await registry.approvals.decide(id, { type: 'denied', by: alice, at: 1 });
    expect(await registry.approvals.markAsked(id, asked)).toBe(false);
    expect(await registry.approvals.openAt(place, 0)).toEqual([]);
  });

  it('is not open any more at its time, before anybody has noted that it is over', async () => {
    const { registry, id } = await requested();
    const place = { channelType: 'telegram', platformId: '1', threadId: null };
    await registry.approvals.markAsked(id, { of: alice, place });
    for (const [now, found] of [
      [999, [{ id }]],
      [1_000, []],
    ] as const) {
      expect(await registry.approvals.openAt(place, now)).toMatchObject(found);
      expect(await registry.approvals.list({ state: 'open', now, limit: 9 })).toMatchObject(found);
      const approval = await registry.approvals.get(id);
      expect(approval && isOpen(approval, now)).toBe(found.length === 1);
    }
    expect(await registry.approvals.list({ state: 'ended', limit: 9 })).toEqual([]);
  });

  it.each<[string, Partial<NewApproval>]>([
    ['no subject', { subject: '' }],
    ['no summary', { summary: '' }],
    ['a payload beyond all bounds', { payload: { text: 'x'.repeat(262_144) } }],
  ])('with %s is refused', async (_, changes) => {
    await expect(requested(changes)).rejects.toMatchObject({ code: 'invalid' });
  });

  it('is listed newest first', async () => {
    const { registry, id } = await requested();
    clock.now = 1;
    const second = await request(registry, { subject: 'b' });
    await registry.approvals.decide(second.id, { type: 'denied', by: alice, at: 2 });
    expect(ids(await registry.approvals.list({ limit: 9 }))).toEqual([second.id, id]);
    expect(ids(await registry.approvals.list({ state: 'open', now: 2, limit: 9 }))).toEqual([id]);
    expect(ids(await registry.approvals.list({ state: 'ended', limit: 9 }))).toEqual([second.id]);
  });
});

async function request(registry: Registry, changes?: Partial<NewApproval>): Promise<Approval> {
  const answer = await registry.approvals.request({ ...aRequest, ...changes }, many);
  if (answer?.isNew !== true) throw new Error('there was room for it');
  return answer.approval;
}

function ids(approvals: readonly Approval[]): string[] {
  return approvals.map((approval) => approval.id);
}
