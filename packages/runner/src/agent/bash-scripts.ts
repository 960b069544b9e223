/** Task scripts, run with bash under their limits. */
import { spawn } from 'node:child_process';
import type { SetTimer } from '@nanoclaw/session-db';
import { type RunScript, SCRIPT_OUTPUT_BYTES_MAX, SCRIPT_TIMEOUT_MS, type ScriptEnd } from '../task-script.ts';

/** What a script has printed is there when it exits: it takes no longer to be read than this, in milliseconds. */
const DRAIN_MS = 500;

/** Runs task scripts with bash in `cwd`, with `env` alone, each in a process group of its own, which ends with it. */
export function bashScripts(cwd: string, env: Readonly<Record<string, string>>, setTimer: SetTimer): RunScript {
  return (script, signal) =>
    new Promise((resolve) => {
      if (signal.aborted) {
        resolve({ type: 'aborted' });
        return;
      }
      const child = spawn('bash', ['-c', script], { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
      let stdout = '';
      let stderr = '';
      let bytes = 0;
      let isEnded = false;

      const end = (how: ScriptEnd): void => {
        if (isEnded) return;
        isEnded = true;
        cancelLimit();
        cancelDrain?.();
        // One that has left the group with a pipe in hand must hold nothing of ours.
        child.stdout.destroy();
        child.stderr.destroy();
        signal.removeEventListener('abort', abort);
        if (child.exitCode === null && child.signalCode === null) killGroup(child.pid);
        resolve(how);
      };
      let cancelDrain: (() => void) | undefined;
      const exited = (code: number | null): ScriptEnd => ({ type: 'exited', code: code ?? 1, stdout, stderr });
      const abort = (): void => end({ type: 'aborted' });
      const cancelLimit = setTimer(SCRIPT_TIMEOUT_MS, () => end({ type: 'timed-out' }));
      signal.addEventListener('abort', abort);

      const count = (text: string): string => {
        bytes += Buffer.byteLength(text);
        if (bytes > SCRIPT_OUTPUT_BYTES_MAX) end({ type: 'too-much-output' });
        return text;
      };
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        stdout += count(text);
      });
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        stderr += count(text);
      });
      child.on('error', (error) => end({ type: 'not-started', reason: error.message }));
      // What it left running would hold the pipes open; one that has left its group still does, and is not waited for.
      child.on('exit', (code) => {
        killGroup(child.pid);
        if (!isEnded) cancelDrain = setTimer(DRAIN_MS, () => end(exited(code)));
      });
      child.on('close', (code) => end(exited(code)));
    });
}

/** What the script left running goes as well; the group may be gone already. */
function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    // tidy: allow environment — a process group is ended by its number, and only `process` can do that
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
