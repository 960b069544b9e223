import { EXIT_CODES, Problem } from '@nanoclaw/host/errors';
import {
  MISSING_VERBS,
  OPERATOR_COMMANDS,
  parameterLabel,
  parametersOf,
  parseCommandLine,
  TOPICS,
} from '@nanoclaw/host/operator';
import { describe, expect, it } from 'vitest';
import { LOCAL_COMMANDS } from '../src/cli/local.ts';
import { configHelp } from '../src/config.ts';

const COMMANDS = [...LOCAL_COMMANDS, ...OPERATOR_COMMANDS];

function parse(words: readonly string[]) {
  return parseCommandLine(words, COMMANDS, TOPICS, configHelp());
}

function help(words: readonly string[]): string {
  const request = parse([...words, '--help']);
  if (request.type !== 'help') throw new Error(`It is ${request.type}.`);
  return request.text;
}

/** What the registry and the sessions keep (FEATURES.md), and what can be done with each as a rule. */
const KEPT = [
  ['groups', 'messaging-groups', 'wirings', 'users', 'roles', 'members', 'destinations'],
  ['sessions', 'tasks', 'approvals', 'dropped-messages'],
].flat();
const VERBS = ['list', 'get', 'create', 'update', 'delete'];

describe('the command line', () => {
  it.each(KEPT)('has list, get, create, update and delete for %s, or says what to use instead', (noun) => {
    const there = COMMANDS.filter(({ path }) => path[0] === noun).flatMap(({ path, alias }) => [path[1], alias]);
    const [, said = ''] = /^There is no (.+?):/.exec(MISSING_VERBS[noun] ?? '') ?? [];
    expect([...said.matchAll(/`(\w+)`/g)].map(([, verb]) => verb)).toEqual(
      VERBS.filter((verb) => !there.includes(verb)),
    );
  });

  it.each([
    [[], ['start'], {}],
    [['--say', 'hello'], ['start'], { say: 'hello' }],
    [['start', '--say', 'hello'], ['start'], { say: 'hello' }],
    [['groups', 'get', 'main'], ['groups', 'get'], { group: 'main' }],
    [
      ['groups', 'update', 'main', '--messages-per-prompt', '5'],
      ['groups', 'update'],
      { group: 'main', messagesPerPrompt: '5' },
    ],
    [['roles', 'grant', 'terminal:local', 'owner'], ['roles', 'create'], { user: 'terminal:local', role: 'owner' }],
    [['dead-letters', 'retry', '--all'], ['dead-letters', 'retry'], { all: true }],
    [
      ['messaging-groups', 'create', 'telegram', '--', '-100200'],
      ['messaging-groups', 'create'],
      { channelType: 'telegram', platformId: '-100200' },
    ],
  ])('reads %j', (words, path, raw) => {
    expect(parse(words)).toMatchObject({ type: 'run', command: { path }, raw, data: undefined, isJson: false });
  });

  it.each([[['--data', '/d', '--json', 'status']], [['status', '--data', '/d', '--json']]])(
    'takes what goes for every command before and behind it: %j',
    (words) => {
      expect(parse(words)).toMatchObject({ type: 'run', command: { path: ['status'] }, data: '/d', isJson: true });
    },
  );

  it.each([
    [['--frobnicate'], 'Unknown option "--frobnicate"; nothing was done. See --help.'],
    [['dance'], 'Unknown command "dance"; nothing was done. See --help.'],
    [['statsu'], 'Unknown command "statsu"; nothing was done. Did you mean status? See --help.'],
    [
      ['groups', 'lst'],
      'Unknown command "lst"; nothing was done. Did you mean list? ' +
        '`nanoclaw groups` has list, get, create, update, delete, rebuild.',
    ],
    [
      ['--json', 'roles', 'bestow', 'terminal:local'],
      'Unknown command "bestow"; nothing was done. ' +
        '`nanoclaw roles` has list, get, create or grant, delete or revoke.',
    ],
    [['status', '--jsn'], 'Unknown option "--jsn"; nothing was done. Did you mean --json? See --help.'],
    [['groups', 'get'], 'Missing required argument "group"; nothing was done. See --help.'],
    [['logs', '--lines'], 'Option "--lines <n>" argument missing; nothing was done. See --help.'],
  ])('refuses %j in one sentence', (words, message) => {
    expect(() => parse(words)).toThrow(new Problem(message, 2));
  });

  it('refuses a word too many', () => {
    expect(() => parse(['status', 'now'])).toThrow(/^Too many arguments .* nothing was done\. See --help\.$/);
  });

  it('shows the help of a topic that lacks its second word, as something that was not asked for', () => {
    expect(parse(['groups'])).toMatchObject({ type: 'help', isAsked: false });
    expect(help(['groups'])).toContain('create');
  });

  it('names every command, key of the configuration and exit code in its help', () => {
    const text = help([]);
    for (const { path } of COMMANDS) expect(text).toMatch(new RegExp(`^ +${path[0]}\\b`, 'm'));
    for (const code of Object.keys(EXIT_CODES)) expect(text).toMatch(new RegExp(`^ +${code} `, 'm'));
    expect(text).toContain('NANOCLAW_BUN');
  });
});

describe('the table of commands', () => {
  it('has each command once, under a topic that is explained', () => {
    const keys = COMMANDS.flatMap(({ path, alias }) => [path, ...(alias ? [[...path.slice(0, -1), alias]] : [])]);
    expect(new Set(keys.map((path) => path.join(' '))).size).toBe(keys.length);
    for (const { path } of COMMANDS.filter(({ path: words }) => words.length > 1)) {
      expect(TOPICS[path[0] ?? ''], path.join(' ')).toMatch(/\S/);
    }
  });

  it.each(COMMANDS.map((command) => [command.path.join(' '), command] as const))(
    '%s says what it does and what each of its parameters is',
    (_, command) => {
      expect(command.summary).toMatch(/^\p{Ll}.*[^.]$/u);
      const text = help(command.path).replace(/\s+/g, ' ');
      for (const parameter of parametersOf(command)) {
        expect(parameter.help, parameter.name).toMatch(/\S{2}/);
        const name =
          parameter.place === 'argument'
            ? parameter.name.replace(/[A-Z]/g, '-$&').toLowerCase()
            : parameterLabel(parameter.name, parameter);
        expect(text).toContain(name);
      }
      expect(text).toContain('Exit codes:');
    },
  );

  it('takes optional words only behind those that are needed', () => {
    for (const command of COMMANDS) {
      const needed = parametersOf(command)
        .filter(({ place }) => place === 'argument')
        .map(({ isOptional }) => isOptional);
      expect(needed, command.path.join(' ')).toEqual(needed.toSorted((a, b) => Number(a) - Number(b)));
    }
  });
});
