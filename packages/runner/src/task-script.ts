/**
 * A task's script decides whether the model is woken for it. The script runs behind a port, because a library starts
 * no processes and no timers; what its output means is decided here.
 */
import type { Json, Millis } from '@nanoclaw/session-db';
import { ending } from '@nanoclaw/session-db/text';

/** 30 s and 1 MiB, as NanoClaw v2 has it (FEATURES.md, "Tools"). */
export const SCRIPT_TIMEOUT_MS: Millis = 30_000;
export const SCRIPT_OUTPUT_BYTES_MAX = 2 ** 20;

/** How a script ended. */
export type ScriptEnd =
  | {
      readonly type: 'exited';
      /** The exit code, 0 to 255. */
      readonly code: number;
      /** All that it printed; the last line decides. */
      readonly stdout: string;
      /** All that it wrote on standard error. */
      readonly stderr: string;
    }
  | { readonly type: 'timed-out' }
  | { readonly type: 'too-much-output' }
  | { readonly type: 'aborted' }
  | {
      readonly type: 'not-started';
      /** What the system said. */
      readonly reason: string;
    };

/**
 * Runs a bash script in the agent's folder, within `SCRIPT_TIMEOUT_MS` and `SCRIPT_OUTPUT_BYTES_MAX`, and ends it with
 * all it started when it takes too long or the signal is aborted. Never rejects.
 */
export type RunScript = (script: string, signal: AbortSignal) => Promise<ScriptEnd>;

export type ScriptVerdict =
  | { readonly type: 'wake'; readonly data: Json | undefined }
  | { readonly type: 'skip' }
  | { readonly type: 'failed'; readonly reason: string };

/** What a script's end means for its task: the last line of its output is JSON with `wakeAgent` and optional `data`. */
export function scriptVerdict(end: ScriptEnd): ScriptVerdict {
  switch (end.type) {
    case 'timed-out':
      return failed(`took longer than ${SCRIPT_TIMEOUT_MS / 1000} s and was ended`);
    case 'too-much-output':
      return failed(`printed more than ${SCRIPT_OUTPUT_BYTES_MAX} bytes and was ended`);
    case 'aborted':
      return failed('was ended because the run stops');
    case 'not-started':
      return failed(`could not be started: ${end.reason}`);
    case 'exited':
      if (end.code !== 0) return failed(`exited with ${end.code}${lastWords(end.stderr)}`);
      return outputVerdict(end.stdout);
  }
}

function outputVerdict(stdout: string): ScriptVerdict {
  const answer = parsedJson(stdout.trimEnd().split('\n').at(-1) ?? '');
  if (
    typeof answer !== 'object' ||
    answer === null ||
    !('wakeAgent' in answer) ||
    typeof answer.wakeAgent !== 'boolean'
  ) {
    return failed('did not end with a line of JSON that has "wakeAgent": true or false');
  }
  if (!answer.wakeAgent) return { type: 'skip' };
  return { type: 'wake', data: 'data' in answer ? answer.data : undefined };
}

function parsedJson(line: string): Json | undefined {
  try {
    return JSON.parse(line);
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RangeError) return undefined;
    throw error;
  }
}

function failed(what: string): ScriptVerdict {
  return { type: 'failed', reason: `The task's script ${what}. The model was not asked.` };
}

function lastWords(stderr: string): string {
  const words = ending(stderr.trim(), 200).trim();
  return words === '' ? '' : ` (${words})`;
}
