/**
 * The bundled program as the host starts it: a process of its own on a session folder. The test is the host.
 */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EXIT_CODES } from '@nanoclaw/runner';
import { openSqlite } from '@nanoclaw/session-db/bun';
import { CONFIG, outcome, SessionHost, TEST_MAX_MS, texts } from './session-host.ts';

let session: SessionHost;

beforeEach(() => {
  session = new SessionHost();
});

afterEach(async () => {
  await session.close();
});

/** A provider of its own, in TypeScript and without a dependency. */
const ECHO = `
  const usage = { inputTokens: null, outputTokens: null, cacheReadTokens: null, costUsd: null };
  export default {
    options: { '~standard': { version: 1, vendor: 'bots', validate: (value: unknown) => ({ value }) } },
    create: ({ prefix }: { prefix: string }) => ({
      name: 'echo',
      start: ({ messages }: { messages: { content: { text: string } }[] }) => ({
        events: (async function* () {
          yield { type: 'result', text: prefix + messages.map(({ content }) => content.text).join(' '), usage };
        })(),
        push: () => false,
        abort: () => undefined,
      }),
    }),
  };
`;

function script(wakes: boolean): string {
  return `echo "{\\"wakeAgent\\": ${wakes}, \\"data\\": $(cat count)}"`;
}

describe('the program', () => {
  test(
    'answers from a bundle that needs no node_modules, after a handshake row, and leaves when idle',
    async () => {
      session.say('hello');
      const process = session.start({ ...CONFIG, idleExitMs: 200 });
      const contents = await session.until((seen) => seen.acks.length === 1);
      expect(texts(contents)).toEqual([expect.stringContaining('You said “hello”.')]);
      expect(contents.container).toMatchObject({
        runId: 'run-1',
        protocolVersion: 2,
        runnerVersion: expect.stringMatching(/^\d+\.\d+\.\d+/),
        provider: 'offline',
      });
      expect(await outcome(process)).toEqual({ code: EXIT_CODES.done, said: 'Nothing to do for a while: leaving.\n' });
    },
    TEST_MAX_MS,
  );

  test.each<[string, string, string]>([
    ['file', 'providers/echo/index.ts', ''],
    ['package', 'app/node_modules/@bots/echo/index.ts', '@bots/echo'],
  ])(
    'answers by the provider of a %s that the configuration names, with its options',
    async (_kind, path, packageName) => {
      session.addFile(path, ECHO);
      session.addFile(join(path, '..', 'package.json'), '{"name": "@bots/echo", "exports": "./index.ts"}');
      session.say('hello');
      const module = packageName || join(session.root, path);
      const provider = { name: 'echo', module, options: { prefix: 'Echo: ' } };
      session.start({ ...CONFIG, provider });
      const contents = await session.until((seen) => seen.acks.length === 1);
      expect(texts(contents)).toEqual(['Echo: hello']);
      expect(contents.container?.provider).toBe('echo');
    },
    TEST_MAX_MS,
  );

  test(
    'on SIGTERM ends its turn within the grace, acknowledges what it took, and leaves with 0',
    async () => {
      session.say('think for 60 seconds');
      const process = session.start();
      await session.until((seen) => seen.openClaims.length === 1);
      process.kill('SIGTERM');
      expect((await outcome(process)).code).toBe(EXIT_CODES.done);
      const after = await session.written();
      expect(after?.openClaims).toEqual([]);
      expect(after?.acks).toMatchObject([
        { status: 'failed', error: 'The run was asked to stop before the turn was done.' },
      ]);
    },
    TEST_MAX_MS,
  );

  test(
    'killed in mid-turn leaves its claim open, and the next run answers, once',
    async () => {
      const id = session.say('think for 1 second');
      const first = session.start();
      await session.until((seen) => seen.openClaims.length === 1);
      await session.buried(first);
      expect(session.host.message(id)).toMatchObject({ status: 'pending', tries: 1 });
      session.start(CONFIG, 'run-2');
      const after = await session.until((contents) => contents.acks.length === 1);
      expect(texts(after)).toEqual(['Done thinking, after 1 s.']);
      expect(after.acks).toMatchObject([{ attempt: 2, status: 'completed', runId: 'run-2' }]);
    },
    TEST_MAX_MS,
  );

  test(
    'leaves at once when another run takes over, and writes nothing more',
    async () => {
      session.say('think for 60 seconds');
      const process = session.start();
      await session.until((seen) => seen.openClaims.length === 1);
      session.beginRun('run-2');
      const { code, said } = await outcome(process);
      expect(code).toBe(EXIT_CODES.fenced);
      expect(said).toBe('Another run is live (run-2): leaving without another word.\n');
      expect((await session.written())?.messages).toEqual([]);
    },
    TEST_MAX_MS,
  );

  test(
    'obeys /stop while it works, and goes on with what is said next',
    async () => {
      session.say('think for 60 seconds');
      session.start();
      await session.until((seen) => seen.openClaims.length === 1);
      session.enqueue({ text: '/stop' }, { kind: 'command' });
      await session.until((seen) => seen.acks.length === 2);
      session.say('say hi');
      expect(texts(await session.until((seen) => seen.acks.length === 3))).toEqual([
        expect.stringMatching(/^Stopped\./),
        'hi',
      ]);
    },
    TEST_MAX_MS,
  );

  test(
    'runs a task’s script with bash in the agent’s folder, and asks the model only if that says so',
    async () => {
      writeFileSync(join(session.agentFolder, 'count'), '3');
      session.enqueue({ prompt: 'say: open', script: script(true) }, { kind: 'task' });
      session.enqueue({ prompt: 'say: never', script: script(false) }, { kind: 'task' });
      session.enqueue({ prompt: 'say: failed', script: 'echo oops >&2; exit 4' }, { kind: 'task' });
      session.start();
      const after = await session.until((seen) => seen.acks.length === 3);
      expect(texts(after)).toEqual(['open (3)']);
      expect(after.acks.find((ack) => ack.messageId === 'm3')?.error).toContain('exited with 4 (oops)');
    },
    TEST_MAX_MS,
  );
});

function withProvider(provider: unknown): unknown {
  return { ...CONFIG, provider };
}

function withServers(mcpServers: unknown): unknown {
  return { ...CONFIG, mcpServers };
}

function withServer(files: unknown): unknown {
  return withServers({ files });
}

describe('trouble at the start is one sentence and a code of its own', () => {
  test.each<[string, unknown, number, string]>([
    ['no JSON', '{', EXIT_CODES.configuration, 'is not JSON'],
    ['a missing key', { ...CONFIG, timeZone: undefined }, EXIT_CODES.configuration, '"timeZone" is missing.'],
    ['a wrong zone', { ...CONFIG, timeZone: 'Mars' }, EXIT_CODES.configuration, '"timeZone" must be an IANA name'],
    ['an unknown key', { ...CONFIG, colour: 1 }, EXIT_CODES.configuration, '"colour" is not a key of it'],
    ['a wrong count', { ...CONFIG, idleExitMs: 0.5 }, EXIT_CODES.configuration, '"idleExitMs" must be a whole number'],
    [
      'an unknown provider',
      { ...CONFIG, provider: { name: 'x' } },
      EXIT_CODES.configuration,
      'The provider "x" is not one of those that come with this program (offline, claude)',
    ],
    ['a provider by its bare name', { ...CONFIG, provider: 'offline' }, EXIT_CODES.configuration, 'must be an object'],
    ['a provider without a name', withProvider({}), EXIT_CODES.configuration, '"provider" needs a "name"'],
    ['a provider with an unknown key', withProvider({ name: 'x', url: 'y' }), EXIT_CODES.configuration, 'key "url"'],
    [
      'a provider’s module by a relative path',
      withProvider({ name: 'x', module: './x.js' }),
      EXIT_CODES.configuration,
      'must be an absolute path or the name of a package',
    ],
    [
      'a provider’s module by an address',
      withProvider({ name: 'x', module: 'data:text/javascript,0' }),
      EXIT_CODES.configuration,
      'must be an absolute path or the name of a package',
    ],
    [
      'a provider’s options that are no object',
      withProvider({ name: 'x', options: [] }),
      EXIT_CODES.configuration,
      'the "options" of "provider" must be an object',
    ],
    [
      'a provider’s module that is not there',
      withProvider({ name: 'x', module: '/nowhere/x.ts' }),
      EXIT_CODES.configuration,
      'The provider "x" (module /nowhere/x.ts) cannot be loaded (',
    ],
    [
      'a provider’s package that is not there',
      withProvider({ name: 'x', module: '@nowhere/x' }),
      EXIT_CODES.configuration,
      'The provider "x" (module @nowhere/x) cannot be loaded (',
    ],
    ['a wrong effort', { ...CONFIG, effort: 'huge' }, EXIT_CODES.configuration, '"effort" must be one of low, medium'],
    [
      'servers in a list',
      withServers([]),
      EXIT_CODES.configuration,
      '"mcpServers" must be an object of servers by name',
    ],
    ['a server with a wrong name', withServers({ 'a b': {} }), EXIT_CODES.configuration, 'has the name "a b"'],
    ['a server with our name', withServers({ nanoclaw: {} }), EXIT_CODES.configuration, "that is the runner's own"],
    ['a server of a wrong type', withServer({ type: 'x' }), EXIT_CODES.configuration, 'the "type" "stdio" or "http"'],
    ['a server without a command', withServer({}), EXIT_CODES.configuration, '"files" needs a "command"'],
    ['a server with wrong arguments', withServer({ command: 'x', args: 'y' }), EXIT_CODES.configuration, 'as "args"'],
    [
      'a server with a wrong variable',
      withServer({ command: 'x', env: { A: 1 } }),
      EXIT_CODES.configuration,
      'as "env"',
    ],
    ['a server with an unknown key', withServer({ command: 'x', url: 'y' }), EXIT_CODES.configuration, 'the key "url"'],
    [
      'a server with a wrong address',
      withServer({ type: 'http', url: 'ftp://x' }),
      EXIT_CODES.configuration,
      'a "url"',
    ],
    ['skills that are no list', { ...CONFIG, skills: 'some' }, EXIT_CODES.configuration, '"skills" must be "all" or a'],
    [
      'skills without a folder',
      { ...CONFIG, skills: ['a'] },
      EXIT_CODES.configuration,
      'no folder of skills was given',
    ],
    ['claude without its program', withProvider({ name: 'claude' }), EXIT_CODES.configuration, '(executable: must be'],
    [
      'another protocol version',
      { ...CONFIG, protocolVersion: 99 },
      EXIT_CODES.version,
      'is for protocol version 99 and this runner has version 2',
    ],
  ])('%s', async (_name, config, code, sentence) => {
    const { code: exit, said } = await outcome(session.start(config));
    expect(said).toContain(sentence);
    expect(said.trimEnd().split('\n')).toHaveLength(1);
    expect(exit).toBe(code);
  });

  test.each<[string, string, () => void, string]>([
    ['that is not there', 'sew', () => session.addSkill('bake'), 'the skill sew has no SKILL.md that can be read'],
    ['whose name is none', '../agent', () => session.addSkill('bake'), '"../agent" is not the name of a skill'],
    ['without a head', 'bake', () => session.addSkill('bake', 'Gently.'), 'that says "name: bake" and a description'],
    [
      'of another name',
      'bake',
      () => session.addSkill('bake', '---\nname: cook\ndescription: Cooks.\n---\n'),
      'that says "name: bake" and a description',
    ],
  ])('a skill %s', async (_name, skill, add, sentence) => {
    add();
    const { code, said } = await outcome(session.start({ ...CONFIG, skills: [skill] }));
    expect(said).toContain(sentence);
    expect(said.trimEnd().split('\n')).toHaveLength(1);
    expect(code).toBe(EXIT_CODES.configuration);
  });

  test('an unsound skill that is not wanted is none', async () => {
    session.addSkill('bake');
    session.addSkill('sew', 'Gently.');
    const { code } = await outcome(session.start({ ...CONFIG, skills: ['bake'], idleExitMs: 1 }));
    expect(code).toBe(EXIT_CODES.done);
  });

  test('wrong arguments', async () => {
    const { code, said } = await outcome(session.startWith(['--run', 'r1', '--colour', 'red']));
    expect(code).toBe(EXIT_CODES.usage);
    expect(said).toContain('Usage: main.js --run ID');
  });

  test('an outbound folder that cannot be used', async () => {
    rmSync(session.folder.outbound.root, { recursive: true });
    writeFileSync(session.folder.outbound.root, 'a file in its place');
    const { code, said } = await outcome(session.start());
    expect(code).toBe(EXIT_CODES.session);
    expect(said).toContain("The session's files cannot be used");
  });

  test('a file of a newer version', async () => {
    const db = openSqlite(session.folder.outbound.database, 'create');
    db.exec('PRAGMA user_version = 99');
    db.close();
    const { code, said } = await outcome(session.start());
    expect(code).toBe(EXIT_CODES.version);
    expect(said).toContain('99');
  });

  test('has the codes that container/README.md lists', () => {
    const readme = readFileSync(join(import.meta.dir, '..', '..', '..', 'container', 'README.md'), 'utf8');
    const listed = [...readme.matchAll(/^\| (\d) \| `(\w+)` \|/gm)].map(([, code, name]) => [name, Number(code)]);
    expect(Object.fromEntries(listed)).toEqual(EXIT_CODES);
  });
});
