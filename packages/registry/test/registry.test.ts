import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  type AgentGroupId,
  type AgentGroupSettings,
  isId,
  openRegistry,
  type SessionId,
  type SessionKey,
  type WiringId,
} from '../src/index.ts';
import {
  aChat,
  anAgent,
  aWiring,
  ENGINES,
  plainSettings,
  registryOn,
  temporaryFolder,
  temporaryRegistry,
  wiredPair,
} from './folder.ts';

describe.each(ENGINES)('on %s', (engine) => {
  describe('wiringsFor', () => {
    it('answers a chat with its wirings and their agent groups, highest priority first', async () => {
      const registry = await registryOn(engine);
      const { agent, chat, wiring } = await wiredPair(registry);
      const second = await registry.createAgentGroup({ ...anAgent, folder: 'bea', name: 'Bea', model: 'large' });
      const urgent = await registry.createWiring({
        ...aWiring,
        engage: { mode: 'pattern', pattern: '(?i)bea' },
        priority: 5,
        agentGroupId: second.id,
        messagingGroupId: chat.id,
      });

      expect(await registry.wiringsFor('telegram', '-100200')).toEqual({
        messagingGroup: chat,
        wirings: [
          { wiring: urgent, agentGroup: second },
          { wiring, agentGroup: agent },
        ],
      });
    });

    it('answers an unwired chat with no wirings and an unknown one with nothing', async () => {
      const registry = await registryOn(engine);
      const chat = await registry.createMessagingGroup(aChat);
      expect(await registry.wiringsFor('telegram', '-100200')).toEqual({ messagingGroup: chat, wirings: [] });
      expect(await registry.wiringsFor('discord', '-100200')).toBeUndefined();
    });
  });

  describe('sessionFor', () => {
    it('gives one session to any number of simultaneous callers with the same key, for every scope', async () => {
      const registry = await registryOn(engine);
      const { agent, chat } = await wiredPair(registry);
      const keys: SessionKey[] = [
        { scope: 'agent', agentGroupId: agent.id },
        { scope: 'chat', agentGroupId: agent.id, messagingGroupId: chat.id },
        { scope: 'thread', agentGroupId: agent.id, messagingGroupId: chat.id, threadId: 'chat:1' },
      ];
      for (const key of keys) {
        const sessions = await Promise.all([1, 2, 3, 4].map(() => registry.sessionFor(key)));
        expect(new Set(sessions.map((session) => session.id)).size).toBe(1);
        expect(sessions[0]).toMatchObject({ key, nextDueAt: null, quarantine: null });
      }
      expect((await registry.sessions()).map((session) => session.key)).toEqual(keys);
    });

    it.runIf(engine === 'sqlite')('finds the session again after the file was closed and opened', async () => {
      const file = join(temporaryFolder(), 'registry.db');
      const before = await temporaryRegistry(file);
      const { agent } = await wiredPair(before);
      const session = await before.sessionFor({ scope: 'agent', agentGroupId: agent.id });
      await before.close();

      const after = await temporaryRegistry(file);
      expect(await after.sessionFor({ scope: 'agent', agentGroupId: agent.id })).toEqual(session);
      expect(await after.session(session.id)).toEqual(session);
    });

    it('refuses a session for an agent group that does not exist', async () => {
      const registry = await registryOn(engine);
      await expect(
        registry.sessionFor({ scope: 'agent', agentGroupId: id<AgentGroupId>('nobody') }),
      ).rejects.toMatchObject({ code: 'missing', message: expect.stringContaining('Nothing was changed') });
    });
  });

  describe('sessionsDue', () => {
    it('lists what is due, longest first, and leaves out the idle, the future and the quarantined', async () => {
      const registry = await registryOn(engine);
      const { agent, chat } = await wiredPair(registry);
      const inThread = (threadId: string): Promise<{ id: SessionId }> =>
        registry.sessionFor({ scope: 'thread', agentGroupId: agent.id, messagingGroupId: chat.id, threadId });
      const [late, later, future, sick, idle] = await Promise.all(['1', '2', '3', '4', '5'].map(inThread));
      if (!late || !later || !future || !sick || !idle) throw new Error('five sessions were made');
      await registry.setSessionNextDue(later.id, 900);
      await registry.setSessionNextDue(late.id, 500);
      await registry.setSessionNextDue(future.id, 1_001);
      await registry.setSessionNextDue(sick.id, 100);
      await registry.setSessionQuarantine(sick.id, { reason: 'outbound.db is a fifo', until: 2_000 });

      expect((await registry.sessionsDue(1_000, 10)).map((session) => session.id)).toEqual([late.id, later.id]);
      expect((await registry.sessionsDue(1_000, 1)).map((session) => session.id)).toEqual([late.id]);
      expect((await registry.sessionsDue(2_000, 1)).map((session) => session.id)).toEqual([sick.id]);
      expect((await registry.session(sick.id))?.quarantine).toEqual({ reason: 'outbound.db is a fifo', until: 2_000 });

      await registry.setSessionQuarantine(sick.id, null);
      await registry.setSessionNextDue(late.id, null);
      expect((await registry.sessionsDue(1_000, 10)).map((session) => session.id)).toEqual([sick.id, later.id]);
      expect(await registry.setSessionNextDue(id<SessionId>('nobody'), 1)).toBe(false);
    });
  });

  describe('engaged threads', () => {
    it('remember a mention for its own thread only, and never outside a thread', async () => {
      const registry = await registryOn(engine);
      const { chat, wiring } = await wiredPair(registry);
      await registry.engageThread(wiring.id, '7');
      await registry.engageThread(wiring.id, '7');
      expect(await registry.engagedWirings(chat.id, '7')).toEqual(new Set([wiring.id]));
      expect(await registry.engagedWirings(chat.id, '8')).toEqual(new Set());
      expect(await registry.engagedWirings(chat.id, null)).toEqual(new Set());
    });

    it('are forgotten with their wiring', async () => {
      const registry = await registryOn(engine);
      const { chat, wiring } = await wiredPair(registry);
      await registry.engageThread(wiring.id, '7');
      await registry.deleteWiring(wiring.id);
      expect(await registry.engagedWirings(chat.id, '7')).toEqual(new Set());
      await expect(registry.engageThread(wiring.id, '7')).rejects.toMatchObject({ code: 'missing' });
    });
  });

  describe('create, get, list, update, delete', () => {
    it('change only what an update names, and answer undefined for what is not there', async () => {
      const registry = await registryOn(engine);
      const { agent, chat, wiring } = await wiredPair(registry);

      const renamed = await registry.updateAgentGroup(agent.id, { name: 'Andrea', model: 'small' });
      expect(renamed).toEqual({ ...agent, name: 'Andrea', model: 'small' });
      expect(await registry.updateAgentGroup(agent.id, { model: null })).toEqual({ ...agent, name: 'Andrea' });
      expect(await registry.updateAgentGroup(agent.id, {})).toEqual({ ...agent, name: 'Andrea' });
      expect(await registry.agentGroupByFolder('andy')).toEqual({ ...agent, name: 'Andrea' });

      expect(await registry.updateMessagingGroup(chat.id, { denied: true })).toEqual({ ...chat, denied: true });
      expect(await registry.updateMessagingGroup(chat.id, { strangers: 'public' })).toEqual({
        ...chat,
        denied: true,
        strangers: 'public',
      });

      const engage = { mode: 'pattern', pattern: '^!' } as const;
      expect(await registry.updateWiring(wiring.id, { engage })).toEqual({ ...wiring, engage });
      expect(await registry.updateWiring(wiring.id, { engage: { mode: 'mention' }, priority: 3 })).toEqual({
        ...wiring,
        priority: 3,
      });

      expect(await registry.updateWiring(id<WiringId>('nobody'), { priority: 1 })).toBeUndefined();
      expect(await registry.agentGroup(id<AgentGroupId>('nobody'))).toBeUndefined();
      expect(await registry.deleteWiring(id<WiringId>('nobody'))).toBe(false);
    });

    it('keep skills, servers, packages, mounts and scope of an agent group, and leave them small when nothing is said', async () => {
      const registry = await registryOn(engine);
      const plain = await registry.createAgentGroup(anAgent);
      expect(plain).toMatchObject(plainSettings);

      const settings = {
        skills: ['weather', 'read-pdf'],
        mcpServers: [{ name: 'files', command: 'npx', args: ['-y', 'files-mcp', ''] }],
        packages: { apt: ['ffmpeg', 'g++'], npm: ['@scope/tool@1.2.3', 'left-pad'] },
        mounts: [{ source: '/srv/photos', name: 'photos', isWritable: false }],
        image: 'localhost/nanoclaw-group:1',
        network: 'bridge',
        commandScope: 'own',
      } as const;
      const rich = await registry.createAgentGroup({ ...anAgent, ...settings, folder: 'rich' });
      expect(rich).toMatchObject(settings);
      expect(await registry.agentGroup(rich.id)).toEqual(rich);
      expect(await registry.updateAgentGroup(rich.id, { skills: 'all' })).toEqual({ ...rich, skills: 'all' });
      expect(await registry.updateAgentGroup(plain.id, settings)).toEqual({ ...plain, ...settings });
    });

    it.each<[string, Partial<AgentGroupSettings>]>([
      ['a package that is an option', { packages: { apt: ['-o=Dir::Etc'], npm: [] } }],
      ['a package that is a path', { packages: { apt: [], npm: ['../evil'] } }],
      ['a package with a space', { packages: { apt: ['curl wget'], npm: [] } }],
      ['a package twice', { packages: { apt: ['curl', 'curl'], npm: [] } }],
      ['a skill that leaves its folder', { skills: ['../../etc'] }],
      ['two servers of one name', { mcpServers: [server('a'), server('a')] }],
      ['a server without a command', { mcpServers: [{ ...server('a'), command: '' }] }],
      ['a mount of a relative path', { mounts: [{ source: 'etc', name: 'etc', isWritable: false }] }],
      ['a mount whose name is a path', { mounts: [{ source: '/etc', name: '../etc', isWritable: false }] }],
      ['an empty image', { image: '' }],
    ])('refuse %s', async (_, settings) => {
      const registry = await registryOn(engine);
      const agent = await registry.createAgentGroup(anAgent);
      await expect(registry.updateAgentGroup(agent.id, settings)).rejects.toMatchObject({
        code: 'invalid',
        message: expect.stringContaining('Nothing was changed in the agent group.'),
      });
      await expect(registry.createAgentGroup({ ...anAgent, ...settings, folder: 'bea' })).rejects.toMatchObject({
        code: 'invalid',
      });
      expect(await registry.agentGroups()).toEqual([agent]);
    });

    it('list what there is, oldest first', async () => {
      const registry = await registryOn(engine);
      const { agent, chat, wiring } = await wiredPair(registry);
      const second = await registry.createAgentGroup({ ...anAgent, folder: 'bea' });
      expect(await registry.agentGroups()).toEqual([agent, second]);
      expect(await registry.messagingGroups()).toEqual([chat]);
      expect(await registry.wirings()).toEqual([wiring]);
      expect(await registry.messagingGroup(chat.id)).toEqual(chat);
      expect(await registry.wiring(wiring.id)).toEqual(wiring);
    });

    it('take the wirings along with either end', async () => {
      const registry = await registryOn(engine);
      const { agent, chat } = await wiredPair(registry);
      expect(await registry.deleteMessagingGroup(chat.id)).toBe(true);
      expect(await registry.wirings()).toEqual([]);
      const again = await registry.createMessagingGroup(aChat);
      await registry.createWiring({ ...aWiring, agentGroupId: agent.id, messagingGroupId: again.id });
      expect(await registry.deleteAgentGroup(agent.id)).toBe(true);
      expect(await registry.wirings()).toEqual([]);
    });

    it('keep an agent group and a chat that still have sessions, and say so', async () => {
      const registry = await registryOn(engine);
      const { agent, chat, wiring } = await wiredPair(registry);
      await registry.sessionFor({ scope: 'chat', agentGroupId: agent.id, messagingGroupId: chat.id });
      for (const deletion of [
        () => registry.deleteAgentGroup(agent.id),
        () => registry.deleteMessagingGroup(chat.id),
      ]) {
        await expect(deletion()).rejects.toMatchObject({
          code: 'in-use',
          message: expect.stringMatching(/has sessions/),
        });
      }
      expect(await registry.wirings()).toEqual([wiring]);
    });

    it('refuse what exists already, naming it', async () => {
      const registry = await registryOn(engine);
      const { agent, chat } = await wiredPair(registry);
      await expect(registry.createAgentGroup(anAgent)).rejects.toMatchObject({
        code: 'conflict',
        message: 'Another agent group has the folder andy. Nothing was changed in the agent group.',
      });
      await expect(registry.createMessagingGroup(aChat)).rejects.toMatchObject({ code: 'conflict' });
      const pair = { agentGroupId: agent.id, messagingGroupId: chat.id };
      await expect(registry.createWiring({ ...aWiring, ...pair })).rejects.toMatchObject({ code: 'conflict' });
    });

    it('refuse a wiring to something that does not exist', async () => {
      const registry = await registryOn(engine);
      const { chat } = await wiredPair(registry);
      const pair = { agentGroupId: id<AgentGroupId>('nobody'), messagingGroupId: chat.id };
      await expect(registry.createWiring({ ...aWiring, ...pair })).rejects.toMatchObject({ code: 'missing' });
    });

    it('refuse a value that breaks a rule, with the rule as a sentence, and keep the old value', async () => {
      const registry = await registryOn(engine);
      const { agent, wiring } = await wiredPair(registry);
      for (const folder of ['', '../etc', 'a/b', 'A', '.hidden', '-rf', 'é', 'a'.repeat(65)]) {
        await expect(registry.createAgentGroup({ ...anAgent, folder })).rejects.toMatchObject({
          code: 'invalid',
          message: expect.stringContaining('A folder name has 1–64 characters'),
        });
      }
      await expect(registry.createAgentGroup({ ...anAgent, folder: 'a\0b' })).rejects.toMatchObject({
        code: 'invalid',
      });
      await expect(registry.updateAgentGroup(agent.id, { messagesPerPrompt: 1.5 })).rejects.toMatchObject({
        code: 'invalid',
      });
      const engage = { mode: 'pattern', pattern: '(a' } as const;
      await expect(registry.updateWiring(wiring.id, { engage })).rejects.toMatchObject({ code: 'invalid' });
      expect(await registry.agentGroups()).toEqual([agent]);
      expect(await registry.wirings()).toEqual([wiring]);
    });

    it.runIf(engine === 'sqlite')('refuse an id from the app that could not be a folder name', async () => {
      const file = join(temporaryFolder(), 'registry.db');
      await using careless = await openRegistry({ file, now: () => 0, newId: () => '../up' });
      await expect(careless.createAgentGroup(anAgent)).rejects.toThrow(/"\.\.\/up"/);
      expect(await careless.agentGroups()).toEqual([]);
    });
  });
});

it('Closing a registry twice is fine', async () => {
  const registry = await temporaryRegistry();
  await registry.close();
  await expect(registry.close()).resolves.toBeUndefined();
});

function id<SomeId extends AgentGroupId | SessionId | WiringId>(text: string): SomeId {
  if (!isId<SomeId>(text)) throw new Error(`${text} is not an id`);
  return text;
}

function server(name: string): AgentGroupSettings['mcpServers'][number] {
  return { name, command: 'run', args: [] };
}
