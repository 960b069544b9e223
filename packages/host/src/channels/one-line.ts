/** Other people's words in what the host says: names, reasons, excerpts. Pure. */

/** A text on one line, without control characters and marks that turn it, cut to so many characters with an ellipsis. */
export function oneLine(text: string, lengthMax: number): string {
  const line = text.toWellFormed().replace(UNSHOWN, ' ').trim();
  const characters = [...line];
  return characters.length <= lengthMax ? line : `${characters.slice(0, lengthMax - 1).join('')}…`;
}

/** Control characters, and those that show nothing or turn a line; the two that join letters are part of words. */
const UNSHOWN = /(?:(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}])+/gu;
