/**
 * Some processes and the jobs that wait for them. Each session has one job at a time here, and the next is one of the session
 * that has used the least of the processes' time: who uses much waits longer, and who comes now and then is served next.
 */
import type { SetTimer } from '@nanoclaw/session-db';
import type { GuardChild } from './child.ts';
import { type Job, messageOf } from './wire.ts';

/** What a lane works with. */
export interface LaneOptions {
  readonly childrenMax: number;
  /** Starts a process. */
  readonly start: () => Promise<GuardChild>;
  /** A process did not come up. Must not throw. */
  readonly onStartFailed: (reason: string) => void;
  readonly setTimer: SetTimer;
  /** A process without work ends after this time, in milliseconds. */
  readonly idleMs: number;
  /** How long is waited after a process that did not come up, in milliseconds. */
  readonly restartMs: number;
}

/** What came of a job, and what it took of a process's time, in milliseconds. */
export type Done<T> = { readonly ms: number } & (
  | { readonly type: 'done'; readonly value: T }
  /** It took longer than it was to here. */
  | { readonly type: 'late' }
  /** The end of the process that did the job: how, as a sentence for everybody, and its last words, for the log. */
  | { readonly type: 'overran'; readonly how: string; readonly words: string }
);

/** Takes the result of a job in, from the process that did it; throws when it is none, and gives an error of the host's own. */
export type Take<T> = (result: unknown, child: GuardChild) => T | Error;

/** How a job ended that has no value. */
type Unfinished = Exclude<Done<never>, { readonly type: 'done' }>;

/** A job that waits for a process. */
interface Waiting {
  readonly account: string;
  /** Resolves when the process is free again; to how the job ended, where it has no value. */
  readonly begin: (child: GuardChild) => Promise<{ readonly ms: number; readonly unfinished: Unfinished | undefined }>;
  /** Ends the wait: a job of the same account has come to this end. */
  readonly giveUp: (unfinished: Unfinished) => void;
  readonly reject: (error: Error) => void;
}

/** Processes with the jobs that wait for them. */
export class Lane {
  readonly #options: LaneOptions;
  readonly #waiting: Waiting[] = [];
  /** Accounts of which a job is being done. */
  readonly #busy = new Set<string>();
  readonly #idle: { readonly child: GuardChild; readonly cancelEnd: () => void }[] = [];
  readonly #working = new Set<GuardChild>();
  /** The time that accounts have used, from when they would have been next; those behind `#now` are as good as new. */
  readonly #used = new Map<string, number>();
  #now = 0;
  #starting = 0;
  #isResting = false;
  #cancelRest: () => void = () => undefined;
  #isClosed = false;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  /** Does a job of an account when its turn has come. Rejects for what no container can cause. */
  run<T>(account: string, job: Job, maxMs: number, take: Take<T>): Promise<Done<T>> {
    const { promise, resolve, reject } = Promise.withResolvers<Done<T>>();
    if (this.#isClosed) {
      reject(closed());
      return promise;
    }
    const begin = async (child: GuardChild) => {
      const done = await this.#done(child, job, maxMs, take);
      if ('error' in done) reject(done.error);
      else resolve(done);
      return { ms: done.ms, unfinished: 'error' in done || done.type === 'done' ? undefined : done };
    };
    this.#waiting.push({ account, begin, giveUp: resolve, reject });
    this.#turn();
    return promise;
  }

  /** Ends all processes and rejects what waits. */
  close(): void {
    this.#isClosed = true;
    this.#cancelRest();
    for (const { reject } of this.#waiting.splice(0)) reject(closed());
    for (const { child, cancelEnd } of this.#idle.splice(0)) {
      cancelEnd();
      child.kill('The host stops.');
    }
    for (const child of this.#working) child.kill('The host stops.');
  }

  /** Has a job done: what came of it, or the error of a host that cannot have it done. Never rejects. */
  async #done<T>(
    child: GuardChild,
    job: Job,
    maxMs: number,
    take: Take<T>,
  ): Promise<Done<T> | { readonly ms: number; readonly error: Error }> {
    const ran = await child.run(job, maxMs);
    const { ms } = ran;
    if (ran.type !== 'answered' && this.#isClosed) return { error: closed(), ms };
    if (ran.type === 'late') return ran;
    if (ran.type === 'ended') return { type: 'overran', how: ran.how, words: child.lastWords, ms };
    if ('failed' in ran.answer) return { error: new Error(ran.answer.failed), ms };
    try {
      const value = take(ran.answer.result, child);
      return value instanceof Error ? { error: value, ms } : { type: 'done', value, ms };
    } catch (error) {
      // Whatever has made it say such a thing, it is not asked again.
      child.kill('Its answer was none.');
      const how = 'The process that read it gave an answer that is none.';
      return { type: 'overran', how, words: messageOf(error), ms };
    }
  }

  /** Lets begin what can. */
  #turn(): void {
    for (;;) {
      const at = this.#next();
      if (at === undefined) return;
      const idle = this.#idle.pop();
      if (idle === undefined) {
        this.#startOne();
        return;
      }
      idle.cancelEnd();
      if (idle.child.hasEnded) continue;
      for (const next of this.#waiting.splice(at, 1)) void this.#work(idle.child, next);
    }
  }

  /** Which of those that wait is next: of the account that has used the least, the one that came first. */
  #next(): number | undefined {
    let next: number | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const [at, { account }] of this.#waiting.entries()) {
      const used = this.#usedBy(account);
      if (used >= least || this.#busy.has(account)) continue;
      least = used;
      next = at;
    }
    return next;
  }

  #usedBy(account: string): number {
    return Math.max(this.#now, this.#used.get(account) ?? 0);
  }

  async #work(child: GuardChild, { account, begin }: Waiting): Promise<void> {
    using _place = this.#place(child, account);
    const begun = this.#usedBy(account);
    this.#now = begun;
    const { ms, unfinished } = await begin(child);
    this.#used.set(account, begun + Math.max(ms, JOB_MS_MIN));
    this.#forgetUsed();
    if (unfinished !== undefined) this.#giveUp(account, unfinished);
  }

  /** Takes a process for an account. Both are given back at the end of the block, however it comes. */
  #place(child: GuardChild, account: string): Disposable {
    this.#busy.add(account);
    this.#working.add(child);
    return {
      [Symbol.dispose]: () => {
        this.#working.delete(child);
        this.#busy.delete(account);
        if (this.#isClosed) child.kill('The host stops.');
        else if (!child.hasEnded) this.#rest(child);
        this.#turn();
      },
    };
  }

  /** What else waits for the same account gets the same answer: its file has not become better. */
  #giveUp(account: string, unfinished: Unfinished): void {
    for (let at = this.#waiting.length - 1; at >= 0; at--) {
      if (this.#waiting[at]?.account !== account) continue;
      for (const { giveUp } of this.#waiting.splice(at, 1)) giveUp(unfinished);
    }
  }

  /** Those whose use lies behind the present have none. */
  #forgetUsed(): void {
    if (this.#used.size <= USED_MAX) return;
    for (const [account, used] of this.#used) if (used <= this.#now) this.#used.delete(account);
  }

  #rest(child: GuardChild): void {
    const cancelEnd = this.#options.setTimer(this.#options.idleMs, () => {
      child.kill('It had nothing to do.');
      this.#idle.splice(
        this.#idle.findIndex((one) => one.child === child),
        1,
      );
    });
    this.#idle.push({ child, cancelEnd });
  }

  #startOne(): void {
    const count = this.#starting + this.#idle.length + this.#working.size;
    if (this.#isClosed || this.#isResting || count >= this.#options.childrenMax) return;
    this.#starting += 1;
    void this.#started().finally(() => this.#turn());
  }

  async #started(): Promise<void> {
    try {
      const child = await this.#options.start();
      if (this.#isClosed) child.kill('The host stops.');
      else this.#rest(child);
    } catch (error) {
      const reason = messageOf(error);
      if (this.#isClosed) return;
      this.#options.onStartFailed(reason);
      for (const { reject } of this.#waiting.splice(0)) reject(new Error(reason));
      this.#isResting = true;
      this.#cancelRest = this.#options.setTimer(this.#options.restartMs, () => {
        this.#isResting = false;
        this.#turn();
      });
    } finally {
      this.#starting -= 1;
    }
  }
}

/** What every job costs, however short it is. */
const JOB_MS_MIN = 0.1;

/** Of so many accounts it is remembered what they used before those are looked through. */
const USED_MAX = 1_000;

/** What is said to whatever waits when the host stops. */
export function closed(): Error {
  return new Error('The host stops reading what agents wrote.');
}
