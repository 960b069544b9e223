// Names of files that come from elsewhere: which are taken, and what they are called on disk.
import { beginning } from '@nanoclaw/session-db/text';

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
  const stem = beginning(safe.slice(0, safe.length - ending.length), { max: STEM_BYTES_MAX, unit: 'utf8-bytes' });
  return `${position + 1}-${stem}${ending}`;
}

const STEM_BYTES_MAX = 100;
