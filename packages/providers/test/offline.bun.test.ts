/** The offline provider: the provider suite, and what it understands. */
import { describe, expect, test } from 'bun:test';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Prompt, readContent, type StartOptions } from '@nanoclaw/runner';
import { type ProviderUnderTest, providerConformance } from '@nanoclaw/runner/conformance';
import type { Clock, InboundMessage, JsonObject } from '@nanoclaw/session-db';
import { offlineProvider } from '../src/offline/offline.ts';
import { steps } from '../src/offline/rules.ts';

const NOW = Date.UTC(2026, 10, 21, 9, 0, 30);

const clock: Clock = {
  now: () => NOW,
  setTimer: (ms, callback) => {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};

function message(content: JsonObject, kind: InboundMessage['kind'] = 'chat'): InboundMessage {
  return {
    id: 'm1',
    seq: 2,
    kind,
    timestamp: NOW,
    trigger: 'wakes',
    tries: 0,
    triesSpent: 0,
    address: null,
    sourceSessionId: null,
    inReplyTo: null,
    content,
    recurrence: null,
  };
}

function prompt(text: string): Prompt {
  return { text, messages: [message({ text })], done: [] };
}

function stepsFor(text: string, before?: string): unknown[] {
  const asked = message({ text });
  const content = readContent(asked);
  if (content.type === 'unreadable') throw new Error(content.reason);
  return steps(asked, content, { now: NOW, before, done: [] });
}

function startOptions(cwd: string): StartOptions {
  return {
    continuation: undefined,
    cwd,
    instructions: '',
    model: undefined,
    effort: undefined,
    tools: [],
    mcpServers: {},
    skills: [],
  };
}

async function open(): Promise<ProviderUnderTest> {
  const cwd = mkdtempSync(join(tmpdir(), 'nanoclaw-offline-'));
  return {
    provider: offlineProvider(clock),
    cwd,
    prompts: {
      answer: prompt('hello'),
      work: prompt('think for 600 seconds'),
      workBriefly: prompt('think for 0.1 seconds'),
      fail: prompt('fail'),
      useTool: prompt('tell team hello'),
      refused: prompt('be refused'),
      unavailable: prompt('be away'),
    },
    close: async () => rmSync(cwd, { recursive: true }),
  };
}

describe('the offline provider', () => {
  for (const { name, run } of providerConformance(open)) test(name, run);

  test('remembers what was said before, for as long as it is given its token', async () => {
    const { provider, cwd, close } = await open();
    const ask = async (
      text: string,
      continuation?: string,
    ): Promise<{ said: string | null; token: string | undefined }> => {
      let token = continuation;
      const options = { ...startOptions(cwd), continuation };
      for await (const event of provider.start(prompt(text), options).events) {
        if (event.type === 'continuation') token = event.token;
        if (event.type === 'result') return { said: event.text, token };
      }
      throw new Error('no result');
    };
    const { token } = await ask('I like tea');
    expect((await ask('what did I say', token)).said).toBe('You said “I like tea”.');
    expect((await ask('what did I say')).said).toBe('Nothing: this is a new conversation.');
    await close();
  });

  test('writes the file that it sends', async () => {
    const { provider, cwd, close } = await open();
    const sent: unknown[] = [];
    const sendFile = {
      name: 'send_file',
      description: '',
      inputSchema: {},
      timeoutMs: undefined,
      call: async (input: unknown) => {
        sent.push(input);
        return 'Sent note.txt as message 3.';
      },
    };
    const options = { ...startOptions(cwd), tools: [sendFile] };
    for await (const event of provider.start(prompt('send me a file'), options).events) {
      if (event.type === 'result') expect(event.text).toBeNull();
    }
    expect(sent).toEqual([{ path: 'note.txt', text: 'Here is your file.' }]);
    expect(readFileSync(join(cwd, 'note.txt'), 'utf8')).toContain('2026-11-21T09:00:30.000Z');
    await close();
  });
});

const tool = (name: string, input: Record<string, unknown>, isQuiet = false): unknown => ({
  type: 'tool',
  name,
  input,
  isQuiet,
});

describe('the offline provider understands', () => {
  test.each<[string, unknown[]]>([
    [
      'remind me in 10 seconds to stretch',
      [tool('schedule_task', { prompt: 'say: Reminder: stretch', processAfter: '2026-11-21T09:00:40.000Z' })],
    ],
    [
      'Remind me in 2 hours about the cake',
      [tool('schedule_task', { prompt: 'say: Reminder: the cake', processAfter: '2026-11-21T11:00:30.000Z' })],
    ],
    [
      'every minute say hi',
      [tool('schedule_task', { prompt: 'say: hi', processAfter: '2026-11-21T09:01:00.000Z', recurrence: '* * * * *' })],
    ],
    [
      'every 5 minutes say drink water',
      [
        tool('schedule_task', {
          prompt: 'say: drink water',
          processAfter: '2026-11-21T09:01:00.000Z',
          recurrence: '*/5 * * * *',
        }),
      ],
    ],
    [
      'every 90 minutes say drink water',
      [
        tool('schedule_task', {
          prompt: 'say: drink water',
          processAfter: '2026-11-21T09:01:00.000Z',
          recurrence: 'every 90 minutes',
        }),
      ],
    ],
    [
      'ask me tea or coffee',
      [
        tool('ask_user_question', {
          title: 'A question',
          question: 'tea, coffee?',
          options: ['tea', 'coffee'],
          timeout: 300,
        }),
      ],
    ],
    [
      'ask me within 2 seconds tea or coffee',
      [
        tool('ask_user_question', {
          title: 'A question',
          question: 'tea, coffee?',
          options: ['tea', 'coffee'],
          timeout: 2,
        }),
      ],
    ],
    ['react', [tool('add_reaction', { messageId: 2, emoji: '👍' }, true)]],
    ['edit message 3 to hello', [tool('edit_message', { messageId: 3, text: 'hello' }, true)]],
    ['tell team hello', [tool('send_message', { text: 'hello', to: 'team' })]],
    ['list tasks', [tool('list_tasks', {})]],
    ['pause task run-1.3', [tool('pause_task', { taskId: 'run-1.3' })]],
    ['resume task run-1.3', [tool('resume_task', { taskId: 'run-1.3' })]],
    ['cancel task run-1.3', [tool('cancel_task', { taskId: 'run-1.3' })]],
    ['change task run-1.3 to hello', [tool('update_task', { taskId: 'run-1.3', prompt: 'say: hello' })]],
    ['create agent helper to help', [tool('create_agent', { name: 'helper', instructions: 'help' })]],
    ['install curl', [tool('install_packages', { apt: ['curl'], reason: 'You asked for it.' })]],
    ['add server files srv', [tool('add_mcp_server', { name: 'files', command: 'srv', reason: 'You asked for it.' })]],
    ['fail', [{ type: 'fail', reason: 'You asked me to fail.' }]],
    ['be refused', [{ type: 'defer', kind: 'refused', reason: 'You asked me to be refused.' }]],
    ['hang', [{ type: 'hang' }]],
    [
      'think for 5 seconds',
      [
        { type: 'think', ms: 5_000 },
        { type: 'say', text: 'Done thinking, after 5 s.' },
      ],
    ],
    ['say nothing', []],
  ])('%s', (text, expected) => {
    expect(stepsFor(text)).toEqual(expected);
  });

  test('to be away or refused for a time, which is over so long after it was said', () => {
    for (const how of ['away', 'refused']) {
      const asked = message({ text: `be ${how} for 30 seconds` });
      const content = readContent(asked);
      if (content.type === 'unreadable') throw new Error(content.reason);
      const at = (ms: number) => steps(asked, content, { now: asked.timestamp + ms, before: undefined, done: [] });
      expect(at(10_000)).toMatchObject([{ type: 'defer', ...(how === 'away' ? { retryAfterMs: 20_000 } : {}) }]);
      expect(at(30_000)).toEqual([{ type: 'say', text: 'I am back, after 30 s.' }]);
    }
  });

  test('a task that an attempt which was cut off has scheduled is for the time that it was given then', () => {
    const asked = message({ text: 'remind me in 10 seconds to stretch' });
    const content = readContent(asked);
    if (content.type === 'unreadable') throw new Error(content.reason);
    const first = steps(asked, content, { now: NOW, before: undefined, done: [] });
    const row = { action: 'schedule_task', prompt: 'say: Reminder: stretch', processAfter: NOW + 10_000 };
    const done = [{ tool: 'schedule_task', number: 3, address: null, content: row, answer: undefined }];
    expect(steps(asked, content, { now: NOW + 60_000, before: undefined, done })).toEqual(first);
    const other = done.map((one) => ({ ...one, content: { ...row, prompt: 'say: Reminder: sleep' } }));
    expect(steps(asked, content, { now: NOW + 60_000, before: undefined, done: other })).not.toEqual(first);
  });

  test('a file is the same whenever it is written', () => {
    const asked = message({ text: 'send me a file' });
    const content = readContent(asked);
    if (content.type === 'unreadable') throw new Error(content.reason);
    const at = (now: number) => steps(asked, content, { now, before: undefined, done: [] });
    expect(at(NOW + 60_000)).toEqual(at(NOW));
  });

  test('anything else by quoting it', () => {
    expect(stepsFor('What is the time?')).toEqual([
      { type: 'say', text: expect.stringContaining('“What is the time?”') },
    ]);
  });
});
