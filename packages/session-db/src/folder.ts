/**
 * Names and places in a session folder. Two directories and not one, because a journal beside a database is part of
 * it: who can write `inbound.db-journal` can rewrite `inbound.db` when the host opens it next.
 */
import { mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { syncDirectory } from './plain-file.ts';

/** What the host owns and the runner may only read. */
export interface InboundFolder {
  /** The folder `inbound/`, which a runner may only read. */
  readonly root: string;
  /** `inbound.db`. */
  readonly database: string;
  /** Touched after each commit to `database`. */
  readonly bell: string;
  /** `files/<messageId>/<name>`: attachments to the agent. */
  readonly files: string;
}

/** What the runner owns. The host reads it as untrusted input. */
export interface OutboundFolder {
  /** The folder `outbound/`. */
  readonly root: string;
  /** `outbound.db`. */
  readonly database: string;
  /** The file that the runner touches after each commit. */
  readonly bell: string;
  /** Its modification time is the last sign of life. */
  readonly heartbeat: string;
  /** `files/<messageId>/<name>`: files that the agent sends. */
  readonly files: string;
}

/** Where the files of a session lie. */
export interface SessionFolder {
  /** The session's own folder. */
  readonly root: string;
  /** What the host owns and the runner reads. */
  readonly inbound: InboundFolder;
  /** What the runner owns and the host reads. */
  readonly outbound: OutboundFolder;
  /** Never mounted: run logs, the spool of copied attachments, private recovery copies. */
  readonly host: string;
}

/** The places in the session folder `root`. Pure: nothing is looked at or made. */
export function sessionFolder(root: string): SessionFolder {
  return {
    root,
    inbound: inboundFolder(join(root, 'inbound')),
    outbound: outboundFolder(join(root, 'outbound')),
    host: join(root, 'host'),
  };
}

/** The places in an inbound folder, for a runner that sees it under a path of its own. */
export function inboundFolder(root: string): InboundFolder {
  return { root, database: join(root, 'inbound.db'), bell: join(root, 'bell'), files: join(root, 'files') };
}

/** The places in an outbound folder, for a runner that sees it under a path of its own. */
export function outboundFolder(root: string): OutboundFolder {
  return {
    root,
    database: join(root, 'outbound.db'),
    bell: join(root, 'bell'),
    heartbeat: join(root, 'heartbeat'),
    files: join(root, 'files'),
  };
}

/**
 * Makes the directories of a session, each entry synced to disk, and returns its places. What exists stays as it is.
 * The files follow: the host's with the first `HostSession`, the runner's when a run starts.
 *
 * Throws the file system's error (`EACCES`, `EROFS`, `ENOSPC`) when a directory cannot be made.
 */
export function createSession(root: string): SessionFolder {
  const folder = sessionFolder(root);
  for (const directory of [folder.inbound.files, folder.outbound.root, folder.host]) makeDirectory(directory);
  return folder;
}

function makeDirectory(path: string): void {
  const first = mkdirSync(path, { recursive: true });
  if (first === undefined) return;
  // A new directory outlives a power cut once its parent is on disk: each parent from the innermost to the outermost.
  const outermost = dirname(resolve(first));
  for (let parent = dirname(resolve(path)); ; parent = dirname(parent)) {
    syncDirectory(parent);
    if (parent === outermost || parent === dirname(parent)) return;
  }
}
