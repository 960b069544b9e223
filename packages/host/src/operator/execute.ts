/** How the command line gets the answer to an operator command: from the running host, else from the files themselves. */
import type { Json, JsonObject } from '@nanoclaw/session-db';
import { Problem } from '../errors/index.ts';
import type { OperatorCommand } from './command.ts';
import { controlSocket } from './control.ts';
import { askHost } from './control-client.ts';
import { changing, lookingAt, type OfflineOptions } from './offline.ts';
import { notRunning, prepare, runChanging, runReading } from './run.ts';

/** What answering needs. */
export interface AnswerOptions extends OfflineOptions {
  readonly sleep: (ms: number) => Promise<void>;
}

/**
 * Does a command and gives its result. Throws a `Problem`. While somebody else holds the data folder and does not answer
 * (another command, or a host that is only starting), it is asked again for some seconds.
 */
export async function answer(command: OperatorCommand, raw: JsonObject, options: AnswerOptions): Promise<Json> {
  const { data, onProgress, sleep } = options;
  for (let tries = 1; ; tries += 1) {
    const request = { command: command.path, parameters: raw };
    const asked = await askHost(controlSocket(data.root), request, onProgress);
    if (asked.type === 'answered') return asked.value;
    const prepared = prepare(command, raw);
    if (prepared.kind === 'reads') return lookingAt(options, (reading) => runReading(prepared, reading));
    if (prepared.kind === 'live') throw notRunning(data.root, command.path);
    try {
      return await changing(options, (operator) => runChanging(prepared, operator, raw));
    } catch (error) {
      const isHeld = error instanceof Problem && error.exitCode === 3;
      if (!isHeld || tries === TRIES_MAX) throw error;
      await sleep(WAIT_MS);
    }
  }
}

const TRIES_MAX = 30;
const WAIT_MS = 100;
