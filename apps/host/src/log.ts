/** The log: JSON lines, never the contents of a message. */
import { type Logger, pino } from 'pino';
import type { Config } from './config.js';

export type { Logger } from 'pino';

/** A log into `file`, or on standard error when there is none: a prompt on the terminal must not be written over. */
export function openLog(level: Config['logLevel'], file: string | undefined): Logger {
  const destination = file === undefined ? pino.destination(2) : pino.destination({ dest: file, sync: true });
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
}
