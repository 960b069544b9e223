/** Chat in a terminal: one message and its reply, or a prompt. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { createInterface, type Interface } from 'node:readline/promises';
import {
  MessageRefused,
  TerminalClient,
  type TerminalMessage,
  type TerminalPast,
  terminalText,
} from '@nanoclaw/channels/terminal';
import { MAIN_CHAT } from '@nanoclaw/host';
import { messageOf, Problem } from '@nanoclaw/host/errors';
import { stripControls } from '@nanoclaw/host/operator';

/** What both forms of the chat need. */
export interface ChatOptions {
  /** The path of the terminal channel's socket. */
  readonly socket: string;
  /** A new id for each message. */
  readonly newId: () => string;
}

/**
 * Sends one message and gives the text of its reply. Rejects with a `Problem` (exit code 5) when `unanswered` resolves with
 * the reason why no reply will come now, or when no reply comes within `answerMs` milliseconds; the message is kept and
 * answered at the next start.
 */
export async function sendAndWait(
  text: string,
  options: ChatOptions & { readonly unanswered: Promise<string>; readonly answerMs: number },
): Promise<string> {
  const id = options.newId();
  const reply = Promise.withResolvers<string>();
  const client = await TerminalClient.connect(options.socket, {
    chat: MAIN_CHAT,
    newId: options.newId,
    onMessage: (message) => {
      if (message.inReplyTo === id) reply.resolve(stripControls(terminalText(message)));
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

/** What a prompt needs. */
export interface ConversationOptions extends ChatOptions {
  readonly chat: string;
  /** How many of the last messages are shown first. */
  readonly history: number;
  /** A folder that remembers what was shown, so that messages that come meanwhile are shown the next time. */
  readonly memory: string;
  readonly input: NodeJS.ReadableStream;
  readonly output: NodeJS.WritableStream;
  readonly signal: AbortSignal;
}

/**
 * Runs a prompt until the user ends it (Ctrl-D, Ctrl-C, `/quit`), the signal aborts or the connection ends. Rejects with a
 * `Problem` (exit code 9) when no host listens on the socket.
 */
export async function converse(options: ConversationOptions): Promise<void> {
  const { input, output, signal } = options;
  const lines = createInterface({ input, output, prompt: PROMPT });
  // From the start: lines that come before the loop below are lost.
  const typed = lines[Symbol.asyncIterator]();
  const screen = new Screen(lines, output);
  let question: OpenQuestion | undefined;
  const client = await connected({
    ...options,
    onMessage: (message) => {
      if (message.kind === 'question') question = message;
      screen.show(terminalText(message));
    },
    onTyping: () => screen.showTyping(),
  }).catch((error: unknown) => {
    lines.close();
    throw error;
  });
  const close = () => lines.close();
  signal.addEventListener('abort', close, { once: true });
  const watched = untilClosed(client, screen, close);
  lines.on('SIGINT', close);
  try {
    if (options.history > 0) for (const past of await client.history(options.history)) screen.show(pastText(past));
    screen.prompt();
    for await (const line of typed) {
      const parsed = parseLine(line, question);
      if (parsed.type === 'quit') break;
      if (parsed.type === 'choice') question = undefined;
      await showRefusal(() => carryOut(parsed, client, screen), screen);
      screen.prompt();
    }
  } finally {
    signal.removeEventListener('abort', close);
    screen.close();
    lines.close();
    await client.close();
    await watched;
  }
}

/** Ends the conversation with its connection. */
async function untilClosed(client: TerminalClient, screen: Screen, close: () => void): Promise<void> {
  const ending = await client.closed;
  if (ending.type !== 'closed') screen.show(`(The connection ended: ${ending.reason})`);
  close();
}

const PROMPT = '> ';
const HELP = `/send FILE [text]   send a file
/history [n]        show the last messages
/quit               leave (so does Ctrl-D)
A question is answered with the number or the wording of a choice. Everything else is a message.`;

/** A question that has not been answered from here. */
type OpenQuestion = Extract<TerminalMessage, { kind: 'question' }>;

/** What a line at the prompt means. */
export type PromptLine =
  | { readonly type: 'nothing' | 'quit' | 'help' }
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'file'; readonly path: string; readonly text: string | undefined }
  | { readonly type: 'history'; readonly count: number }
  | { readonly type: 'choice'; readonly questionId: string; readonly choice: number };

/** Parses a line, while a question may be open. Pure. A command of the agent's, such as `/clear`, is a text. */
export function parseLine(
  line: string,
  question: Pick<OpenQuestion, 'questionId' | 'choices'> | undefined,
): PromptLine {
  const text = line.trim();
  if (text === '') return { type: 'nothing' };
  if (text === '/quit') return { type: 'quit' };
  if (text === '/?') return { type: 'help' };
  const history = /^\/history(?:\s+(\d{1,3}))?$/.exec(text);
  if (history) return { type: 'history', count: Math.min(100, Math.max(1, Number(history[1] ?? 20))) };
  const file = /^\/send\s+(?:"([^"]+)"|(\S+))(?:\s+(.+))?$/.exec(text);
  if (file) return { type: 'file', path: file[1] ?? file[2] ?? '', text: file[3] };
  const choice = question === undefined ? -1 : choiceIndex(text, question.choices);
  if (question !== undefined && choice !== -1) return { type: 'choice', questionId: question.questionId, choice };
  return { type: 'text', text: line };
}

function choiceIndex(text: string, choices: readonly string[]): number {
  const at = /^\d{1,2}$/.test(text) ? Number(text) - 1 : choices.indexOf(text);
  return at >= 0 && at < choices.length ? at : -1;
}

async function carryOut(
  said: Exclude<PromptLine, { type: 'quit' }>,
  client: TerminalClient,
  screen: Screen,
): Promise<void> {
  switch (said.type) {
    case 'nothing':
      return;
    case 'help':
      screen.show(HELP);
      return;
    case 'text':
      await client.send(said.text);
      return;
    case 'choice':
      await client.choose(said.questionId, said.choice);
      return;
    case 'history':
      for (const past of await client.history(said.count)) screen.show(pastText(past));
      return;
    case 'file': {
      const path = resolve(said.path);
      if (!existsSync(path)) screen.show(`(not sent: there is no file ${path})`);
      else await client.sendFiles([path], said.text);
    }
  }
}

/** Shows what the host refuses, or what cannot be read here, and goes on. */
async function showRefusal(action: () => Promise<void>, screen: Screen): Promise<void> {
  try {
    await action();
  } catch (error) {
    const isSystems = error instanceof Error && 'code' in error;
    if (!(error instanceof MessageRefused) && !isSystems) throw error;
    screen.show(`(not sent: ${error.message})`);
  }
}

async function connected(
  options: ConversationOptions & { onMessage: (message: TerminalMessage) => void; onTyping: () => void },
): Promise<TerminalClient> {
  const { socket, chat, newId, memory, onMessage, onTyping } = options;
  try {
    return await TerminalClient.connect(socket, { chat, newId, catchUp: { folder: memory }, onMessage, onTyping });
  } catch (error) {
    throw new Problem(`${messageOf(error)} \`nanoclaw start\` starts one.`, 9, { cause: error });
  }
}

function pastText(past: TerminalPast): string {
  if (past.from === 'bot') return terminalText(past.message);
  return [`${PROMPT}${past.text}`, ...past.files.map((name) => `${PROMPT}[file ${name}]`)].join('\n');
}

/** How long the typing indicator is shown after the last sign of it, in milliseconds. */
const TYPING_MS = 8_000;

/** What is shown above the prompt, with what was typed so far below it. */
class Screen {
  readonly #lines: Interface;
  readonly #output: NodeJS.WritableStream;
  #typing: NodeJS.Timeout | undefined;
  #isOver = false;

  constructor(lines: Interface, output: NodeJS.WritableStream) {
    this.#lines = lines;
    this.#output = output;
    lines.once('close', () => {
      this.#isOver = true;
    });
  }

  show(text: string): void {
    this.#endTyping();
    this.#output.write(`\r\u001b[K${stripControls(text)}\n`);
    this.prompt();
  }

  /** Shows the prompt, with what was typed so far, unless the input has ended. */
  prompt(): void {
    if (!this.#isOver) this.#lines.prompt(true);
  }

  showTyping(): void {
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => {
      this.#endTyping();
      this.prompt();
    }, TYPING_MS);
    this.#lines.setPrompt(`(writing …) ${PROMPT}`);
    this.prompt();
  }

  close(): void {
    this.#endTyping();
  }

  #endTyping(): void {
    clearTimeout(this.#typing);
    this.#typing = undefined;
    this.#lines.setPrompt(PROMPT);
  }
}
