import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Problem } from '../src/errors/problem.ts';
import { parametersOf } from '../src/operator/command.ts';
import type { LiveChannel, LiveHost } from '../src/operator/contexts.ts';
import { render } from '../src/operator/render.ts';
import { commandOf, OPERATOR_COMMANDS } from '../src/operator/table.ts';
import { readEndpoints } from '../src/operator/webhook-endpoints.ts';
import { NOW, OperatorInstall } from './operator-install.ts';

describe('the operator commands', () => {
  let install: OperatorInstall;

  beforeEach(async () => {
    install = await OperatorInstall.make();
  });
  afterEach(() => install[Symbol.asyncDispose]());

  describe('groups', () => {
    it('are listed, shown, created, changed and deleted', async () => {
      expect(await install.run(['groups', 'list'])).toMatchObject([{ folder: 'main' }, { folder: 'other' }]);
      const created = await install.run(['groups', 'create', 'andy', '--model', 'opus', '--skills', 'weather, mail']);
      expect(created).toMatchObject({
        folder: 'andy',
        name: 'andy',
        provider: 'default',
        model: 'opus',
        commandScope: 'none',
      });
      expect(created).toMatchObject({ skills: ['weather', 'mail'] });
      await install.run(['groups', 'update', 'andy', '--model', '', '--name', 'Andy', '--command-scope', 'own']);
      expect(await install.run(['groups', 'get', 'andy'])).toMatchObject({
        name: 'Andy',
        model: null,
        commandScope: 'own',
      });
      const { message } = Object(await install.run(['groups', 'delete', 'andy']));
      expect(message).toContain(install.data.agent('andy'));
      await expect(install.run(['groups', 'get', 'andy'])).rejects.toMatchObject({ exitCode: 6 });
    });

    it('keep the packages of one kind when those of the other change', async () => {
      await install.run(['groups', 'update', 'main', '--apt', 'curl,jq']);
      const after = await install.run(['groups', 'update', 'main', '--npm', 'cowsay']);
      expect(after).toMatchObject({ packages: { apt: ['curl', 'jq'], npm: ['cowsay'] } });
      expect(await install.run(['groups', 'update', 'main', '--apt', ''])).toMatchObject({
        packages: { apt: [], npm: ['cowsay'] },
      });
    });

    it.each([
      [
        '--mcp-servers',
        '[{"name":"a","command":"x","command":"y"}]',
        'it is not JSON: The key "command" is in it twice',
      ],
      ['--mcp-servers', '[{"name":"My.Server","command":"x"}]', '"My.Server" is not the name of an MCP server'],
      ['--skills', 'My_Skill', '"My_Skill" is not the name of a skill'],
      ['--messages-per-prompt', '1e1', 'it is not a whole number from 1 to 1000'],
      ['--messages-per-prompt', '0x10', 'it is not a whole number from 1 to 1000'],
      ['--messages-per-prompt', '7.0', 'it is not a whole number from 1 to 1000'],
      ['--messages-per-prompt', '', 'it is not a whole number from 1 to 1000'],
    ])('take nothing that they would have to change: %s %s', async (option, value, message) => {
      await expect(install.run(['groups', 'update', 'main', option, value])).rejects.toThrow(message);
    });

    it('take MCP servers and mounts as JSON', async () => {
      const servers = '[{"name":"files","command":"npx","args":["-y","files"]}]';
      const mounts = '[{"source":"/srv/notes","name":"notes"}]';
      expect(
        await install.run(['groups', 'update', 'main', '--mcp-servers', servers, '--mounts', mounts]),
      ).toMatchObject({
        mcpServers: [{ name: 'files', command: 'npx', args: ['-y', 'files'] }],
        mounts: [{ source: '/srv/notes', name: 'notes', isWritable: false }],
      });
    });

    it('may be named by the beginning of their id when it is the only one', async () => {
      const { id } = await install.agent();
      expect(await install.run(['groups', 'get', id.slice(0, 6)])).toMatchObject({ id });
      await expect(install.run(['groups', 'get', id.slice(0, 4)])).rejects.toThrow(/agent groups begin with/);
      await expect(install.run(['groups', 'get', id.slice(0, 3)])).rejects.toMatchObject({ exitCode: 6 });
    });

    it('have their image built by the running host', async () => {
      expect(await install.run(['groups', 'rebuild', 'main'], install.live)).toMatchObject({
        image: 'nanoclaw-agent:main',
      });
      const live = {
        ...install.live,
        rebuildImage: async () => ({ type: 'failed' as const, reason: 'no such package' }),
      };
      await expect(install.run(['groups', 'rebuild', 'main'], live)).rejects.toThrow(
        /no such package.*keeps the image/,
      );
    });
  });

  describe('messaging groups and wirings', () => {
    it('are created, shown, changed and deleted', async () => {
      await install.run(['messaging-groups', 'create', '--name', 'Family', '--', 'telegram', '-100']);
      expect(await install.run(['messaging-groups', 'list'])).toHaveLength(3);
      await install.run(['messaging-groups', 'update', 'telegram:-100', '--strangers', 'public', '--denied', 'yes']);
      expect(await install.run(['messaging-groups', 'get', 'telegram:-100'])).toMatchObject({
        kind: 'group',
        strangers: 'public',
        denied: true,
      });
      const made = Object(await install.run(['wirings', 'create', 'main', 'telegram:-100', '--priority', '-5']));
      expect(made).toMatchObject({ engage: { mode: 'mention' }, agent: 'main', chat: 'telegram:-100', priority: -5 });
      await install.run(['wirings', 'update', made.id, '--engage', 'pattern', '--pattern', '^andy']);
      await install.run(['wirings', 'update', made.id, '--pattern', '^bob']);
      const shown = Object(await install.run(['wirings', 'get', made.id]));
      expect(shown).toMatchObject({ engage: { mode: 'pattern', pattern: '^bob' } });
      // Once: a person who reads it is not to wonder which of two is in force.
      expect(Object.keys(shown).filter((field) => field.startsWith('engage'))).toEqual(['engage']);
      expect(await install.run(['wirings', 'list', '--group', 'main'])).toHaveLength(2);
      await install.run(['wirings', 'delete', made.id]);
      await install.run(['messaging-groups', 'delete', 'telegram:-100']);
      expect(await install.run(['messaging-groups', 'list'])).toHaveLength(2);
    });
  });

  describe('people', () => {
    it('are made known, get and lose roles and memberships', async () => {
      await install.run(['users', 'create', 'telegram:7', '--name', 'Ann']);
      await install.run(['users', 'update', 'telegram:7', '--name', 'Anne']);
      expect(await install.run(['roles', 'create', 'telegram:7', 'admin', '--group', 'main'])).toMatchObject({
        isNew: true,
      });
      expect(await install.run(['roles', 'create', 'telegram:7', 'admin', '--group', 'main'])).toMatchObject({
        isNew: false,
      });
      await install.run(['members', 'create', 'other', 'telegram:7']);
      const main = await install.agent();
      const other = await install.agent('other');
      expect(await install.run(['users', 'get', 'telegram:7'])).toMatchObject({
        name: 'Anne',
        roles: [`admin of ${main.id}`],
        memberOf: [other.id],
      });
      expect(await install.run(['roles', 'list'])).toMatchObject([{ userId: 'telegram:7', grantedBy: 'operator' }]);
      expect(await install.run(['roles', 'get', 'telegram:7'])).toMatchObject({ roles: [`admin of ${main.id}`] });
      expect(await install.run(['members', 'list', '--group', 'other'])).toMatchObject([{ agent: 'other' }]);
      expect(await install.run(['members', 'get', 'telegram:7'])).toMatchObject({ memberOf: ['other'] });
      await install.run(['members', 'remove', 'other', 'telegram:7']);
      await install.run(['roles', 'revoke', 'telegram:7', 'admin', '--group', 'main']);
      expect(await install.run(['users', 'list'])).toHaveLength(1);
      await install.run(['users', 'delete', 'telegram:7']);
      expect(await install.run(['users', 'list'])).toEqual([]);
    });

    it('keep a last owner', async () => {
      await install.run(['users', 'create', 'terminal:local']);
      await install.run(['roles', 'grant', 'terminal:local', 'owner']);
      await expect(install.run(['roles', 'revoke', 'terminal:local', 'owner'])).rejects.toMatchObject({ exitCode: 7 });
      await expect(install.run(['users', 'delete', 'terminal:local'])).rejects.toMatchObject({ exitCode: 7 });
    });
  });

  describe('destinations', () => {
    it('are created to a chat or an agent, renamed and deleted', async () => {
      const chat = Object(await install.run(['destinations', 'create', 'main', 'friend', '--chat', 'terminal:other']));
      expect(chat).toMatchObject({ agent: 'main', name: 'friend', to: 'terminal:other' });
      await install.run(['destinations', 'create', 'main', 'colleague', '--agent', 'other']);
      await install.run(['destinations', 'update', chat.id, '--name', 'pal']);
      expect(await install.run(['destinations', 'list', '--group', 'main'])).toMatchObject([
        { name: 'pal' },
        { name: 'colleague', to: 'agent other' },
      ]);
      await install.run(['destinations', 'delete', chat.id]);
      await expect(install.run(['destinations', 'get', chat.id])).rejects.toMatchObject({ exitCode: 6 });
    });
  });

  describe('sessions', () => {
    it('are listed and shown with what became of each message, from both files', async () => {
      const session = await install.session();
      const numbers = install.giveUp(session);
      install.enqueue(session, 'waits', { text: 'this one waits' });
      expect(await install.run(['sessions', 'list', '--group', 'main'])).toMatchObject([
        { id: session.id, agent: 'main', chat: 'terminal:main', state: 'idle' },
      ]);
      expect(await install.run(['sessions', 'get', session.id])).toMatchObject({
        due: 1,
        deadLetters: { in: 1, out: 1 },
      });
      const shown = Object(await install.run(['sessions', 'show', session.id]));
      expect(shown.timeline).toMatchObject([
        { seq: numbers.in, what: 'in chat', became: 'failed: the model said no', text: 'this one fails' },
        { what: 'in chat', became: 'completed', text: 'this one is answered' },
        { seq: numbers.out, what: 'out chat', became: 'failed: There is no such chat.', text: 'an answer to nowhere' },
        { what: 'in chat', became: 'pending', text: 'this one waits' },
      ]);
      const page = Object(
        await install.run(['sessions', 'show', session.id, '--limit', '1', '--before', `${numbers.out}`]),
      );
      expect(page.timeline).toMatchObject([{ text: 'this one is answered' }]);
    });

    it('are listed with what is true of each, and why, a run that is alive or not', async () => {
      const session = await install.session();
      const live = { ...install.live, status: () => ({ ...install.live.status(), running: [session.id] }) };
      const listed = async () => Object(await install.run(['sessions', 'list', '--group', 'main'], live))[0];
      expect(await listed()).toMatchObject({ state: 'running', why: null });
      const policy = { backoffBaseMs: 60_000, backoffMaxMs: 60_000, breakAfter: 5, noticeAfter: 3 };
      {
        using files = install.files(session);
        files.trouble.recordFailure('wake', 'run-1', 'no engine', NOW, policy);
        expect(await listed()).toMatchObject({ state: 'running', why: null });
        files.trouble.recordFailure('outbound', 'look-1', 'It is not a SQLite database.', NOW, policy);
        expect(await listed()).toMatchObject({ state: 'unreadable', why: 'It is not a SQLite database.' });
        files.trouble.resolve('outbound', NOW);
        expect(await listed()).toMatchObject({ state: 'running', why: null });
      }
      writeFileSync(install.folder(session).inbound.database, 'not a database, but long enough to be looked at');
      expect(await listed()).toMatchObject({ state: 'unreadable', why: expect.stringContaining('not a database') });
      await install.registry.setSessionQuarantine(session.id, { reason: 'corrupt', until: NOW + 60_000 });
      expect(await listed()).toMatchObject({ state: 'quarantined', why: 'corrupt' });
    });

    it('are made for a chat, a thread, or an agent alone', async () => {
      expect(await install.run(['sessions', 'create', 'main'])).toMatchObject({ chat: null, threadId: null });
      const threaded = ['sessions', 'create', 'main', '--chat', 'terminal:other', '--thread', '7'];
      const created = await install.run(threaded);
      expect(created).toMatchObject({ chat: 'terminal:other', threadId: '7' });
      expect(await install.run(threaded)).toEqual(created);
    });

    it('are tried again at once, woken and stopped', async () => {
      const session = await install.session();
      {
        using files = install.files(session);
        files.trouble.recordFailure('wake', 'run-1', 'no engine', NOW, {
          backoffBaseMs: 60_000,
          backoffMaxMs: 60_000,
          breakAfter: 5,
          noticeAfter: 3,
        });
      }
      await install.registry.setSessionQuarantine(session.id, { reason: 'corrupt', until: NOW + 60_000 });
      expect(await install.run(['sessions', 'get', session.id])).toMatchObject({ state: 'quarantined' });
      await install.run(['sessions', 'retry', session.id], install.live);
      expect(await install.run(['sessions', 'get', session.id])).toMatchObject({
        state: 'troubled',
        why: 'no engine',
        trouble: [{ error: 'no engine', retryAt: NOW }],
      });
      await install.run(['sessions', 'wake', session.id], install.live);
      expect(await install.run(['sessions', 'stop', session.id], install.live)).toMatchObject({ stopped: true });
      expect(install.asked).toEqual([`poke ${session.id}`, `poke ${session.id}`, `stop ${session.id}`]);
    });

    it('whose model is in the way say so, and are tried again by `sessions retry` and when their agent is changed', async () => {
      const session = await install.session();
      install.enqueue(session, 'waits', { text: 'this one waits' });
      const refused = { type: 'deferred', kind: 'refused', reason: 'The key is wrong.', retryAfterMs: null } as const;
      install.turn(session, refused);
      const why = 'Its model refused: The key is wrong.';
      const later = NOW + 300_000;
      expect(await install.run(['sessions', 'get', session.id])).toMatchObject({
        state: 'deferred',
        why,
        deferred: { kind: 'refused', messages: 1, reason: 'The key is wrong.', since: NOW, retryAt: later },
      });
      expect(await install.run(['sessions', 'list', '--group', 'main'])).toMatchObject([{ state: 'deferred', why }]);
      expect(await install.run(['sessions', 'show', session.id])).toMatchObject({
        timeline: [{ became: 'model refused: The key is wrong.', tries: 1 }],
      });
      expect(await install.run(['status'])).toMatchObject({ due: 0, deferred: 1, deadLetters: 0 });
      for (const words of [
        ['sessions', 'retry', session.id],
        ['groups', 'update', 'main', '--model', 'another'],
      ]) {
        await install.run(words, install.live);
        expect(await install.run(['status'])).toMatchObject({ due: 1, deferred: 1 });
        install.turn(session, refused);
      }
      expect(await install.run(['status'])).toMatchObject({ due: 0, deferred: 1, deadLetters: 0 });
      expect(install.asked).toEqual([`poke ${session.id}`, `poke ${session.id}`]);
    });

    it('are deleted with their files, once the host has let them go', async () => {
      const session = await install.session();
      const { root } = install.folder(session);
      await install.run(['sessions', 'delete', session.id], install.live);
      expect(existsSync(root)).toBe(false);
      expect(install.asked).toEqual([`forget ${session.id}`]);
      await expect(install.run(['sessions', 'get', session.id])).rejects.toMatchObject({ exitCode: 6 });
    });
  });

  describe('tasks', () => {
    it('are created, changed, paused, resumed and cancelled in the session', async () => {
      const { id: session } = await install.session();
      const daily = ['tasks', 'create', session, 'say good morning', '--recurrence', '0 8 * * *', '--time-zone', 'UTC'];
      const { taskId } = Object(await install.run(daily, install.live));
      expect(await install.run(['tasks', 'list', '--session', session])).toMatchObject([
        { id: taskId, sessionId: session, status: 'active', repeats: '0 8 * * * UTC', prompt: 'say good morning' },
      ]);
      await install.run(['tasks', 'update', session, taskId, '--prompt', 'say good evening']);
      await install.run(['tasks', 'pause', session, taskId.slice(0, 15)]);
      expect(await install.run(['tasks', 'get', session, taskId])).toMatchObject({
        status: 'paused',
        prompt: 'say good evening',
      });
      await install.run(['tasks', 'resume', session, taskId]);
      await install.run(['tasks', 'delete', session, taskId]);
      expect(await install.run(['tasks', 'list'])).toEqual([]);
      expect(install.asked).toEqual([`poke ${session}`]);
    });

    it('that are cancelled or paused stop the occurrence that waits, not one that has ended (failure 24)', async () => {
      const session = await install.session();
      const daily = ['tasks', 'create', session.id, 'say good morning', '--recurrence', '0 8 * * *'];
      const { taskId } = Object(await install.run(daily));
      const occurrence = () => {
        using files = install.files(session);
        return files.series.open(taskId).map(({ status }) => status);
      };
      expect(occurrence()).toEqual(['pending']);
      await install.run(['tasks', 'pause', session.id, taskId]);
      expect(occurrence()).toEqual(['paused']);
      await install.run(['tasks', 'resume', session.id, taskId]);
      expect(occurrence()).toEqual(['pending']);
      await install.run(['tasks', 'cancel', session.id, taskId]);
      expect(occurrence()).toEqual([]);
      await expect(install.run(['tasks', 'resume', session.id, taskId])).rejects.toMatchObject({ exitCode: 6 });
    });
  });

  async function request(subject: string, expiresAt = NOW + 60_000): Promise<string> {
    const requested = await install.registry.approvals.request(
      {
        kind: 'action',
        subject,
        agentGroupId: (await install.agent()).id,
        messagingGroupId: null,
        sessionId: null,
        requestedBy: 'host',
        summary: 'Install jq for main',
        payload: { action: 'install_packages', apt: ['jq'] },
        expiresAt,
      },
      { openMax: 10 },
    );
    if (requested === undefined) throw new Error('There are too many.');
    return requested.approval.id;
  }

  describe('approvals', () => {
    it('are shown and decided once, and the host does what follows', async () => {
      const [yes, no] = [await request('jq'), await request('curl')];
      expect(await install.run(['approvals', 'list'])).toHaveLength(2);
      expect(await install.run(['approvals', 'get', yes])).toMatchObject({ state: 'open', payload: { apt: ['jq'] } });
      await install.run(['approvals', 'approve', yes], install.live);
      expect(install.asked).toEqual([`apply ${yes}`]);
      await expect(install.run(['approvals', 'deny', yes])).rejects.toMatchObject({ exitCode: 7 });
      expect(await install.run(['approvals', 'deny', no])).toMatchObject({
        message: expect.stringContaining('starts'),
      });
      expect(await install.run(['approvals', 'list'])).toEqual([]);
      expect(await install.run(['approvals', 'list', '--all'])).toHaveLength(2);
      expect(await install.registry.approvals.pendingEffects(10)).toHaveLength(2);
    });

    it('of which the time is over are expired, also before the host has noted it', async () => {
      const over = await request('jq', NOW);
      expect(await install.run(['approvals', 'list'])).toEqual([]);
      expect(await install.run(['approvals', 'list', '--all'])).toMatchObject([{ id: over, state: 'expired' }]);
      expect(await install.run(['approvals', 'get', over])).toMatchObject({ state: 'expired' });
    });
  });

  describe('dead letters', () => {
    it('of both directions are listed, shown, retried and discarded by their number', async () => {
      const session = await install.session();
      const numbers = install.giveUp(session);
      expect(await install.run(['dead-letters', 'list'])).toHaveLength(2);
      expect(await install.run(['dead-letters', 'list', '--direction', 'in'])).toMatchObject([
        { sessionId: session.id, number: numbers.in, error: 'the model said no', text: 'this one fails' },
      ]);
      expect(await install.run(['dead-letters', 'show', session.id, `${numbers.out}`])).toMatchObject({
        direction: 'out',
        text: 'an answer to nowhere',
        letter: { message: { content: { text: 'an answer to nowhere' } } },
      });
      await install.run(['dead-letters', 'retry', session.id, `${numbers.in}`], install.live);
      expect(await install.run(['sessions', 'get', session.id])).toMatchObject({
        due: 1,
        deadLetters: { in: 0, out: 1 },
      });
      await install.run(['dead-letters', 'discard', session.id, `${numbers.out}`], install.live);
      expect(await install.run(['dead-letters', 'list'])).toEqual([]);
      expect(install.asked).toEqual([`poke ${session.id}`, `poke ${session.id}`]);
    });

    it('are decided about all at once, of one session or of all', async () => {
      const [main, other] = [await install.session(), await install.session('other')];
      install.giveUp(main);
      install.giveUp(other);
      expect(await install.run(['dead-letters', 'discard', other.id, '--all'])).toMatchObject({ count: 2 });
      expect(await install.run(['dead-letters', 'list', '--session', main.id])).toHaveLength(2);
      expect(await install.run(['dead-letters', 'retry', '--all'])).toMatchObject({ count: 2 });
      expect(await install.run(['dead-letters', 'list'])).toEqual([]);
    });
  });

  describe('what was dropped', () => {
    it('is listed per chat, and forgotten', async () => {
      for (const reason of ['stranger', 'stranger', 'not-engaged']) {
        await install.registry.dropped.count({ channelType: 'telegram', platformId: '7', reason }, NOW);
      }
      expect(await install.run(['dropped-messages', 'list'])).toHaveLength(2);
      expect(await install.run(['dropped-messages', 'get', 'telegram', '7'])).toContainEqual(
        expect.objectContaining({ reason: 'stranger', count: 2 }),
      );
      expect(await install.run(['dropped-messages', 'delete', 'telegram', '7'])).toMatchObject({ count: 2 });
      expect(await install.run(['dropped-messages', 'forget'])).toMatchObject({ count: 0 });
    });
  });

  describe('the audit log', () => {
    it('has everything that changed something, with what came of it, and nothing that only looked', async () => {
      await install.run(['groups', 'list']);
      await install.run(['groups', 'update', 'main', '--name', 'Nano']);
      await install.run(['groups', 'delete', 'main']).catch(() => undefined);
      expect(await install.run(['audit'])).toMatchObject([
        { actor: 'operator', action: 'groups delete', target: 'main', outcome: expect.stringContaining('sessions') },
        { actor: 'operator', action: 'groups update', target: 'main', outcome: 'done', detail: { name: 'Nano' } },
      ]);
      expect(await install.run(['audit', '--action', 'groups update', '--limit', '5'])).toHaveLength(1);
    });

    it('says in its table why something was refused', async () => {
      const reason = 'The agents have written 20 mails because of one message.';
      const entry = { at: NOW, actor: 'host', action: 'mail', target: 'other', outcome: 'refused' } as const;
      await install.registry.audit.add({ ...entry, detail: { reason, hop: 20 } });
      const audit = commandOf(['audit'], OPERATOR_COMMANDS);
      const shown = audit && render(await install.run(['audit']), audit.view, { width: 200, timeZone: 'UTC' });
      expect(shown).toContain(reason);
    });
  });

  describe('webhook endpoints', () => {
    it('show their secret once and keep it in a file for the owner only', async () => {
      const made = await install.run(
        ['webhooks', 'create', 'ci', '--callback', 'https://example.org/in'],
        install.live,
      );
      expect(made).toMatchObject({ name: 'ci', path: '/hooks/ci', secret: 's'.repeat(43) });
      const listed = await install.run(['webhooks', 'list']);
      expect(listed).toEqual([{ name: 'ci', path: '/hooks/ci', callback: 'https://example.org/in' }]);
      expect(statSync(join(install.data.root, 'webhooks.json')).mode & 0o777).toBe(0o600);
      expect(readEndpoints(install.data)).toMatchObject([{ secret: 's'.repeat(43) }]);
      await expect(install.run(['webhooks', 'create', 'ci'])).rejects.toMatchObject({ exitCode: 7 });
      await install.run(['webhooks', 'delete', 'ci'], install.live);
      expect(install.asked).toEqual(['webhooks ci', 'webhooks ']);
      expect(JSON.stringify(await install.run(['audit']))).not.toContain('sss');
      expect(readFileSync(join(install.data.root, 'webhooks.json'), 'utf8')).toBe('[]\n');
    });

    it('are as before when the host cannot serve a new one, or no host could', async () => {
      await install.run(['webhooks', 'create', 'first'], install.live);
      const refusing = { ...install.live, reloadWebhooks: () => Promise.reject(new Problem('The name is taken.', 2)) };
      const before = readEndpoints(install.data);
      await expect(install.run(['webhooks', 'create', 'second'], refusing)).rejects.toThrow('The name is taken.');
      await expect(install.run(['webhooks', 'delete', 'first'], refusing)).rejects.toThrow('The name is taken.');
      for (const callback of ['ftp://example.org', 'nowhere', 'https://me:secret@example.org/in']) {
        await expect(install.run(['webhooks', 'create', 'third', '--callback', callback])).rejects.toMatchObject({
          exitCode: 2,
          message: expect.stringMatching(
            /^The endpoint third cannot be created: its callback .* Nothing was changed\.$/,
          ),
        });
      }
      expect(readEndpoints(install.data)).toEqual(before);
    });

    it('say so when their channel is not connected yet', async () => {
      const reason = 'Port 8787 is taken.';
      const away = { instance: 'webhook', type: 'webhook', state: 'offline', reason };
      const live = { ...install.live, status: () => ({ ...install.live.status(), channels: [away] }) };
      expect(await install.run(['webhooks', 'create', 'ci'], live)).toMatchObject({ channel: `offline: ${reason}` });
    });
  });

  describe('channels', () => {
    const broken = { instance: 'desk', type: null, state: 'broken', reason: 'it was not there' };

    it('that come with the program are told from those that are not there', async () => {
      const own = { instance: 'line', type: 'line', state: 'online', reason: null };
      for (const command of ['check', 'remove']) {
        for (const name of ['terminal', 'webhook', 'line']) {
          await expect(install.run(['channels', command, name], hostWith(install, own))).rejects.toMatchObject({
            exitCode: 2,
            message: expect.stringMatching(/comes with the program and is not in config\.json/),
          });
        }
        await expect(install.run(['channels', command, 'nowhere'], install.live)).rejects.toMatchObject({
          exitCode: 6,
        });
      }
      await expect(install.run(['channels', 'remove', 'terminal'])).rejects.toMatchObject({ exitCode: 2 });
    });

    it('are checked as they are now, and it is said what the running host has', async () => {
      await install.run(['channels', 'add', 'desk', '--module', './desk.js']);
      const check = (...states: LiveChannel[]) =>
        install.run(['channels', 'check', 'desk'], hostWith(install, ...states));
      expect(await check(broken)).toMatchObject({
        message: expect.stringMatching(/can be used.*still broken.*start the host/),
      });
      expect(await check({ ...broken, type: 'memory', state: 'online', reason: null })).toMatchObject({
        message: expect.stringMatching(/can be used.*has it online, as it was when it was loaded/),
      });
      expect(await check()).toMatchObject({ message: expect.stringMatching(/does not have it.*next start/) });

      const unusable = { ...hostWith(install, broken), checkChannel: () => Promise.reject(new Error('it throws')) };
      const failure = await install.run(['channels', 'check', 'desk'], unusable).catch((error: unknown) => error);
      expect(failure).toMatchObject({ exitCode: 2, message: expect.stringMatching(/it throws\. In the running host/) });
      expect(failure).toMatchObject({ message: expect.not.stringContaining('changed') });
    });
  });

  describe('the status', () => {
    const SHAPE = [
      'host',
      'version',
      'data',
      'pid',
      'since',
      'isolation',
      'guard',
      'sessions',
      'running',
      'due',
      'oldestDueMs',
      'deadLetters',
      'deferred',
      'troubled',
      'approvals',
      'questions',
      'unreadable',
      'channels',
      'providers',
      'modelTroubles',
      'problems',
      'uncaught',
    ];

    it('counts what waits, with a host and without one, in the same shape', async () => {
      const session = await install.session();
      install.giveUp(session);
      install.enqueue(session, 'waits', { text: 'this one waits' });
      const counts = { sessions: 2, due: 1, oldestDueMs: 0, deadLetters: 2, troubled: 0, approvals: 0, unreadable: 0 };
      const down = await install.run(['status']);
      expect(down).toMatchObject({ host: 'down', pid: null, version: '1.2.3', channels: [], ...counts });
      const up = await install.run(['status'], install.live);
      expect(up).toMatchObject({ host: 'running', pid: 4711, since: NOW - 60_000, ...counts });
      for (const status of [up, down]) expect(Object.keys(Object(status))).toEqual(SHAPE);
    });

    it('names each provider with the agents for whom it answers', async () => {
      await install.run(['groups', 'create', 'loud', '--provider', 'shout']);
      await install.run(['groups', 'create', 'plain']);
      expect(await install.run(['status'], install.live)).toMatchObject({
        providers: [
          { name: 'offline', module: null, agents: ['main', 'other', 'plain'] },
          { name: 'claude', module: null, agents: [] },
          { name: 'shout', module: './shout.js', agents: ['loud'] },
        ],
      });
    });

    it.each([
      ['create', 'louder'],
      ['update', 'main'],
    ])('a provider that the host has not is refused by groups %s, with those that it has', async (command, group) => {
      const words = ['groups', command, group, '--provider', 'shuot'];
      await expect(install.run(words, install.live)).rejects.toThrow(
        'There is no provider "shuot"; nothing was done. There are offline, claude, shout; ' +
          'another one is added under "providers" in config.json.',
      );
      expect(await install.run(['groups', 'list'])).not.toContainEqual(expect.objectContaining({ provider: 'shuot' }));
      expect(await install.run([...words.slice(0, -1), 'shout'], install.live)).toMatchObject({ provider: 'shout' });
    });

    it('counts a session whose file is damaged and tells the rest all the same (failure 13)', async () => {
      const [main, other] = [await install.session(), await install.session('other')];
      install.enqueue(other, 'waits', { text: 'this one waits' });
      writeFileSync(install.folder(main).inbound.database, 'this is no database at all, as anybody can see');
      expect(await install.run(['status'])).toMatchObject({ sessions: 2, due: 1, unreadable: 1 });
    });
  });

  describe('config and drain', () => {
    it('say what holds and where it comes from, and let the host stop', async () => {
      expect(await install.run(['config'])).toContainEqual(
        expect.objectContaining({ key: 'provider', value: 'auto', source: 'default', variable: 'NANOCLAW_PROVIDER' }),
      );
      expect(await install.run(['drain'], install.live)).toMatchObject({ unfinished: [], running: [] });
      expect(install.asked).toEqual(['progress: waiting for one session', 'drain']);
    });

    it('tell apart what has ended, what is tried again and what goes on', async () => {
      expect(await drained(install, [], [])).toMatchObject({
        message: 'The host stops. No delivery is under way. No agent runs.',
      });
      expect(await drained(install, ['a'], ['a', 'b'])).toMatchObject({
        message: expect.stringMatching(
          /no outcome yet: 1; it is tried again .* Agents that still run: 2; the next start/,
        ),
      });
    });

    it.each([
      ['drain'],
      ['groups', 'rebuild', 'main'],
      ['sessions', 'wake', 'SESSION'],
      ['sessions', 'stop', 'SESSION'],
    ])('%s %s needs a host that runs', async (...words) => {
      await expect(install.run(words)).rejects.toMatchObject({
        exitCode: 9,
        message: expect.stringMatching(
          /^No host is running on .* nothing was changed\. Start it with `nanoclaw start`\.$/,
        ),
      });
    });
  });
});

describe('bad input', () => {
  let install: OperatorInstall;

  // One install for all of them: each shows that it has changed nothing.
  beforeAll(async () => {
    install = await OperatorInstall.make();
  });
  afterAll(() => install[Symbol.asyncDispose]());

  const BAD: readonly (readonly [string, 2 | 6 | 7])[] = [
    ['groups list --group nowhere', 6],
    ['groups get nowhere', 6],
    ['groups create Not/A/Folder', 2],
    ['groups create main', 7],
    ['groups create x --command-scope everything', 2],
    ['groups update main --messages-per-prompt 1001', 2],
    ['groups update main --mcp-servers {', 2],
    ['groups update main --mounts [{"source":1}]', 2],
    ['groups delete main', 7],
    ['groups rebuild nowhere', 6],
    ['messaging-groups get nowhere', 6],
    ['messaging-groups create terminal main', 7],
    ['messaging-groups create terminal x --kind crowd', 2],
    ['messaging-groups update terminal:main --denied perhaps', 2],
    ['messaging-groups delete terminal:main', 7],
    ['wirings list --group nowhere', 6],
    ['wirings get nowhere', 6],
    ['wirings create main terminal:main', 7],
    ['wirings create main terminal:other --engage pattern', 2],
    ['wirings create main terminal:other --pattern x', 2],
    ['wirings create main terminal:other --engage pattern --pattern (', 2],
    ['wirings update nowhere --priority 1', 6],
    ['wirings update nowhere --priority much', 2],
    ['wirings delete nowhere', 6],
    ['users get telegram:7', 6],
    ['users get telegram', 2],
    ['users create nobody', 2],
    ['users update telegram:7 --name x', 6],
    ['users delete telegram:7', 6],
    ['roles get telegram:7', 6],
    ['roles create telegram:7 king', 2],
    ['roles create telegram:7 owner', 6],
    ['roles create telegram:7 owner --group main', 2],
    ['roles delete telegram:7 owner', 6],
    ['members list --group nowhere', 6],
    ['members get telegram:7', 6],
    ['members create main telegram:7', 6],
    ['members delete main telegram:7', 6],
    ['destinations list --group nowhere', 6],
    ['destinations get nowhere', 6],
    ['destinations create main friend', 2],
    ['destinations create main friend --chat terminal:main --agent other', 2],
    ['destinations create main self --agent main', 2],
    ['destinations update nowhere --name x', 6],
    ['destinations delete nowhere', 6],
    ['channels add Not/A/Name --module ./x.js', 2],
    ['channels add line', 2],
    ['channels add line --module ./x.js --options [', 2],
    ['channels add terminal --module ./x.js', 7],
    ['channels add webhook --module ./x.js', 7],
    ['channels add agent --module ./x.js', 2],
    ['channels remove nowhere', 6],
    ['channels check nowhere', 6],
    ['sessions list --group nowhere', 6],
    ['sessions get nowhere', 6],
    ['sessions show nowhere', 6],
    ['sessions show SESSION --limit 0', 2],
    ['sessions create main --thread 7', 2],
    ['sessions create nowhere', 6],
    ['sessions retry nowhere', 6],
    ['sessions wake nowhere', 6],
    ['sessions stop nowhere', 6],
    ['sessions delete nowhere', 6],
    ['tasks list --session nowhere', 6],
    ['tasks get SESSION nowhere', 6],
    ['tasks create SESSION hello', 2],
    ['tasks create SESSION hello --recurrence nonsense', 2],
    ['tasks create SESSION hello --process-after yesterday', 2],
    ['tasks update SESSION nowhere --prompt x', 6],
    ['tasks pause SESSION nowhere', 6],
    ['tasks resume SESSION nowhere', 6],
    ['tasks cancel SESSION nowhere', 6],
    ['approvals list --limit many', 2],
    ['approvals get nowhere', 6],
    ['approvals approve nowhere', 6],
    ['approvals deny nowhere', 6],
    ['dead-letters list --direction sideways', 2],
    ['dead-letters show SESSION 12', 6],
    ['dead-letters retry', 2],
    ['dead-letters retry SESSION', 2],
    ['dead-letters retry SESSION 11', 6],
    ['dead-letters discard SESSION 12', 6],
    ['dead-letters discard SESSION 12 --all', 2],
    ['dropped-messages get telegram', 2],
    ['dropped-messages delete telegram', 2],
    ['audit --before yesterday', 2],
    ['webhooks create Not/A/Name', 2],
    ['webhooks create ci --callback file:///etc/passwd', 2],
    ['webhooks delete nowhere', 6],
  ];

  it.each(BAD)('%s is refused with exit code %i, in sentences that say what was kept', async (line, exitCode) => {
    const { id } = await install.session();
    const before = await dump();
    const words = line.split(' ').map((word) => (word === 'SESSION' ? id : word));
    const refused = await install.run(words, install.live).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(Problem);
    expect(refused).toMatchObject({ exitCode });
    expect(Object(refused).message).toMatch(/nothing was (changed|done)|was not changed/i);
    expect(await dump()).toEqual(before);
  });

  it('is tried for each command that takes any', () => {
    const tried = BAD.map(([line]) => line);
    const untried = OPERATOR_COMMANDS.filter(
      (command) => parametersOf(command).length > 0 && !tried.some((line) => line.startsWith(command.path.join(' '))),
    );
    expect(untried.map(({ path }) => path.join(' '))).toEqual([]);
  });

  async function dump() {
    const { registry } = install;
    return [
      await registry.agentGroups(),
      await registry.messagingGroups(),
      await registry.wirings(),
      await registry.sessions(),
      await registry.people.users(),
      await registry.destinations.list(),
      readEndpoints(install.data),
    ];
  }
});

/** A running host with these channels. */
function hostWith(install: OperatorInstall, ...channels: LiveChannel[]): LiveHost {
  return { ...install.live, status: () => ({ ...install.live.status(), channels }) };
}

/** What a drain says that has left this. */
function drained(install: OperatorInstall, unfinished: string[], running: string[]): Promise<unknown> {
  return install.run(['drain'], { ...install.live, drain: async () => ({ unfinished, running }) });
}
