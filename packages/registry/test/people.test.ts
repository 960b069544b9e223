import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import { isUserId, userId } from '../src/index.ts';
import { agentWithSession, anAgent, ENGINES, emptyPostgres, registryOn, user } from './folder.ts';

const alice = user('alice');
const bob = user('bob');
const owner = { role: 'owner' } as const;

describe('a user id', () => {
  it.each([
    ['telegram', 'alice', 'telegram:alice'],
    ['matrix', '@a:example.org', 'matrix:@a:example.org'],
    ['', 'alice', undefined],
    ['telegram', '', undefined],
    ['tele:gram', 'alice', undefined],
    ['agent', 'a1', undefined],
    ['telegram', 'al\nice', undefined],
    ['telegram', 'al\0ice', undefined],
    ['telegram', '\ud800', undefined],
    ['telegram', 'x'.repeat(300), undefined],
  ])('of %j and %j is %j', (channelType, handle, expected) => {
    expect(userId(channelType, handle)).toBe(expected);
  });

  it('is told from what is none, and from other actors', () => {
    expect(['telegram:1', 'telegram', ':1', 'agent:a1', 'operator'].filter(isUserId)).toEqual(['telegram:1']);
  });
});

describe.each(ENGINES)('on %s', (engine) => {
  describe('users', () => {
    it('are made when they first speak, follow the name of the platform, and are found again', async () => {
      const { people } = await registryOn(engine);
      const first = await people.ensureUser(alice, 'Alice');
      expect(await people.ensureUser(alice, 'Alice')).toEqual(first);
      expect(await people.ensureUser(alice, 'Alice B.')).toEqual({ ...first, name: 'Alice B.' });
      expect(await people.user(alice)).toEqual({ ...first, name: 'Alice B.' });
      expect(await people.users()).toHaveLength(1);
    });

    it('may be called anything: the name is cut and kept on one line', async () => {
      const { people } = await registryOn(engine);
      expect((await people.ensureUser(alice, '\0A\nB\u001b[2J')).name).toBe('A B [2J');
      expect((await people.ensureUser(alice, '😀'.repeat(1_000))).name).toBe('😀'.repeat(100));
      expect((await people.ensureUser(alice, '')).name).toBe('');
    });

    it('can be created, changed and deleted by hand, once each', async () => {
      const { people } = await registryOn(engine);
      const created = await people.createUser({ id: alice, name: 'Alice' });
      await expect(people.createUser({ id: alice, name: 'Other' })).rejects.toMatchObject({ code: 'conflict' });
      expect(await people.updateUser(alice, { name: 'A' })).toEqual({ ...created, name: 'A' });
      expect(await people.updateUser(bob, { name: 'B' })).toBeUndefined();
      expect([await people.deleteUser(alice), await people.deleteUser(alice)]).toEqual([true, false]);
    });
  });

  describe('a person', () => {
    it('nobody knows has no roles and no memberships', async () => {
      const { people } = await registryOn(engine);
      expect(await people.person(alice)).toEqual({ roles: [], memberOf: [] });
    });

    it('has what was granted, until it is revoked or the agent group is deleted', async () => {
      const registry = await registryOn(engine);
      const { people } = registry;
      const agent = await registry.createAgentGroup(anAgent);
      await people.ensureUser(alice, 'Alice');
      const admin = { role: 'admin', agentGroupId: agent.id } as const;

      expect([await people.grantRole(alice, admin, 'operator'), await people.grantRole(alice, admin, bob)]).toEqual([
        true,
        false,
      ]);
      expect(await people.grantRole(alice, { role: 'admin', agentGroupId: null }, 'operator')).toBe(true);
      expect(await people.addMember(alice, agent.id, bob)).toBe(true);
      expect(await people.addMember(alice, agent.id, bob)).toBe(false);
      const person = await people.person(alice);
      expect(person.memberOf).toEqual([agent.id]);
      expect(person.roles).toHaveLength(2);
      expect((await people.roleGrants())[0]).toMatchObject({ userId: alice, role: admin, grantedBy: 'operator' });
      expect(await people.memberships(agent.id)).toMatchObject([{ userId: alice, addedBy: bob }]);

      expect(await people.revokeRole(alice, { role: 'admin', agentGroupId: null })).toBe(true);
      expect(await people.revokeRole(alice, { role: 'admin', agentGroupId: null })).toBe(false);
      await registry.deleteAgentGroup(agent.id);
      expect(await people.person(alice)).toEqual({ roles: [], memberOf: [] });
    });

    it('has to be known before a role or a membership', async () => {
      const registry = await registryOn(engine);
      const agent = await registry.createAgentGroup(anAgent);
      await expect(registry.people.grantRole(alice, owner, 'operator')).rejects.toMatchObject({ code: 'missing' });
      await expect(registry.people.addMember(alice, agent.id, 'host')).rejects.toMatchObject({ code: 'missing' });
      expect(await registry.people.removeMember(alice, agent.id)).toBe(false);
    });
  });

  it('The last owner stays, whichever way it is removed', async () => {
    const { people } = await registryOn(engine);
    for (const id of [alice, bob]) {
      await people.ensureUser(id, '');
      await people.grantRole(id, owner, 'operator');
    }
    expect(await people.revokeRole(alice, owner)).toBe(true);
    const refused = { code: 'in-use', message: expect.stringContaining('This is the last owner') };
    await expect(people.revokeRole(bob, owner)).rejects.toMatchObject(refused);
    await expect(people.deleteUser(bob)).rejects.toMatchObject(refused);
    expect(await people.person(bob)).toEqual({ roles: [owner], memberOf: [] });
  });

  it('Approvers are the admins of the agent, then the global ones, then the owners, each once', async () => {
    const registry = await registryOn(engine);
    const { people } = registry;
    const here = await registry.createAgentGroup(anAgent);
    const there = await registry.createAgentGroup({ ...anAgent, folder: 'bea' });
    const [own, all, other] = [user('own'), user('all'), user('other')];
    for (const id of [alice, own, all, other]) await people.ensureUser(id, '');
    await people.grantRole(alice, owner, 'operator');
    await people.grantRole(all, { role: 'admin', agentGroupId: null }, 'operator');
    await people.grantRole(other, { role: 'admin', agentGroupId: there.id }, 'operator');
    await people.grantRole(own, { role: 'admin', agentGroupId: here.id }, 'operator');
    await people.grantRole(all, { role: 'admin', agentGroupId: here.id }, 'operator');

    expect(await people.approvers(here.id)).toEqual([own, all, alice]);
    expect(await people.approvers(there.id)).toEqual([other, all, alice]);
    expect(await people.approvers(null)).toEqual([all, alice]);
  });

  it('Who loses a role, or is deleted, is no longer the one who was asked', async () => {
    const registry = await registryOn(engine, { now: 0 });
    const { people, approvals } = registry;
    const { agent } = await agentWithSession(registry);
    const place = { channelType: 'telegram', platformId: 'dm', threadId: null };
    const lose = [
      () => people.revokeRole(bob, { role: 'admin', agentGroupId: agent.id }),
      () => people.deleteUser(bob),
    ];
    for (const [index, loss] of lose.entries()) {
      await people.ensureUser(bob, 'Bob');
      await people.grantRole(bob, { role: 'admin', agentGroupId: agent.id }, 'operator');
      const requested = await approvals.request(
        {
          kind: 'sender',
          subject: String(index),
          agentGroupId: agent.id,
          messagingGroupId: null,
          sessionId: null,
          requestedBy: 'host',
          summary: 'Somebody would speak.',
          payload: {},
          expiresAt: 100,
        },
        { openMax: 10 },
      );
      if (requested === undefined) throw new Error('there was room for it');
      await approvals.markAsked(requested.approval.id, { of: bob, place });
      expect((await approvals.get(requested.approval.id))?.asked).toEqual({ of: bob, place });
      await loss();
      expect((await approvals.get(requested.approval.id))?.asked).toBeNull();
    }
  });
});

it('Strangers who speak are forgotten when there are thousands, and those who are somebody are not (52)', async () => {
  const db = await emptyPostgres();
  const registry = await registryOn('postgres');
  const { people } = registry;
  const agent = await registry.createAgentGroup(anAgent);
  for (const id of [alice, bob]) await people.ensureUser(id, '');
  await people.grantRole(alice, owner, 'operator');
  await people.addMember(bob, agent.id, 'operator');
  await sql`INSERT INTO users SELECT 'telegram:crowd' || n, '', 1000 + n FROM generate_series(1, 2100) AS n`.execute(
    db,
  );

  await people.ensureUser(user('newcomer'), '');
  await people.ensureUser(user('newest'), '');
  const users = (await people.users()).map(({ id }) => id);
  expect(users).toHaveLength(2 + 2_000);
  expect(users).toEqual(expect.arrayContaining([alice, bob, user('newest')]));
  expect(users).not.toContain(user('crowd1'));
});
