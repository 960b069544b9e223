/**
 * The `claude` provider against the SDK's real program and a fake of the model's API. `NANOCLAW_CLAUDE_BINARY` names
 * the program; each test gives it a home of its own and checks that no process is left.
 */

import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Prompt, Tool, TurnEvent } from '@nanoclaw/runner';
import { claudeReading } from '../src/claude/events.ts';
import {
  ClaudeHome,
  command,
  ends,
  eventsOf,
  inbound,
  isAlive,
  isEnd,
  recordingExecutable,
  says,
  TURN_MAX_MS,
  tokenOf,
} from './claude-home.ts';
import {
  echo,
  type FakeReply,
  type FakeRequest,
  type FakeRules,
  inOrder,
  textsOf,
  toolNamesOf,
} from './fake-messages-api.ts';

let claude: ClaudeHome;

beforeEach(() => {
  claude = new ClaudeHome();
});

afterEach(async () => {
  expect(await claude.close()).toEqual([]);
});

describe('a turn', () => {
  test(
    'answers with the text of the model, after its continuation, and says what it cost',
    async () => {
      const events = await eventsOf(
        await claude.startTurn(inOrder({ type: 'text', text: 'Hello, Ada.' }), 'Say hello.'),
      );

      expect(events[0]).toEqual({ type: 'continuation', token: expect.stringMatching(/^[0-9a-f-]{36}$/) });
      expect(events).toContainEqual({ type: 'progress' });
      expect(events.at(-1)).toEqual({
        type: 'result',
        text: 'Hello, Ada.',
        usage: { inputTokens: 12, outputTokens: 5, cacheReadTokens: 2, costUsd: expect.any(Number) },
      });
      expect(ends(events)).toHaveLength(1);
      expect(JSON.stringify(claude.requests[0]?.body['system'])).toContain('You are Andy.');
    },
    TURN_MAX_MS,
  );

  test(
    'with nothing to say has no text',
    async () => {
      const events = await eventsOf(await claude.startTurn(() => ({ type: 'text', text: ' ' }), 'Say nothing.'));

      expect(events.at(-1)).toMatchObject({ type: 'result', text: null });
    },
    TURN_MAX_MS,
  );

  test(
    'offers files, shell and web, and nothing that asks at a terminal or works on after the turn',
    async () => {
      await eventsOf(await claude.startTurn(inOrder({ type: 'text', text: 'Fine.' }), 'What can you do?'));

      const names = toolNamesOf(claude.request(0));
      expect(names).toContain('Bash');
      expect(names).toContain('WebFetch');
      for (const name of ['AskUserQuestion', 'CronCreate', 'ScheduleWakeup', 'SendMessage', 'Workflow']) {
        expect(names).not.toContain(name);
      }
    },
    TURN_MAX_MS,
  );

  test(
    'does not read a file aloud because somebody mentioned its name',
    async () => {
      writeFileSync(join(claude.cwd, 'secret.txt'), 'the treasure is under the oak');
      const events = await eventsOf(await claude.startTurn(echo, 'What of @secret.txt?'));

      expect(events.at(-1)).toMatchObject({ type: 'result', text: 'echo: What of @secret.txt?' });
      expect(JSON.stringify(claude.request(0).body)).not.toContain('under the oak');
    },
    TURN_MAX_MS,
  );

  test(
    'takes a slash for a command only when the message is one',
    async () => {
      const asCommand = await eventsOf(await claude.startTurn(inOrder(), command('/cost')));
      expect(asCommand.at(-1)).toMatchObject({ type: 'result', text: expect.stringContaining('cost') });
      expect(claude.requests).toHaveLength(0);

      const chat: Prompt = { text: '/cost', messages: [inbound('chat')], done: [] };
      const asChat = await eventsOf(await claude.startTurn(inOrder({ type: 'text', text: 'Nothing yet.' }), chat));
      expect(asChat.at(-1)).toMatchObject({ type: 'result', text: 'Nothing yet.' });
      expect(textsOf(claude.request(0))).toContain('/cost');
    },
    TURN_MAX_MS,
  );

  test(
    'ends its program when nobody reads on',
    async () => {
      const turn = await claude.startTurn(() => ({ type: 'hang' }), 'Say hello.');
      for await (const event of turn.events) {
        expect(event.type).toBe('continuation');
        break;
      }
      expect(claude.startedPids().filter(isAlive)).toEqual([]);
    },
    TURN_MAX_MS,
  );
});

describe('a tool', () => {
  test(
    'of ours runs with the arguments of the model, which is shown what it returned',
    async () => {
      const calls: unknown[] = [];
      const rules = inOrder(
        { type: 'tool', name: 'mcp__nanoclaw__note', input: { text: 'milk' } },
        { type: 'text', text: 'Noted.' },
      );
      const tool = noteTool(async (input) => {
        calls.push(input);
        return 'it is note number 7';
      });
      const events = await eventsOf(await claude.startTurn(rules, 'Note: milk.', { tools: [tool] }));

      expect(calls).toEqual([{ text: 'milk' }]);
      expect(textsOf(claude.request(1))).toContain('it is note number 7');
      expect(offeredTool(0, 'mcp__nanoclaw__note')).toMatchObject({
        description: tool.description,
        input_schema: tool.inputSchema,
      });
      const toolUseId = 'toolu_fake_0';
      expect(events).toContainEqual({ type: 'tool-started', toolUseId, name: 'note', timeoutMs: 4_000 });
      expect(indexOf(events, 'tool-started')).toBeLessThan(indexOf(events, 'tool-ended'));
      expect(events).toContainEqual({ type: 'tool-ended', toolUseId });
      expect(events.at(-1)).toMatchObject({
        type: 'result',
        text: 'Noted.',
        usage: { inputTokens: 24, outputTokens: 10, cacheReadTokens: 4 },
      });
    },
    TURN_MAX_MS,
  );

  test(
    'that throws tells the model why, and the turn goes on',
    async () => {
      const rules = inOrder(
        { type: 'tool', name: 'mcp__nanoclaw__note', input: { text: 'milk' } },
        { type: 'text', text: 'That did not work.' },
      );
      const tool = noteTool(() => Promise.reject(new Error('the notebook is full')));
      const events = await eventsOf(await claude.startTurn(rules, 'Note: milk.', { tools: [tool] }));

      expect(textsOf(claude.request(1)).join()).toContain('the notebook is full');
      expect(events.at(-1)).toMatchObject({ type: 'result', text: 'That did not work.' });
    },
    TURN_MAX_MS,
  );

  test(
    'that is the shell reports the time it may take: what it declares, at most ten minutes, or two',
    async () => {
      const rules = inOrder(
        shell({ command: 'echo one', timeout: 5_000 }),
        shell({ command: 'echo two', timeout: 86_400_000 }),
        shell({ command: 'echo three' }),
        { type: 'text', text: 'Done.' },
      );
      const events = await eventsOf(await claude.startTurn(rules, 'Count.'));

      expect(events.flatMap((event) => (event.type === 'tool-started' ? [[event.name, event.timeoutMs]] : []))).toEqual(
        [
          ['Bash', 5_000],
          ['Bash', 600_000],
          ['Bash', 120_000],
        ],
      );
      expect(textsOf(claude.request(3))).toEqual(expect.arrayContaining(['one', 'two', 'three']));
    },
    TURN_MAX_MS,
  );
});

describe('a follow-up', () => {
  test(
    'pushed while a tool runs is read before the model goes on, and covered by the one result',
    async () => {
      const taken: boolean[] = [];
      const tool = noteTool(async () => {
        taken.push(turn.push(says('And eggs.')));
        // The program reads its input between two steps; the tool gives it the time.
        await sleep(300);
        return 'noted';
      });
      const turn = await claude.startTurn(notingMilkAndEggs, 'Note: milk.', { tools: [tool] });
      const events = await eventsOf(turn);

      expect(taken).toEqual([true]);
      // On a machine under load the program may read it only after the model's next answer: then there are two.
      expect(ends(events)).toMatchObject([{ type: 'result', text: expect.stringContaining('Noted milk and eggs.') }]);
    },
    TURN_MAX_MS,
  );

  test(
    'pushed while the model writes its answer is answered too before the turn is over',
    async () => {
      const rules: FakeRules = (_request, index) => {
        if (index > 0) return { type: 'text', text: 'Second answer.' };
        expect(turn.push(says('One more thing.'))).toBe(true);
        return { type: 'text', text: 'First answer.' };
      };
      const turn = await claude.startTurn(rules, 'Say something.');
      const events = await eventsOf(turn);

      expect(textsOf(claude.request(1))).toContain('One more thing.');
      expect(ends(events)).toMatchObject([
        {
          type: 'result',
          text: 'First answer.\n\nSecond answer.',
          usage: { inputTokens: 24, outputTokens: 10, cacheReadTokens: 4 },
        },
      ]);
    },
    TURN_MAX_MS,
  );

  test(
    'is refused or answered, at whatever moment it is pushed',
    async () => {
      const turn = await claude.startTurn(numbered, 'Start.');
      const taken: string[] = [];
      const refused: string[] = [];
      const events: TurnEvent[] = [];
      for await (const event of turn.events) {
        events.push(event);
        const text = `Follow-up ${events.length} after ${event.type}.`;
        // Two dozen cover three answers' worth of moments; from there on the turn may come to its end.
        if (events.length > 24 && !isEnd(event)) continue;
        (turn.push(says(text)) ? taken : refused).push(text);
      }

      expect(taken.length).toBeGreaterThan(0);
      const asked = textsOf(claude.request(claude.requests.length - 1)).join('\n');
      for (const text of taken) expect(asked).toContain(text);
      expect(events.at(-1)).toMatchObject({ text: expect.stringContaining(`Answer ${claude.requests.length - 1}.`) });
      expect(refused).toEqual([`Follow-up ${events.length} after result.`]);
      expect(ends(events)).toHaveLength(1);
    },
    TURN_MAX_MS,
  );
});

describe('a continuation', () => {
  test(
    'resumes the conversation: the model is shown what was said before',
    async () => {
      const first = await eventsOf(await claude.startTurn(numbered, 'My name is Ada.'));
      const continuation = tokenOf(first);
      const second = await eventsOf(claude.nextTurn('Who am I?', { continuation }));

      expect(textsOf(claude.request(1))).toEqual(expect.arrayContaining(['My name is Ada.', 'Answer 0.', 'Who am I?']));
      expect(tokenOf(second)).toBe(continuation);
      expect(second.at(-1)).toEqual({
        type: 'result',
        text: 'Answer 1.',
        // Not what the conversation has cost in all: only this turn.
        usage: { inputTokens: 12, outputTokens: 5, cacheReadTokens: 2, costUsd: costOf(first) },
      });
    },
    TURN_MAX_MS,
  );

  test(
    'that is dead ends the turn, says so, and gives no new one',
    async () => {
      for (const continuation of ['0b3a8f1e-6d5c-4a2b-9e7f-1c2d3e4f5a6b', 'not-an-id']) {
        const events = await eventsOf(await claude.startTurn(inOrder(), 'Who am I?', { continuation }));

        expect(events).toMatchObject([
          { type: 'error', reason: expect.stringContaining(continuation), kind: 'failed', lostContinuation: true },
        ]);
        expect(claude.requests).toHaveLength(0);
      }
    },
    TURN_MAX_MS,
  );

  test(
    'whose conversation the API refuses is given up; a refused first turn has none to give up',
    async () => {
      // Beyond its script the fake answers 400.
      const rules = inOrder({ type: 'text', text: 'Hello.' });
      const first = await eventsOf(await claude.startTurn(rules, 'Hello.'));
      const resumed = await eventsOf(claude.nextTurn('Again.', { continuation: tokenOf(first) }));
      const fresh = await eventsOf(claude.nextTurn('Again.'));

      expect(resumed.at(-1)).toMatchObject({ type: 'error', kind: 'failed', lostContinuation: true });
      expect(fresh.at(-1)).toMatchObject({ type: 'error', kind: 'failed', lostContinuation: false });
    },
    TURN_MAX_MS,
  );
});

function answering(status: number, message: string, retryAfterSeconds?: number): FakeReply {
  return { type: 'status', status, message, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) };
}

/** The kind of the error that a turn ends with whose API has answered so. */
function kindOf(api_error_status: number | null, error?: 'unknown' | 'overloaded' | 'account_on_hold') {
  const reading = claudeReading({ continuation: undefined, tools: [] });
  const message = { type: 'assistant', parent_tool_use_id: null, message: { content: [] }, error };
  reading.events(message as never);
  const result = { type: 'result', subtype: 'success', is_error: true, terminal_reason: 'api_error', result: 'no' };
  const end = reading.failure({ ...result, api_error_status } as never);
  return end?.type === 'error' ? end.kind : undefined;
}

describe('a failure of the API', () => {
  const failures: readonly [string, FakeReply, 'refused' | 'unavailable' | 'failed', RegExp][] = [
    ['429', answering(429, 'too many', 1), 'unavailable', /429.*too many/],
    ['429 that lasts', answering(429, 'too many', 600), 'unavailable', /429.*too many/],
    ['500', answering(500, 'out of order'), 'unavailable', /500.*out of order/],
    ['connection closed in the middle of the answer', { type: 'cut', text: 'Once upon' }, 'unavailable', /Connection/],
    ['401', answering(401, 'invalid x-api-key'), 'refused', /401.*Invalid API key/],
    ['403', answering(403, 'no access to this model'), 'refused', /403.*no access to this model/],
    ['404', answering(404, 'model: claude-none'), 'refused', /404.*issue with the selected model/],
    [
      '400 for want of credit',
      answering(400, 'Your credit balance is too low to access the API.'),
      'refused',
      /[Cc]redit/,
    ],
    ['400', answering(400, 'messages: malformed'), 'failed', /400.*malformed/],
  ];
  for (const [name, reply, kind, reason] of failures) {
    test(
      `by ${name} ends the turn with an error that is ${kind}, after a few attempts, and never with a result`,
      async () => {
        const events = await eventsOf(await claude.startTurn(() => reply, 'Say hello.'));

        expect(ends(events)).toMatchObject([{ type: 'error', kind, reason: expect.stringMatching(reason) }]);
        // A request that is malformed is also tried with parts of it left out.
        expect(claude.requests.length).toBeLessThanOrEqual(kind === 'failed' ? 6 : 3);
      },
      TURN_MAX_MS,
    );
  }

  test('of a gateway is known by its status, where the program has no name for it', () => {
    expect([401, 402, 403, 404].map((status) => kindOf(status, 'unknown'))).toEqual(Array(4).fill('refused'));
    expect([408, 429, 500, 502, 503, 529, null].map((status) => kindOf(status))).toEqual(Array(7).fill('unavailable'));
    expect([400, 413, 422].map((status) => kindOf(status, 'unknown'))).toEqual(Array(3).fill('failed'));
    expect([kindOf(400, 'account_on_hold'), kindOf(null, 'overloaded')]).toEqual(['refused', 'unavailable']);
  });

  test(
    'that is not there at all is unavailable, and one without a key is refused',
    async () => {
      const api = await claude.startTurn(() => ({ type: 'text', text: 'unused' }), 'Say hello.');
      expect(ends(await eventsOf(api))).toMatchObject([{ type: 'result' }]);
      await claude.stopApi();
      expect(ends(await eventsOf(claude.nextTurn('Say hello.')))).toMatchObject([
        { type: 'error', kind: 'unavailable', reason: expect.stringContaining('ECONNREFUSED') },
      ]);
      const env = { ANTHROPIC_API_KEY: '', ANTHROPIC_BASE_URL: '' };
      const keyless = claude.provider(recordingExecutable(claude.home), env);
      expect(ends(await eventsOf(keyless.start(says('Hello.'), claude.startOptions())))).toMatchObject([
        { type: 'error', kind: 'refused', reason: expect.stringContaining('Not logged in') },
      ]);
    },
    TURN_MAX_MS,
  );

  test(
    'for want of credit gives up no conversation',
    async () => {
      const broke = answering(400, 'Your credit balance is too low to access the API.');
      const rules = inOrder({ type: 'text', text: 'Hello.' }, broke, { type: 'text', text: 'Still here.' });
      const first = await eventsOf(await claude.startTurn(rules, 'Hello.'));
      const continuation = tokenOf(first);
      const refused = await eventsOf(claude.nextTurn('Again.', { continuation }));
      expect(refused.at(-1)).toMatchObject({ type: 'error', kind: 'refused' });
      expect(refused.at(-1)).not.toHaveProperty('lostContinuation');
      const third = await eventsOf(claude.nextTurn('Again.', { continuation }));
      expect(third.at(-1)).toMatchObject({ type: 'result', text: 'Still here.' });
    },
    TURN_MAX_MS,
  );

  test(
    'after a part of the work was done says what that has cost',
    async () => {
      const rules = inOrder(shell({ command: 'echo one' }), { type: 'status', status: 401, message: 'who are you' });
      const events = await eventsOf(await claude.startTurn(rules, 'Count.'));

      expect(ends(events)).toMatchObject([
        { type: 'error', usage: { inputTokens: 12, outputTokens: 5, cacheReadTokens: 2, costUsd: expect.any(Number) } },
      ]);
    },
    TURN_MAX_MS,
  );

  test(
    'that passes is got over within the turn',
    async () => {
      const rules = inOrder({ type: 'status', status: 529, message: 'busy' }, { type: 'text', text: 'Here I am.' });
      const events = await eventsOf(await claude.startTurn(rules, 'Say hello.'));

      expect(ends(events)).toMatchObject([{ type: 'result', text: 'Here I am.' }]);
    },
    TURN_MAX_MS,
  );
});

describe('a program that is killed in mid-turn', () => {
  test(
    'leaves a conversation that goes on from what had been done',
    async () => {
      const pidFile = join(claude.home, 'shell.pid');
      const rules = inOrder(
        shell({ command: 'echo the first half' }),
        shell({ command: `echo $$ > ${pidFile}; sleep 600` }),
        { type: 'text', text: 'And here is the rest.' },
      );
      const reading = eventsOf(await claude.startTurn(rules, 'Do both halves.'));
      while (!existsSync(pidFile) || readFileSync(pidFile, 'utf8') === '') await sleep(20);
      for (const pid of claude.startedPids()) process.kill(pid, 'SIGKILL');
      process.kill(Number(readFileSync(pidFile, 'utf8')), 'SIGKILL');
      const events = await reading;
      expect(ends(events)).toMatchObject([{ type: 'error', kind: 'failed', lostContinuation: false }]);

      const next = await eventsOf(claude.nextTurn('Do both halves.', { continuation: tokenOf(events) }));
      expect(next.at(-1)).toMatchObject({ type: 'result', text: 'And here is the rest.' });
      const asked = JSON.stringify(claude.requests.at(-1)?.body['messages']);
      expect(asked.split('Do both halves.')).toHaveLength(3);
      expect(asked).toContain('echo the first half');
    },
    TURN_MAX_MS,
  );
});

describe('an abort', () => {
  test(
    'ends a turn whose API hangs, with its own reason, and the conversation can go on',
    async () => {
      const asked = Promise.withResolvers<void>();
      const rules: FakeRules = (_request, index) => {
        asked.resolve();
        return index === 0 ? { type: 'hang' } : { type: 'text', text: 'Back again.' };
      };
      const turn = await claude.startTurn(rules, 'Say hello.');
      const reading = eventsOf(turn);
      await asked.promise;
      turn.abort('somebody said stop');
      turn.abort('and somebody else');
      expect(turn.push(says('Too late.'))).toBe(false);
      const events = await reading;

      expect(ends(events)).toMatchObject([
        { type: 'error', reason: 'somebody said stop', kind: 'failed', lostContinuation: false },
      ]);
      const next = await eventsOf(claude.nextTurn('Are you there?', { continuation: tokenOf(events) }));
      expect(next.at(-1)).toMatchObject({ type: 'result', text: 'Back again.' });
    },
    TURN_MAX_MS,
  );

  test(
    'ends a shell command with the turn',
    async () => {
      const pidFile = join(claude.home, 'shell.pid');
      const rules = inOrder({ type: 'tool', name: 'Bash', input: { command: `echo $$ > ${pidFile}; sleep 600` } });
      const turn = await claude.startTurn(rules, 'Wait.');
      const reading = eventsOf(turn);
      while (!existsSync(pidFile) || readFileSync(pidFile, 'utf8') === '') await sleep(20);
      turn.abort('somebody said stop');

      expect(ends(await reading)).toMatchObject([
        {
          type: 'error',
          reason: 'somebody said stop',
          kind: 'failed',
          lostContinuation: false,
          usage: { inputTokens: 12 },
        },
      ]);
      expect(isAlive(Number(readFileSync(pidFile, 'utf8')))).toBe(false);
    },
    TURN_MAX_MS,
  );

  test(
    'ends a turn that waits for a tool of ours',
    async () => {
      const tool = noteTool(() => {
        turn.abort('somebody said stop');
        return new Promise(() => {});
      });
      const rules = inOrder({ type: 'tool', name: 'mcp__nanoclaw__note', input: { text: 'milk' } });
      const turn = await claude.startTurn(rules, 'Note: milk.', { tools: [tool] });

      expect(ends(await eventsOf(turn))).toMatchObject([
        { type: 'error', reason: 'somebody said stop', kind: 'failed', lostContinuation: false },
      ]);
    },
    TURN_MAX_MS,
  );

  test('before the turn has begun starts nothing', async () => {
    const turn = await claude.startTurn(inOrder(), 'Say hello.');
    turn.abort('changed my mind');

    expect(await eventsOf(turn)).toEqual([
      { type: 'error', reason: 'changed my mind', kind: 'failed', lostContinuation: false },
    ]);
    expect(claude.startedPids()).toEqual([]);
  });

  test(
    'after the result changes nothing',
    async () => {
      const turn = await claude.startTurn(inOrder({ type: 'text', text: 'Done.' }), 'Be quick.');
      const events: TurnEvent[] = [];
      for await (const event of turn.events) {
        events.push(event);
        if (isEnd(event)) turn.abort('too late');
      }
      expect(ends(events)).toMatchObject([{ type: 'result', text: 'Done.' }]);
    },
    TURN_MAX_MS,
  );
});

describe('a program', () => {
  test('that is missing, is none, or breaks down at once is an error that names it or says its last words', async () => {
    const text = join(claude.home, 'no-program');
    writeFileSync(text, 'just text');
    const broken = join(claude.home, 'broken');
    writeFileSync(broken, '#!/bin/sh\necho "no such luck" >&2\nexit 3\n');
    chmodSync(broken, 0o755);
    const cases: readonly [string, RegExp][] = [
      [join(claude.home, 'nowhere'), /nowhere/],
      [text, /no-program/],
      [broken, /no such luck/],
    ];
    for (const [executable, reason] of cases) {
      const events = await eventsOf(claude.provider(executable).start(says('Say hello.'), claude.startOptions()));

      expect(events).toEqual([
        { type: 'error', reason: expect.stringMatching(reason), kind: 'failed', lostContinuation: false },
      ]);
    }
  });

  test('whose working directory is gone is an error that names it', async () => {
    rmSync(claude.cwd, { recursive: true });
    const events = await eventsOf(await claude.startTurn(inOrder(), 'Say hello.'));

    expect(events).toEqual([
      { type: 'error', reason: expect.stringContaining(claude.cwd), kind: 'failed', lostContinuation: false },
    ]);
  });
});

function numbered(_request: FakeRequest, index: number): FakeReply {
  return { type: 'text', text: `Answer ${index}.` };
}

function notingMilkAndEggs(asked: FakeRequest, index: number): FakeReply {
  if (index === 0) return { type: 'tool', name: 'mcp__nanoclaw__note', input: { text: 'milk' } };
  const isTold = textsOf(asked).join().includes('And eggs.');
  return { type: 'text', text: isTold ? 'Noted milk and eggs.' : 'Noted milk.' };
}

function shell(input: Readonly<Record<string, unknown>>): FakeReply {
  return { type: 'tool', name: 'Bash', input };
}

function noteTool(call: Tool['call']): Tool {
  return {
    name: 'note',
    description: 'Writes a note.',
    inputSchema: {
      type: 'object',
      properties: { text: { type: 'string', minLength: 1 } },
      required: ['text'],
      additionalProperties: false,
    },
    timeoutMs: 4_000,
    call,
  };
}

function indexOf(events: readonly TurnEvent[], type: TurnEvent['type']): number {
  return events.findIndex((event) => event.type === type);
}

function costOf(events: readonly TurnEvent[]): number | null {
  return events.flatMap((event) => (event.type === 'result' ? [event.usage.costUsd] : [])).at(-1) ?? null;
}

function offeredTool(index: number, name: string): unknown {
  const tools: unknown = claude.request(index).body['tools'];
  return Array.isArray(tools) ? tools.find((tool: { name?: unknown }) => tool.name === name) : undefined;
}
