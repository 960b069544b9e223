import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DataFolder, dataFolder } from '@nanoclaw/host/data';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hostLog, runLog, showLog } from '../src/cli/logs.ts';

let data: DataFolder;
let shown: string;

beforeEach(() => {
  data = dataFolder(mkdtempSync(join(tmpdir(), 'nano-logs-')));
  shown = '';
});
afterEach(() => rmSync(data.root, { recursive: true }));

/** Shows a log; each of `steps` is what happens while it is waited for more. */
async function show(file: string, options: { lines?: number; isRaw?: boolean }, steps: readonly (() => void)[] = []) {
  const stopping = new AbortController();
  const left = [...steps];
  await showLog(file, {
    lines: options.lines ?? 50,
    isRaw: options.isRaw ?? false,
    follow: steps.length > 0,
    write: (text) => void (shown += text),
    sleep: async () => {
      left.shift()?.();
      if (left.length === 0) stopping.abort();
    },
    signal: stopping.signal,
  });
}

describe('the log', () => {
  it('shows the last lines of the host, readable or as they are', async () => {
    const entry =
      '{"level":40,"time":"2026-11-21T12:00:00.000Z","session":"s1","trouble":{"type":"late","of":["a b",3]},"error":"","msg":"attempt failed"}';
    writeFileSync(data.log, `${'{"level":30,"msg":"old"}\n'.repeat(100)}${entry}\nnot ours \u001b[31mred\n`);
    await show(hostLog(data), { lines: 2 });
    expect(shown).toBe(
      '2026-11-21T12:00:00.000Z warn attempt failed session=s1 trouble.type=late trouble.of.0="a b" trouble.of.1=3 error=""\n' +
        'not ours red\n',
    );
    shown = '';
    await show(hostLog(data), { lines: 2, isRaw: true });
    expect(shown.split('\n')[0]).toBe(entry);
  });

  it('goes on with what is written, whole lines only, into a new file too when the old one is put aside', async () => {
    writeFileSync(data.log, 'one\n');
    await show(data.log, {}, [
      () => appendFileSync(data.log, 'two\nthr'),
      () => appendFileSync(data.log, 'ee\n'),
      () => {
        appendFileSync(data.log, 'four\n');
        renameSync(data.log, `${data.log}.1`);
        writeFileSync(data.log, 'five\n');
      },
      () => appendFileSync(data.log, 'six\n'),
    ]);
    expect(shown).toBe('one\ntwo\nthree\nfour\nfive\nsix\n');
  });

  it('says so when no host has run there', () => {
    expect(() => hostLog(data)).toThrow(/There is no log .*--data/);
  });
});

/** The log of a run that was last written to at that second. */
function addRun(session: string, run: string, at: number): void {
  const logs = join(data.session('agent', session), 'host', 'logs');
  mkdirSync(logs, { recursive: true });
  writeFileSync(join(logs, `${run}.log`), `${run} speaks\n`);
  utimesSync(join(logs, `${run}.log`), at, at);
}

describe('the log of a session', () => {
  it("is that of its last run, by the session's id or its beginning", () => {
    addRun('abcd-1', 'z-first', 100);
    addRun('abcd-1', 'a-last', 200);
    addRun('abce-2', 'other', 300);
    expect(runLog(data, 'abcd')).toMatch(/a-last\.log$/);
    expect(runLog(data, 'abcd-1')).toMatch(/a-last\.log$/);
    expect(() => runLog(data, 'abc')).toThrow(/2 sessions begin with "abc"/);
    expect(() => runLog(data, 'xyz')).toThrow(/no files of a session "xyz"/);
  });

  it('is missed in one sentence when it has not run yet', () => {
    mkdirSync(data.session('agent', 'abcd-1'), { recursive: true });
    expect(() => runLog(data, 'abcd-1')).toThrow(/has not run yet/);
  });
});
