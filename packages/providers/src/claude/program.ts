/**
 * The life of one agent program: started by the SDK, watched and ended here.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Query, SpawnedProcess, SpawnOptions } from '@anthropic-ai/claude-agent-sdk';
import type { SetTimer } from '@nanoclaw/session-db';
import { ending } from '@nanoclaw/session-db/text';

/**
 * How long a program that was asked to stop, or whose turn is over, may take to leave before it is ended. The SDK then
 * closes its input, terminates it 2 s later and kills it 5 s after that.
 */
const LEAVE_MAX_MS = 5_000;

/** As much of what the program wrote to its error output is kept to explain a failure. */
const LAST_WORDS_LENGTH_MAX = 500;

/** One agent program; may have been asked to leave before it ever ran. */
export class ClaudeProgram {
  #run: Query | undefined;
  #exit: Promise<void> = Promise.resolve();
  #errorOutput = '';
  #cancelEnd: (() => void) | undefined;
  readonly #setTimer: SetTimer;

  constructor(setTimer: SetTimer) {
    this.#setTimer = setTimer;
  }

  /** Starts the program by `query`, which is handed what starts the process. Throws what `query` throws. */
  run(query: (spawn: (options: SpawnOptions) => SpawnedProcess) => Query): Query {
    this.#run = query((options) => this.#spawn(options));
    return this.#run;
  }

  /** Lets the program stop by itself: what it is doing is broken off and the conversation stays resumable. */
  interrupt(): void {
    const run = this.#run;
    if (run === undefined) return;
    this.leave();
    // One that cannot be asked (it died, or never came up) is ended.
    run.interrupt().catch(() => run.close());
  }

  /** Gives the program, whose input is or will be closed, a limited time to leave. */
  leave(): void {
    this.#cancelEnd ??= this.#setTimer(LEAVE_MAX_MS, () => this.#run?.close());
  }

  /** Ends the program if it still runs, and resolves once it has exited. */
  async gone(): Promise<void> {
    this.#cancelEnd?.();
    this.#run?.close();
    await this.#exit;
  }

  /** The end of what it wrote to its error output, as a sentence to append; empty when it wrote nothing. */
  lastWords(): string {
    const words = this.#errorOutput.trim();
    return words === '' ? '' : ` It said: ${words}`;
  }

  /** The SDK's own way to start it does not tell when the process has exited, so it is started here. */
  #spawn({ command, args, cwd, env }: SpawnOptions): SpawnedProcess {
    const child = spawn(command, args, { ...(cwd === undefined ? {} : { cwd }), env, stdio: 'pipe' });
    this.#exit = exitOf(child);
    child.stderr.on('data', (chunk: Buffer) => {
      this.#errorOutput = ending(this.#errorOutput + chunk.toString('utf8'), LAST_WORDS_LENGTH_MAX);
    });
    return child;
  }
}

/** Resolves when the process has exited or could not be started; the SDK hears of either by itself. */
function exitOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
}
