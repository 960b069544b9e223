/**
 * One life of the guard's process: started under limits, given one job at a time with a deadline, killed when it overruns.
 * What it says is bounded before it is looked at, and looked at as a stranger's.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { SetTimer } from '@nanoclaw/session-db';
import { ANSWER_BYTES_MAX, type Answer, type Job, messageOf, parsedAnswer } from './wire.ts';

/** How a process of the guard is started. */
export interface ChildOptions {
  /** `undefined`: `guard-main`, beside this file. */
  readonly program: string | undefined;
  readonly setTimer: SetTimer;
  /** How long it may take to say that it is ready, in milliseconds. */
  readonly startMaxMs: number;
}

/** What came of a job: an answer, or the end of the process, and how, as one sentence. */
export type Ran =
  | { readonly type: 'answered'; readonly answer: Answer }
  | { readonly type: 'ended'; readonly how: string };

/** A process of the guard, from the outside. */
export class GuardChild {
  readonly #process: ChildProcess;
  readonly #setTimer: SetTimer;
  #pieces: Buffer[] = [];
  #bytes = 0;
  #lastWords = '';
  #waiting: ((ran: Ran) => void) | undefined;
  #ended: string | undefined;

  private constructor(options: ChildOptions) {
    this.#setTimer = options.setTimer;
    this.#process = limited(options.program);
    this.#process.stdout?.on('data', (piece: Buffer) => this.#hear(piece));
    this.#process.stderr?.on('data', (piece: Buffer) => {
      this.#lastWords = `${this.#lastWords}${piece.toString('latin1')}`.slice(-LAST_WORDS_MAX);
    });
    // A write that meets its end is no news: the end itself is told.
    this.#process.stdin?.on('error', () => undefined);
    this.#process.on('error', (error) => this.#end(`It could not be started: ${messageOf(error)}`));
    this.#process.on('close', (code, signal) => this.#end(`It ended with ${signal ?? `exit code ${code}`}.`));
  }

  /** Starts one. Rejects, with what it said last, when it does not come up. */
  static async start(options: ChildOptions): Promise<GuardChild> {
    const child = new GuardChild(options);
    const ran = await child.#next(options.startMaxMs);
    if (ran.type === 'answered') return child;
    throw new Error(`The process that reads what agents wrote did not come up. ${ran.how} ${child.lastWords}`.trim());
  }

  /** Whether it can take a job no more. */
  get hasEnded(): boolean {
    return this.#ended !== undefined;
  }

  /** What it said last of its own accord, on one line, for the log alone. */
  get lastWords(): string {
    return this.#lastWords.replace(/[\p{Cc}\s]+/gu, ' ').trim();
  }

  /** Gives it a job, which must be its only one. Killed when there is no answer after `maxMs` milliseconds. */
  run(job: Job, maxMs: number): Promise<Ran> {
    const ran = this.#next(maxMs);
    this.#process.stdin?.write(`${JSON.stringify(job)}\n`);
    return ran;
  }

  /** Ends it at once, whatever it is doing. */
  kill(how: string): void {
    this.#end(how);
  }

  #next(maxMs: number): Promise<Ran> {
    const { promise, resolve } = Promise.withResolvers<Ran>();
    if (this.#ended !== undefined) {
      resolve({ type: 'ended', how: this.#ended });
      return promise;
    }
    const cancel = this.#setTimer(maxMs, () => this.#end(`It took longer than ${maxMs / 1_000} s.`));
    this.#waiting = (ran) => {
      cancel();
      resolve(ran);
    };
    return promise;
  }

  #hear(piece: Buffer): void {
    this.#bytes += piece.length;
    if (this.#waiting === undefined || this.#bytes > ANSWER_BYTES_MAX) {
      this.#end(this.#waiting ? 'It said too much.' : 'It said something that nobody had asked for.');
      return;
    }
    this.#pieces.push(piece);
    // It speaks one line for each job, so that its end is the end of what there is to hear.
    if (piece.at(-1) !== NEWLINE) return;
    const line = Buffer.concat(this.#pieces).toString();
    this.#pieces = [];
    this.#bytes = 0;
    const waiting = this.#waiting;
    try {
      const answer = parsedAnswer(line);
      this.#waiting = undefined;
      waiting({ type: 'answered', answer });
    } catch (error) {
      this.#end(`It said something that is no answer: ${messageOf(error)}`);
    }
  }

  #end(how: string): void {
    if (this.#ended !== undefined) return;
    this.#ended = how;
    // Not waited for: one that is stuck in the kernel may take its time.
    this.#process.kill('SIGKILL');
    this.#pieces = [];
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.({ type: 'ended', how });
  }
}

const NEWLINE = 10;
const LAST_WORDS_MAX = 2_000;

/** Of V8's heap. A read of the limits' size needs a tenth of it. */
const HEAP_MIB = 256;

const PROGRAM = fileURLToPath(new URL(`guard-main${extname(import.meta.url)}`, import.meta.url));

/** A program that is run from its source reads the sources of what it imports as well. */
function inSource(program: string): readonly string[] {
  return program.endsWith('.ts') ? ['--conditions=source'] : [];
}

/**
 * Starts the program with nothing of this process but three pipes: no environment, and so no credentials. The limits are
 * the shell's, which every system has: no core dump with other people's words in it; files no bigger than the biggest that
 * is copied; few of them open; and, where the kernel counts private memory (Linux does), a bound to what SQLite and V8
 * take together. Its network is the host's: it has no code that uses it.
 */
function limited(program = PROGRAM): ChildProcess {
  const node = [`--max-old-space-size=${HEAP_MIB}`, ...inSource(program), program];
  // tidy: allow environment — the reader runs on the Node that runs its host, and nothing else of the process is looked at
  return spawn('/bin/sh', ['-c', LIMITS, 'guard', process.execPath, ...node], {
    env: {},
    // Above all no folder of a container: relative paths lead nowhere.
    cwd: '/',
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
  });
}

// Files in blocks of 512 bytes: 1 GiB. Memory in KiB: 1.5 GiB, of which V8 sets 0.5 aside for code. A limit that the system does not know is left out.
const LIMITS = `
  ulimit -c 0; ulimit -f 2097152; ulimit -n 256; ulimit -d 1572864 2>/dev/null
  exec "$@"`;
