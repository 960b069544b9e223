/** What the control socket of a running host does with a request. */
import type { Json } from '@nanoclaw/session-db';
import { Problem } from '../errors/index.ts';
import type { ControlRequest } from './control.ts';
import { type Operators, prepare, run } from './run.ts';
import { commandOf, OPERATOR_COMMANDS } from './table.ts';

/** Does what is asked, in the operator's name. Throws a `Problem`. */
export async function dispatch(
  { command: words, parameters }: ControlRequest,
  { reading, changing }: Operators,
  onProgress: (line: string) => void,
): Promise<Json> {
  const command = commandOf(words, OPERATOR_COMMANDS);
  if (command === undefined) {
    throw new Problem(
      `This host has no command "${words.join(' ')}"; nothing was done. It may be of another version: restart it.`,
      2,
    );
  }
  return run(prepare(command, parameters), { reading, changing: { ...changing, onProgress } }, parameters);
}
