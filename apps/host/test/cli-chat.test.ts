import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import type { ReceivedEvent } from '@nanoclaw/channels';
import { TerminalChannel, terminalSocketPath } from '@nanoclaw/channels/terminal';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { converse, parseLine } from '../src/cli/chat.ts';

const PLACE = { channelType: 'terminal', platformId: 'main', threadId: null };

describe('a line at the prompt', () => {
  const question = { questionId: 'q1', choices: ['Yes', 'No', '7'] };

  it.each([
    ['', { type: 'nothing' }],
    ['  /quit ', { type: 'quit' }],
    ['/?', { type: 'help' }],
    ['/history', { type: 'history', count: 20 }],
    ['/history 5', { type: 'history', count: 5 }],
    ['/history 999', { type: 'history', count: 100 }],
    ['/send notes.txt', { type: 'file', path: 'notes.txt', text: undefined }],
    ['/send "my notes.txt" as asked', { type: 'file', path: 'my notes.txt', text: 'as asked' }],
    ['/send', { type: 'text', text: '/send' }],
    ['/clear', { type: 'text', text: '/clear' }],
    [' indented', { type: 'text', text: ' indented' }],
    ['1', { type: 'text', text: '1' }],
  ] as const)('%j, with no question open', (line, said) => {
    expect(parseLine(line, undefined)).toEqual(said);
  });

  it.each([
    ['1', { type: 'choice', questionId: 'q1', choice: 0 }],
    [' 2 ', { type: 'choice', questionId: 'q1', choice: 1 }],
    ['No', { type: 'choice', questionId: 'q1', choice: 1 }],
    ['no', { type: 'text', text: 'no' }],
    ['0', { type: 'text', text: '0' }],
    ['4', { type: 'text', text: '4' }],
    ['1 of them', { type: 'text', text: '1 of them' }],
  ] as const)('%j, with a question open', (line, said) => {
    expect(parseLine(line, question)).toEqual(said);
  });
});

describe('a conversation', () => {
  let folder: string;
  let channel: TerminalChannel;
  let received: ReceivedEvent[];

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'nano-chat-'));
    received = [];
    channel = new TerminalChannel({ folder: join(folder, 'terminal'), now: () => Date.UTC(2026, 10, 21, 12) });
    await channel.start(async (event) => void received.push(event));
  });
  afterEach(async () => {
    await channel.stop();
    rmSync(folder, { recursive: true });
  });

  /** A person at a prompt: `type` writes a line, `shown` is all that was shown so far. */
  function person(history = 0) {
    const [input, output] = [new PassThrough(), new PassThrough()];
    const stopping = new AbortController();
    let shown = '';
    output.on('data', (chunk: Buffer) => void (shown += chunk.toString()));
    let ids = 0;
    const ended = converse({
      socket: terminalSocketPath(join(folder, 'terminal')),
      newId: () => `message-${received.length}-${++ids}`,
      memory: join(folder, 'memory'),
      chat: 'main',
      history,
      input,
      output,
      signal: stopping.signal,
    });
    return {
      type: (line: string) => void input.write(`${line}\n`),
      shown: () => shown,
      ended,
      stop: () => stopping.abort(),
    };
  }

  async function say(text: string): Promise<void> {
    const sent = await channel.send(PLACE, { kind: 'text', text }, { key: text, attempt: 1, uncertain: false });
    expect(sent.type).toBe('sent');
  }

  it('sends what is typed and shows what comes, without what drives the terminal', async () => {
    const { type, shown, ended } = person();
    type('hello');
    await vi.waitFor(() => expect(received).toMatchObject([{ kind: 'message', text: 'hello' }]));
    await say('an answer\u001b[2J\u0007');
    await vi.waitFor(() => expect(shown()).toContain('an answer\n'));
    type('/quit');
    await ended;
  });

  it('sends files, and says so when there is none', async () => {
    const { type, shown, ended } = person();
    const file = join(folder, 'notes.txt');
    writeFileSync(file, 'a note');
    type(`/send ${file} as asked`);
    type(`/send ${join(folder, 'missing.txt')}`);
    await vi.waitFor(() => expect(shown()).toContain('(not sent: there is no file'));
    expect(received).toMatchObject([{ kind: 'message', text: 'as asked', files: [{ name: 'notes.txt' }] }]);
    type('/quit');
    await ended;
  });

  it('answers a question by number, once', async () => {
    const { type, shown, ended } = person();
    type('hello');
    await vi.waitFor(() => expect(received).toHaveLength(1));
    const choices = ['Yes', 'No'];
    const question = {
      kind: 'question',
      questionId: 'q1',
      title: 'Sure?',
      question: 'Really?',
      choices,
      expiresAt: Date.UTC(2030, 0),
    } as const;
    await channel.send(PLACE, question, { key: 'q1', attempt: 1, uncertain: false });
    await vi.waitFor(() => expect(shown()).toContain('Really?'));
    type('2');
    await vi.waitFor(() => expect(received[1]).toMatchObject({ kind: 'choice', questionId: 'q1', choice: 1 }));
    type('2');
    await vi.waitFor(() => expect(received[2]).toMatchObject({ kind: 'message', text: '2' }));
    type('/quit');
    await ended;
  });

  it('shows what came since the last time, and what was said before when asked', async () => {
    const first = person();
    first.type('hello');
    await vi.waitFor(() => expect(received).toHaveLength(1));
    await say('seen');
    await vi.waitFor(() => expect(first.shown()).toContain('seen\n'));
    first.stop();
    await first.ended;
    await say('missed');
    const second = person();
    await vi.waitFor(() => expect(second.shown()).toContain('missed\n'));
    expect(second.shown()).not.toContain('seen\n');
    second.type('/history');
    await vi.waitFor(() => expect(second.shown()).toMatch(/> hello\n[^]*seen\n/));
    second.type('/quit');
    await second.ended;
  });

  it('shows that the agent is writing', async () => {
    const { type, shown, ended } = person();
    type('hello');
    await vi.waitFor(() => expect(received).toHaveLength(1));
    await channel.typing?.(PLACE);
    await vi.waitFor(() => expect(shown()).toContain('(writing …)'));
    type('/quit');
    await ended;
  });

  it('ends when the host goes away, and says so; and is refused when there is none', async () => {
    const { shown, ended, type } = person();
    type('hello');
    await vi.waitFor(() => expect(received).toHaveLength(1));
    await channel.stop();
    await ended;
    expect(shown()).toContain('(The connection ended:');
    await expect(person().ended).rejects.toMatchObject({
      exitCode: 9,
      message: expect.stringContaining('nanoclaw start'),
    });
  });
});
