/** JSON that people write: what is wrong in it is told by line and column, which `JSON.parse` does for some mistakes only. */
import { inexactness } from '@nanoclaw/session-db/protocol';

/**
 * Parses JSON. Throws a `SyntaxError` whose message is where the text stops being JSON: `line 3, column 5`; or what in it
 * would become something else when it is read, such as a key that is there twice.
 */
export function parseJson(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const lines = text.slice(0, mistakeIn(text)).split('\n');
    throw new SyntaxError(`line ${lines.length}, column ${(lines.at(-1)?.length ?? 0) + 1}`, { cause: error });
  }
  const inexact = inexactness(text);
  if (inexact !== undefined) throw new SyntaxError(inexact.replace(/\.$/, ''));
  return value;
}

const SPACE = /[ \t\r\n]*/y;
const STRING = /"(?:[^"\\\p{Cc}]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"/uy;
const SCALAR = new RegExp(`${STRING.source}|-?(?:0|[1-9]\\d*)(?:\\.\\d+)?(?:[eE][+-]?\\d+)?|true|false|null`, 'uy');

/** How far a text is JSON: where the first character is that may not be there. */
function mistakeIn(text: string): number {
  let at = 0;
  const pass = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    const isThere = pattern.test(text);
    if (isThere) at = pattern.lastIndex;
    return isThere;
  };
  const passSign = (sign: string): boolean => {
    pass(SPACE);
    if (text[at] !== sign) return false;
    at += 1;
    return true;
  };
  const passList = (passItem: () => boolean, end: string): boolean => {
    if (passSign(end)) return true;
    do if (!passItem()) return false;
    while (passSign(','));
    return passSign(end);
  };
  const passMember = (): boolean => {
    pass(SPACE);
    return pass(STRING) && passSign(':') && passValue();
  };
  const passValue = (): boolean => {
    if (passSign('{')) return passList(passMember, '}');
    if (passSign('[')) return passList(passValue, ']');
    return pass(SCALAR);
  };
  if (passValue()) pass(SPACE);
  return at;
}
