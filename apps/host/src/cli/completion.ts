/** Completion of the commands in a shell, from the table. */
import { RootCommand, script } from '@bomb.sh/tab';
import { kebabCase, type ParsableCommand, parametersOf, type Topics } from '@nanoclaw/host/operator';
import type { Shell } from './local.ts';

/**
 * Prints, on standard output, the script for a shell. `program` is the command that the script runs, word by word: a checkout has no
 * `nanoclaw` in the path of a shell.
 */
export function printCompletion(shell: Shell, program: readonly string[]): void {
  const words = program.map(inQuotes).join(' ');
  if (shell === 'bash') process.stdout.write(bashScript(words));
  else script(shell, 'nanoclaw', words);
}

/**
 * A script of our own for bash: the library's needs functions of the package bash-completion, which many machines have
 * not, and names constants that cannot be set twice in one shell, as other programs with that library do. The line is cut at
 * blanks, because bash's own words end at the colon of `terminal:main`.
 */
function bashScript(program: string): string {
  return `# bash completion for nanoclaw
__nanoclaw_complete() {
  local line=\${COMP_LINE:0:COMP_POINT} words offer
  read -ra words <<< "$line"
  # The last word is the one being typed: an empty one after a blank.
  [[ $line == *[[:space:]] ]] && words+=('')
  COMPREPLY=()
  while IFS=$'\\t' read -r offer _; do
    [[ $offer != :* && $offer == "\${words[\${#words[@]} - 1]}"* ]] && COMPREPLY+=("$offer")
  done < <(${program} complete -- "\${words[@]:1}" 2> /dev/null)
}
complete -o default -F __nanoclaw_complete nanoclaw
`;
}

function inQuotes(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/** Prints, on standard output, what may follow the words, as the script wants it. The last word is the one being typed. */
export function printContinuations(
  words: readonly string[],
  commands: readonly ParsableCommand[],
  topics: Topics,
): void {
  completions(commands, topics).parse([...words]);
}

function completions(commands: readonly ParsableCommand[], topics: Topics): RootCommand {
  const root = new RootCommand();
  root.option('data', 'the data folder').option('json', 'print the result as JSON').option('help', 'print the help');
  const begun = new Set(commands.filter(({ path }) => path.length > 1).map(({ path }) => path[0] ?? ''));
  for (const word of begun) root.command(word, topics[word] ?? '');
  for (const command of commands) {
    const names = [command.path, ...(command.alias ? [[...command.path.slice(0, -1), command.alias]] : [])];
    for (const path of names) {
      const made = root.command(path.join(' '), command.summary);
      for (const { name, place, help, choices } of parametersOf(command)) {
        const offer = (complete: (value: string, description: string) => void) => {
          for (const choice of choices) complete(choice, '');
        };
        if (place === 'argument') made.argument(name, offer);
        else if (place === 'flag') made.option(kebabCase(name), help);
        else made.option(kebabCase(name), help, offer);
      }
    }
  }
  return root;
}
