/** The files of sessions for operator commands: to read, and to write, beside a running host and without one. */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
// tidy: allow sleep — it waits for nothing: everything else gets its turn on the event loop
import { setImmediate } from 'node:timers/promises';
import type { Session, SessionKey } from '@nanoclaw/registry';
import {
  createSession,
  HostSession,
  type OutboundReader,
  type SessionFolder,
  type SessionView,
  SqliteError,
  sessionFolder,
  VersionError,
} from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { copyAsOfOneMoment, type DataFolder } from '../data/index.ts';
import type { SessionAccess, SessionFiles } from './contexts.ts';

/** Gives the reader of what a session's runner wrote. */
export type ReaderFor = (folder: SessionFolder) => OutboundReader;

interface SessionFilesOptions {
  readonly data: DataFolder;
  readonly readerFor: ReaderFor;
}

/** Opens each session's own file for reading only, for as long as it is used, and changes nothing in its folder. */
export class SessionViews implements SessionFiles<SessionView> {
  readonly #places: SessionFilesOptions & { readonly scratch: string };

  /** `scratch`: a folder in which it may make copies. */
  constructor(places: SessionFilesOptions & { readonly scratch: string }) {
    this.#places = places;
  }

  /** Opens one session for reading, for as long as `use` takes. Rejects when its file cannot be opened. */
  async withSession<T>(session: Session, use: (access: SessionAccess<SessionView>) => T | Promise<T>): Promise<T> {
    const { data, readerFor, scratch } = this.#places;
    // A command may go through thousands of them: everything else has its turn in between.
    await setImmediate();
    const own = sessionFolder(data.session(session.key.agentGroupId, session.id));
    const copies = mkdtempSync(join(scratch, 'nanoclaw-session-'));
    // What is recovered of the runner's file goes where a command that only reads may write.
    const folder = { ...own, host: join(copies, 'host') };
    try {
      using files = openView(own, copies);
      return await use({ folder, reader: readerFor(folder), files });
    } finally {
      rmSync(copies, { recursive: true, force: true });
    }
  }
}

/** One that a host left in mid-commit, or that an older program wrote, is completed in a copy. */
function openView(own: SessionFolder, copies: string): SessionView & Disposable {
  try {
    return HostSession.view(own, openSqlite);
  } catch (error) {
    const isUnfinished = error instanceof SqliteError && error.code === 'SQLITE_READONLY_ROLLBACK';
    if (!isUnfinished && !(error instanceof VersionError)) throw error;
    const folder = createSession(join(copies, 'session'));
    const [from, to] = [own.inbound.database, folder.inbound.database];
    copyAsOfOneMoment([from, `${from}-journal`], [to, `${to}-journal`]);
    return HostSession.open(folder, openSqlite);
  }
}

/** Opens each session's own file for writing, while no host runs: the caller holds the lease. */
export class OwnSessionFiles implements SessionFiles<HostSession> {
  readonly #places: SessionFilesOptions;

  constructor(places: SessionFilesOptions) {
    this.#places = places;
  }

  /** Opens one session for writing, for as long as `use` takes. Rejects when its file cannot be opened. */
  async withSession<T>(session: Session, use: (access: SessionAccess<HostSession>) => T | Promise<T>): Promise<T> {
    const { data, readerFor } = this.#places;
    const folder = createSession(data.session(session.key.agentGroupId, session.id));
    using files = HostSession.open(folder, openSqlite);
    return await use({ folder, reader: readerFor(folder), files });
  }
}

/** The files that a running host has open. `forKey` gives its handle for a session. */
export function openSessionFiles(sessions: {
  forKey(key: SessionKey): Promise<OpenSession>;
}): SessionFiles<HostSession> {
  return {
    withSession: async (session, use) => {
      const open = await sessions.forKey(session.key);
      const { folder, reader } = open;
      return open.write((files) => use({ folder, reader, files }));
    },
  };
}

/** A session as a running host has it. */
interface OpenSession extends Omit<SessionAccess<never>, 'files'> {
  /** Lends its own file to `use`, in its turn. */
  write<T>(use: (files: HostSession) => T): Promise<T>;
}
