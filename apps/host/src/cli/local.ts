/** The commands that the command line runs itself, in its own process. Declared like those of the host's table. */

import {
  argument,
  type CommandDeclaration,
  checkedParameters,
  flag,
  option,
  Text,
  whole,
} from '@nanoclaw/host/operator';
import { z } from 'zod';

/** A command that the command line runs itself. */
export type LocalCommand = Pick<CommandDeclaration, 'path' | 'alias' | 'summary' | 'parameters'> & {
  readonly kind: 'local';
  /** Checks the parameters as they were typed. Throws a `Problem` (exit code 2). */
  prepare(raw: unknown): (actions: LocalActions) => Promise<number>;
};

/** What the local commands do; each resolves with the exit code. */
export interface LocalActions {
  start(options: { readonly say?: string }): Promise<number>;
  chat(options: { readonly chat: string; readonly history: number }): Promise<number>;
  doctor(): Promise<number>;
  logs(options: { readonly session?: string; readonly lines: number; readonly follow: boolean }): Promise<number>;
  backup(into: string): Promise<number>;
  restore(from: string, session: string | undefined): Promise<number>;
  installService(): Promise<number>;
  completion(shell: Shell): Promise<number>;
}

/** The shells for which there is a completion script. */
const SHELLS = ['bash', 'zsh', 'fish'] as const;
/** A shell for which there is a completion script. */
export type Shell = (typeof SHELLS)[number];

/** The local commands, in the order of the help. */
export const LOCAL_COMMANDS: readonly LocalCommand[] = [
  local({
    path: ['start'],
    summary: 'start the host; on a terminal, chat with the agent as well',
    parameters: z.object({
      say: option(Text.exactOptional(), 'start, send one message, print the reply, and stop', { value: 'message' }),
    }),
    run: (actions, options) => actions.start(options),
  }),
  local({
    path: ['chat'],
    summary: 'chat with an agent of the running host',
    parameters: z.object({
      chat: argument(Text.default('main'), 'the terminal chat; main when left out'),
      history: option(whole(0, 100).default(10), 'how many earlier messages are shown, 0 to 100 (10)', {
        value: 'n',
      }),
    }),
    run: (actions, options) => actions.chat(options),
  }),
  local({
    path: ['doctor'],
    summary: 'check the data folder and what the agents need on this machine, and say what to do',
    parameters: z.object({}),
    run: (actions) => actions.doctor(),
  }),
  local({
    path: ['logs'],
    summary: "show the host's log, or with --session the output of a session's last run",
    parameters: z.object({
      session: option(Text.exactOptional(), 'the id of a session, or the beginning of it'),
      lines: option(whole(1, 100_000).default(50), 'the number of last lines (50)', { value: 'n' }),
      follow: flag('keep showing new lines, until Ctrl-C'),
    }),
    run: (actions, options) => actions.logs(options),
  }),
  local({
    path: ['backup'],
    summary: 'back up the whole data folder while the host runs',
    parameters: z.object({ into: argument(Text, 'a folder that does not exist yet') }),
    run: (actions, { into }) => actions.backup(into),
  }),
  local({
    path: ['restore'],
    summary: 'restore a data folder from a backup; or one session, with the host stopped',
    parameters: z.object({
      from: argument(Text, 'the folder of the backup'),
      session: option(Text.exactOptional(), 'only this session, by its whole id'),
    }),
    run: (actions, { from, session }) => actions.restore(from, session),
  }),
  local({
    path: ['service', 'install'],
    summary: 'write the service file that starts the host with this machine, and print the next steps',
    parameters: z.object({}),
    run: (actions) => actions.installService(),
  }),
  local({
    path: ['completion'],
    summary: 'print the completion script of a shell',
    parameters: z.object({ shell: argument(z.enum(SHELLS), 'the shell', { choices: SHELLS }) }),
    run: (actions, { shell }) => actions.completion(shell),
  }),
];

function local<Shape extends z.ZodRawShape>(declaration: {
  readonly path: readonly string[];
  readonly summary: string;
  readonly parameters: z.ZodObject<Shape>;
  readonly run: (actions: LocalActions, parameters: z.output<z.ZodObject<Shape>>) => Promise<number>;
}): LocalCommand {
  const { path, summary, parameters, run } = declaration;
  return {
    kind: 'local',
    path,
    summary,
    parameters,
    prepare: (raw) => {
      const checked = checkedParameters(declaration, raw);
      return (actions) => run(actions, checked);
    },
  };
}
