import type { CommandScope } from '@nanoclaw/registry';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parametersOf } from '../src/operator/command.ts';
import { runAgentCommand } from '../src/operator/scope.ts';
import { OPERATOR_COMMANDS } from '../src/operator/table.ts';
import { OperatorInstall } from './operator-install.ts';

let install: OperatorInstall;
let own: string;
let foreign: string;

beforeAll(async () => {
  install = await OperatorInstall.make();
  own = (await install.session()).id;
  foreign = (await install.session('other')).id;
});
afterAll(() => install[Symbol.asyncDispose]());

/** What comes of a command of the agent `main`. OWN and FOREIGN stand for its session and another agent's. */
async function ask(line: string, scope: CommandScope) {
  const words = line.split(' ').map((word) => (word === 'OWN' ? own : word === 'FOREIGN' ? foreign : word));
  return runAgentCommand(words, scope, (await install.agent()).id, install.operators(install.live));
}

async function outcome(line: string, scope: CommandScope): Promise<string> {
  return (await ask(line, scope)).type;
}

const SCOPES = ['none', 'read', 'own', 'all'] as const;

describe('commands of an agent', () => {
  it.each([
    // ...                                          none       read       own        all
    ['groups list', ['refused', 'done', 'done', 'done']],
    ['groups get main', ['refused', 'done', 'done', 'done']],
    ['groups get other', ['refused', 'refused', 'refused', 'done']],
    ['groups list --group other', ['refused', 'refused', 'refused', 'done']],
    ['groups update main --assistant-name Nano', ['refused', 'refused', 'done', 'done']],
    ['groups update other --assistant-name Nano', ['refused', 'refused', 'refused', 'done']],
    ['sessions list', ['refused', 'done', 'done', 'done']],
    ['sessions show OWN', ['refused', 'done', 'done', 'done']],
    ['sessions show FOREIGN', ['refused', 'refused', 'refused', 'done']],
    ['sessions retry OWN', ['refused', 'refused', 'done', 'done']],
    ['sessions retry FOREIGN', ['refused', 'refused', 'refused', 'done']],
    ['sessions wake OWN', ['refused', 'refused', 'done', 'done']],
    ['tasks list', ['refused', 'done', 'done', 'done']],
    ['tasks list --session FOREIGN', ['refused', 'refused', 'refused', 'done']],
    ['tasks list --group other', ['refused', 'refused', 'refused', 'done']],
    ['tasks create OWN hello --process-after 2026-11-22T08:00', ['refused', 'refused', 'done', 'done']],
    ['tasks create FOREIGN hello --process-after 2026-11-22T08:00', ['refused', 'refused', 'refused', 'done']],
    ['dead-letters discard --all', ['refused', 'refused', 'refused', 'done']],
    ['dead-letters discard OWN --all', ['refused', 'refused', 'done', 'done']],
    ['status', ['refused', 'refused', 'refused', 'done']],
    ['audit', ['refused', 'refused', 'refused', 'done']],
    ['wirings list', ['refused', 'done', 'done', 'done']],
  ])('%s', async (line, expected) => {
    const outcomes: string[] = [];
    for (const scope of SCOPES) outcomes.push(await outcome(line, scope));
    expect(outcomes).toEqual(expected);
  });

  it('see in lists what is their own, and with the widest scope everything', async () => {
    expect(await ask('groups list', 'read')).toMatchObject({ result: [{ folder: 'main' }] });
    expect(await ask('sessions list', 'own')).toMatchObject({ result: [{ id: own }] });
    expect(await ask('sessions list', 'all')).toMatchObject({ result: [{ id: own }, { id: foreign }] });
  });

  it('are told what is wrong and how a command is used', async () => {
    expect(await ask('groups get nowhere', 'all')).toMatchObject({
      type: 'refused',
      reason: expect.stringContaining('groups list'),
    });
    expect(await ask('dance', 'all')).toMatchObject({
      type: 'refused',
      reason: expect.stringContaining('Unknown command'),
    });
    expect(await ask('tasks --help', 'read')).toMatchObject({
      type: 'done',
      result: expect.stringContaining('cancel'),
    });
    expect(await ask('status --data /elsewhere', 'all')).toMatchObject({ type: 'refused' });
    expect(await ask('start', 'all')).toMatchObject({ type: 'refused' });
  });

  it('are in the audit log in the name of the agent, refused ones of those that were tried too', async () => {
    const { id } = await install.agent();
    await ask('sessions retry OWN', 'own');
    const [latest] = await install.registry.audit.list({ limit: 1 });
    expect(latest).toMatchObject({ actor: `agent:${id}`, action: 'sessions retry', target: own, outcome: 'done' });
  });
});

describe('escalation from inside (failure 51)', () => {
  it.each([
    'groups update main --command-scope all',
    'groups update main --mounts [{"source":"/","name":"root"}]',
    'groups update main --mcp-servers [{"name":"x","command":"sh"}]',
    'groups update main --apt netcat',
    'groups update main --npm evil',
    'groups update main --network host',
    'groups create minion --command-scope all',
    'roles create terminal:eve owner',
    'roles grant terminal:eve owner',
    'roles delete terminal:local owner',
    'members create main terminal:eve',
    'members remove main terminal:local',
    'users create terminal:eve',
    'approvals list',
    'approvals approve any',
    'destinations create main all --chat terminal:other',
    'webhooks create out',
    'webhooks list',
    'config',
    'drain',
    'sessions delete OWN',
    'groups delete other',
  ])('%s is refused whatever the scope, and changes nothing', async (line) => {
    const before = [await install.registry.agentGroups(), await install.registry.people.users(), install.asked.length];
    for (const scope of SCOPES) expect(await outcome(line, scope)).toBe('refused');
    expect([await install.registry.agentGroups(), await install.registry.people.users(), install.asked.length]).toEqual(
      before,
    );
  });

  it('is closed by the table for every command about roles, members, users, approvals and secrets', () => {
    const closed = ['roles', 'members', 'users', 'approvals', 'webhooks', 'destinations'];
    const open = OPERATOR_COMMANDS.filter(
      ({ path, agents, kind }) => closed.includes(path[0] ?? '') && agents !== 'never' && kind !== 'reads',
    );
    expect(open.map(({ path }) => path.join(' '))).toEqual([]);
    const scopes = OPERATOR_COMMANDS.flatMap((command) => parametersOf(command)).filter(
      ({ name }) => name === 'commandScope',
    );
    expect(scopes.map(({ isOperatorsOnly }) => isOperatorsOnly)).toEqual([true, true]);
  });
});
