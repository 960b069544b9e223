/**
 * How the host reads what containers wrote: in processes of their own, each in a sandbox, with a deadline for each read. A
 * file that holds such a process for ever costs that process and a finding about its session; the host and all other
 * sessions go on.
 *
 * There are three lanes. Almost every job ends in the quick one, which lets go of whatever takes longer than a moment; that
 * is begun anew in the slow one, with more time, and at last in the one for what takes the whole deadline. A session stays
 * where its last job ended until it has been quick for a while. So files that are legal and slow wait for each other alone,
 * and a session without such files waits for one moment of another at most.
 */
import { chownSync, lstatSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { resolve as absolute, dirname, join, sep } from 'node:path';
import {
  type Attachment,
  type OutboundRead,
  type OutboundReader,
  type SessionFolder,
  type SetTimer,
  sessionFolder,
} from '@nanoclaw/session-db';
import { ATTACHMENT_LIMITS, isFileName, messageFiles, type OutboundLimits } from '@nanoclaw/session-db/protocol';
import { GuardChild } from './child.ts';
import { closed, Lane, type Take } from './lane.ts';
import { type GuardReport, reportOf, trialTargets } from './report.ts';
import { launch, type Purpose, SANDBOX_MEANS, type SandboxMeans } from './sandbox.ts';
import { GUARD_LIMITS, type Job, messageOf, parsedCopy, parsedRead, parsedRemoval, parsedTrial } from './wire.ts';

/** What a guard works with. */
export interface GuardOptions {
  /** The program that reads, `guard-main`: this package's own where a bundler has not put it elsewhere. */
  readonly program?: string;
  /** The folder beneath which all sessions are. Made where it is missing. */
  readonly sessions: string;
  /** A folder of the guard's own, on the same disk. Made where it is missing; what is in it is nobody's after a crash. */
  readonly scratch: string;
  /** For deadlines and waits. */
  readonly setTimer: SetTimer;
  /** Milliseconds of a clock that never jumps. */
  readonly monotonic: () => number;
  /** A read was cut off or its process ended, or one could not be started. Must not throw. */
  readonly onTrouble: (trouble: GuardTrouble) => void;
  /** Its limits; `GUARD_POLICY` where it is left out. */
  readonly policy?: GuardPolicy;
}

/** What the operator should know. */
export interface GuardTrouble {
  /** The folder of the session that it is about; `undefined`: of none, but of the guard itself. */
  readonly root: string | undefined;
  /** What happened, in a sentence or two. */
  readonly reason: string;
}

/** The limits of a guard; `GUARD_POLICY` says why. Times are those that a process was given, in milliseconds. */
export interface GuardPolicy {
  /** How long a read may take. */
  readonly readMaxMs: number;
  /** How long copying one file or removing the files of one message may take. */
  readonly filesMaxMs: number;
  /** How many processes there are in the quick lane, and in the slow one. */
  readonly childrenMax: number;
  /** What takes longer than this leaves the quick lane. */
  readonly slowMs: number;
  /** What takes longer than this leaves the slow lane, too. */
  readonly verySlowMs: number;
  /** A process without work ends after this time. */
  readonly idleMs: number;
  /** How long a process may take to come up. */
  readonly startMaxMs: number;
  /** How long is waited after one that did not. */
  readonly restartMs: number;
  /** A session that overran is not read again for this time, doubled each time. */
  readonly holdBaseMs: number;
  /** The longest of these times. */
  readonly holdMaxMs: number;
  /** After so many quick jobs a session that was slow is served in the quick lane again. */
  readonly trustAfter: number;
  /** How much of a container's file is believed and read at once. */
  readonly limits: OutboundLimits;
  /** What may close the processes in, in this order; the first that works is taken. */
  readonly means: readonly SandboxMeans[];
}

/**
 * 10 s for a read (a warm one takes 0.2 ms; the recovery of a file of 1 GiB some seconds) and 60 s for a file; two processes
 * for what is quick, two for what is not, one for the slowest and one that removes files; ended after a minute without work. A
 * session that overruns again and again takes at most 13 s of one processor in five minutes.
 */
export const GUARD_POLICY: GuardPolicy = {
  readMaxMs: 10_000,
  filesMaxMs: 60_000,
  childrenMax: 2,
  slowMs: 250,
  verySlowMs: 2_500,
  idleMs: 60_000,
  startMaxMs: 30_000,
  restartMs: 1_000,
  holdBaseMs: 5_000,
  holdMaxMs: 300_000,
  trustAfter: 20,
  limits: GUARD_LIMITS,
  means: SANDBOX_MEANS,
};

/** Reads for the sessions of a host. */
export class Guard implements Disposable {
  readonly #options: GuardOptions;
  readonly #policy: GuardPolicy;
  readonly #sessions: string;
  /** From the quickest to the last, each with the longest that a job may take in it. */
  readonly #readers: readonly { readonly lane: Lane; readonly maxMs: number }[];
  readonly #remover: Lane;
  /** What accounts have shown of themselves; without an entry: nothing but quick jobs. */
  readonly #records = new Map<string, AccountRecord>();
  /** Where processes write, by process. */
  readonly #scratches = new Map<GuardChild, string>();
  #means: Promise<Chosen> | undefined;
  #started = 0;
  #isClosed = false;

  constructor(options: GuardOptions) {
    this.#options = options;
    this.#policy = options.policy ?? GUARD_POLICY;
    this.#sessions = absolute(options.sessions);
    const { childrenMax, slowMs, verySlowMs } = this.#policy;
    const reads = () => this.#startReader();
    this.#readers = [
      { lane: this.#lane(childrenMax, reads), maxMs: slowMs },
      { lane: this.#lane(childrenMax, reads), maxMs: verySlowMs },
      { lane: this.#lane(1, reads), maxMs: Number.POSITIVE_INFINITY },
    ];
    this.#remover = this.#lane(1, async () => this.#start((await this.#chosen()).means, { type: 'remove' }));
  }

  /** Ends all processes. What is being asked is answered with a rejection. */
  [Symbol.dispose](): void {
    this.#isClosed = true;
    for (const record of this.#records.values()) record.cancelRelease();
    for (const { lane } of this.#readers) lane.close();
    this.#remover.close();
    for (const child of this.#scratches.keys()) child.kill('The host stops.');
  }

  /**
   * What closes the guard's processes in, and what it does not keep from them, tried in one of them. Starts one. Rejects when
   * none comes up.
   */
  async report(): Promise<GuardReport> {
    await using trial = await trialTargets(this.#sessions);
    const { targets } = trial;
    const account = 'trial';
    const job: Job = { type: 'trial', root: this.#sessions, targets };
    const ran = await this.#run(account, job, this.#policy.filesMaxMs, 1, (result) => parsedTrial(result));
    if (ran.type !== 'done') throw new Error(`What closes the guard in could not be tried. ${ran.how}`);
    return reportOf(await this.#chosen(), ran.value);
  }

  /**
   * A reader of one session's file. A read that overran, or took its process down, is the finding `overran`, and the session
   * is read apart from the others until it has behaved for a while. Rejects for what no container can cause.
   */
  reader(folder: SessionFolder): OutboundReader {
    const root = this.#rootOf(folder);
    const { limits, readMaxMs } = this.#policy;
    const account = `read ${root}`;
    return {
      read: async (request) => {
        const held = this.#records.get(account)?.held;
        // Nothing is asked for now: each time it may cost the whole deadline.
        if (held !== undefined) return overran(held);
        const job: Job = { type: 'read', root, request, limits };
        const ran = await this.#run(account, job, readMaxMs, 0, (result) => parsedRead(result, request));
        if (ran.type === 'done') return ran.value;
        this.#hold(account, root, ran);
        return overran(ran.how);
      },
    };
  }

  /**
   * Copies the files that the agent sends with a message into the host's spool, as `spoolAttachments` does, one by one: what
   * one of them does to its process is no other's trouble. One that cannot be copied in time is refused with that reason.
   */
  async spool(folder: SessionFolder, messageId: string, names: readonly string[]): Promise<Attachment[]> {
    const root = this.#rootOf(folder);
    const spool = messageFiles(join(sessionFolder(root).host, 'spool'), messageId);
    const { countMax, bytesTotalMax } = ATTACHMENT_LIMITS;
    const files: Attachment[] = [];
    let left = bytesTotalMax;
    for (const name of names) {
      const isOneTooMany = files.length >= countMax;
      const file: Attachment = isOneTooMany
        ? { type: 'refused', name, reason: `A message brings at most ${countMax} files.`, finding: 'too-many' }
        : await this.#spoolOne({ type: 'copy', root, messageId, name, to: COPY }, spool, left);
      if (file.type === 'stored') left -= file.bytes;
      files.push(file);
    }
    return files;
  }

  async #spoolOne(job: Extract<Job, { type: 'copy' }>, spool: string, left: number): Promise<Attachment> {
    const { root, name } = job;
    if (!isFileName(name))
      return { type: 'refused', name, reason: 'It is not a plain file name.', finding: 'bad-name' };
    const path = join(spool, name);
    // Copied once, it is what was sent, whatever the container has made of its own meanwhile.
    const before = lstatSync(path, { throwIfNoEntry: false });
    if (before !== undefined) return { type: 'stored', name, path, bytes: before.size };
    const ran = await this.#run<Attachment>(`copy ${root}`, job, this.#policy.filesMaxMs, 1, (result, child) => {
      const copy = parsedCopy(result);
      if (copy.type === 'refused') return { ...copy, name };
      const bytes = moved(
        join(this.#scratches.get(child) ?? '', COPY),
        path,
        Math.min(left, ATTACHMENT_LIMITS.bytesMax),
      );
      if (bytes === undefined) return { type: 'refused', name, reason: TOO_MUCH, finding: 'too-big' };
      return bytes instanceof Error ? bytes : { type: 'stored', name, path, bytes };
    });
    if (ran.type === 'done') return ran.value;
    this.#options.onTrouble({ root, reason: `${ran.how} ${ran.words}`.trim() });
    return { type: 'refused', name, reason: `Copying it had to be given up. ${ran.how}`, finding: 'overran' };
  }

  /** Removes a message's files, as `removeAttachments` does: `unfinished` asks to be called again. */
  async remove(folder: SessionFolder, messageId: string): Promise<'removed' | 'unfinished'> {
    const root = this.#rootOf(folder);
    const { filesMaxMs } = this.#policy;
    const ran = await this.#remover.run(root, { type: 'remove', root, messageId }, filesMaxMs, parsedRemoval);
    return ran.type === 'done' ? ran.value : 'unfinished';
  }

  #rootOf({ root: given }: SessionFolder): string {
    const root = absolute(given);
    if (!root.startsWith(`${this.#sessions}${sep}`)) throw new RangeError(`${root} is not beneath ${this.#sessions}.`);
    return root;
  }

  // ── Lanes ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Has a job done in the lane of its account, and in the next ones while it takes too long. `first`: where it begins at least. */
  async #run<T>(account: string, job: Job, maxMs: number, first: number, take: Take<T>): Promise<Finished<T>> {
    const record = this.#records.get(account);
    for (let level = Math.max(first, record?.level ?? 0); ; level += 1) {
      const reader = this.#readers[level];
      if (reader === undefined) throw new RangeError(`There is no lane ${level}.`);
      const ran = await reader.lane.run(account, job, Math.min(reader.maxMs, maxMs), take);
      if (ran.type === 'done') {
        this.#noteTime(account, ran.ms);
        return ran;
      }
      const hasMoreTime = ran.type === 'late' && reader.maxMs < maxMs;
      this.#noteSlow(account, hasMoreTime ? level + 1 : this.#readers.length - 1);
      if (hasMoreTime) continue;
      const { how, words } = ran.type === 'late' ? { how: `It took longer than ${maxMs / 1_000} s.`, words: '' } : ran;
      return { type: 'unfinished', how, words };
    }
  }

  /** Notes that an account is not to be served in a lane before this one for now. */
  #noteSlow(account: string, level: number): void {
    const record = this.#recordOf(account);
    record.level = Math.max(record.level, level);
    record.quickLeft = this.#policy.trustAfter;
  }

  #noteTime(account: string, ms: number): void {
    const record = this.#records.get(account);
    if (record === undefined) return;
    record.quickLeft = ms <= this.#policy.slowMs ? record.quickLeft - 1 : this.#policy.trustAfter;
    if (record.quickLeft <= 0 && record.held === undefined) this.#records.delete(account);
  }

  #recordOf(account: string): AccountRecord {
    const known = this.#records.get(account);
    if (known !== undefined) return known;
    const { trustAfter } = this.#policy;
    const record: AccountRecord = {
      level: 0,
      quickLeft: trustAfter,
      overruns: 0,
      held: undefined,
      cancelRelease: () => undefined,
    };
    this.#records.set(account, record);
    return record;
  }

  /** An account that has overrun is not served for a while. */
  #hold(account: string, root: string, { how, words }: { readonly how: string; readonly words: string }): void {
    const { holdBaseMs, holdMaxMs } = this.#policy;
    const record = this.#recordOf(account);
    // One overrun, of which another caller has been told already.
    if (record.held !== undefined) return;
    this.#options.onTrouble({ root, reason: `${how} ${words}`.trim() });
    record.overruns += 1;
    record.held = how;
    const holdMs = Math.min(holdBaseMs * 2 ** (record.overruns - 1), holdMaxMs);
    record.cancelRelease = this.#options.setTimer(holdMs, () => {
      record.held = undefined;
    });
  }

  #lane(childrenMax: number, start: () => Promise<GuardChild>): Lane {
    const { setTimer, onTrouble } = this.#options;
    const { idleMs, restartMs } = this.#policy;
    const onStartFailed = (reason: string) => onTrouble({ root: undefined, reason });
    return new Lane({ childrenMax, start, onStartFailed, setTimer, idleMs, restartMs });
  }

  // ── Processes ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** What closes processes in on this system, found out once, by starting one, which is then there to be used. */
  async #chosen(): Promise<Chosen> {
    this.#means ??= this.#choose();
    try {
      return await this.#means;
    } catch (error) {
      this.#means = undefined;
      throw error;
    }
  }

  async #choose(): Promise<Chosen> {
    const failures: string[] = [];
    for (const means of this.#policy.means) {
      try {
        const first = await this.#startReaderIn(means);
        return { means, failures, first };
      } catch (error) {
        if (this.#isClosed) throw closed();
        if (means === this.#policy.means.at(-1)) throw error;
        failures.push(`${means}: ${messageOf(error)}`);
      }
    }
    throw new RangeError('Nothing is allowed to close the guard in, not even its limits.');
  }

  async #startReader(): Promise<GuardChild> {
    const chosen = await this.#chosen();
    const { first } = chosen;
    chosen.first = undefined;
    return first !== undefined && !first.hasEnded ? first : this.#startReaderIn(chosen.means);
  }

  async #startReaderIn(means: SandboxMeans): Promise<GuardChild> {
    this.#started += 1;
    const scratch = join(absolute(this.#options.scratch), `${this.#started}`);
    return this.#start(means, { type: 'read', scratch });
  }

  async #start(means: SandboxMeans, purpose: Purpose): Promise<GuardChild> {
    const { program, setTimer, monotonic, onTrouble } = this.#options;
    mkdirSync(this.#sessions, { recursive: true });
    const how = launch(means, { program, sessions: this.#sessions }, purpose);
    if (purpose.type === 'read') makeScratch(purpose.scratch, how.user);
    const forget = async () => {
      if (purpose.type === 'read') await rm(purpose.scratch, { recursive: true, force: true });
    };
    let child: GuardChild;
    try {
      child = await GuardChild.start({ launch: how, setTimer, monotonic, startMaxMs: this.#policy.startMaxMs });
    } catch (error) {
      await forget();
      throw error;
    }
    if (purpose.type === 'read') this.#scratches.set(child, purpose.scratch);
    void child.gone
      .then(() => {
        this.#scratches.delete(child);
        return forget();
      })
      .catch((error: unknown) => onTrouble({ root: undefined, reason: messageOf(error) }));
    if (this.#isClosed) child.kill('The host stops.');
    return child;
  }
}

/** What closes the processes in, and why nothing stronger does; and the first of them, until it is used. */
interface Chosen {
  readonly means: SandboxMeans;
  readonly failures: readonly string[];
  first: GuardChild | undefined;
}

/** What became of a job: its value, or how it ended without one. */
type Finished<T> =
  | { readonly type: 'done'; readonly value: T }
  | { readonly type: 'unfinished'; readonly how: string; readonly words: string };

const TOO_MUCH = `The files of a message have at most ${ATTACHMENT_LIMITS.bytesTotalMax / 2 ** 20} MiB together.`;

/** What a process calls its copy of a file. */
const COPY = 'copy';

/** What an account has shown of itself. */
interface AccountRecord {
  /** The lane that it begins in. */
  level: number;
  /** How many quick jobs in a row make it one like all others. */
  quickLeft: number;
  /** How often it overran since. */
  overruns: number;
  /** It is not served for now, and how it overran. */
  held: string | undefined;
  cancelRelease: () => void;
}

function overran(how: string): OutboundRead {
  return { type: 'overran', detail: `Reading outbound.db had to be given up. ${how}` };
}

function makeScratch(path: string, user: number | undefined): void {
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path, { recursive: true, mode: 0o700 });
  if (user !== undefined) chownSync(path, user, user);
}

/**
 * Moves a copy out of the reach of the process that made it, and gives its size; `undefined` when it is too big. An error is
 * the host's own, of its disk. Throws when there is no such copy: the process has said so all the same.
 */
function moved(from: string, to: string, bytesMax: number): number | undefined | Error {
  const { size } = plainFile(from);
  if (size > bytesMax) return undefined;
  try {
    mkdirSync(dirname(to), { recursive: true, mode: 0o700 });
    renameSync(from, to);
  } catch (error) {
    return error instanceof Error ? error : new Error(messageOf(error));
  }
  try {
    return plainFile(to).size;
  } catch (error) {
    // Exchanged in between.
    rmSync(to, { recursive: true, force: true });
    throw error;
  }
}

function plainFile(path: string): { readonly size: number } {
  const stats = lstatSync(path);
  if (!stats.isFile() || stats.nlink !== 1) throw new RangeError('What was copied is no plain file.');
  return stats;
}
