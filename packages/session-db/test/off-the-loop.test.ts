/** What may take its time is not done on the event loop: Node itself tells of each synchronous call. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'off-the-loop-'));
});
afterEach(() => rmSync(root, { recursive: true }));

/** Runs a program that has `folder`, a session, and gives what Node tells of calls that it was kept waiting by. */
function keptWaitingBy(program: string): string {
  const source = JSON.stringify(new URL('../src/index.ts', import.meta.url).href);
  const whole = `
    import { writeFileSync } from 'node:fs';
    import { setImmediate } from 'node:timers/promises';
    import { createSession, storeAttachments } from ${source};
    const folder = createSession(${JSON.stringify(join(root, 'session'))});
    await setImmediate(); // nothing is told of before the first turn of the loop
    ${program}`;
  const node = ['--conditions=source', '--disable-warning=ExperimentalWarning', '--trace-sync-io'];
  const { status, stderr } = spawnSync(process.execPath, [...node, '--input-type=module', '-e', whole], {
    encoding: 'utf8',
  });
  expect({ status, stderr }).toMatchObject({ status: 0 });
  return stderr;
}

it('the files that come with a message are written and synced beside the event loop (failure 68)', () => {
  const files = "[{ name: 'a.txt', bytes: [Buffer.from('one'), Buffer.from(' two')] }]";
  expect(keptWaitingBy(`await storeAttachments(folder, 'm1', ${files});`)).toBe('');
  expect(readFileSync(join(root, 'session', 'inbound', 'files', 'm1', 'a.txt'), 'utf8')).toBe('one two');
});

it('a file that is written on the event loop is told of', () => {
  expect(keptWaitingBy(`writeFileSync(${JSON.stringify(join(root, 'x'))}, '');`)).toContain('writeFileSync');
});
