/** The commands that the command line does itself, in its own process. Declared like those of the table. */

import { argument, checkedParameters, type Declared, flag, option, Text, whole } from '@nanoclaw/host/operator';
import { z } from 'zod';

/** A command that is done here. */
export type LocalCommand = Pick<Declared, 'path' | 'alias' | 'summary' | 'parameters'> & {
  readonly kind: 'local';
  /** Checks the parameters as they were typed. Throws a `Problem` (exit code 2). */
  prepare(raw: unknown): (machine: Machine) => Promise<number>;
};

/** What of the machine they need; each gives the exit code. */
export interface Machine {
  start(options: { readonly say?: string }): Promise<number>;
  chat(options: { readonly chat: string; readonly history: number }): Promise<number>;
  doctor(): Promise<number>;
  logs(options: { readonly session?: string; readonly lines: number; readonly follow: boolean }): Promise<number>;
  backup(into: string): Promise<number>;
  restore(from: string, session: string | undefined): Promise<number>;
  installService(): Promise<number>;
  completion(shell: Shell): Promise<number>;
}

/** The shells that can be told what may follow. */
const SHELLS = ['bash', 'zsh', 'fish'] as const;
/** A shell that can be told what may follow. */
export type Shell = (typeof SHELLS)[number];

/** The commands that need no table of the host. */
export const LOCAL_COMMANDS: readonly LocalCommand[] = [
  local({
    path: ['start'],
    summary: 'start the host; on a terminal, chat with the agent as well',
    parameters: z.object({
      say: option(Text.exactOptional(), 'start, send one message, print the reply, and stop', { value: 'message' }),
    }),
    run: (machine, options) => machine.start(options),
  }),
  local({
    path: ['chat'],
    summary: 'chat with an agent of the host that is running',
    parameters: z.object({
      chat: argument(Text.default('main'), 'the terminal chat; main when left out'),
      history: option(whole(0, 100).default(10), 'how much of what was said before is shown, 0 to 100 (10)', {
        value: 'n',
      }),
    }),
    run: (machine, options) => machine.chat(options),
  }),
  local({
    path: ['doctor'],
    summary: 'look at what the agents need on this machine, and say what to do',
    parameters: z.object({}),
    run: (machine) => machine.doctor(),
  }),
  local({
    path: ['logs'],
    summary: "show the host's log, or with --session what the last run of a session has printed",
    parameters: z.object({
      session: option(Text.exactOptional(), 'the id of a session, or the beginning of it'),
      lines: option(whole(1, 100_000).default(50), 'how many of the last lines (50)', { value: 'n' }),
      follow: flag('go on with what is written from now on, until Ctrl-C'),
    }),
    run: (machine, options) => machine.logs(options),
  }),
  local({
    path: ['backup'],
    summary: 'save the whole data folder while the host works',
    parameters: z.object({ into: argument(Text, 'a folder that does not exist yet') }),
    run: (machine, { into }) => machine.backup(into),
  }),
  local({
    path: ['restore'],
    summary: 'make a data folder from a backup; or put one session back, with the host stopped',
    parameters: z.object({
      from: argument(Text, 'the folder of the backup'),
      session: option(Text.exactOptional(), 'only this session, by its whole id'),
    }),
    run: (machine, { from, session }) => machine.restore(from, session),
  }),
  local({
    path: ['service', 'install'],
    summary: 'write the file by which this machine starts the host by itself, and say what comes next',
    parameters: z.object({}),
    run: (machine) => machine.installService(),
  }),
  local({
    path: ['completion'],
    summary: 'print the script that teaches a shell to complete these commands',
    parameters: z.object({ shell: argument(z.enum(SHELLS), 'the shell', { choices: SHELLS }) }),
    run: (machine, { shell }) => machine.completion(shell),
  }),
];

function local<Shape extends z.ZodRawShape>(declaration: {
  readonly path: readonly string[];
  readonly summary: string;
  readonly parameters: z.ZodObject<Shape>;
  readonly run: (machine: Machine, parameters: z.output<z.ZodObject<Shape>>) => Promise<number>;
}): LocalCommand {
  const { path, summary, parameters, run } = declaration;
  return {
    kind: 'local',
    path,
    summary,
    parameters,
    prepare: (raw) => {
      const checked = checkedParameters(declaration, raw);
      return (machine) => run(machine, checked);
    },
  };
}
