/** The command line of `nanoclaw`: words in, a command out. Pure. */
import { parseArgs } from 'node:util';
import { configHelp } from './config.js';
import { messageOf, Problem } from './problem.js';

export type Command =
  | { readonly type: 'help' }
  | { readonly type: 'version' }
  | { readonly type: 'doctor'; readonly data: string | undefined }
  | { readonly type: 'start'; readonly say: string | undefined; readonly data: string | undefined };

/** Reads the words after the program's name. Throws a `Problem` (exit code 2) for what it does not know. */
export function parseCommand(words: readonly string[]): Command {
  const { values, positionals } = parsed(words);
  if (values.help === true) return { type: 'help' };
  if (values.version === true) return { type: 'version' };
  const [name = 'start', ...rest] = positionals;
  if (name === 'doctor' && rest.length === 0 && values.say === undefined) return { type: 'doctor', data: values.data };
  if (name !== 'start' || rest.length > 0) {
    const unknown = name === 'start' ? rest[0] : name;
    throw new Problem(`There is no command "${unknown}"; nothing was started. See --help.`, 2);
  }
  if (values.say?.trim() === '') {
    throw new Problem('--say needs a message that is not empty; nothing was started. Example: --say "hello".', 2);
  }
  return { type: 'start', say: values.say, data: values.data };
}

function parsed(words: readonly string[]) {
  try {
    return parseArgs({
      args: [...words],
      allowPositionals: true,
      options: {
        say: { type: 'string' },
        data: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
        version: { type: 'boolean' },
      },
    });
  } catch (error) {
    // Node's sentence names the option; what follows its first full stop is advice about its own API.
    const sentence = messageOf(error).split(/\.\s|\. ?$/)[0];
    throw new Problem(`${sentence}; nothing was started. See --help.`, 2, { cause: error });
  }
}

/** The text of `--help`. */
export function help(): string {
  return `nanoclaw runs AI agents, each in a place of its own, and lets you talk to them.

Usage:
  nanoclaw start                  start the host; with a terminal, chat with the agent
  nanoclaw start --say "hello"    start, send one message, print the reply, stop
  nanoclaw doctor                 look at what the agents need on this machine, and say what to do

Options:
  --data DIR    the data folder (NANOCLAW_DATA, else ./data)
  --help        this text
  --version     the version

Configuration, in <data folder>/config.json or the environment (default in parentheses):
${configHelp()}

Exit codes:
  0 done   1 failed   2 wrong command line or configuration   3 another host has the data folder
  4 the data folder cannot be used   5 the agent could not be started or did not answer
`;
}
