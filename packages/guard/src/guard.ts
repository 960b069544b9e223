/**
 * How the host reads what containers wrote: in processes of their own, with a deadline for each read. A file that holds
 * such a process for ever costs that process and a finding about its session; the host and all other sessions go on.
 *
 * Processes are started when there is something to read and end after a while without. Each session has one job at a time,
 * and sessions take turns in the order of their asking.
 */
import { resolve as absolute } from 'node:path';
import type { Attachment, OutboundRead, OutboundReader, SessionFolder, SetTimer } from '@nanoclaw/session-db';
import type { OutboundLimits } from '@nanoclaw/session-db/protocol';
import { GuardChild } from './child.ts';
import { GUARD_LIMITS, type Job, messageOf, parsedRead, parsedRemoval, parsedSpool } from './wire.ts';

/** What a guard works with. */
export interface GuardOptions {
  /** The program that reads, `guard-main`: this package's own where nobody says that a bundler has put it elsewhere. */
  readonly program?: string;
  /** The host's timers: for the limits of time in the policy. */
  readonly setTimer: SetTimer;
  /** A read was cut off or its process ended, or one could not be started. Must not throw. */
  readonly onTrouble: (trouble: GuardTrouble) => void;
  /** Default: `GUARD_POLICY`. */
  readonly policy?: GuardPolicy;
}

/** What the operator should know. */
export interface GuardTrouble {
  /** The folder of the session that it is about; `undefined` when no process came up. */
  readonly root: string | undefined;
  /** What happened, and what becomes of the session, as one sentence. */
  readonly reason: string;
}

/** The limits of a guard; `GUARD_POLICY` says why. */
export interface GuardPolicy {
  /** How long a read may take, in milliseconds. */
  readonly readMaxMs: number;
  /** How long copying or removing the files of one message may take, in milliseconds. */
  readonly filesMaxMs: number;
  /** How many processes read at the same time. */
  readonly childrenMax: number;
  /** A job that takes longer than this, in milliseconds, does not count: another process is started beside it. */
  readonly slowMs: number;
  /** How many such jobs there may be beside those that count. */
  readonly slowMax: number;
  /** A process without work ends after this time, in milliseconds. */
  readonly idleMs: number;
  /** How long a process may take to come up, in milliseconds. */
  readonly startMaxMs: number;
  /** How long is waited after a process that did not come up, in milliseconds. */
  readonly restartMs: number;
  /** A session that overran is not read again for this time, in milliseconds, doubled each time up to `holdMaxMs`. */
  readonly holdBaseMs: number;
  /** The longest time for which such a session is not read, in milliseconds. */
  readonly holdMaxMs: number;
  /** After so many good reads a session that overran is read among the others again. */
  readonly trustAfter: number;
  /** What a file may hold at most, in bytes and rows. */
  readonly limits: OutboundLimits;
}

/**
 * 10 s for a read (a warm one takes 0.2 ms; the recovery of a file of 1 GiB some seconds) and 60 s for files; two processes,
 * four more beside slow jobs; ended after a minute without work. A session that overruns again and again takes at most 10 s
 * of one processor in five minutes.
 */
export const GUARD_POLICY: GuardPolicy = {
  readMaxMs: 10_000,
  filesMaxMs: 60_000,
  childrenMax: 2,
  slowMs: 250,
  slowMax: 4,
  idleMs: 60_000,
  startMaxMs: 30_000,
  restartMs: 1_000,
  holdBaseMs: 5_000,
  holdMaxMs: 300_000,
  trustAfter: 20,
  limits: GUARD_LIMITS,
};

/** Reads for the sessions of a host. */
export class Guard implements Disposable {
  readonly #options: GuardOptions;
  readonly #policy: GuardPolicy;
  readonly #lanes: { readonly trusted: Lane; readonly suspect: Lane };
  /** Sessions that overran, by their folders. */
  readonly #suspects = new Map<string, Suspect>();

  constructor(options: GuardOptions) {
    this.#options = options;
    this.#policy = options.policy ?? GUARD_POLICY;
    const { childrenMax, slowMax } = this.#policy;
    this.#lanes = {
      trusted: new Lane(options, this.#policy, { childrenMax, slowMax }),
      suspect: new Lane(options, this.#policy, { childrenMax: 1, slowMax: 0 }),
    };
  }

  /**
   * Ends all processes. What is being asked is answered with a rejection.
   */
  [Symbol.dispose](): void {
    for (const suspect of this.#suspects.values()) suspect.cancelRelease();
    this.#lanes.trusted.close();
    this.#lanes.suspect.close();
  }

  /**
   * A reader of one session's file. A read that overran, or took its process down, is the finding `overran`, and the session
   * is read apart from the others until it has behaved for a while. Rejects for what no container can cause.
   */
  reader(folder: SessionFolder): OutboundReader {
    const root = absolute(folder.root);
    const { limits, readMaxMs } = this.#policy;
    return {
      read: (request) =>
        this.#run<OutboundRead>({ type: 'read', root, request, limits }, readMaxMs, {
          take: (result) => parsedRead(result, request),
          instead: (how) => ({ type: 'overran', detail: `Reading outbound.db had to be given up. ${how}` }),
        }),
    };
  }

  /**
   * Copies the files that the agent sends with a message into the host's spool, as `spoolAttachments` does. When that cannot
   * be done in time, each is refused with that reason.
   */
  spool(folder: SessionFolder, messageId: string, names: readonly string[]): Promise<Attachment[]> {
    const root = absolute(folder.root);
    return this.#run<Attachment[]>({ type: 'spool', root, messageId, names }, this.#policy.filesMaxMs, {
      take: (result) => parsedSpool(result, root, messageId, names),
      instead: (how) =>
        names.map((name) => ({ type: 'refused', name, reason: `Copying it had to be given up. ${how}` })),
    });
  }

  /** Removes a message's files, as `removeAttachments` does: `unfinished` asks to be called again. */
  remove(folder: SessionFolder, messageId: string): Promise<'removed' | 'unfinished'> {
    return this.#run({ type: 'remove', root: absolute(folder.root), messageId }, this.#policy.filesMaxMs, {
      take: parsedRemoval,
      instead: () => 'unfinished' as const,
    });
  }

  async #run<T>(job: Job, maxMs: number, outcome: Outcome<T>): Promise<T> {
    const { root } = job;
    const suspect = this.#suspects.get(root);
    // Nothing is asked for now: each time it may cost the whole deadline.
    if (suspect?.held !== undefined) return outcome.instead(suspect.held);
    const lane = suspect === undefined ? this.#lanes.trusted : this.#lanes.suspect;
    const ran = await lane.run(job, maxMs, outcome.take);
    if (ran.type === 'done') this.#behaved(root);
    else this.#overran(root, ran);
    return ran.type === 'done' ? ran.value : outcome.instead(ran.how);
  }

  #overran(root: string, { how, words }: Overran): void {
    const fresh: Suspect = { overruns: 0, goodReadsLeft: 0, held: undefined, cancelRelease: () => undefined };
    const suspect = this.#suspects.get(root) ?? fresh;
    // One overrun, of which somebody else has been told already.
    if (suspect.held !== undefined) return;
    this.#options.onTrouble({ root, reason: `${how} ${words}`.trim() });
    const { holdBaseMs, holdMaxMs, trustAfter } = this.#policy;
    suspect.overruns += 1;
    suspect.goodReadsLeft = trustAfter;
    suspect.held = how;
    this.#suspects.set(root, suspect);
    const holdMs = Math.min(holdBaseMs * 2 ** (suspect.overruns - 1), holdMaxMs);
    suspect.cancelRelease = this.#options.setTimer(holdMs, () => {
      suspect.held = undefined;
    });
  }

  #behaved(root: string): void {
    const suspect = this.#suspects.get(root);
    if (suspect === undefined) return;
    suspect.goodReadsLeft -= 1;
    if (suspect.goodReadsLeft <= 0) this.#suspects.delete(root);
  }
}

interface Suspect {
  /** How often it overran since it was last trusted. */
  overruns: number;
  goodReadsLeft: number;
  /** It is not to be read for now, and how it overran. */
  held: string | undefined;
  cancelRelease: () => void;
}

interface Outcome<T> {
  /** Takes a result in, or throws when it is none. */
  readonly take: (result: unknown) => T;
  /** What stands in its place when there is none. */
  readonly instead: (how: string) => T;
}

/** The end of the process that did the job: how, as a sentence for everybody, and its last words, for the log. */
interface Overran {
  readonly type: 'overran';
  readonly how: string;
  readonly words: string;
}

/** What came of a job. */
type Done<T> = { readonly type: 'done'; readonly value: T } | Overran;

/** A job that waits for a process. */
interface Waiting {
  readonly job: Job;
  /** Resolves when the process is free again; to how it ended, when it did. */
  readonly begin: (child: GuardChild) => Promise<Overran | undefined>;
  /** Ends the wait: the session has overrun meanwhile. */
  readonly giveUp: (overran: Overran) => void;
  readonly reject: (error: Error) => void;
}

interface LaneSize {
  readonly childrenMax: number;
  readonly slowMax: number;
}

/** Some processes and the jobs that wait for them, in order. */
class Lane {
  readonly #options: GuardOptions;
  readonly #policy: GuardPolicy;
  readonly #size: LaneSize;
  readonly #waiting: Waiting[] = [];
  /** Sessions of which a job is being done. */
  readonly #busy = new Set<string>();
  readonly #idle: { readonly child: GuardChild; readonly cancelEnd: () => void }[] = [];
  readonly #working = new Set<GuardChild>();
  #starting = 0;
  #slow = 0;
  #isResting = false;
  #cancelRest: () => void = () => undefined;
  #isClosed = false;

  constructor(options: GuardOptions, policy: GuardPolicy, size: LaneSize) {
    this.#options = options;
    this.#policy = policy;
    this.#size = size;
  }

  /** Does a job when its turn has come. Rejects for what no container can cause. */
  run<T>(job: Job, maxMs: number, take: (result: unknown) => T): Promise<Done<T>> {
    const { promise, resolve, reject } = Promise.withResolvers<Done<T>>();
    if (this.#isClosed) {
      reject(closed());
      return promise;
    }
    const begin = async (child: GuardChild) => {
      const done = await this.#done(child, job, maxMs, take);
      if (done instanceof Error) reject(done);
      else resolve(done);
      return done instanceof Error || done.type === 'done' ? undefined : done;
    };
    this.#waiting.push({ job, begin, giveUp: resolve, reject });
    this.#turn();
    return promise;
  }

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

  /** Has a job done: what came of it, or the error of a host that cannot have it done. */
  async #done<T>(child: GuardChild, job: Job, maxMs: number, take: (result: unknown) => T): Promise<Done<T> | Error> {
    const ran = await child.run(job, maxMs);
    if (ran.type === 'ended') {
      return this.#isClosed ? closed() : { type: 'overran', how: ran.how, words: child.lastWords };
    }
    if ('failed' in ran.answer) return new Error(ran.answer.failed);
    try {
      return { type: 'done', value: take(ran.answer.result) };
    } catch (error) {
      // Whatever has made it say such a thing, it is not asked again.
      child.kill('Its answer was none.');
      return { type: 'overran', how: 'The process that read it gave an answer that is none.', words: messageOf(error) };
    }
  }

  /** Lets begin what can. */
  #turn(): void {
    for (;;) {
      // Almost always the first one: a session asks twice at the same time at most.
      const at = this.#waiting.findIndex(({ job }) => !this.#busy.has(job.root));
      if (at === -1) return;
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

  async #work(child: GuardChild, { job, begin }: Waiting): Promise<void> {
    const { root } = job;
    this.#busy.add(root);
    this.#working.add(child);
    let isSlow = false;
    const cancel = this.#options.setTimer(this.#policy.slowMs, () => {
      if (this.#slow === this.#size.slowMax) return;
      isSlow = true;
      this.#slow += 1;
      this.#turn();
    });
    const overran = await begin(child);
    cancel();
    if (isSlow) this.#slow -= 1;
    this.#working.delete(child);
    this.#busy.delete(root);
    if (overran !== undefined) this.#giveUp(root, overran);
    // Those started beside slow jobs are too many once these are done.
    if (this.#isClosed || this.#count() >= this.#size.childrenMax) child.kill('It is not needed any more.');
    else if (!child.hasEnded) this.#rest(child);
    this.#turn();
  }

  /** Whoever else waits for the same session gets the same answer: its file has not become better. */
  #giveUp(root: string, overran: Overran): void {
    for (let at = this.#waiting.length - 1; at >= 0; at--) {
      if (this.#waiting[at]?.job.root !== root) continue;
      for (const { giveUp } of this.#waiting.splice(at, 1)) giveUp(overran);
    }
  }

  #rest(child: GuardChild): void {
    const cancelEnd = this.#options.setTimer(this.#policy.idleMs, () => {
      child.kill('It had nothing to do.');
      this.#idle.splice(
        this.#idle.findIndex((one) => one.child === child),
        1,
      );
    });
    this.#idle.push({ child, cancelEnd });
  }

  /** Of the processes, those that count. */
  #count(): number {
    return this.#starting + this.#idle.length + this.#working.size - this.#slow;
  }

  #startOne(): void {
    if (this.#isClosed || this.#isResting || this.#count() >= this.#size.childrenMax) return;
    this.#starting += 1;
    void this.#started().finally(() => this.#turn());
  }

  async #started(): Promise<void> {
    const { program, setTimer, onTrouble } = this.#options;
    try {
      const child = await GuardChild.start({ program, setTimer, startMaxMs: this.#policy.startMaxMs });
      if (this.#isClosed) child.kill('The host stops.');
      else this.#rest(child);
    } catch (error) {
      const reason = messageOf(error);
      if (this.#isClosed) return;
      onTrouble({ root: undefined, reason });
      for (const { reject } of this.#waiting.splice(0)) reject(new Error(reason));
      this.#isResting = true;
      this.#cancelRest = setTimer(this.#policy.restartMs, () => {
        this.#isResting = false;
        this.#turn();
      });
    } finally {
      this.#starting -= 1;
    }
  }
}

function closed(): Error {
  return new Error('The host stops reading what agents wrote.');
}
