import type { WiringSettings } from '@nanoclaw/registry';
import { describe, expect, it } from 'vitest';
import { destinationsOf } from '../src/session/destinations.ts';
import { openGround, World } from './people-world.ts';

describe('where an agent may write to', () => {
  it('is the chats it is wired to and what its address book has, under the names of the book', async () => {
    using ground = openGround();
    await using world = await World.open(ground);
    const { registry } = world;
    const [agent, helper] = [await world.agent(), await world.agent('helper')];
    const [room, hall] = [await world.chat('room'), await world.chat('hall')];
    const far = await world.chat('far');
    for (const chat of [room, hall]) await world.wire(chat, agent);
    await world.wire(far, helper);
    const add = (name: string, target: Parameters<typeof registry.destinations.create>[0]['target']) =>
      registry.destinations.create({ agentGroupId: agent.id, name, target });
    await add('team', { type: 'channel', messagingGroupId: room.id });
    await add('colleague', { type: 'agent', agentGroupId: helper.id });
    await add('abroad', { type: 'channel', messagingGroupId: far.id });

    const destinations = await destinationsOf({ key: { scope: 'agent', agentGroupId: agent.id } }, registry);
    const places = destinations.map((one) => [one.name, one.type === 'agent' ? one.agentGroupId : one.platformId]);
    expect(places.toSorted()).toEqual([
      ['abroad', 'far'],
      ['colleague', helper.id],
      ['memory-hall', 'hall'],
      ['team', 'room'],
    ]);
    expect(
      (await destinationsOf({ key: { scope: 'agent', agentGroupId: helper.id } }, registry)).map(({ name }) => name),
    ).toEqual(['memory-far']);
  });

  it('leaves a name to the place that the address book gave it to, and the chat can be written to all the same', async () => {
    using ground = openGround();
    await using world = await World.open(ground);
    const agent = await world.agent();
    const [room, far] = [await world.chat('room'), await world.chat('far')];
    await world.wire(room, agent);
    const target = { type: 'channel', messagingGroupId: far.id } as const;
    await world.registry.destinations.create({ agentGroupId: agent.id, name: 'memory-room', target });
    expect(await destinationsOf({ key: { scope: 'agent', agentGroupId: agent.id } }, world.registry)).toMatchObject([
      { name: 'memory-room', platformId: 'far' },
      { name: 'memory-room-2', platformId: 'room' },
    ]);
  });

  it('has a name of its own for each of two chats whose places read alike', async () => {
    using ground = openGround();
    await using world = await World.open(ground);
    const agent = await world.agent();
    const settings = { name: 'Ours', kind: 'group', strangers: 'public', denied: false } as const;
    for (const [channelType, platformId] of [['memory', 'a-b'] as const, ['memory-a', 'b'] as const]) {
      await world.wire(await world.registry.createMessagingGroup({ channelType, platformId, ...settings }), agent);
    }
    const names = (await destinationsOf({ key: { scope: 'agent', agentGroupId: agent.id } }, world.registry)).map(
      ({ name }) => name,
    );
    expect(names.toSorted()).toEqual(['memory-a-b', 'memory-a-b-2']);
  });
});

/** The places that the session of a chat may write to; a second chat and a colleague are destinations of its agent. */
async function placesFrom(
  chat: { readonly kind: 'group' | 'direct'; readonly strangers: 'strict' | 'request_approval' | 'public' },
  wiring: Partial<WiringSettings> = {},
): Promise<string[]> {
  using ground = openGround();
  await using world = await World.open(ground);
  const { registry } = world;
  const [agent, helper] = [await world.agent(), await world.agent('helper')];
  const asked = await registry.createMessagingGroup({
    channelType: 'memory',
    platformId: 'asked',
    name: 'Asked',
    denied: false,
    ...chat,
  });
  const other = await world.chat('other');
  const settings = { otherwise: 'drop', sessionMode: 'shared', priority: 0, senderScope: 'all' } as const;
  for (const messagingGroupId of [asked.id, other.id]) {
    const engage = { mode: 'mention' } as const;
    const given = messagingGroupId === asked.id ? wiring : {};
    await registry.createWiring({ messagingGroupId, agentGroupId: agent.id, engage, ...settings, ...given });
  }
  const target = { type: 'agent', agentGroupId: helper.id } as const;
  await registry.destinations.create({ agentGroupId: agent.id, name: 'colleague', target });
  const isShared = wiring.sessionMode === 'agent-shared';
  const key = isShared
    ? ({ scope: 'agent', agentGroupId: agent.id } as const)
    : ({ scope: 'chat', agentGroupId: agent.id, messagingGroupId: asked.id } as const);
  const destinations = await destinationsOf({ key }, registry);
  return destinations.map((one) => (one.type === 'agent' ? 'colleague' : one.platformId)).toSorted();
}

describe('the reach of a wiring (failure 74)', () => {
  const EVERYWHERE = ['asked', 'colleague', 'other'];

  it('is by default its own chat where strangers are heard, and all destinations anywhere else', async () => {
    for (const kind of ['group', 'direct'] as const) {
      expect(await placesFrom({ kind, strangers: 'public' })).toEqual(['asked']);
      expect(await placesFrom({ kind, strangers: 'public' }, { senderScope: 'known' })).toEqual(EVERYWHERE);
      expect(await placesFrom({ kind, strangers: 'strict' })).toEqual(EVERYWHERE);
      expect(await placesFrom({ kind, strangers: 'request_approval' })).toEqual(EVERYWHERE);
    }
  });

  it('is what the wiring says where it says so', async () => {
    const [open, closed] = [
      { kind: 'group', strangers: 'public' } as const,
      { kind: 'direct', strangers: 'strict' } as const,
    ];
    expect(await placesFrom(open, { reach: 'all-destinations' })).toEqual(EVERYWHERE);
    expect(await placesFrom(closed, { reach: 'own-chat' })).toEqual(['asked']);
  });

  it('confines a session of all chats to those that are heard in it, if one of them is confined', async () => {
    expect(await placesFrom({ kind: 'group', strangers: 'public' }, { sessionMode: 'agent-shared' })).toEqual([
      'asked',
    ]);
    expect(await placesFrom({ kind: 'group', strangers: 'strict' }, { sessionMode: 'agent-shared' })).toEqual(
      EVERYWHERE,
    );
  });
});
