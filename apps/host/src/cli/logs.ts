/** `nanoclaw logs`: the last lines of a log file, and what is written to it from then on. */
import { closeSync, existsSync, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { DataFolder } from '@nanoclaw/host/data';
import { Problem, systemCode } from '@nanoclaw/host/errors';
import { stripControls } from '@nanoclaw/host/operator';

/** How a log is shown. */
export interface LogOptions {
  /** How many of the last lines are shown first. */
  readonly lines: number;
  /** Whether lines that are written later are shown too. */
  readonly follow: boolean;
  /** As they were written, instead of as a person reads them. */
  readonly isRaw: boolean;
  readonly write: (text: string) => void;
  /** Resolves after the time, or at once when the signal aborts. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly signal: AbortSignal;
}

/** Shows the end of a log, and with `follow` what is written later until the signal aborts, also after the file was rotated. */
export async function showLog(file: string, options: LogOptions): Promise<void> {
  const { lines, follow, isRaw, write, sleep, signal } = options;
  using log = new Tail(file);
  const show = (line: string) => write(`${isRaw ? line : readable(line)}\n`);
  for (const line of log.read().slice(-lines)) show(line);
  if (!follow) return;
  while (!signal.aborted) {
    await sleep(LOOK_EVERY_MS, signal);
    for (const line of log.read()) show(line);
  }
}

const LOOK_EVERY_MS = 250;
/** Of a long file only its end is read: this many bytes. */
const READ_BYTES_MAX = 2 ** 24;

/**
 * The log of a session's last run. Throws a `Problem` (exit code 6) when there is no such session, or none that has run, and
 * 2 when several begin like that.
 */
export function runLog(data: DataFolder, session: string): string {
  const found = agentsOf(data).flatMap((agent) =>
    names(join(data.root, 'sessions', agent))
      .filter((id) => id.startsWith(session))
      .map((id) => ({ id, logs: join(data.session(agent, id), 'host', 'logs') })),
  );
  const [only] = found.filter(({ id }) => id === session).concat(found);
  if (only === undefined || (found.length > 1 && only.id !== session)) {
    const what = found.length > 1 ? `${found.length} sessions begin with` : 'There are no files of a session';
    throw new Problem(`${what} ${JSON.stringify(session)}. See \`nanoclaw sessions list\`.`, found.length > 1 ? 2 : 6);
  }
  const logs = names(only.logs)
    .filter((name) => name.endsWith('.log'))
    .map((name) => join(only.logs, name))
    .toSorted((a, b) => statSync(a).mtimeMs - statSync(b).mtimeMs);
  const last = logs.at(-1);
  if (last === undefined) throw new Problem(`The session ${only.id} has not run yet, so it has no output.`, 6);
  return last;
}

/** The host's own log. Throws a `Problem` (exit code 6) when it has written none. */
export function hostLog(data: DataFolder): string {
  if (existsSync(data.log)) return data.log;
  throw new Problem(`There is no log ${data.log}: no host has run there. Name the right data folder with --data.`, 6);
}

/** Lines of a file as they come. */
class Tail implements Disposable {
  readonly #file: string;
  #descriptor: number;
  #at: number;
  #rest = '';

  constructor(file: string) {
    this.#file = file;
    this.#descriptor = openSync(file, 'r');
    this.#at = Math.max(0, fstatSync(this.#descriptor).size - READ_BYTES_MAX);
  }

  /** What has become whole lines since the last time. */
  read(): string[] {
    const lines = this.#toEnd();
    if (!this.#isPutAside()) return lines;
    closeSync(this.#descriptor);
    this.#descriptor = openSync(this.#file, 'r');
    this.#at = 0;
    return [...lines, ...this.#toEnd()];
  }

  [Symbol.dispose](): void {
    closeSync(this.#descriptor);
  }

  #toEnd(): string[] {
    const buffer = Buffer.alloc(64 * 1024);
    const chunks: Buffer[] = [];
    for (;;) {
      const count = readSync(this.#descriptor, buffer, 0, buffer.length, this.#at);
      if (count === 0) break;
      this.#at += count;
      chunks.push(Buffer.from(buffer.subarray(0, count)));
    }
    const lines = `${this.#rest}${Buffer.concat(chunks).toString('utf8')}`.split('\n');
    this.#rest = lines.pop() ?? '';
    return lines;
  }

  #isPutAside(): boolean {
    const named = statSync(this.#file, { throwIfNoEntry: false });
    return named !== undefined && named.ino !== fstatSync(this.#descriptor).ino;
  }
}

function agentsOf(data: DataFolder): string[] {
  return names(join(data.root, 'sessions'));
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}

/** A line of the host's log as `time level message, details`; any other line without what drives a terminal. */
function readable(line: string): string {
  const entry = parsed(line);
  if (entry === undefined) return stripControls(line);
  const { time, level, msg, ...details } = entry;
  const rest = Object.entries(details).flatMap(([name, value]) => detailTexts(name, value));
  return stripControls(
    [time, LEVELS[String(level)] ?? level, msg, ...rest].filter((part) => part !== undefined).join(' '),
  );
}

/** `name=value`, with what is within an object or a list as `name.within=value`; quotes only where a value has spaces. */
function detailTexts(name: string, value: unknown): readonly string[] {
  if (typeof value === 'object' && value !== null) {
    return Object.entries(value).flatMap(([key, within]) => detailTexts(`${name}.${key}`, within));
  }
  return [`${name}=${typeof value === 'string' && /^\S+$/.test(value) ? value : JSON.stringify(value)}`];
}

/** pino's numbers. */
const LEVELS: Readonly<Record<string, string>> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warn',
  50: 'error',
  60: 'fatal',
};

function parsed(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && 'level' in value ? { ...value } : undefined;
  } catch {
    // Not the host's own: a library's words, or an agent's.
    return undefined;
  }
}
