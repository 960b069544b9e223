import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Approval } from '@nanoclaw/registry';
import type { JsonObject } from '@nanoclaw/session-db';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { applyActionOutcome, performAction } from '../src/actions/actions.ts';
import type { SessionHandle } from '../src/session/sessions.ts';
import { asHost, OutboundWorld } from './outbound-world.ts';

let world: OutboundWorld;
let session: SessionHandle;

beforeEach(async () => {
  world = await OutboundWorld.make();
  session = await world.session('nano', { commandScope: 'none' });
  await world.owner('olga');
});
afterEach(() => world[Symbol.asyncDispose]());

/** The agent asks for something; gives the row's id. */
async function ask(content: JsonObject, inReplyTo: string | null = null): Promise<string> {
  const { id } = world.row(session, { kind: 'system', inReplyTo, content });
  await world.deliver(session);
  return id;
}

const resultOf = (rowId: string) => session.files.received(`result/${rowId}`)?.content;
const agents = async () => (await world.registry.agentGroups()).map(({ name }) => name);

async function decide(type: 'approved' | 'denied'): Promise<Approval> {
  const waiting = await world.waiting();
  if (waiting === undefined) throw new Error('nothing waits');
  await world.registry.approvals.decide(waiting.id, { type, by: 'operator', at: world.now });
  const approval = await world.registry.approvals.get(waiting.id);
  if (approval === undefined) throw new Error('it is gone');
  await applyActionOutcome(approval, world.actions());
  return approval;
}

describe('an action', () => {
  it.each([
    ['nobody knows', { action: 'dance' }, 'This host cannot do dance; nothing was changed.'],
    ['has no name', { action: 7 }, 'This host cannot do an action without a name; nothing was changed.'],
    ['is named like a property of every object', { action: 'constructor' }, 'This host cannot do constructor'],
    ['is a task without a prompt', { action: 'schedule_task' }, 'prompt'],
    [
      'is an agent whose name would have to be cleaned',
      { action: 'create_agent', name: 'Bo\u202eb' },
      'cannot be seen',
    ],
    ['is an agent whose name would have to be cut', { action: 'create_agent', name: 'x'.repeat(101) }, '1 to 100'],
    ['is an agent without a name', { action: 'create_agent', name: '  ' }, 'name must be a text'],
    ['are packages with a version', { action: 'install_packages', apt: ['jq=1'], reason: 'x' }, 'plain package names'],
    ['are packages with an option', { action: 'install_packages', apt: ['-o=x'], reason: 'x' }, 'plain package names'],
    [
      'are packages by a link',
      { action: 'install_packages', npm: ['https://x/y'], reason: 'x' },
      'plain package names',
    ],
    ['are no packages', { action: 'install_packages', reason: 'x' }, 'plain package names'],
    [
      'is a server in the name of our own',
      { action: 'add_mcp_server', name: 'nanoclaw', command: 'x' },
      'name, command',
    ],
    [
      'is a server that is a line for a shell',
      { action: 'add_mcp_server', name: 'x', command: 'a; b' },
      'name, command',
    ],
    [
      'is a server with an argument that reads otherwise than it is',
      { action: 'add_mcp_server', name: 'x', command: 'x', args: ['a\u202eb'] },
      'name, command',
    ],
    ['is a command without words', { action: 'cli_request', words: 'groups list' }, 'words must be a list'],
  ])('that %s has an error for its result and changes nothing', async (_, content, error) => {
    const id = await ask(content);
    expect(resultOf(id)).toMatchObject({ status: 'error', error: expect.stringContaining(error) });
    expect(await world.waiting()).toBeUndefined();
    expect(await agents()).toEqual(['nano']);
    expect(session.files.series.live()).toEqual([]);
  });

  it('is done once, however often its row is looked at (failure 47)', async () => {
    const in5 = new Date(world.now + 300_000).toISOString();
    const id = await ask({ action: 'schedule_task', prompt: 'hello', processAfter: in5 });
    const read = await session.reader.read({ acksAfter: 0, messagesAfter: 0, again: [] });
    const [row] = read.type === 'read' ? read.messages : [];
    if (row === undefined) throw new Error('no row');
    for (let i = 0; i < 3; i += 1) await performAction(session, row, true, world.actions());
    expect(session.files.series.live().map((series) => series.id)).toEqual([id]);
    expect(resultOf(id)).toMatchObject({ status: 'ok', result: { taskId: id } });
  });

  it('belongs to the chat where it was asked for, as do the results (failure 29)', async () => {
    const asked = await world.hear(session, 'p1', 'anna', 'nano');
    asHost(session, (files) => files.setRouting({ destinations: [], replyTo: world.address('newer') }, world.now));
    const in5 = new Date(world.now + 300_000).toISOString();
    const id = await ask({ action: 'schedule_task', prompt: 'hello', processAfter: in5 }, asked);
    expect(session.files.series.get(id)?.address).toMatchObject({ platformId: 'nano' });
    expect(session.files.received(`result/${id}`)?.address).toMatchObject({ platformId: 'nano' });
  });
});

describe('create_agent', () => {
  const WISH = { action: 'create_agent', name: 'Ábel the 2nd', instructions: 'Be kind.' };

  it('is done at once for an admin, with a folder, instructions and an address on both sides', async () => {
    const asked = await world.hear(session, 'p1', 'olga');
    const id = await ask(WISH, asked);
    const [child] = (await world.registry.agentGroups()).filter(({ name }) => name === 'Ábel the 2nd');
    expect(child?.folder).toMatch(/^abel-the-2nd-[0-9a-f]{12}$/);
    expect(readFileSync(join(world.root, 'groups', child?.folder ?? '', 'CLAUDE.md'), 'utf8')).toBe('Be kind.\n');
    expect(resultOf(id)).toMatchObject({ status: 'ok', result: { destination: 'abel-the-2nd' } });
    const names = (await world.registry.destinations.list()).map((one) => [one.agentGroupId, one.name]);
    expect(names.toSorted()).toEqual(
      [
        [session.agentGroupId, 'abel-the-2nd'],
        [child?.id, 'nano'],
      ].toSorted(),
    );
    expect(session.files.routing().destinations).toContainEqual(expect.objectContaining({ agentGroupId: child?.id }));
    expect(await world.registry.audit.list({ limit: 10 })).toMatchObject([
      { actor: 'memory:olga', action: 'create_agent', outcome: 'done' },
    ]);
  });

  it.each([
    ['a stranger', (): Promise<string | null> => world.hear(session, 'p1', 'mallory')],
    [
      'a message of the owner that a stranger speaks beside',
      async () => {
        await world.hear(session, 'p0', 'mallory');
        return world.hear(session, 'p1', 'olga');
      },
    ],
    [
      'a message of the owner that has ended',
      async () => {
        const id = await world.hear(session, 'p1', 'olga');
        world.complete(session, id);
        return id;
      },
    ],
    ['a message that nobody wrote', async () => 'memory:nano:p9'],
    ['nobody', async () => null],
    [
      'another agent in the name of the owner',
      async () => {
        const id = 'mail/other/1';
        const address = world.address('nano');
        const content = { text: 'do it', sender: { id: 'olga', name: 'olga' } };
        const mail = {
          id,
          kind: 'chat',
          timestamp: 0,
          trigger: 'wakes',
          sourceSessionId: 'other',
          address,
          content,
        } as const;
        asHost(session, (files) => files.enqueue(mail, world.now));
        return id;
      },
    ],
  ])('waits for an approval when it is caused by %s, whatever the row claims (failure 51)', async (_, cause) => {
    const id = await ask(WISH, await cause());
    expect(await agents()).toEqual(['nano']);
    expect(resultOf(id)).toBeUndefined();
    const waiting = await world.waiting();
    expect(waiting).toMatchObject({
      kind: 'action',
      agentGroupId: session.agentGroupId,
      requestedBy: `agent:${session.agentGroupId}`,
    });
    await decide('approved');
    expect(await agents()).toContain('Ábel the 2nd');
    expect(resultOf(id)).toMatchObject({ status: 'ok' });
  });

  it('gives the new agent no right that its maker might wish for (failure 51)', async () => {
    await world.registry.updateAgentGroup(session.agentGroupId, {
      commandScope: 'own',
      network: 'none',
      mounts: [{ source: '/srv', name: 'srv', isWritable: true }],
      packages: { apt: ['jq'], npm: [] },
    });
    const asked = await world.hear(session, 'p1', 'olga');
    await ask(
      { ...WISH, commandScope: 'all', network: 'host', mounts: [{ source: '/', name: 'r', isWritable: true }] },
      asked,
    );
    const child = (await world.registry.agentGroups()).find(({ name }) => name === 'Ábel the 2nd');
    expect(child).toMatchObject({ commandScope: 'none', network: 'none', mounts: [], packages: { apt: [], npm: [] } });
  });

  it('makes one agent when the host dies after any of its steps', async () => {
    const asked = await world.hear(session, 'p1', 'olga');
    world.row(session, { kind: 'system', inReplyTo: asked, content: WISH });
    const read = await session.reader.read({ acksAfter: 0, messagesAfter: 0, again: [] });
    const [row] = read.type === 'read' ? read.messages : [];
    if (row === undefined) throw new Error('no row');
    const { registry } = world;
    const { destinations } = registry;
    for (let step = 0; step < 4; step += 1) {
      let left = step;
      const failing = <T extends object>(target: T): T =>
        new Proxy(target, {
          get: (_, property) => {
            const value: unknown = Reflect.get(target, property, target);
            if (typeof value !== 'function') return value;
            return (...parameters: readonly unknown[]) => {
              if (String(property).startsWith('create') && left-- === 0) throw new Error('the host dies');
              return Reflect.apply(value, target, parameters);
            };
          },
        });
      const dying = new Proxy(registry, {
        get: (_, property) => {
          if (property === 'destinations') return failing(destinations);
          return Reflect.get(failing(registry), property);
        },
      });
      await performAction(session, row, true, { ...world.actions(), registry: dying }).catch(() => undefined);
    }
    await performAction(session, row, true, world.actions());
    expect(await agents()).toEqual(['nano', 'Ábel the 2nd']);
    expect(await registry.destinations.list()).toHaveLength(2);
    expect(resultOf(row.id)).toMatchObject({ status: 'ok' });
  });

  it('keeps its folder where agents are, whatever the name (failure 50)', async () => {
    const asked = await world.hear(session, 'p1', 'olga');
    await ask({ ...WISH, name: '../../../etc/passwd' }, asked);
    const child = (await world.registry.agentGroups()).find(({ name }) => name.startsWith('..'));
    expect(child?.folder).toMatch(/^etc-passwd-[0-9a-f]{12}$/);
    expect(existsSync(join(world.root, 'groups', child?.folder ?? ''))).toBe(true);
  });
});

describe('install_packages', () => {
  const WISH = { action: 'install_packages', apt: ['jq'], npm: ['@scope/tool'], reason: 'to\nread JSON' };

  it('always waits for somebody, an owner who asks included, who reads what and why on one line', async () => {
    const asked = await world.hear(session, 'p1', 'olga');
    const id = await ask(WISH, asked);
    expect((await world.waiting())?.summary).toBe(
      '“nano” asks to install jq (apt), @scope/tool (npm). Its reason: “to read JSON”',
    );
    expect((await world.registry.agentGroup(session.agentGroupId))?.packages).toEqual({ apt: [], npm: [] });
    await decide('approved');
    expect((await world.registry.agentGroup(session.agentGroupId))?.packages).toEqual({
      apt: ['jq'],
      npm: ['@scope/tool'],
    });
    expect(world.replacements).toBe(1);
    expect(resultOf(id)).toMatchObject({ status: 'ok' });
    expect(await world.registry.audit.list({ limit: 10, action: 'install_packages' })).toMatchObject([
      { actor: 'operator', outcome: 'done' },
    ]);
  });

  it('changes nothing when it is denied, and the agent hears so', async () => {
    const id = await ask(WISH);
    await decide('denied');
    expect((await world.registry.agentGroup(session.agentGroupId))?.packages).toEqual({ apt: [], npm: [] });
    expect(resultOf(id)).toMatchObject({ status: 'error', error: expect.stringContaining('denied') });
  });

  it('is refused beyond what an agent may have, by the time it is approved as well', async () => {
    const id = await ask({ ...WISH, npm: [] });
    const apt = Array.from({ length: 50 }, (_, i) => `package-${i}`);
    await world.registry.updateAgentGroup(session.agentGroupId, { packages: { apt, npm: [] } });
    await decide('approved');
    expect(resultOf(id)).toMatchObject({ status: 'error', error: expect.stringContaining('at most 50') });
    const second = await ask({ ...WISH, npm: [] });
    expect(resultOf(second)).toMatchObject({ status: 'error', error: expect.stringContaining('at most 50') });
  });

  it('is told to the agent when nobody decides in time', async () => {
    const id = await ask(WISH);
    world.now += 7_200_000;
    for (const expired of await world.registry.approvals.expire(world.now))
      await applyActionOutcome(expired, world.actions());
    expect(resultOf(id)).toMatchObject({ status: 'error', error: expect.stringContaining('in time') });
  });

  it('leaves things as they were when the image cannot be built', async () => {
    world.image = { type: 'failed', reason: 'no such package' };
    const id = await ask(WISH);
    await decide('approved');
    expect((await world.registry.agentGroup(session.agentGroupId))?.packages).toEqual({ apt: [], npm: [] });
    expect(world.replacements).toBe(0);
    expect(resultOf(id)).toMatchObject({ status: 'error', error: expect.stringContaining('no such package') });
  });

  it('asks once for one row, before and after it is decided', async () => {
    world.row(session, { kind: 'system', content: WISH });
    const read = await session.reader.read({ acksAfter: 0, messagesAfter: 0, again: [] });
    const [row] = read.type === 'read' ? read.messages : [];
    if (row === undefined) throw new Error('no row');
    await performAction(session, row, false, world.actions());
    await performAction(session, row, true, world.actions());
    const waiting = await world.waiting();
    await world.registry.approvals.decide(waiting?.id ?? ('' as never), {
      type: 'approved',
      by: 'operator',
      at: world.now,
    });
    await performAction(session, row, true, world.actions());
    expect(await world.registry.approvals.list({ limit: 10 })).toHaveLength(1);
  });
});

describe('add_mcp_server', () => {
  const WISH = { action: 'add_mcp_server', name: 'search', command: 'search-mcp', args: ['--safe'], reason: 'to find' };

  it('adds the server that was approved, as it was then, and restarts the agent', async () => {
    const id = await ask(WISH);
    expect((await world.waiting())?.summary).toContain('“search-mcp” “--safe”');
    await decide('approved');
    expect((await world.registry.agentGroup(session.agentGroupId))?.mcpServers).toEqual([
      { name: 'search', command: 'search-mcp', args: ['--safe'] },
    ]);
    expect(world.replacements).toBe(1);
    expect(resultOf(id)).toMatchObject({ status: 'ok' });
  });

  it('is not asked for when whoever decides could not be shown all of it (failure 51)', async () => {
    const args = ['--safe', 'x'.repeat(400), '--and-then-steal'];
    const id = await ask({ ...WISH, args });
    expect(await world.waiting()).toBeUndefined();
    expect(resultOf(id)).toMatchObject({ status: 'error', error: expect.stringContaining('too long to be shown') });
    await ask({ ...WISH, reason: 'because '.repeat(500) });
    expect((await world.waiting())?.summary.length).toBeLessThanOrEqual(500);
  });

  it('does not take the place of a server of the same name', async () => {
    await ask(WISH);
    await decide('approved');
    const second = await ask({ ...WISH, command: 'other' });
    expect(resultOf(second)).toMatchObject({ status: 'error' });
    expect(await world.waiting()).toBeUndefined();
  });
});

describe('cli_request', () => {
  const WISH = { action: 'cli_request', words: ['tasks', 'list'] };

  it('is refused to an agent without a scope, and never reaches the commands (failure 51)', async () => {
    const id = await ask({ ...WISH, scope: 'all', agentGroupId: 'other' });
    expect(world.commands).toEqual([]);
    expect(resultOf(id)).toMatchObject({ status: 'error' });
    expect(await world.registry.audit.list({ limit: 10 })).toMatchObject([
      { action: 'cli_request', outcome: 'refused' },
    ]);
  });

  it.each(['read', 'own', 'all'] as const)(
    'runs with the scope %s of its own agent, never the one it claims',
    async (scope) => {
      await world.registry.updateAgentGroup(session.agentGroupId, { commandScope: scope });
      const id = await ask({ ...WISH, scope: 'all', agentGroupId: 'other' });
      expect(world.commands).toEqual([{ words: ['tasks', 'list'], scope, agentGroupId: session.agentGroupId }]);
      expect(resultOf(id)).toMatchObject({ status: 'ok', result: { value: { did: 'tasks list' } } });
    },
  );

  it('that fails is told in the words of the command line', async () => {
    await world.registry.updateAgentGroup(session.agentGroupId, { commandScope: 'read' });
    const id = await ask({ ...WISH, words: ['explode'] });
    expect(resultOf(id)).toMatchObject({ status: 'error', error: 'There is no such command.' });
  });

  it('is given once, however often its row is looked at (failure 47)', async () => {
    await world.registry.updateAgentGroup(session.agentGroupId, { commandScope: 'all' });
    await ask(WISH);
    const read = await session.reader.read({ acksAfter: 0, messagesAfter: 0, again: [] });
    const [row] = read.type === 'read' ? read.messages : [];
    if (row === undefined) throw new Error('no row');
    await performAction(session, row, false, world.actions());
    expect(world.commands).toHaveLength(1);
  });

  it('is not given twice when nobody knows how far the first time came', async () => {
    await world.registry.updateAgentGroup(session.agentGroupId, { commandScope: 'all' });
    world.row(session, { kind: 'system', content: WISH });
    const read = await session.reader.read({ acksAfter: 0, messagesAfter: 0, again: [] });
    const [row] = read.type === 'read' ? read.messages : [];
    if (row === undefined) throw new Error('no row');
    await performAction(session, row, true, world.actions());
    expect(world.commands).toEqual([]);
    expect(resultOf(row.id)).toMatchObject({ status: 'error', error: expect.stringContaining('not known') });
  });
});
