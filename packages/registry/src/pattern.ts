/**
 * Regular expressions of operators, run over texts of strangers, bounded in time.
 *
 * JavaScript's own engine backtracks: `(a+)+$` over forty characters takes minutes, and nothing can interrupt it. RE2
 * syntax has no look-around and no back-references and runs in time proportional to pattern × text, so bounding both
 * bounds the time. Measured with the limits below on a slow core: 40 ms for the worst pattern found (a counted
 * repetition that defeats the automaton's cache), well under 1 ms for what people write.
 */

import { beginning } from '@nanoclaw/session-db/text';
import { RE2JS } from 're2js';

const PATTERN_LENGTH_MAX = 200;
const PROGRAM_SIZE_MAX = 250;
const TEXT_LENGTH_MAX = 4_096;

/**
 * True when the pattern is found anywhere in the first 4,096 characters of the text; `undefined` when the pattern is not
 * acceptable (see {@link patternProblem}). Case matters unless the pattern begins with `(?i)`. The pattern `.` alone
 * means "always", also for an empty text such as a bare attachment.
 */
export function patternMatches(pattern: string, text: string): boolean | undefined {
  if (pattern === '.') return true;
  const compiled = compile(pattern);
  if (typeof compiled === 'string') return undefined;
  return compiled.test(beginning(text, TEXT_LENGTH_MAX));
}

/** Why a pattern is not acceptable, as a sentence for its author; `undefined` when it is. */
export function patternProblem(pattern: string): string | undefined {
  const compiled = compile(pattern);
  return typeof compiled === 'string' ? compiled : undefined;
}

function compile(pattern: string): RE2JS | string {
  if (pattern === '') return 'The pattern is empty. Use "." to engage on every message.';
  if (pattern.length > PATTERN_LENGTH_MAX) {
    return `The pattern has ${pattern.length} characters; at most ${PATTERN_LENGTH_MAX} are allowed.`;
  }
  let compiled: RE2JS;
  try {
    compiled = RE2JS.compile(pattern);
  } catch (error) {
    // The library's error classes are many and say one thing: this pattern cannot be used, and where it goes wrong.
    const detail = error instanceof Error ? error.message : String(error);
    return `The pattern cannot be used: ${detail}. It must be in RE2 syntax (no look-around, no back-references).`;
  }
  if (compiled.programSize() > PROGRAM_SIZE_MAX) {
    return 'The pattern is too costly to run on every message. Use fewer or smaller counted repetitions.';
  }
  return compiled;
}
