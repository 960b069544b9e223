/**
 * The command line of `nanoclaw`: words in, a command with its raw parameters out. The parser, the help of every level and
 * the suggestions for what was mistyped are made from the table of commands. Pure.
 */
import { CommanderError, Option, Command as Parser } from 'commander';
import { EXIT_CODES, Problem } from '../errors/index.ts';
import { type CommandDeclaration, kebabCase, type ParameterDescription, parametersOf } from './command.ts';

/** What of a command the parser needs to know; commands of an app's own are declared with it too. */
export type ParsableCommand = Pick<CommandDeclaration, 'path' | 'alias' | 'summary' | 'parameters'>;

/** What a command line asks for. */
export type ParsedCommandLine<Command extends ParsableCommand> =
  /** `isAsked`: the help was asked for; otherwise a word is missing. */
  | { readonly type: 'help'; readonly text: string; readonly isAsked: boolean }
  | { readonly type: 'version' }
  | ({ readonly type: 'run'; readonly command: Command; readonly raw: RawParameters } & GlobalOptions);

/** The parameters as they were typed, by their names. */
export type RawParameters = { readonly [name: string]: string | boolean | readonly string[] };

interface GlobalOptions {
  /** The data folder, if it was named. */
  readonly data: string | undefined;
  readonly isJson: boolean;
}

/** What the commands of a first word, such as `groups`, are about: by that word. */
export type Topics = Readonly<Record<string, string>>;

/**
 * Parses the words after the program's name; without a command among them it is `start`. `notes` end the help of the whole.
 * Throws a `Problem` (exit code 2) for what it does not know.
 */
export function parseCommandLine<Command extends ParsableCommand>(
  words: readonly string[],
  commands: readonly Command[],
  topics: Topics,
  notes = '',
): ParsedCommandLine<Command> {
  let request: ParsedCommandLine<Command> | undefined;
  let text = '';
  const output = { writeOut: (part: string) => void (text += part), writeErr: (part: string) => void (text += part) };
  const program = parser(commands, topics, notes, output, (command, raw) => {
    request = { type: 'run', command, raw, ...globalOptions(program) };
  });
  try {
    program.parse(
      withCommand(
        words,
        parser(commands, topics, notes, output, () => undefined),
      ),
      { from: 'user' },
    );
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === 'commander.version') return { type: 'version' };
    if (error.code === 'commander.helpDisplayed') return { type: 'help', text, isAsked: true };
    if (error.code === 'commander.help') return { type: 'help', text, isAsked: false };
    const see = error.code === 'commander.unknownCommand' ? availableVerbs(program, words) : undefined;
    throw new Problem(sentence(error.message, see), 2, { cause: error });
  }
  return request ?? { type: 'help', text: program.helpInformation(), isAsked: false };
}

/** The commands that there are of what the words are about; `undefined` when they are about nothing that is known. */
function availableVerbs(program: Parser, words: readonly string[]): string | undefined {
  const [about] = program.parseOptions([...words]).operands;
  const of = program.commands.find((each) => each.name() === about);
  const names = of?.commands.map((each) => [each.name(), ...each.aliases()].join(' or ')) ?? [];
  return names.length === 0 ? undefined : `\`nanoclaw ${about}\` has ${names.join(', ')}.`;
}

/** `start` in front where no command was named. */
function withCommand(words: readonly string[], program: Parser): readonly string[] {
  if (words.some((word) => ['--help', '-h', '--version'].includes(word))) return words;
  return program.parseOptions([...words]).operands.length === 0 ? ['start', ...words] : words;
}

function parser<Command extends ParsableCommand>(
  commands: readonly Command[],
  topics: Topics,
  notes: string,
  output: { writeOut(part: string): void; writeErr(part: string): void },
  onCommand: (command: Command, raw: RawParameters) => void,
): Parser {
  const program = new Parser('nanoclaw')
    .description('nanoclaw runs AI agents, each in a place of its own, and lets you talk to them.')
    .usage('[command] [options]')
    .option('--data <dir>', 'the data folder (NANOCLAW_DATA, else ./data)')
    .option('--json', 'print the result as JSON')
    .version('', '--version', 'print the version')
    .helpOption('-h, --help', 'print this help; after a command, the help for it')
    .helpCommand(false)
    .exitOverride()
    .configureOutput({ ...output, getOutHelpWidth: () => HELP_WIDTH, getErrHelpWidth: () => HELP_WIDTH })
    .addHelpText('after', `\n${notes}${exitCodeHelp()}`);
  for (const command of commands) {
    const parent = command.path.slice(0, -1).reduce((of, word) => topic(of, word, topics), program);
    parent.addCommand(leaf(command, (raw) => onCommand(command, raw)).copyInheritedSettings(parent));
  }
  return program;
}

const HELP_WIDTH = 100;

function topic(parent: Parser, word: string, topics: Topics): Parser {
  const existing = parent.commands.find((each) => each.name() === word);
  if (existing) return existing;
  return parent
    .command(word)
    .description(topics[word] ?? '')
    .helpCommand(false);
}

function leaf(command: ParsableCommand, onCommand: (raw: RawParameters) => void): Parser {
  const name = command.path.at(-1) ?? '';
  const parameters = parametersOf(command);
  const parsed = new Parser(name).description(command.summary).allowExcessArguments(false);
  if (command.alias !== undefined) parsed.alias(command.alias);
  const inPlace = parameters.filter(({ place }) => place === 'argument');
  for (const parameter of inPlace) parsed.argument(placeholder(parameter), helpOf(parameter));
  for (const parameter of parameters.filter(({ place }) => place !== 'argument')) parsed.addOption(optionOf(parameter));
  return parsed.addHelpText('after', `\n${exitCodeHelp()}`).action(() => {
    const given = inPlace.flatMap(({ name: of }, at) => {
      const word = parsed.args[at];
      return word === undefined ? [] : [[of, word] as const];
    });
    const options: Readonly<Record<string, RawParameters[string] | undefined>> = parsed.opts();
    const named = Object.entries(options).flatMap(([of, value]) => (value === undefined ? [] : [[of, value] as const]));
    onCommand(Object.fromEntries([...named, ...given]));
  });
}

function optionOf(parameter: ParameterDescription): Option {
  const name = `--${kebabCase(parameter.name)}`;
  if (parameter.place === 'flag') return new Option(name, parameter.help);
  const made = new Option(`${name} <${parameter.value || kebabCase(parameter.name)}>`, helpOf(parameter));
  if (parameter.isRepeatable) {
    made.argParser((value: string, before: readonly string[] | undefined) => [...(before ?? []), value]);
  }
  return made.makeOptionMandatory(!parameter.isOptional);
}

function placeholder({ name, isOptional }: ParameterDescription): string {
  return isOptional ? `[${kebabCase(name)}]` : `<${kebabCase(name)}>`;
}

function helpOf({ help, choices, isRepeatable }: ParameterDescription): string {
  const notes = [choices.length > 0 ? choices.join(', ') : '', isRepeatable ? 'may be repeated' : ''].filter(Boolean);
  return notes.length === 0 ? help : `${help} (${notes.join('; ')})`;
}

function globalOptions(program: Parser): GlobalOptions {
  const { data, json } = program.opts<{ data?: string; json?: boolean }>();
  return { data, isJson: json === true };
}

/** Commander's `error: …` with its suggestion on a line of its own, as one sentence that says what to do. */
function sentence(message: string, see = 'See --help.'): string {
  const [what = '', suggestion] = message.replace(/^error: /, '').split('\n');
  const clause = what.replace(/\.$/, '').replaceAll("'", '"');
  const meant = suggestion === undefined ? '' : ` ${suggestion.replace(/^\(|\)$/g, '')}`;
  return `${clause.charAt(0).toUpperCase()}${clause.slice(1)}; nothing was done.${meant} ${see}`;
}

function exitCodeHelp(): string {
  const lines = Object.entries(EXIT_CODES).map(([code, meaning]) => `  ${code}  ${meaning}`);
  return `Exit codes:\n${lines.join('\n')}`;
}
