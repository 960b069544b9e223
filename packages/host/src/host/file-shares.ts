/**
 * How many files, sockets and pipes a process may have open is decided by its system. A host that runs out of them takes
 * messages and answers none, so it looks at its start, shares what there is, and says so where it is little.
 */
import { Problem } from '../errors/index.ts';
import type { OpenFiles } from '../observability/index.ts';

/** What a host needs to do its work at all. */
export const OPEN_FILES_MIN = 128;

/** What an idle host has open (41), and two guards with what is beside slow ones, measured. */
const BASE = 80;
/** A run with its log, its pipes to a container engine and its bell. */
const FILES_PER_RUN = 6;
/**
 * However many files may be open: a session whose file is held open takes 300 KB, measured, and opening it again a seventh of a
 * millisecond. So many stay open that those at work at once find theirs.
 */
const SESSIONS_MAX = 128;
/** A visit of a session with journal, folder and copied attachment. */
const FILES_PER_VISIT = 4;

/** How much of everything there may be at once. */
export interface FileShares {
  /** Agents that run. */
  readonly runsMax: number;
  /** Sessions that are visited, by upkeep and by delivery each. */
  readonly visitsMax: number;
  /** Sessions whose own file is held open. */
  readonly sessionsMax: number;
}

/** The shares of a limit: a third for each, of sessions no more than 128. Throws a `Problem` (exit code 2) when it is too low for a host. */
export function fileShares({ max }: Pick<OpenFiles, 'max'>): FileShares {
  if (max < OPEN_FILES_MIN) {
    throw new Problem(
      `This process may have ${max} files open, and a host needs ${OPEN_FILES_MIN} or more (1024 are good); nothing was ` +
        'started and nothing accepted was lost. Raise the limit (`ulimit -n 1024`, or LimitNOFILE= of a service).',
      2,
    );
  }
  const share = (max - BASE) / 3;
  return {
    runsMax: Math.floor(share / FILES_PER_RUN),
    visitsMax: Math.floor(share / 2 / FILES_PER_VISIT),
    sessionsMax: Math.min(SESSIONS_MAX, Math.floor(share)),
  };
}
