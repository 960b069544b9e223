/**
 * One life of the guard's process: started in its sandbox and under limits, given one job at a time with a deadline, killed
 * when it overruns. What it says is bounded before it is looked at, and looked at as a stranger's.
 *
 * A deadline counts the time that the process was given: not that in which it was ready to run and others had the
 * processors, nor that in which the host itself stood still. So a busy machine makes reads slow and no file hostile.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Writable } from 'node:stream';
import type { SetTimer } from '@nanoclaw/session-db';
import { ending, oneLine } from '@nanoclaw/session-db/text';
import type { Launch } from './sandbox.ts';
import { ANSWER_BYTES_MAX, type Answer, type Job, messageOf, parsedAnswer } from './wire.ts';

/** How a process of the guard is started. */
export interface ChildOptions {
  readonly launch: Launch;
  readonly setTimer: SetTimer;
  /** Milliseconds of a clock that never jumps. */
  readonly monotonic: () => number;
  /** How long it may take to say that it is ready, in milliseconds that it was given. */
  readonly startMaxMs: number;
}

/** What came of a job, and for how many milliseconds the process had it. */
export type Ran = { readonly ms: number } & (
  | { readonly type: 'answered'; readonly answer: Answer }
  /** It took longer than it was to; the process is killed. */
  | { readonly type: 'late' }
  /** The process has ended: how, as one sentence. */
  | { readonly type: 'ended'; readonly how: string }
);

/** How a job can come out, without its time. */
type Outcome = { readonly type: 'answered'; readonly answer: Answer } | { readonly type: 'late' } | Ended;

interface Ended {
  readonly type: 'ended';
  readonly how: string;
}

/** A process of the guard, from the outside. */
export class GuardChild {
  /** Resolves once the process is no more and its last words are heard. */
  readonly gone: Promise<void>;
  readonly #process: ChildProcess;
  readonly #options: ChildOptions;
  readonly #runQueue: RunQueue;
  #pieces: Buffer[] = [];
  #bytes = 0;
  #lastWords = '';
  #waiting: ((outcome: Outcome) => void) | undefined;
  #ended: string | undefined;

  private constructor(options: ChildOptions) {
    this.#options = options;
    this.#process = limited(options.launch);
    this.#runQueue = new RunQueue(this.#process.pid);
    this.#process.stdout?.on('data', (piece: Buffer) => this.#hear(piece));
    this.#process.stderr?.on('data', (piece: Buffer) => {
      this.#lastWords = ending(`${this.#lastWords}${piece.toString('latin1')}`, LAST_WORDS_MAX);
    });
    // A write that meets its end is no news: the end itself is told.
    this.#process.stdin?.on('error', () => undefined);
    this.#process.on('error', (error) =>
      this.#end({ type: 'ended', how: `It could not be started: ${messageOf(error)}` }),
    );
    const { promise, resolve } = Promise.withResolvers<void>();
    this.gone = promise;
    this.#process.on('close', (code, signal) => {
      this.#end({ type: 'ended', how: `It ended with ${signal ?? `exit code ${code}`}.` });
      resolve();
    });
  }

  /** Starts one. Rejects, with what it said last, when it does not come up. */
  static async start(options: ChildOptions): Promise<GuardChild> {
    const child = new GuardChild(options);
    const ran = await child.#next(options.startMaxMs);
    if (ran.type === 'answered') return child;
    await child.gone;
    const how = ran.type === 'late' ? `It took longer than ${options.startMaxMs / 1_000} s.` : ran.how;
    throw new Error(`The process that reads what agents wrote did not come up. ${how} ${child.lastWords}`.trim());
  }

  /** Whether it can take a job no more. */
  get hasEnded(): boolean {
    return this.#ended !== undefined;
  }

  /** What it said last of its own accord, on one line, for the log alone. */
  get lastWords(): string {
    return oneLine(this.#lastWords, LAST_WORDS_MAX);
  }

  /** Gives it a job, which must be its only one. Killed when it was given `maxMs` milliseconds and has not answered. */
  run(job: Job, maxMs: number): Promise<Ran> {
    const ran = this.#next(maxMs);
    this.#process.stdin?.write(`${JSON.stringify(job)}\n`);
    return ran;
  }

  /** Ends it at once, whatever it is doing. */
  kill(how: string): void {
    this.#end({ type: 'ended', how });
  }

  async #next(maxMs: number): Promise<Ran> {
    if (this.#ended !== undefined) return { type: 'ended', how: this.#ended, ms: 0 };
    const { setTimer, monotonic } = this.#options;
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    this.#waiting = resolve;
    const since = monotonic();
    let given = 0;
    let waited = 0;
    let cancel: (() => void) | undefined;
    // One slice after another: one that this host sleeps through counts as one, and an answer that lies there is heard first.
    const slice = () => {
      const ms = Math.max(1, Math.min(SLICE_MS, maxMs - given));
      cancel = setTimer(ms, () => {
        const inQueue = this.#runQueue.waitedMs(ms);
        waited += inQueue;
        given += ms - inQueue;
        if (given < maxMs) slice();
        else this.#end({ type: 'late' });
      });
    };
    slice();
    const outcome = await promise;
    cancel?.();
    return { ...outcome, ms: Math.max(0, monotonic() - since - waited) };
  }

  #hear(piece: Buffer): void {
    this.#bytes += piece.length;
    if (this.#waiting === undefined || this.#bytes > ANSWER_BYTES_MAX) {
      this.kill(this.#waiting ? 'It said too much.' : 'It said something that was not asked for.');
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
      this.kill(`It said something that is no answer: ${messageOf(error)}`);
    }
  }

  #end(outcome: Ended | { readonly type: 'late' }): void {
    if (this.#ended !== undefined) return;
    this.#ended = outcome.type === 'late' ? 'It was too late with its last answer.' : outcome.how;
    // Not waited for: one that is stuck in the kernel may take its time.
    this.#process.kill('SIGKILL');
    this.#pieces = [];
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.(outcome);
  }
}

const NEWLINE = 10;
const LAST_WORDS_MAX = 2_000;

/** How often it is looked at how much of the time a process was given. */
export const SLICE_MS = 50;

/**
 * How long a process was ready to run and had no processor, as Linux counts it for its first thread, in which everything of a
 * job is done. Where the kernel does not say, it has never waited.
 */
class RunQueue {
  readonly #pid: number | undefined;
  #before = { pid: 0, ranMs: 0, waitedMs: 0 };

  constructor(pid: number | undefined) {
    this.#pid = pid;
  }

  /** Of the last `ms` milliseconds, those that it waited. To be asked at the end of each slice of time. */
  waitedMs(ms: number): number {
    const pid = innermost(this.#pid);
    const figures = read(`/proc/${pid}/schedstat`)?.split(' ').map(Number);
    const [ran, waited] = figures ?? [];
    if (pid === undefined || ran === undefined || waited === undefined) return 0;
    const before = this.#before.pid === pid ? this.#before : { ranMs: 0, waitedMs: 0 };
    this.#before = { pid, ranMs: ran / 1e6, waitedMs: waited / 1e6 };
    // A wait is counted when it ends. One that goes on is what a process that is ready did not run.
    const goingOn = isReady(pid) ? ms - (this.#before.ranMs - before.ranMs) : 0;
    return Math.min(ms, Math.max(0, goingOn, this.#before.waitedMs - before.waitedMs));
  }
}

function isReady(pid: number): boolean {
  // The name of the program, in brackets, may hold anything.
  return read(`/proc/${pid}/stat`)?.split(') ').at(-1)?.startsWith('R') === true;
}

/** What a process is at the end of: what closes it in stays between it and the host, each with one child. */
function innermost(pid: number | undefined): number | undefined {
  let leaf = pid;
  for (;;) {
    const child = Number(read(`/proc/${leaf}/task/${leaf}/children`)?.split(' ')[0]);
    if (!(child > 0)) return leaf;
    leaf = child;
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // it has ended, or this kernel has no such file
  }
}

/**
 * Starts the command with nothing of this process but pipes: no environment, and so no credentials. The limits are the shell's,
 * which every system has: no core dump with other people's words in it; files no bigger than the biggest that is copied;
 * few of them open; and, where the kernel counts private memory (Linux does), a bound to what SQLite and V8 take together.
 */
function limited({ command, filter }: Launch): ChildProcess {
  const child = spawn('/bin/sh', ['-c', LIMITS, 'guard', ...command], {
    env: {},
    // Above all no folder of a container: relative paths lead nowhere.
    cwd: '/',
    stdio: ['pipe', 'pipe', 'pipe', 'pipe', filter === undefined ? 'ignore' : 'pipe'],
  });
  if (filter !== undefined && isWritable(child.stdio[4])) child.stdio[4].on('error', () => undefined).end(filter);
  return child;
}

function isWritable(stream: unknown): stream is Writable {
  return typeof stream === 'object' && stream !== null && 'end' in stream;
}

// Files in blocks of 512 bytes: 1 GiB. Memory in KiB: 1.5 GiB, of which V8 sets 0.5 aside for code. A limit that the system does not know is left out.
const LIMITS = `
  ulimit -c 0; ulimit -f 2097152; ulimit -n 256; ulimit -d 1572864 2>/dev/null
  exec "$@"`;
