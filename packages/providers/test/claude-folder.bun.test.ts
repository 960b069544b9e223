/** What the `claude` provider reads from the agent's folder, and writes into it, whatever lies there. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { archiveTranscript, conversationArchive } from '../src/claude/archive.ts';
import { notesText } from '../src/claude/notes.ts';
import { setTimer } from './claude-home.ts';

/** Waits as long as nothing: for a transcript that does not come. */
const soon = (_delayMs: number, action: () => void) => setTimer(0, action);

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nanoclaw-folder-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

describe('the notes', () => {
  test.each<[string, (path: string) => void, string]>([
    ['a folder', (path) => mkdirSync(path), 'not a plain file'],
    ['a pipe nobody writes to', (path) => void execFileSync('mkfifo', [path]), 'not a plain file'],
    ['a link that leads in a circle', (path) => symlinkSync(path, path), 'could not be read'],
  ])('of an agent with %s in their place say so to it', async (_name, plant, sentence) => {
    plant(join(folder, 'CLAUDE.md'));
    expect(await notesText(folder)).toContain(sentence);
  });

  test('that are empty or missing are none', async () => {
    const without = await notesText(folder);
    writeFileSync(join(folder, 'CLAUDE.md'), ' \n');
    expect(await notesText(folder)).toBe(without);
    expect(without).not.toContain('<notes');
  });
});

const SESSION = '38c8b8a6-422a-494a-8d08-dc5779a16e8f';

function entry(type: string, content: unknown, more: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({ type, timestamp: '2026-11-21T09:05:30.000Z', message: { role: type, content }, ...more });
}

describe('an archived conversation', () => {
  test('is what people and the model said, and a glance at the tools', () => {
    const lines = [
      JSON.stringify({ type: 'queue-operation', timestamp: '2026-11-20T00:00:00.000Z', content: 'no' }),
      entry('user', '<now time-zone="UTC">Saturday</now>\n<message number="2">Where is the <b>oak</b>?</message>'),
      entry('user', 'a reminder', { isMeta: true }),
      entry('assistant', [
        { type: 'thinking', thinking: 'no' },
        { type: 'text', text: 'I will look.' },
        { type: 'tool_use', id: 't1', name: 'Bash', input: { command: 'ls' } },
      ]),
      entry('user', [{ type: 'tool_result', tool_use_id: 't1', content: [{ type: 'text', text: 'x'.repeat(1_000) }] }]),
      entry('assistant', 'of a sub-agent', { isSidechain: true }),
      entry('user', 'a summary', { isCompactSummary: true }),
      entry('user', '<command-name>/compact</command-name>'),
      'null',
      entry('assistant', [{ type: 'text', text: 'Behind the house.' }]),
      '{"type":"user","mess',
    ];
    expect(conversationArchive(lines.join('\n'), SESSION)).toEqual({
      name: '2026-11-21-where-is-the-oak-38c8b8a6.md',
      text: [
        '# Where is the oak ?',
        '## 2026-11-21 09:05 asked',
        '<now time-zone="UTC">Saturday</now>\n<message number="2">Where is the <b>oak</b>?</message>',
        '## 2026-11-21 09:05 answered',
        'I will look.',
        '## 2026-11-21 09:05 tool',
        'Bash {"command":"ls"}',
        '## 2026-11-21 09:05 tool',
        `→ ${'x'.repeat(297)}…`,
        '## 2026-11-21 09:05 answered',
        'Behind the house.\n',
      ].join('\n\n'),
    });
  });

  test.each<[string, string]>([
    ['Где дуб?', '2026-11-21-где-дуб-38c8b8a6.md'],
    ['../../etc/passwd', '2026-11-21-etc-passwd-38c8b8a6.md'],
    ['👍', '2026-11-21-conversation-38c8b8a6.md'],
    [`${'very '.repeat(50)}long`, '2026-11-21-very-very-very-very-very-very-very-very-38c8b8a6.md'],
  ])('that begins with %p is named plainly', (text, name) => {
    expect(conversationArchive(entry('user', text), SESSION)?.name).toBe(name);
  });

  test('with nothing in it is none', async () => {
    writeFileSync(join(folder, 'transcript'), '\n');
    expect(await archiveTranscript(join(folder, 'transcript'), SESSION, folder, soon)).toBeUndefined();
    expect(readdirSync(folder)).toEqual(['transcript']);
  });

  test('is waited for when the program writes its transcript a moment late', async () => {
    const path = join(folder, 'transcript');
    const archived = archiveTranscript(path, SESSION, folder, setTimer);
    // Not there at the first look, and empty at a later one.
    setTimeout(() => writeFileSync(path, ''), 60);
    setTimeout(() => writeFileSync(path, entry('user', 'hello')), 130);
    expect(readFileSync((await archived) ?? '', 'utf8')).toContain('hello');
  });

  test('is an error, and not silence, when the transcript never comes', async () => {
    await expect(archiveTranscript(join(folder, 'missing'), SESSION, folder, soon)).rejects.toThrow(/ENOENT/);
  });

  test('grows in one file, which replaces whatever stands in its place', async () => {
    const path = join(folder, 'transcript');
    writeFileSync(path, entry('user', 'hello'));
    const [first = ''] = [await archiveTranscript(path, SESSION, folder, setTimer)];
    rmSync(first);
    writeFileSync(join(folder, 'precious'), 'kept');
    symlinkSync(join(folder, 'precious'), first);
    writeFileSync(path, `${entry('user', 'hello')}\n${entry('assistant', 'world')}`);

    expect(await archiveTranscript(path, SESSION, folder, setTimer)).toBe(first);
    expect(readFileSync(first, 'utf8')).toContain('world');
    expect(readFileSync(join(folder, 'precious'), 'utf8')).toBe('kept');
    expect(readdirSync(join(folder, 'conversations'))).toHaveLength(1);
  });
});
