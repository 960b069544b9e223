/**
 * Operator commands beside a host that is down.
 *
 * What only looks changes nothing on disk, not even the side files of a database: the registry is read from a private copy,
 * because SQLite cannot open a file with a write-ahead log without making one, and a session's file where it lies, unless
 * its host died in the middle of a commit. What changes something holds the lease on the data folder meanwhile.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { openRegistry, type Registry, RegistryError } from '@nanoclaw/registry';
import { copyAsOfOneMoment, takeLease } from '../data/index.ts';
import { Problem } from '../errors/index.ts';
import type { Changing, Reading } from './contexts.ts';
import { OwnSessionFiles, type ReaderFor, SessionViews } from './session-files.ts';

/** What both need besides the data folder. */
export interface OfflineOptions
  extends Pick<Changing, 'data' | 'config' | 'timeZone' | 'version' | 'now' | 'newId' | 'newSecret' | 'onProgress'> {
  /** Where private copies are made; each for as long as it is used. */
  readonly scratch: string;
  readonly readerFor: ReaderFor;
  readonly pid: number;
}

/** Calls `use` with what only looks. Throws a `Problem` (exit code 4) when there is nothing to look at. */
export async function lookingAt<T>(options: OfflineOptions, use: (operator: Reading) => Promise<T>): Promise<T> {
  const { data, scratch } = options;
  refuseMissing(data.root, data.registry);
  const copies = mkdtempSync(join(scratch, 'nanoclaw-'));
  try {
    const file = join(copies, 'registry.db');
    copyAsOfOneMoment([data.registry, `${data.registry}-wal`], [file, `${file}-wal`]);
    await using registry = await opened(file, options);
    return await use({ ...options, registry, sessions: new SessionViews(options), live: undefined });
  } finally {
    rmSync(copies, { recursive: true, force: true });
  }
}

/** Calls `use` with what may change things, while it holds the lease. Throws as `takeLease` does. */
export async function changing<T>(options: OfflineOptions, use: (operator: Changing) => Promise<T>): Promise<T> {
  const { data, now, pid } = options;
  refuseMissing(data.root, data.registry);
  using _lease = takeLease(data.root, { pid, since: new Date(now()) });
  await using registry = await opened(data.registry, options);
  return await use({
    ...options,
    registry,
    sessions: new OwnSessionFiles(options),
    actor: 'operator',
    live: undefined,
  });
}

/** Opens the registry, or a copy of it: what is wrong is said of the registry itself. */
async function opened(file: string, { data, now, newId }: OfflineOptions): Promise<Registry> {
  try {
    return await openRegistry({ file, now, newId });
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error;
    throw new Problem(error.message.replaceAll(file, data.registry), 4, { cause: error });
  }
}

function refuseMissing(root: string, registry: string): void {
  if (existsSync(registry)) return;
  const what = existsSync(root) ? `${root} is no data folder of a host` : `There is no data folder ${root}`;
  throw new Problem(
    `${what}; nothing was made or changed. Name the right one with --data, or start a host there with ` +
      '`nanoclaw start`, which makes it.',
    4,
  );
}
