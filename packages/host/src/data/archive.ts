/**
 * What an agent wrote, in an archive by `tar`, which follows no link and opens nothing but plain files; the host reads none of
 * it. Whatever an agent has made of its folder concerns that folder alone.
 */

import { rmSync } from 'node:fs';
import { beginning, ending } from '@nanoclaw/session-db/text';
import { execa } from 'execa';
import { Problem } from '../errors/index.ts';

/** Of what `tar` says of one folder so many lines are told. */
const LINES_MAX = 10;
/** Of a longer line the beginning and the end: a path of an agent's may be endless, and the reason stands after it. */
const LINE_LENGTH_MAX = 300;

/**
 * Archives the folder `path` of `root` in the file `into`, links as links. Gives one sentence for each thing that was left out;
 * where no archive that can be read came about, there is none, and the only sentence says so.
 */
export async function archive(root: string, path: string, into: string): Promise<readonly string[]> {
  // A file of holes is as small in the archive as on the disk. GNU's has to be told; others look for holes by themselves.
  const { stdout: version } = await execa('tar', ['--version']);
  const sparse = version.includes('GNU tar') ? ['--sparse'] : [];
  const { exitCode, said } = await tar(['-c', ...sparse, '-f', into, '-C', root, '--', path]);
  // 1: some files differ, because an agent wrote meanwhile. 2: something could not be read, and all the rest was taken.
  const leftOut = exitCode === 0 ? [] : said.map((line) => `Of ${path} was left out: ${line}`);
  const names = await namesIn(into);
  if (names.isWhole) return leftOut;
  rmSync(into, { force: true });
  return [`${path} was left out, because no archive of it could be made: ${said[0] ?? `tar ended with ${exitCode}`}`];
}

/**
 * Unpacks an archive of the folder `path` below `root`. Gives one sentence for each thing that was left out. Throws a `Problem`
 * (exit code 2) when it brings anything that is not in that folder: nothing was unpacked then.
 */
export async function unpack(archived: string, path: string, root: string): Promise<readonly string[]> {
  const { isWhole, foreign } = await namesIn(archived, path);
  if (foreign !== undefined) {
    throw new Problem(`${archived} has ${JSON.stringify(foreign)}, which no backup has; nothing was restored.`, 2);
  }
  if (!isWhole) return [`${path} was left out, because its archive in the backup cannot be read.`];
  const { exitCode, said } = await tar(['-xf', archived, '-C', root]);
  return exitCode === 0 ? [] : said.map((line) => `Of ${path} was left out: ${line}`);
}

/** Runs `tar` and gives how it ended, and the first of what it said. */
async function tar(words: readonly string[]): Promise<{ exitCode: number | undefined; said: readonly string[] }> {
  const running = execa('tar', words, { reject: false, buffer: false, stdin: 'ignore', stdout: 'ignore' });
  const said: string[] = [];
  let more = 0;
  for await (const line of running.iterable({ from: 'stderr' })) {
    if (/Exiting with failure status/.test(line)) continue;
    if (said.length < LINES_MAX) said.push(shortened(line.replace(/^tar: /, '')));
    else more += 1;
  }
  if (more > 0) said.push(`${more} more lines of this kind`);
  return { exitCode: (await running).exitCode, said };
}

/** Whether an archive can be read to its end, and the first name in it that is not below `path`. */
async function namesIn(archived: string, path?: string): Promise<{ isWhole: boolean; foreign: string | undefined }> {
  const listing = execa('tar', ['-tf', archived], { reject: false, buffer: false, stdin: 'ignore', stderr: 'ignore' });
  let foreign: string | undefined;
  for await (const name of listing.iterable()) {
    if (path !== undefined && !isBelow(name, path)) foreign ??= shortened(name);
  }
  return { isWhole: (await listing).exitCode === 0, foreign };
}

function shortened(line: string): string {
  if (line.length <= LINE_LENGTH_MAX) return line;
  const half = LINE_LENGTH_MAX / 2;
  return `${beginning(line, half)} … ${ending(line, half)}`;
}

function isBelow(name: string, path: string): boolean {
  return (name === path || name.startsWith(`${path}/`)) && !name.split('/').includes('..');
}
