// What files that come from elsewhere are called on disk.
import { beginning } from '@nanoclaw/session-db/text';

/** The name on disk of the file at this position of its message: one component, without surprises, with its ending. */
export function diskName(name: string, position: number): string {
  const safe = name.toWellFormed().replace(/[/\\\p{Cc}]/gu, '_');
  const ending = /\.[A-Za-z0-9]{1,10}$/.exec(safe)?.[0] ?? '';
  const stem = beginning(safe.slice(0, safe.length - ending.length), { max: STEM_BYTES_MAX, unit: 'utf8-bytes' });
  return `${position + 1}-${stem}${ending}`;
}

const STEM_BYTES_MAX = 100;
