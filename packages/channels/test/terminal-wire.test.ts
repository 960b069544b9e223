import { describe, expect, test } from 'vitest';
import {
  BrokenLine,
  CHOICE_BYTES_MAX,
  CHOICES_MAX,
  encodeLine,
  FILE_BYTES_MAX,
  FILES_MAX,
  LINE_BYTES_MAX,
  lines,
  parseClientLine,
  parseServerLine,
  type ServerLine,
  TEXT_BYTES_MAX,
} from '../src/terminal/protocol.ts';

async function* streamOf(...chunks: (string | Buffer)[]): AsyncGenerator<Buffer> {
  for (const chunk of chunks) yield Buffer.from(chunk);
}

async function linesOf(stream: AsyncIterable<Buffer>): Promise<string[]> {
  const read: string[] = [];
  for await (const line of lines(stream)) read.push(line);
  return read;
}

const LONG_NAME = 'x'.repeat(255);
const AT_LAST = { n: Number.MAX_SAFE_INTEGER, timestamp: Number.MAX_SAFE_INTEGER };

describe('lines', () => {
  test('come whole however the stream cuts them, also in the middle of a character', async () => {
    const bytes = Buffer.from('één\n\n漢字\n');
    for (let cut = 0; cut <= bytes.length; cut++) {
      expect(await linesOf(streamOf(bytes.subarray(0, cut), bytes.subarray(cut)))).toEqual(['één', '', '漢字']);
    }
  });

  test('an unfinished last line is dropped', async () => {
    expect(await linesOf(streamOf('whole\nhal'))).toEqual(['whole']);
  });

  test('a line of the longest length passes, and one byte more does not, in one chunk or many', async () => {
    const longest = 'x'.repeat(LINE_BYTES_MAX);
    expect(await linesOf(streamOf(`${longest}\n`))).toEqual([longest]);
    await expect(linesOf(streamOf(`${longest}x\n`))).rejects.toThrow(BrokenLine);
    await expect(linesOf(streamOf(longest, 'x'))).rejects.toThrow(BrokenLine);
  });

  test('bytes that are not UTF-8 are refused, not replaced', async () => {
    await expect(linesOf(streamOf(Buffer.from([0xff, 0x0a])))).rejects.toThrow(BrokenLine);
  });

  test('the longest text fits into a line, whatever its characters', () => {
    const text = '\u0001'.repeat(TEXT_BYTES_MAX);
    const id = 'i'.repeat(128);
    for (const line of [
      encodeLine({
        type: 'message',
        id,
        text,
        files: Array.from({ length: FILES_MAX }, () => ({ name: LONG_NAME, bytes: FILE_BYTES_MAX })),
      }),
      encodeLine({
        type: 'message',
        ...AT_LAST,
        text,
        inReplyTo: id,
        kind: 'text',
        files: Array.from({ length: FILES_MAX }, () => ({ name: LONG_NAME, bytes: 1, path: LONG_NAME.repeat(16) })),
      }),
      encodeLine({
        type: 'message',
        ...AT_LAST,
        text,
        kind: 'question',
        questionId: id,
        title: '',
        expiresAt: 1,
        choices: Array.from({ length: CHOICES_MAX }, () => '\u0001'.repeat(CHOICE_BYTES_MAX)),
      }),
    ]) {
      expect(Buffer.byteLength(line)).toBeLessThanOrEqual(LINE_BYTES_MAX + 1);
    }
  });
});

describe('parsing', () => {
  test.each([
    { type: 'hello', chat: 'main' } as const,
    { type: 'hello', chat: 'a.b_c-9', after: 7 } as const,
    { type: 'message', id: 'a:1', text: 'x\ny', files: [{ name: 'é.txt', bytes: 0 }] } as const,
    { type: 'bytes', data: 'AAAA' } as const,
    { type: 'choice', id: 'a', questionId: 'q/1', choice: 0 } as const,
    { type: 'history', id: 'a', limit: 100 } as const,
  ])('what a client may say comes through: %j', (said) => {
    expect(parseClientLine(encodeLine(said))).toEqual(said);
  });

  test.each([
    '',
    'hello',
    'null',
    '[]',
    '"hello"',
    '{}',
    '{"type":"hello"}',
    '{"type":"hello","chat":""}',
    '{"type":"hello","chat":"../etc"}',
    '{"type":"hello","chat":"main","after":-1}',
    '{"type":"hello","chat":"main","after":1.5}',
    '{"type":"hello","chat":"main","after":"1"}',
    '{"type":"message","id":"a"}',
    '{"type":"message","id":"","text":"x"}',
    '{"type":"message","id":"a b","text":"x"}',
    '{"type":"message","id":7,"text":"x"}',
    '{"type":"message","id":"terminal:1","text":"x"}',
    '{"type":"message","id":"a","text":"x","files":{}}',
    '{"type":"message","id":"a","text":"x","files":[{"name":"../a","bytes":1}]}',
    '{"type":"message","id":"a","text":"x","files":[{"name":"a","bytes":26214401}]}',
    '{"type":"message","id":"a","text":"x","files":[{"name":"a","bytes":-1}]}',
    '{"type":"bytes"}',
    '{"type":"choice","id":"a","questionId":"q","choice":-1}',
    '{"type":"history","id":"a","limit":101}',
    '{"type":"message","id":"a","text":"x","text":"y"}',
    '{"type":"history","id":"a","limit":1.0000000000000000001}',
    '{"type":"toString"}',
    '['.repeat(100_000),
  ])('garbage is recognised and said to be so', (line) => {
    expect(parseClientLine(line).type).toBe('invalid');
    expect(parseServerLine(line).type).toBe('invalid');
  });

  test('half of a surrogate pair becomes a replacement character, so that a resent message equals its first copy', () => {
    expect(parseClientLine('{"type":"message","id":"a","text":"x\\ud800"}')).toMatchObject({ text: 'x\ufffd' });
  });

  test.each<ServerLine>([
    { type: 'welcome', after: 0 } as const,
    { type: 'message', n: 1, timestamp: 2, text: 'x', kind: 'text', files: [] } as const,
    { type: 'message', n: 1, timestamp: 2, text: 'x', inReplyTo: 'a', kind: 'edit', of: 'terminal:1' } as const,
    { type: 'message', n: 1, timestamp: 2, text: 'x', kind: 'reaction', to: 'a' } as const,
    {
      type: 'message',
      n: 1,
      timestamp: 2,
      text: 'x',
      kind: 'text',
      files: [{ name: 'a', bytes: 1, path: null }],
    } as const,
    {
      type: 'message',
      n: 1,
      timestamp: 2,
      text: 'x',
      kind: 'question',
      questionId: 'q',
      title: '',
      choices: ['a'],
      expiresAt: 3,
    } as const,
    { type: 'typing' } as const,
    { type: 'past', id: 'h', entry: { from: 'person', id: 'a', timestamp: 1, text: 'x', files: ['a'] } } as const,
    {
      type: 'past',
      id: 'h',
      entry: { from: 'bot', message: { n: 1, timestamp: 2, text: 'x', kind: 'text', files: [] } },
    } as const,
    { type: 'accepted', id: 'a' } as const,
    { type: 'refused', id: 'a', reason: 'no' } as const,
    { type: 'error', reason: 'no' } as const,
  ])('what a host may say comes through: %j', (said) => {
    expect(parseServerLine(encodeLine(said))).toEqual(said);
  });
});
