/**
 * Errors that nothing caught: whose each is, how often it came, and whether the host may go on after it.
 *
 * The rule. An error on whose way a module of the configuration stands is that module's, be it thrown in its timer, told by an
 * emitter without a listener or rejected without a handler: the host's own work is not interrupted by it, and goes on. So it is
 * after an error that has neither a module nor the host on its way. One that comes from the host's own code has broken off
 * work that nothing takes up again, and what is in memory may be wrong from then on: the program ends in order, and its
 * supervisor starts it again, from what is on disk.
 *
 * Who listens to the process is the program; nothing here does.
 */
import { sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Millis } from '@nanoclaw/session-db';
import { oneLine } from '@nanoclaw/session-db/text';
import { messageOf } from './problem.ts';

/** What is known of the errors of one origin. */
export interface UncaughtRecord {
  /** For people: `channel "desk"`, `driver "journal"`, `the host itself`, or `unknown`. */
  readonly origin: string;
  /** How often one came from there. */
  readonly times: number;
  /** When the last one came, in wall-clock milliseconds. */
  readonly lastAt: Millis;
  /** The message of the last one. */
  readonly error: string;
}

/** `end`: the host may be broken, and the program is to stop it and to end. */
export type AfterUncaught = 'go-on' | 'end';

/** What telling origins apart takes. */
export interface UncaughtOptions {
  /** The folder of the program: everything beneath it that is no module's is the host's own code. */
  readonly program: string;
  /** The data folder: what is beneath it is never the host's own code. */
  readonly data: string;
  /** Wall-clock milliseconds. */
  readonly now: () => Millis;
}

/** Hears of an error with what is known of its origin now. Must not throw. */
export type OnUncaught = (record: UncaughtRecord, error: unknown) => void;

const HOST = 'the host itself';
const UNKNOWN = 'unknown';

/** The errors of one program that nothing caught. */
export class UncaughtErrors {
  readonly #options: UncaughtOptions;
  /** By folder, whose code is in it. */
  readonly #modules = new Map<string, string>();
  /** By error, who was told of it and had to handle it. */
  readonly #told = new WeakMap<object, string>();
  /** By origin. */
  readonly #records = new Map<string, UncaughtRecord>();
  readonly #listeners = new Set<OnUncaught>();

  constructor(options: UncaughtOptions) {
    this.#options = options;
  }

  /** What came so far, by origin. */
  get records(): readonly UncaughtRecord[] {
    return [...this.#records.values()];
  }

  /** Whether one came from the host's own code: its end is a crash, however orderly. */
  get isHostBroken(): boolean {
    return this.#records.has(HOST);
  }

  /** Errors out of code in `folder` (absolute, links followed) are from now on those of `origin`. */
  addModule(origin: string, folder: string): void {
    this.#modules.set(folder, origin);
  }

  /**
   * Calls what `work` does on behalf of `origin`, which has to handle its rejection: an error that it was told of so and left alone
   * is its own, wherever it arose.
   */
  async onBehalfOf<T>(origin: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (typeof error === 'object' && error !== null) this.#told.set(error, origin);
      throw error;
    }
  }

  /** Calls `listener` at each error from now on, until what it gives is disposed of. */
  listen(listener: OnUncaught): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** Notes an error that nothing caught, and says whether the host may go on. Never throws. */
  note(error: unknown): AfterUncaught {
    const origin = this.#originOf(error);
    const times = (this.#records.get(origin)?.times ?? 0) + 1;
    const record = { origin, times, lastAt: this.#options.now(), error: textOf(error) };
    this.#records.set(origin, record);
    for (const listener of this.#listeners) listener(record, error);
    return origin === HOST ? 'end' : 'go-on';
  }

  #originOf(error: unknown): string {
    const told = typeof error === 'object' && error !== null ? this.#told.get(error) : undefined;
    if (told !== undefined) return told;
    const frames = framesOf(error);
    for (const [folder, origin] of this.#modules) if (frames.some((frame) => isIn(frame, folder))) return origin;
    const { program, data } = this.#options;
    return frames.some((frame) => isIn(frame, program) && !isIn(frame, data)) ? HOST : UNKNOWN;
  }
}

/** Whether an error of which there were so many is worth a line in a log: ever fewer, or one in a loop would be all there is in it. */
export function isWorthALine(times: number): boolean {
  return Number.isInteger(Math.log2(times));
}

/** For a line in `status`. A thrown value is anything, also what has no text. */
function textOf(error: unknown): string {
  try {
    return oneLine(messageOf(error), TEXT_MAX);
  } catch {
    return 'something that has no text';
  }
}

const TEXT_MAX = 300;

/** The lines of a stack that name code. */
function framesOf(error: unknown): string[] {
  if (!(error instanceof Error) || typeof error.stack !== 'string') return [];
  // The message comes first and may hold anything.
  const message = String(error.message);
  const start = error.stack.indexOf(message) + message.length;
  return error.stack
    .slice(start)
    .split('\n')
    .filter((line) => /^\s+at /.test(line));
}

function isIn(frame: string, folder: string): boolean {
  return frame.includes(`${folder}${sep}`) || frame.includes(`${pathToFileURL(folder).href}/`);
}
