/** The terminal's end of a conversation: one message and its reply, or a prompt. */
import { createInterface } from 'node:readline/promises';
import { stripVTControlCharacters } from 'node:util';
import { MessageRefused, TerminalClient, type TerminalMessage } from '@nanoclaw/channels';
import { MAIN_CHAT } from '../defaults.js';
import { Problem } from '../problem.js';

export interface ChatOptions {
  readonly socket: string;
  readonly newId: () => string;
}

/**
 * Sends one message and gives the text of its reply. Rejects with a `Problem` (exit code 5) when `unanswered` resolves with
 * the reason why no reply will come now, or when no reply comes within `answerMs` milliseconds; the message is kept and answered at the next
 * start.
 */
export async function sayOnce(
  text: string,
  options: ChatOptions & { readonly unanswered: Promise<string>; readonly answerMs: number },
): Promise<string> {
  const id = options.newId();
  const reply = Promise.withResolvers<string>();
  const client = await TerminalClient.connect(options.socket, {
    chat: MAIN_CHAT,
    newId: options.newId,
    onMessage: (message) => {
      if (message.inReplyTo === id) reply.resolve(printable(message));
    },
  });
  const late = setTimeout(() => {
    reply.reject(
      new Problem(
        `No reply came within ${options.answerMs / 1000} s. The message is kept and will be answered at the next start; ` +
          'raise NANOCLAW_ANSWER_MS to wait longer.',
        5,
      ),
    );
  }, options.answerMs);
  try {
    await client.send(text, id);
    return await Promise.race([reply.promise, options.unanswered.then(refuse)]);
  } finally {
    clearTimeout(late);
    await client.close();
  }
}

function refuse(reason: string): never {
  throw new Problem(`${reason} The message is kept and will be tried again at the next start.`, 5);
}

/** A prompt on this terminal, until the person ends it (Ctrl-D, Ctrl-C, `/quit`) or `signal` aborts. */
export async function converse(options: ChatOptions & { readonly signal: AbortSignal }): Promise<void> {
  const lines = createInterface({ input: process.stdin, output: process.stdout, prompt: '> ' });
  const client = await TerminalClient.connect(options.socket, {
    chat: MAIN_CHAT,
    newId: options.newId,
    onMessage: (message) => {
      // Over the prompt that stands there, and then the prompt again with what was typed so far.
      process.stdout.write(`\r\u001b[K${printable(message)}\n`);
      lines.prompt(true);
    },
  });
  options.signal.addEventListener('abort', () => lines.close(), { once: true });
  void client.closed.then(() => lines.close());
  lines.on('SIGINT', () => lines.close());
  lines.prompt();
  for await (const line of lines) {
    if (line.trim() === '/quit') break;
    if (line.trim() !== '') await sendOrTell(client, line);
    lines.prompt();
  }
  lines.close();
  await client.close();
}

/** A message that the host refuses is told, and the conversation goes on. */
async function sendOrTell(client: TerminalClient, line: string): Promise<void> {
  try {
    await client.send(line);
  } catch (error) {
    if (!(error instanceof MessageRefused)) throw error;
    process.stdout.write(`(not sent: ${error.message})\n`);
  }
}

/** The text without escape sequences and other control characters: an agent must not drive the terminal. */
function printable(message: TerminalMessage): string {
  return stripVTControlCharacters(message.text).replace(/(?![\n\t])\p{Cc}/gu, '');
}
