/** Runs what comes in over the control socket of a running host. */
import type { Json } from '@nanoclaw/session-db';
import { Problem } from '../errors/index.ts';
import type { ControlRequest } from './control.ts';
import { type CommandContexts, prepare, runPrepared } from './run.ts';
import { commandOf, OPERATOR_COMMANDS } from './table.ts';

/** Runs the command of a request in the operator's name. Rejects with a `Problem`. */
export async function dispatch(
  { command: words, parameters }: ControlRequest,
  { read, write }: CommandContexts,
  onProgress: (line: string) => void,
): Promise<Json> {
  const command = commandOf(words, OPERATOR_COMMANDS);
  if (command === undefined) {
    throw new Problem(
      `This host has no command "${words.join(' ')}"; nothing was done. It may be of another version: restart it.`,
      2,
    );
  }
  return runPrepared(prepare(command, parameters), { read, write: { ...write, onProgress } }, parameters);
}
