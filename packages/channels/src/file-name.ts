// Names of files that come from elsewhere: which are taken, and what they are called on disk.

/** What a file system takes, in bytes of UTF-8. */
const NAME_BYTES_MAX = 255;

/** Whether this can be what a person calls a file: 1 to 255 bytes without slashes and control characters, and no dots only. */
export function isFileName(name: string): boolean {
  return name !== '' && Buffer.byteLength(name) <= NAME_BYTES_MAX && !/[/\\\p{Cc}]|^\.{1,2}$/u.test(name);
}

/** The name on disk of the file at this position of its message: one component, without surprises, with its ending. */
export function diskName(name: string, position: number): string {
  const safe = name.toWellFormed().replace(/[/\\\p{Cc}]/gu, '_');
  const ending = /\.[A-Za-z0-9]{1,10}$/.exec(safe)?.[0] ?? '';
  const stem = shortened(safe.slice(0, safe.length - ending.length), STEM_BYTES_MAX);
  return `${position + 1}-${stem}${ending}`;
}

const STEM_BYTES_MAX = 100;

function shortened(text: string, bytesMax: number): string {
  let bytes = 0;
  let end = 0;
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > bytesMax) break;
    end += character.length;
  }
  return text.slice(0, end);
}
