/**
 * Notices when the other side has committed. Each side touches a small file of its own after its commit, and the
 * other looks at it. Watching the database itself would fire before the commit, several times, and send the reader
 * into the writer's lock.
 *
 * A bell may be missed; what is lost is then one poll of the change token, never a message. The other side may be hostile:
 * however often it rings and whatever it makes of its folder, the work per second has a limit, and nothing throws.
 */
import { closeSync, type FSWatcher, lstatSync, openSync, utimesSync, watch } from 'node:fs';
import { errorCode } from './plain-file.ts';
import type { Millis, SetTimer } from './time.ts';

/**
 * Rings the bell in one's own folder, after the commit it announces. Each ring leaves a time of its own, `now` or the
 * next millisecond that is free, so that two within one tick of the file system's clock still look like two.
 *
 * Never throws for the file system: what is announced is on disk, and a bell that cannot be rung costs one poll.
 */
export function ring(bell: string, now: Millis): void {
  try {
    const last = lstatSync(bell, { throwIfNoEntry: false });
    touch(bell, last === undefined ? now : Math.max(now, Math.round(last.mtimeMs) + 1));
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
  }
}

export interface DoorbellOptions {
  readonly setTimer: SetTimer;
  /** The poll right after a change, in milliseconds: a second change within Bun's watch throttle is seen by it. */
  readonly pollMinMs?: number;
  /** The poll when nothing has happened for a while: what a lost notification costs at most. */
  readonly pollMaxMs?: number;
  /** The bell rings without end and is listened to once a second from now on. Once for each such time. Must not throw. */
  readonly onFlood?: () => void;
}

/**
 * How many rings are heard in one stretch of time, which begins with the first of them; the rest are one ring at its end.
 * While every stretch is full the next one is twice as long. One answer rings several times
 * (claim, progress, reply) and a session at work gives one every 20 ms or so: with five rings a stretch it was not heard most of
 * the time, and answers took up to 0.9 s.
 */
const RINGS_MAX = 50;
const STRETCH_MIN_MS = 250;
const STRETCH_MAX_MS = 1_000;

/**
 * Listens for the other side's commits: calls `onRing` within milliseconds of each, at least once for any number of
 * commits that fall together. A file notification where it can be had, and always a poll of the change token, every
 * `pollMinMs` (5) after a change and slower by half each time up to `pollMaxMs` (1000). A bell that rings all the time is
 * heard fifty times a second.
 *
 * `onRing` runs on a timer or in the watcher's callback and must not throw.
 */
export class Doorbell implements Disposable {
  readonly #paths: { readonly database: string; readonly bell: string };
  readonly #onRing: () => void;
  readonly #options: DoorbellOptions;
  readonly #pollMinMs: number;
  readonly #pollMaxMs: number;
  #token: string | undefined;
  #pollMs: number;
  #cancelPoll: () => void = () => undefined;
  #watcher: FSWatcher | undefined;
  /** In the stretch that runs; 0: none does. */
  #rings = 0;
  #stretchMs = STRETCH_MIN_MS;
  #cancelStretch: () => void = () => undefined;

  constructor(
    paths: { readonly database: string; readonly bell: string },
    onRing: () => void,
    options: DoorbellOptions,
  ) {
    this.#paths = paths;
    this.#onRing = onRing;
    this.#options = options;
    this.#pollMinMs = options.pollMinMs ?? 5;
    this.#pollMaxMs = options.pollMaxMs ?? 1_000;
    this.#token = changeToken(paths);
    this.#pollMs = this.#pollMinMs;
    this.#listen();
  }

  /** Stops listening. `onRing` is not called again. */
  [Symbol.dispose](): void {
    this.#cancelStretch();
    this.#cancelStretch = () => undefined;
    this.#cancelPoll();
    this.#cancelPoll = () => undefined;
    this.#unwatch();
  }

  #listen(): void {
    this.#watcher ??= watchBell(
      this.#paths.bell,
      () => this.#look(),
      () => this.#unwatch(),
    );
    this.#cancelPoll();
    this.#cancelPoll = this.#options.setTimer(this.#pollMs, () => this.#look());
  }

  /** Polled or notified, the token decides: a change that a poll has seen is notified too, and rings once. */
  #look(): void {
    const token = changeToken(this.#paths);
    const ringing = token !== this.#token;
    this.#token = token;
    this.#pollMs = ringing ? this.#pollMinMs : Math.min(this.#pollMs * 1.5, this.#pollMaxMs);
    if (ringing) this.#countRing();
    if (this.#rings >= RINGS_MAX) this.#deafen();
    else this.#listen();
    if (ringing) this.#onRing();
  }

  #countRing(): void {
    this.#rings += 1;
    if (this.#rings === 1) this.#cancelStretch = this.#options.setTimer(this.#stretchMs, () => this.#endStretch());
  }

  /**
   * Hears nothing more until the stretch is over. The watch has to be given up for that: as long as there is more to report it
   * reports on and on, and the event loop stands still, however little is done about each report.
   */
  #deafen(): void {
    this.#unwatch();
    this.#cancelPoll();
  }

  #endStretch(): void {
    const isFull = this.#rings >= RINGS_MAX;
    const before = this.#stretchMs;
    this.#rings = 0;
    this.#stretchMs = isFull ? Math.min(before * 2, STRETCH_MAX_MS) : STRETCH_MIN_MS;
    if (this.#stretchMs === STRETCH_MAX_MS && before < STRETCH_MAX_MS) this.#options.onFlood?.();
    if (isFull) this.#look();
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }
}

/**
 * Watches the bell alone; `undefined` where it is not there yet, is not a plain file, or no watch can be had (128
 * inotify instances per user is a common limit). The poll then does the work.
 */
function watchBell(path: string, onChange: () => void, onLost: () => void): FSWatcher | undefined {
  try {
    if (lstatSync(path, { throwIfNoEntry: false })?.isFile() !== true) return undefined;
    const watcher = watch(path, { persistent: false }, (event) => (event === 'rename' ? onLost() : onChange()));
    watcher.on('error', onLost);
    return watcher;
  } catch (error) {
    if (errorCode(error) !== undefined) return undefined;
    throw error;
  }
}

/**
 * What changes whenever the other side has committed or rung: compare two tokens for equality. Made by `lstat` alone,
 * some microseconds, without opening SQLite. (A container that renames, removes and lists in its folder in a tight loop did
 * not make it longer than its share of the processor.) `undefined`: there is no such file yet. A folder that cannot be looked
 * into has a token too, so that it is noticed when it can; what is wrong with it is for who reads it to say.
 *
 * The bell's modification time is one that each ring has for itself. The database's own times may be too coarse to tell
 * two commits in one tick apart; they are for a commit whose process died before it could ring.
 *
 * The header's change counter is not in it. It would tell such commits apart too, but outside a read transaction it
 * may be that of a commit that is then rolled back and come again; and to read it is to open the file, which the host
 * does with a container's only where it can be killed, and to close it, which drops this process's locks on it. Within
 * a read it does its part, in deciding whether the structure must be checked anew.
 */
export function changeToken(paths: { readonly database: string; readonly bell: string }): string | undefined {
  try {
    const database = lstatSync(paths.database, { bigint: true, throwIfNoEntry: false });
    if (database === undefined) return undefined;
    const bell = lstatSync(paths.bell, { bigint: true, throwIfNoEntry: false });
    return `${database.ino}:${database.size}:${database.ctimeNs}:${bell?.ctimeNs ?? 0}:${bell?.mtimeNs ?? 0}`;
  } catch (error) {
    const code = errorCode(error);
    if (code === undefined) throw error;
    return code;
  }
}

/** Sets a file's times to `now`, making the file where it is missing. */
export function touch(path: string, now: Millis): void {
  const seconds = now / 1000;
  try {
    utimesSync(path, seconds, seconds);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    closeSync(openSync(path, 'a', 0o644));
    utimesSync(path, seconds, seconds);
  }
}
