/** The reference of all commands as Markdown, made from the table. Pure. */
import { EXIT_CODES } from '@nanoclaw/host/errors';
import {
  type ParameterDescription,
  type ParsableCommand,
  parameterLabel,
  parametersOf,
  type Topics,
} from '@nanoclaw/host/operator';

/** The text of `COMMANDS.md`. `absent`: by topic, what of it there is no command for. */
export function reference(commands: readonly ParsableCommand[], topics: Topics, absent: Topics): string {
  const single = commands.filter(({ path }) => path.length === 1);
  const titles = [...new Set(commands.filter(({ path }) => path.length > 1).map(({ path }) => path[0] ?? ''))];
  const parts = titles.map((title) => {
    const own = commands.filter(({ path }) => path.length > 1 && path[0] === title);
    const note = absent[title] === undefined ? [] : [absent[title]];
    return [`## ${title}: ${topics[title] ?? ''}`, ...note, ...own.map(entry)].join('\n\n');
  });
  const codes = Object.entries(EXIT_CODES).map(([code, meaning]) => `| ${code} | ${meaning} |`);
  return `${[INTRODUCTION, single.map(entry).join('\n\n'), ...parts].join('\n\n')}

## Exit codes

| code | meaning |
|---|---|
${codes.join('\n')}
`;
}

const INTRODUCTION = `# Commands of nanoclaw

Made from the table of commands: change it there, and run \`vitest run cli-reference -u\` in \`apps/host\`. Every command takes
\`--data DIR\` and \`--json\`. Ids may be cut to their beginning, where it is the only one.`;

function entry(command: ParsableCommand): string {
  const parameters = parametersOf(command);
  const usage = ['nanoclaw', ...command.path, ...parameters.map(usageOf)].join(' ');
  const alias = command.alias === undefined ? '' : ` Also \`${command.alias}\`.`;
  const lines = parameters.map(
    (parameter) => `- \`${parameterLabel(parameter.name, parameter)}\`: ${helpOf(parameter)}`,
  );
  const head = `### ${command.path.join(' ')}\n\n${sentence(command.summary)}.${alias}\n\n\`${usage}\``;
  return lines.length === 0 ? head : `${head}\n\n${lines.join('\n')}`;
}

function usageOf(parameter: ParameterDescription): string {
  const name = parameterLabel(parameter.name, parameter);
  const text = parameter.place === 'option' ? `${name} ${(parameter.value || parameter.name).toUpperCase()}` : name;
  return parameter.isOptional ? `[${text}]` : text;
}

function helpOf({ help, choices }: ParameterDescription): string {
  const named = choices.length === 0 ? help : `${help} (${choices.map((choice) => `\`${choice}\``).join(', ')})`;
  return `${named}.`;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}
