/** The choices of a question: what the tool, the host and every channel take. Pure. */
import { cut } from './cut.ts';
import { escapeHidden } from './hidden.ts';
import { isTitle } from './names.ts';

/** How many choices a question has at most, and how long each is. */
export interface ChoiceLimits {
  /** How many. */
  readonly choicesMax: number;
  /** Of each, in UTF-16 units. */
  readonly lengthMax: number;
}

/** What an agent may ask. */
const LIMITS: ChoiceLimits = { choicesMax: 20, lengthMax: 200 };

/**
 * What is wrong with the choices of a question, as one sentence; `undefined`: nothing. No two may read alike, because the
 * answer may be one of them in words. `limits` are those of an agent's question where they are left out.
 */
export function choicesProblem(
  choices: readonly string[],
  { choicesMax, lengthMax }: ChoiceLimits = LIMITS,
): string | undefined {
  if (choices.length > choicesMax)
    return `A question has at most ${choicesMax} choices, and this one has ${choices.length}.`;
  if (choices.length === 0 || choices.some((choice) => choice.trim() === '')) {
    return 'A question has choices, and none of them is empty.';
  }
  const long = choices.find((choice) => choice.length > lengthMax);
  if (long !== undefined) {
    return `The choice ${shown(long)} has ${long.length} characters, and one has at most ${lengthMax}.`;
  }
  const strange = choices.find((choice) => !isTitle(choice.trim(), lengthMax));
  if (strange !== undefined)
    return `The choice ${shown(strange)} has more than one line, or marks that cannot be seen.`;
  const read = new Map<string, string>();
  for (const choice of choices) {
    const same = choice.normalize('NFKC').trim().toLowerCase();
    const before = read.get(same);
    if (before !== undefined) return `The choices ${shown(before)} and ${shown(choice)} read alike.`;
    read.set(same, choice);
  }
  return undefined;
}

function shown(choice: string): string {
  return `"${escapeHidden(cut(choice, 60))}"`;
}
