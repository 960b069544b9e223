/**
 * A conversation that is about to be compacted is written down first, as a text in the agent's folder that the agent can
 * search and people can read: afterwards the model knows only a summary.
 */
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SetTimer } from '@nanoclaw/session-db';
import { beginning, cut } from '@nanoclaw/session-db/text';

export const ARCHIVE_FOLDER = 'conversations';

/** More than a model's whole context by far, and little enough to be held in memory. */
const TRANSCRIPT_BYTES_MAX = 64 * 2 ** 20;

/** The agent program writes its transcript a moment after what it tells of: how often, and after which naps, it is read. */
const READS_MAX = 40;
const READ_AGAIN_MS = 50;

/**
 * Writes the transcript at `path` (lines of JSON, as the agent program keeps it) into `<folder>/conversations/`, whole
 * or not at all. A conversation has one file, which grows with each compaction. Returns its path; `undefined` when
 * nothing was said, which is known after two seconds. Throws the file system's error, and `RangeError` for a transcript
 * of more than 64 MiB.
 */
export async function archiveTranscript(
  path: string,
  sessionId: string,
  folder: string,
  setTimer: SetTimer,
): Promise<string | undefined> {
  const archive = await said(path, sessionId, setTimer);
  if (archive === undefined) return undefined;
  await mkdir(join(folder, ARCHIVE_FOLDER), { recursive: true });
  const target = join(folder, ARCHIVE_FOLDER, archive.name);
  await writeFile(`${target}.new`, archive.text);
  await rename(`${target}.new`, target);
  return target;
}

/** What the transcript holds, once it holds anything; the last read's answer, or its error, when it never does. */
async function said(
  path: string,
  sessionId: string,
  setTimer: SetTimer,
): Promise<{ name: string; text: string } | undefined> {
  for (let read = 1; ; read += 1) {
    try {
      const archive = conversationArchive(await transcriptAt(path), sessionId);
      if (archive !== undefined || read === READS_MAX) return archive;
    } catch (error) {
      const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
      if (!isMissing || read === READS_MAX) throw error;
    }
    await new Promise<void>((resolve) => setTimer(READ_AGAIN_MS, resolve));
  }
}

async function transcriptAt(path: string): Promise<string> {
  const { size } = await stat(path);
  if (size > TRANSCRIPT_BYTES_MAX) throw new RangeError(`the transcript has ${size} bytes`);
  return readFile(path, 'utf8');
}

/**
 * The text of a conversation and the name of its file, `<date>-<title>-<first part of its id>.md`: the date it began at
 * (UTC) and the first words said, so that it stays the same while the conversation grows. Pure; a line that cannot be
 * read is left out.
 */
export function conversationArchive(transcript: string, sessionId: string): { name: string; text: string } | undefined {
  const entries = transcript.split('\n').flatMap(entriesOf);
  const first = entries.find((entry) => entry.by === 'asked' && titleOf(entry.text) !== '') ?? entries[0];
  if (first === undefined) return undefined;
  const title = titleOf(first.text);
  const name = [first.at.slice(0, 10), slug(title) || 'conversation', sessionId.slice(0, 8)].join('-');
  const sections = entries.map(({ at, by, text }) => `## ${at.slice(0, 16).replace('T', ' ')} ${by}\n\n${text}`);
  return { name: `${name}.md`, text: `${[`# ${title || 'A conversation'}`, ...sections].join('\n\n')}\n` };
}

interface Entry {
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly by: 'asked' | 'answered' | 'tool';
  readonly text: string;
}

/** Of tools a glance is enough: their results may be whole files. */
const TOOL_TEXT_LENGTH_MAX = 300;

/** What one line of the transcript says; left out is what the program tells the model, and the work of sub-agents. */
function entriesOf(line: string): Entry[] {
  const entry = parsed(line);
  const { type, timestamp: at, message } = entry;
  if (typeof at !== 'string' || (type !== 'user' && type !== 'assistant')) return [];
  if (!isRecord(message) || NOT_SAID.some((mark) => entry[mark] === true)) return [];
  const by = type === 'user' ? 'asked' : 'answered';
  const content: unknown = message['content'];
  const blocks: readonly unknown[] = Array.isArray(content) ? content : [{ type: 'text', text: content }];
  return blocks.flatMap((block): Entry[] => {
    if (!isRecord(block)) return [];
    switch (block['type']) {
      case 'text':
        return isSaid(block['text']) ? [{ at, by, text: block['text'] }] : [];
      case 'tool_use':
        return [{ at, by: 'tool', text: brief(`${String(block['name'])} ${JSON.stringify(block['input'])}`) }];
      case 'tool_result':
        return [{ at, by: 'tool', text: brief(`→ ${textIn(block['content'])}`) }];
      default:
        return [];
    }
  });
}

/** Marks of entries that neither a person nor the model has said; the last is the summary an earlier compaction left. */
const NOT_SAID = ['isSidechain', 'isMeta', 'isCompactSummary'] as const;

/** Not so the program's record of its own commands, whose markup is not escaped as a person's is. */
function isSaid(text: unknown): text is string {
  return typeof text === 'string' && text.trim() !== '' && !/^<(command-name|local-command-)/.test(text);
}

function textIn(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content.map((block: unknown) => (isRecord(block) ? String(block['text'] ?? block['type']) : '')).join('\n');
}

function brief(text: string): string {
  return cut(text, TOOL_TEXT_LENGTH_MAX);
}

/** The first words of a prompt without its markup, on one line. */
function titleOf(text: string): string {
  const words = text
    .replaceAll(/<now\b[^>]*>[^<]*<\/now>|<[^>]*>/g, ' ')
    .replaceAll(/\s+/g, ' ')
    .trim();
  return cut(words, 60);
}

function slug(title: string): string {
  const words = title.toLowerCase().replaceAll(/[^\p{L}\p{N}]+/gu, '-');
  return beginning(words, 40).replaceAll(/^-+|-+$/g, '');
}

function parsed(line: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(line);
    return isRecord(value) ? value : {};
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
