import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import type { DestinationTarget, MessagingGroup, Registry } from '../src/index.ts';
import type { Mail } from '../src/mail.ts';
import {
  aChat,
  agentWithSession,
  anAgent,
  aWiring,
  ENGINES,
  emptyPostgres,
  registryOn,
  user,
  wiredPair,
} from './folder.ts';

describe.each(ENGINES)('on %s', (engine) => {
  it('A destination is a chat or another agent, by a name and a target that are unique', async () => {
    const registry = await registryOn(engine);
    const { destinations } = registry;
    const agent = await registry.createAgentGroup(anAgent);
    const other = await registry.createAgentGroup({ ...anAgent, folder: 'bea' });
    const chat = await registry.createMessagingGroup(aChat);
    const family = { type: 'channel', messagingGroupId: chat.id } as const;
    const bea = { type: 'agent', agentGroupId: other.id } as const;

    const first = await destinations.create({ agentGroupId: agent.id, name: 'family', target: family });
    const second = await destinations.create({ agentGroupId: agent.id, name: 'bea', target: bea });
    expect(await destinations.list(agent.id)).toEqual([first, second]);
    expect(await destinations.list(other.id)).toEqual([]);
    expect(first).toMatchObject({ name: 'family', target: family });
    expect(await destinations.get(second.id)).toEqual(second);

    for (const taken of [
      { name: 'family', target: { type: 'agent', agentGroupId: other.id } as const },
      { name: 'kin', target: family },
    ]) {
      await expect(destinations.create({ agentGroupId: agent.id, ...taken })).rejects.toMatchObject({
        code: 'conflict',
      });
    }
    await expect(destinations.update(first.id, { name: 'bea' })).rejects.toMatchObject({ code: 'conflict' });
    const itself = { type: 'agent', agentGroupId: agent.id } as const;
    await expect(destinations.create({ agentGroupId: agent.id, name: 'me', target: itself })).rejects.toMatchObject({
      code: 'invalid',
    });
    expect(await destinations.update(first.id, { name: 'kin' })).toEqual({ ...first, name: 'kin' });
    expect([await destinations.delete(first.id), await destinations.delete(first.id)]).toEqual([true, false]);
    await registry.deleteAgentGroup(other.id);
    expect(await destinations.list()).toEqual([]);
  });

  it('What an agent may write to is its address book, oldest first, and then the wired chats that are not in it', async () => {
    const registry = await registryOn(engine);
    const { agent, chat } = await wiredPair(registry);
    const bea = await registry.createAgentGroup({ ...anAgent, folder: 'bea', name: 'Bea' });
    const [hall, far] = [await chatOf(registry, 'hall'), await chatOf(registry, 'far')];
    await registry.createWiring({ ...aWiring, agentGroupId: agent.id, messagingGroupId: hall.id });
    await registry.createWiring({ ...aWiring, agentGroupId: bea.id, messagingGroupId: far.id });
    const add = (name: string, target: DestinationTarget) =>
      registry.destinations.create({ agentGroupId: agent.id, name, target });
    await add('zulu', { type: 'channel', messagingGroupId: far.id });
    await add('colleague', { type: 'agent', agentGroupId: bea.id });
    await add('family', { type: 'channel', messagingGroupId: chat.id });

    const telegram = { type: 'channel', channelType: 'telegram' };
    expect(await registry.destinations.reachable(agent.id)).toEqual([
      { ...telegram, name: 'zulu', displayName: 'The far', platformId: 'far' },
      { type: 'agent', name: 'colleague', displayName: 'Bea', agentGroupId: bea.id },
      { ...telegram, name: 'family', displayName: 'Family', platformId: chat.platformId },
      { ...telegram, name: null, displayName: 'The hall', platformId: 'hall' },
    ]);
    expect(await registry.destinations.reachable(bea.id)).toEqual([
      { ...telegram, name: null, displayName: 'The far', platformId: 'far' },
    ]);
    await registry.deleteAgentGroup(bea.id);
    expect((await registry.destinations.reachable(agent.id)).map(({ name }) => name)).toEqual(['zulu', 'family', null]);
  });

  it('Mail is written down once, leads back to the session that asked, and is bounded for each root (34)', async () => {
    const registry = await registryOn(engine);
    const { agent, session } = await agentWithSession(registry);
    const chat = await registry.createMessagingGroup(aChat);
    const other = await registry.sessionFor({ scope: 'chat', agentGroupId: agent.id, messagingGroupId: chat.id });
    const mail: Mail = {
      id: `${session.id}/m-1`,
      fromSessionId: session.id,
      toSessionId: other.id,
      inboundId: 'mail/1',
      root: 'root',
      hop: 1,
      at: 5,
    };
    const two = { rootMax: 2 };
    expect([await registry.mail.record(mail, two), await registry.mail.record(mail, two)]).toEqual([
      'recorded',
      'recorded',
    ]);
    expect(await registry.mail.to(other.id, 'mail/1')).toEqual(mail);
    expect(await registry.mail.to(session.id, 'mail/1')).toBeUndefined();
    const more = [2, 3].map((n) => ({ ...mail, id: `${session.id}/m-${n}`, inboundId: `mail/${n}`, at: 5 + n }));
    const results = await Promise.all(more.map((next) => registry.mail.record(next, two)));
    expect(results.toSorted()).toEqual(['full', 'recorded']);
    expect(await registry.mail.record(mail, two)).toBe('recorded');
    expect([await registry.mail.count('root'), await registry.mail.count('other')]).toEqual([2, 0]);
    expect(await registry.mail.latestTo(other.id)).toEqual(more[results.indexOf('recorded')]);
    await expect(registry.mail.record({ ...mail, id: 'x' }, { rootMax: 9 })).rejects.toMatchObject({
      code: 'conflict',
    });
    expect(await registry.prune(6, 9)).toBe(1);
    await registry.deleteSession(session.id);
    expect(await registry.mail.count('root')).toBe(0);
  });

  it('Dropped messages are counted for each chat and reason, and forgotten by chat or altogether', async () => {
    const { dropped } = await registryOn(engine);
    const stranger = { channelType: 'telegram', platformId: '1', reason: 'stranger' };
    for (const now of [5, 7, 9]) await dropped.count(stranger, now);
    await dropped.count({ ...stranger, platformId: '2' }, 8);
    expect(await dropped.list()).toEqual([
      { ...stranger, count: 3, firstSeen: 5, lastSeen: 9 },
      { ...stranger, platformId: '2', count: 1, firstSeen: 8, lastSeen: 8 },
    ]);
    expect(await dropped.prune(9)).toBe(1);
    expect(await dropped.forget({ channelType: 'telegram', platformId: '2' })).toBe(0);
    expect([await dropped.forget(), await dropped.list()]).toEqual([1, []]);
  });

  it('The audit log is added to, read newest first, and pruned, and never refuses an entry for its size', async () => {
    const { audit } = await registryOn(engine);
    const entry = { actor: user('alice'), action: 'approve', target: 't', outcome: 'done', detail: {} };
    for (const at of [1, 2, 3]) await audit.add({ ...entry, at });
    await audit.add({
      ...entry,
      at: 4,
      action: 'deny',
      target: '\0'.repeat(9_999),
      detail: { text: 'x'.repeat(16_384) },
    });
    const all = await audit.list({ limit: 9 });
    expect(all.map(({ at }) => at)).toEqual([4, 3, 2, 1]);
    expect(all[0]).toMatchObject({ target: ' '.repeat(500), detail: { leftOutBytes: 16_395 } });
    expect(await audit.list({ limit: 1, before: all[1]?.id ?? 0 })).toEqual([all[2]]);
    expect(await audit.list({ limit: 9, action: 'deny' })).toEqual([all[0]]);
    expect([await audit.prune(3, 1), await audit.prune(3, 9), await audit.prune(3, 9)]).toEqual([1, 1, 0]);
    await audit.add({ ...entry, at: 5 });
    expect((await audit.list({ limit: 1 }))[0]?.id).toBeGreaterThan(all[0]?.id ?? 0);
  });
});

async function chatOf(registry: Registry, platformId: string): Promise<MessagingGroup> {
  return registry.createMessagingGroup({ ...aChat, platformId, name: `The ${platformId}` });
}

it('Chats that strangers make up do not fill the list of dropped messages: the most recent stay (52)', async () => {
  const db = await emptyPostgres();
  const { dropped } = await registryOn('postgres');
  await sql`INSERT INTO dropped_messages
              SELECT 'telegram', 'p' || n, 'stranger', 1, n, n FROM generate_series(1, 1050) AS n`.execute(db);
  await dropped.count({ channelType: 'telegram', platformId: 'new', reason: 'stranger' }, 2_000);
  const kept = (await dropped.list()).map(({ platformId }) => platformId);
  expect(kept).toHaveLength(1_000);
  expect([kept[0], kept.at(-1)]).toEqual(['new', 'p52']);
});
