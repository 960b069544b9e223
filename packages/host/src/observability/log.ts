/** The log: JSON lines in a file of bounded size, and on standard error for a daemon. Never the contents of a message. */
import { renameSync, statSync } from 'node:fs';
import { escapeHidden } from '@nanoclaw/session-db/text';
import { type Logger, multistream, pino } from 'pino';
import { cannotBeWritten } from '../errors/index.ts';

export type { Logger } from 'pino';

/** What goes into a log: this level and all above it; `silent`: nothing. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** An open log. */
export interface Log {
  /** Writes to the log; lines are on disk when its call returns. */
  readonly logger: Logger;
  /** Begins a new file where the present one has grown big; the one before it is kept, and no older one. */
  rotate(): void;
}

/** The size from which a file is put aside, in bytes. */
const FILE_BYTES_MAX = 16 * 2 ** 20;

/** How much waits at most to be written, in bytes: what comes beyond that while a disk is full is not kept. */
const UNWRITTEN_BYTES_MAX = 2 ** 20;

/**
 * A log into `file`, and on standard error as well if `isOnStderr`: where a prompt is on the terminal, it must not be
 * written over. Throws a `Problem` (exit code 4) when the file cannot be written.
 */
export function openLog(level: LogLevel, file: string, isOnStderr: boolean): Log {
  // Synchronous: what was logged before a crash is what explains it.
  const destination = openedFile(file);
  const streams = [destination, ...(isOnStderr ? [pino.destination({ dest: 2, maxLength: UNWRITTEN_BYTES_MAX })] : [])];
  for (const stream of streams) stream.on('error', keepOn);
  return {
    logger: pino(
      { level, base: null, timestamp: pino.stdTimeFunctions.isoTime },
      multistream(streams.map((stream) => ({ level: 'trace', stream: withoutHidden(stream) }))),
    ),
    rotate: () => {
      if (statSync(file).size < FILE_BYTES_MAX) return;
      renameSync(file, `${file}.1`);
      destination.reopen();
    },
  };
}

/** Writes lines of JSON in which hidden marks stand as JSON's own escapes: the same values, and nothing that turns a line. */
function withoutHidden(stream: { write(line: string): unknown }) {
  return {
    write(line: string): void {
      stream.write(`${escapeHidden(line.trimEnd())}\n`);
    },
  };
}

function openedFile(file: string) {
  try {
    return pino.destination({ dest: file, sync: true, maxLength: UNWRITTEN_BYTES_MAX });
  } catch (error) {
    throw cannotBeWritten(`The log ${file}`, error);
  }
}

/** Where a disk is full the host goes on without a log: what was not written is written along with a later line. */
function keepOn(): void {}
