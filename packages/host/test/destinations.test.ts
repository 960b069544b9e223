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

    const destinations = await destinationsOf(agent.id, registry);
    const places = destinations.map((one) => [one.name, one.type === 'agent' ? one.agentGroupId : one.platformId]);
    expect(places.toSorted()).toEqual([
      ['abroad', 'far'],
      ['colleague', helper.id],
      ['memory-hall', 'hall'],
      ['team', 'room'],
    ]);
    expect((await destinationsOf(helper.id, registry)).map(({ name }) => name)).toEqual(['memory-far']);
  });

  it('leaves a name to the place that the address book gave it to, and the chat can be written to all the same', async () => {
    using ground = openGround();
    await using world = await World.open(ground);
    const agent = await world.agent();
    const [room, far] = [await world.chat('room'), await world.chat('far')];
    await world.wire(room, agent);
    const target = { type: 'channel', messagingGroupId: far.id } as const;
    await world.registry.destinations.create({ agentGroupId: agent.id, name: 'memory-room', target });
    expect(await destinationsOf(agent.id, world.registry)).toMatchObject([
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
    const names = (await destinationsOf(agent.id, world.registry)).map(({ name }) => name);
    expect(names.toSorted()).toEqual(['memory-a-b', 'memory-a-b-2']);
  });
});
