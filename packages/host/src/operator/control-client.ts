/** The command line's end of the control socket. */
import { connect } from 'node:net';
import type { Json } from '@nanoclaw/session-db';
import { BrokenLine, lines } from '@nanoclaw/session-db/text';
import { z } from 'zod';
import { EXIT_CODES, type ExitCode, messageOf, Problem, systemCode } from '../errors/index.ts';
import type { ControlRequest } from './control.ts';

/** The longest line of an answer, in bytes: a list of everything there is. */
const REPLY_BYTES_MAX = 256 * 2 ** 20;

/** The response to a request. */
export type ControlResponse =
  | { readonly type: 'answered'; readonly value: Json }
  /** No host listens on the socket. Nothing was done. */
  | { readonly type: 'no-host' };

/**
 * Sends a request to the running host. Rejects with the host's refusal as a `Problem` with its exit code; and with exit
 * code 1 when the host ends the connection without an answer, because then it is not known whether it was done.
 */
export async function sendControlRequest(
  socketPath: string,
  request: ControlRequest,
  onProgress: (line: string) => void,
): Promise<ControlResponse> {
  const socket = connect({ path: socketPath });
  const connected = Promise.withResolvers<void>();
  let failure: unknown;
  socket.once('connect', connected.resolve).on('error', (error) => {
    failure = error;
    connected.reject(error);
  });
  try {
    await connected.promise;
    socket.write(`${JSON.stringify(request)}\n`);
    for await (const line of lines(socket, REPLY_BYTES_MAX)) {
      const reply = Reply.parse(JSON.parse(line));
      if (reply.type === 'progress') onProgress(reply.line);
      else if (reply.type === 'result') return { type: 'answered', value: reply.value };
      else throw new Problem(reply.message, reply.exitCode);
    }
    throw new Problem(
      `The host ended the connection without an answer${failure === undefined ? '' : ` (${messageOf(failure)})`}. The ` +
        'command may have been done or not: check before you try again.',
      1,
    );
  } catch (error) {
    if (['ENOENT', 'ECONNREFUSED', 'ENOTDIR'].includes(systemCode(error) ?? '')) return { type: 'no-host' };
    if (error instanceof Problem) throw error;
    if (error instanceof z.ZodError || error instanceof SyntaxError || error instanceof BrokenLine) {
      throw new Problem(
        'The answer of the host is not understood: the host and the command line must have the same version.',
        1,
      );
    }
    throw new Problem(`The host on ${socketPath} cannot be reached: ${messageOf(error)}. Nothing was done.`, 1, {
      cause: error,
    });
  } finally {
    socket.destroy();
  }
}

const Reply = z.discriminatedUnion('type', [
  z.object({ type: z.literal('progress'), line: z.string() }),
  z.object({ type: z.literal('result'), value: z.json() }),
  z.object({
    type: z.literal('refusal'),
    message: z.string(),
    exitCode: z.custom<ExitCode>((code) => typeof code === 'number' && code !== 0 && code in EXIT_CODES),
  }),
]);
