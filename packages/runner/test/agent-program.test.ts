/** The agent's program as a function: several in this process, each on a session folder; the test is their host. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Clock,
  createSession,
  HostSession,
  inProcessReader,
  type OutboundContents,
  runId,
} from '@nanoclaw/session-db';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openSqlite } from '#driver';
import { scriptedProvider } from '../../providers/src/scripted/scripted.ts';
import { type AgentProgram, agentProgram, type MakeProvider } from '../src/agent/agent-program.ts';
import { ConfigError, EXIT_CODES } from '../src/index.ts';

const clock: Clock = {
  now: () => Date.now(),
  setTimer: (ms, callback) => {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};

let root: string;
const hosts: HostSession[] = [];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'nanoclaw-program-'));
});

afterEach(() => {
  for (const host of hosts.splice(0)) host[Symbol.dispose]();
  rmSync(root, { recursive: true });
});

interface Agent {
  readonly args: readonly string[];
  say(text: string): void;
  written(): Promise<OutboundContents>;
}

/** A session of its own with a host, and the arguments of a run on it. */
function agent(name: string, config: Readonly<Record<string, unknown>> = {}): Agent {
  const folder = createSession(join(root, name, 'session'));
  const host = HostSession.open(folder, openSqlite);
  hosts.push(host);
  const [places, run] = [join(root, name, 'agent'), `run-${name}`];
  mkdirSync(places);
  const path = join(root, name, 'container.json');
  const whole = {
    protocolVersion: 2,
    agentGroupId: name,
    assistantName: name,
    provider: { name: 'offline' },
    timeZone: 'UTC',
  };
  writeFileSync(path, JSON.stringify({ ...whole, idleExitMs: 50, ...config }));
  host.beginRun(runId(run), clock.now());
  const folders = ['--inbound', folder.inbound.root, '--outbound', folder.outbound.root];
  let last = 0;
  return {
    args: ['--run', run, '--config', path, '--agent', places, ...folders],
    say: (text) => {
      last += 1;
      const message = { id: `m${last}`, kind: 'chat', trigger: 'wakes', address: null, content: { text } } as const;
      host.enqueue({ ...message, timestamp: clock.now() }, clock.now());
    },
    written: async () => {
      const read = await inProcessReader(folder, openSqlite).read({ acksAfter: 0, messagesAfter: 0, again: [] });
      if (read.type !== 'read') throw new Error(`not read: ${read.type}`);
      return read;
    },
  };
}

function started(
  program: AgentProgram,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): { code: Promise<number>; log: string[]; stop: AbortController; atOnce: AbortController } {
  const log: string[] = [];
  const [stop, atOnce] = [new AbortController(), new AbortController()];
  const code = program(args, { signal: stop.signal, atOnce: atOnce.signal, env, write: (text) => log.push(text) });
  return { code, log, stop, atOnce };
}

function texts({ messages }: OutboundContents): unknown[] {
  return messages.map(({ content }) => content['text']);
}

it('two agents work in one process at once, each with a provider of its own', async () => {
  const [ada, bob] = [agent('ada'), agent('bob')];
  const runs = [ada, bob].map((one, index) => {
    one.say('who are you?');
    return started(agentProgram({ provider: scriptedProvider(() => `number ${index}`), openSqlite, clock }), one.args);
  });
  expect(await Promise.all(runs.map(({ code }) => code))).toEqual([EXIT_CODES.done, EXIT_CODES.done]);
  expect(texts(await ada.written())).toEqual(['number 0']);
  expect(texts(await bob.written())).toEqual(['number 1']);
  expect(runs[0]?.log).toEqual(['Nothing to do for a while: leaving.\n']);
});

it('one program may be run twice at once, and is asked for a provider each time', async () => {
  const asked: unknown[] = [];
  const provider: MakeProvider = (choice, { env, report }) => {
    asked.push([choice.name, env['TZ'], env['KEY']]);
    report(`This is ${env['KEY']}.`);
    return scriptedProvider(() => `with ${env['KEY']}`);
  };
  const program = agentProgram({ provider, openSqlite, clock });
  const agents = [agent('ada', { timeZone: 'Asia/Tokyo' }), agent('bob')];
  for (const one of agents) one.say('hello');
  const runs = agents.map((one, index) => started(program, one.args, { KEY: `key ${index}` }));
  expect(await Promise.all(runs.map(({ code }) => code))).toEqual([0, 0]);
  expect(asked.toSorted()).toEqual([
    ['offline', 'Asia/Tokyo', 'key 0'],
    ['offline', 'UTC', 'key 1'],
  ]);
  expect(await Promise.all(agents.map(async (one) => texts(await one.written())))).toEqual([
    ['with key 0'],
    ['with key 1'],
  ]);
  expect(runs[1]?.log[0]).toBe('This is key 1.\n');
});

it('a run that is asked to leave lets its turn end, acknowledges it, and says so', async () => {
  const ada = agent('ada');
  ada.say('hello');
  const [begun, finish] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const provider = scriptedProvider(async () => {
    begun.resolve();
    await finish.promise;
    return 'done all the same';
  });
  const { code, log, stop } = started(agentProgram({ provider, openSqlite, clock }), ada.args);
  await begun.promise;
  stop.abort();
  finish.resolve();
  expect(await code).toBe(EXIT_CODES.done);
  expect(texts(await ada.written())).toEqual(['done all the same']);
  expect(log).toEqual(['Asked to stop: everything claimed is acknowledged, leaving.\n']);
});

it('a run whose grace is ended aborts its turn, and acknowledges it as failed', async () => {
  const ada = agent('ada');
  ada.say('hello');
  const begun = Promise.withResolvers<void>();
  const provider = scriptedProvider(() => {
    begun.resolve();
    return new Promise<never>(() => undefined);
  });
  const timers: number[] = [];
  const noGrace: Clock = {
    now: clock.now,
    // The grace of three seconds would end by itself; here only the second signal ends it.
    setTimer: (ms, callback) => {
      timers.push(ms);
      return ms === 3_000 ? () => undefined : clock.setTimer(ms, callback);
    },
  };
  const { code, stop, atOnce } = started(agentProgram({ provider, openSqlite, clock: noGrace }), ada.args);
  await begun.promise;
  stop.abort();
  await sleep(20);
  atOnce.abort();
  expect(await code).toBe(EXIT_CODES.done);
  expect(timers).toContain(3_000);
  const { acks } = await ada.written();
  expect(acks).toMatchObject([{ status: 'failed', error: 'The run was asked to stop before the turn was done.' }]);
});

it('a run that was asked to leave before it began claims nothing', async () => {
  const ada = agent('ada');
  ada.say('hello');
  const program = agentProgram({ provider: scriptedProvider(() => 'never'), openSqlite, clock });
  const code = await program(ada.args, { signal: AbortSignal.abort(), env: {}, write: () => undefined });
  expect(code).toBe(EXIT_CODES.done);
  expect(await ada.written()).toMatchObject({ acks: [], messages: [], openClaims: [] });
});

it('a script of a task gets the environment without what may be a credential', async () => {
  const ada = agent('ada', { timeZone: 'Asia/Tokyo' });
  const host = hosts[0];
  const script = 'echo "{\\"wakeAgent\\": true, \\"data\\": \\"${TOKEN:-none} $TZ\\"}"';
  const now = clock.now();
  const task = { id: 't1', kind: 'task', trigger: 'wakes', address: null, content: { prompt: 'go', script } } as const;
  host?.enqueue({ ...task, timestamp: now }, now);
  const provider = scriptedProvider(({ prompt }) => String(prompt.messages[0]?.content['data']));
  const env = { PATH: process.env['PATH'] ?? '', TOKEN: 'secret' };
  expect(await started(agentProgram({ provider, openSqlite, clock }), ada.args, env).code).toBe(EXIT_CODES.done);
  expect(texts(await ada.written())).toEqual(['none Asia/Tokyo']);
});

it.each<[string, (ada: Agent) => readonly string[], MakeProvider, number, RegExp]>([
  [
    'wrong arguments',
    () => ['--colour', 'red'],
    () => scriptedProvider(() => null),
    EXIT_CODES.usage,
    /^Wrong arg.*Usage/,
  ],
  [
    'a provider that is not to be had',
    ({ args }) => args,
    () => {
      throw new ConfigError('There is no such provider.');
    },
    EXIT_CODES.configuration,
    /^There is no such provider\.$/,
  ],
  [
    'an error that was not expected, with its trace',
    ({ args }) => args,
    () => {
      throw new TypeError('Oh.');
    },
    EXIT_CODES.bug,
    /TypeError: Oh\.\s+at /,
  ],
])('%s: a code and a sentence, and nothing thrown', async (_name, args, provider, code, sentence) => {
  const run = started(agentProgram({ provider, openSqlite, clock }), args(agent('ada')));
  expect(await run.code).toBe(code);
  expect(run.log).toHaveLength(1);
  expect(run.log[0]?.trimEnd()).toMatch(sentence);
});
