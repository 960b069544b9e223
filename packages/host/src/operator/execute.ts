/** Executes an operator command for the command line: by the running host, else on the files themselves. */
import type { Json, JsonObject } from '@nanoclaw/session-db';
import { Problem } from '../errors/index.ts';
import type { OperatorCommand } from './command.ts';
import { controlSocket } from './control.ts';
import { sendControlRequest } from './control-client.ts';
import { type OfflineOptions, withReadContext, withWriteContext } from './offline.ts';
import { notRunning, prepare, runRead, runWrite } from './run.ts';

/** What executing a command needs. */
export interface ExecuteOptions extends OfflineOptions {
  /** Resolves after so many milliseconds. */
  readonly sleep: (ms: number) => Promise<void>;
}

/**
 * Executes a command and gives its result. Rejects with a `Problem`. While another process holds the data folder and does
 * not answer (another command, or a host that is only starting), it is tried again for some seconds.
 */
export async function execute(command: OperatorCommand, raw: JsonObject, options: ExecuteOptions): Promise<Json> {
  const { data, onProgress, sleep } = options;
  for (let tries = 1; ; tries += 1) {
    const request = { command: command.path, parameters: raw };
    const response = await sendControlRequest(controlSocket(data.root), request, onProgress);
    if (response.type === 'answered') return response.value;
    const prepared = prepare(command, raw);
    if (prepared.kind === 'reads') return withReadContext(options, (context) => runRead(prepared, context));
    if (prepared.kind === 'live') throw notRunning(data.root, command.path);
    try {
      return await withWriteContext(options, (context) => runWrite(prepared, context, raw));
    } catch (error) {
      const isHeld = error instanceof Problem && error.exitCode === 3;
      if (!isHeld || tries === TRIES_MAX) throw error;
      await sleep(WAIT_MS);
    }
  }
}

const TRIES_MAX = 30;
const WAIT_MS = 100;
