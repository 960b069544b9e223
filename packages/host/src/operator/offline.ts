/**
 * Operator commands beside a host that is down.
 *
 * A command that only reads changes nothing on disk, not even the side files of a database: the registry is read from a copy,
 * because SQLite cannot open a file with a write-ahead log without making one, and a session's file where it lies, unless
 * its host died in the middle of a commit. A command that changes something holds the lease on the data folder meanwhile.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { openRegistry, type Registry, RegistryError } from '@nanoclaw/registry';
import { copyAsOfOneMoment, takeLease } from '../data/index.ts';
import { Problem } from '../errors/index.ts';
import type { ReadContext, WriteContext } from './contexts.ts';
import { OwnSessionFiles, type ReaderFor, SessionViews } from './session-files.ts';

/** What commands beside a host that is down need. */
export interface OfflineOptions
  extends Pick<
    WriteContext,
    'data' | 'config' | 'timeZone' | 'version' | 'now' | 'newId' | 'newSecret' | 'onProgress'
  > {
  /** Where private copies are made; each for as long as it is used. */
  readonly scratch: string;
  /** Reads what a session's runner wrote. */
  readonly readerFor: ReaderFor;
  /** Of this process, for the lease. */
  readonly pid: number;
}

/** Calls `use` with a context that only reads. Rejects with a `Problem` (exit code 4) when there is no data folder. */
export async function withReadContext<T>(
  options: OfflineOptions,
  use: (context: ReadContext) => Promise<T>,
): Promise<T> {
  const { data, scratch } = options;
  refuseMissing(data.root, data.registry);
  const copies = mkdtempSync(join(scratch, 'nanoclaw-'));
  try {
    const file = join(copies, 'registry.db');
    copyAsOfOneMoment([data.registry, `${data.registry}-wal`], [file, `${file}-wal`]);
    await using registry = await openChecked(file, options);
    return await use({ ...options, registry, sessions: new SessionViews(options), live: undefined });
  } finally {
    rmSync(copies, { recursive: true, force: true });
  }
}

/** Calls `use` with a context that may change things, while it holds the lease. Rejects as `takeLease` throws. */
export async function withWriteContext<T>(
  options: OfflineOptions,
  use: (context: WriteContext) => Promise<T>,
): Promise<T> {
  const { data, now, pid } = options;
  refuseMissing(data.root, data.registry);
  using _lease = takeLease(data.root, { pid, since: new Date(now()) });
  await using registry = await openChecked(data.registry, options);
  return await use({
    ...options,
    registry,
    sessions: new OwnSessionFiles(options),
    actor: 'operator',
    live: undefined,
  });
}

/** Opens the registry, or a copy of it: an error names the registry itself. */
async function openChecked(file: string, { data, now, newId }: OfflineOptions): Promise<Registry> {
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
