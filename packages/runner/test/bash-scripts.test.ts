/** Task scripts under their limits, and that nothing of them is left. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { SetTimer } from '@nanoclaw/session-db';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { bashScripts } from '../src/agent/bash-scripts.ts';
import { SCRIPT_OUTPUT_BYTES_MAX } from '../src/task-script.ts';

let cwd: string;

beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'nanoclaw-script-'));
});

afterEach(() => {
  rmSync(cwd, { recursive: true });
});

const setTimer: SetTimer = (ms, callback) => {
  const timer = setTimeout(callback, ms);
  return () => clearTimeout(timer);
};

const PATH = process.env['PATH'] ?? '';
/** Of a run that goes on. */
const STAYS = new AbortController().signal;

function run(script: string, signal = STAYS): ReturnType<ReturnType<typeof bashScripts>> {
  return bashScripts(cwd, { PATH }, setTimer)(script, signal);
}

/** Whether a process is there and not only waiting to be collected. */
function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

async function untilGone(file: string): Promise<void> {
  const pid = Number(readFileSync(join(cwd, file), 'utf8'));
  while (isAlive(pid)) await wait(10);
}

describe('a script', () => {
  test('runs in its folder, with no variable but its own, and gives what it printed', async () => {
    process.env['NANOCLAW_TEST_SECRET'] = 'x';
    const end = await run('pwd; echo "${NANOCLAW_TEST_SECRET:-none}"; echo err >&2; exit 3');
    delete process.env['NANOCLAW_TEST_SECRET'];
    expect(end).toEqual({ type: 'exited', code: 3, stdout: `${cwd}\nnone\n`, stderr: 'err\n' });
  });

  test('that leaves a process of another group behind, which holds its output, has exited (failure 86)', async () => {
    const end = await run('setsid sleep 600 & echo $! > pid; echo done');
    process.kill(Number(readFileSync(join(cwd, 'pid'), 'utf8')));
    expect(end).toMatchObject({ type: 'exited', code: 0, stdout: 'done\n' });
  });

  test('that leaves a child behind does not wait for it, and the child is ended', async () => {
    const end = await run('sleep 600 & echo $! > pid; echo done');
    expect(end).toMatchObject({ type: 'exited', code: 0, stdout: 'done\n' });
    await untilGone('pid');
  });

  test('that prints without end is ended', async () => {
    expect(await run('echo $$ > pid; yes')).toEqual({ type: 'too-much-output' });
    await untilGone('pid');
    expect(SCRIPT_OUTPUT_BYTES_MAX).toBe(1_048_576);
  });

  test('that takes longer than half a minute is ended with all it started', async () => {
    const limits: { ms: number; reached: () => void }[] = [];
    const after = (ms: number, reached: () => void): (() => void) => {
      limits.push({ ms, reached });
      return () => undefined;
    };
    const end = bashScripts(cwd, { PATH }, after)('sleep 600 & echo $! > pid; echo ok > ready; wait', STAYS);
    while (!existsSync(join(cwd, 'ready'))) await wait(5);
    expect(limits.map((limit) => limit.ms)).toEqual([30_000]);
    limits[0]?.reached();
    expect(await end).toEqual({ type: 'timed-out' });
    await untilGone('pid');
  });

  test('that is aborted is ended with all it started', async () => {
    const controller = new AbortController();
    const end = run('sleep 600 & echo $! > pid; echo ok > ready; wait', controller.signal);
    while (!existsSync(join(cwd, 'ready'))) await wait(5);
    controller.abort();
    expect(await end).toEqual({ type: 'aborted' });
    await untilGone('pid');
  });

  test('that was aborted before it began is not run', async () => {
    expect(await run('echo x > never', AbortSignal.abort())).toEqual({ type: 'aborted' });
    expect(existsSync(join(cwd, 'never'))).toBe(false);
  });

  test('that cannot be started says why', async () => {
    expect(await bashScripts(join(cwd, 'nowhere'), { PATH }, setTimer)('true', STAYS)).toMatchObject({
      type: 'not-started',
    });
  });
});
