/**
 * Marks that a reader does not see, or that turn the line around them: control characters, marks of direction, blanks without
 * width, separators of lines that only some programs know. Fine in a message; in a name, a table or a log they hide and
 * forge. Pure.
 */
import { beginning, type TextLimit, textLength } from './cut.ts';

/**
 * Controls, formats, line separators and whatever is ignorable, but not what joins letters and emoji where there is
 * something to join, nor the mark that chooses how an emoji looks.
 */
const HIDDEN =
  /(?:(?<![\p{Extended_Pictographic}\p{Emoji_Modifier}\p{M}])(?<!(?!\p{Script=Latin})\p{L})[\u200c-\u200d]|(?<![\p{S}\p{N}#*])[\ufe0e-\ufe0f]|(?![\u200c-\u200d]|[\ufe0e-\ufe0f])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}])+/gu;

/** Whether a text has a mark that its reader would not see. Line breaks and tabs are such, too. */
export function hasHidden(text: string): boolean {
  return text.search(HIDDEN) !== -1;
}

/** The text with every hidden mark written out as `\u202e`, line breaks and tabs too unless they are kept: for tables and logs. */
export function escapeHidden(text: string, keeps: 'nothing' | 'line breaks' = 'nothing'): string {
  return text
    .toWellFormed()
    .replace(HIDDEN, (marks) => marks.replace(keeps === 'line breaks' ? /[^\n\t]/g : /[^]/g, written));
}

/** One UTF-16 unit, as JSON has it. */
function written(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/**
 * The text on one line, without hidden marks, cut to so many characters with an ellipsis: for people's words within what
 * the host says.
 */
export function oneLine(text: string, lengthMax: number): string {
  // What has been read of a long text shows enough of it.
  const line = beginning(text, 8 * lengthMax + 64)
    .replace(HIDDEN, ' ')
    .trim();
  const limit: TextLimit = { max: lengthMax, unit: 'code-points' };
  const isWhole = textLength(line, 'code-points') <= lengthMax && text.length <= 8 * lengthMax + 64;
  return isWhole ? line : `${beginning(line, { ...limit, max: lengthMax - 1 })}…`;
}
